//! baidu_std, the protocol that brpc speaks by default: `PRPC` frames with a protobuf description, a body and an
//! attachment (`spec/protocols-baidu.md` §2).
//!
//! | Feature | Server | Client |
//! |---|---|---|
//! | requests and replies, many in flight, matched by correlation id | yes | yes |
//! | attachment, log id, request id, user fields | yes | yes |
//! | error number and text, as brpc words them | yes | yes |
//! | service by full or short name | yes | full name |
//! | `timeout_ms`: the time that the caller still waits | becomes the call's deadline | sent if the channel says so |
//! | compression (snappy, gzip, zlib) | refused with EREQUEST | refused with EREQUEST |
//! | content types other than protobuf (json, proto-json, proto-text) | refused with EREQUEST | refused with EREQUEST |
//! | crc32c checksum | refused with EREQUEST; other types are accepted unchecked, as in brpc | the same |
//! | authentication data | not asked for | not sent |
//! | trace ids (the lower 64 bits) | the request is recorded, as part of its caller's trace | sent if the call is recorded |
//! | streams (`stream_settings`), see [`streaming_rpc`](crate::streaming_rpc) | yes | yes |
//!
//! What is refused is refused in the words that brpc has for a type that nobody registered. Texts that are not UTF-8,
//! which C++ peers may send, are made so with replacement characters.

mod client;
pub(crate) mod codec;
mod server;
#[cfg(test)]
mod tests;

use crate::streaming_rpc::STREAMING_RPC;
use rpc::Limits;
use rpc::protocol::{ClientSide, Codec, ConnectionType, Protocol, Role, ServerSide};

use codec::{FrameCodec, MAGIC};

/// Streams live on the connections of calls.
static COMPANIONS: &[&dyn Protocol] = &[&STREAMING_RPC];

/// The protocol as a value, for registries.
pub static BAIDU_STD: BaiduStd = BaiduStd;

/// The protocol. Stateless.
#[derive(Clone, Copy, Debug)]
pub struct BaiduStd;

impl Protocol for BaiduStd {
    fn name(&self) -> &'static str {
        "baidu_std"
    }

    fn codec(&self, _: Role, limits: &Limits) -> Box<dyn Codec> {
        Box::new(FrameCodec::new(MAGIC, limits.max_body_size))
    }

    fn server(&self) -> Option<&dyn ServerSide> {
        Some(self)
    }

    fn client(&self) -> Option<&dyn ClientSide> {
        Some(self)
    }

    fn connection_types(&self) -> &'static [ConnectionType] {
        &[ConnectionType::Single, ConnectionType::Pooled, ConnectionType::Short]
    }

    fn companions(&self) -> &'static [&'static dyn Protocol] {
        COMPANIONS
    }
}
