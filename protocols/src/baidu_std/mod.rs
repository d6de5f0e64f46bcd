//! baidu_std, the protocol that brpc speaks by default: `PRPC` frames with a protobuf description, a body and an
//! attachment (`spec/protocols-baidu.md` §2).
//!
//! | Feature | Server | Client |
//! |---|---|---|
//! | requests and replies, many in flight, matched by correlation id | yes | yes |
//! | attachment, log id, request id, user fields | yes | yes |
//! | error number and text, as brpc words them | yes | yes |
//! | service by full or short name | yes | full name, or short with the flag `baidu_protocol_use_fullname` off |
//! | `timeout_ms`: the time that the caller still waits | becomes the call's deadline | sent if the channel says so |
//! | compression (snappy, gzip, zlib, types of users'; lz4 between peers of this crate) | yes | yes |
//! | content types (pb, json, proto-json, proto-text) | yes | yes |
//! | crc32c checksum, with or without the attachment; other types are accepted unchecked | yes | yes |
//! | authentication data; the answer to those who are not let in | read; written | written; read |
//! | all calls to one service, undecoded | [`baidu_master_service`](rpc::ServerBuilder::baidu_master_service) | |
//! | calls of what only a name says | | [`call_generic`](rpc::Channel::call_generic) |
//! | trace ids (the lower 64 bits) | the request is recorded, as part of its caller's trace | sent if the call is recorded |
//! | streams (`stream_settings`), see [`streaming_rpc`](crate::streaming_rpc) | yes | yes |
//!
//! A body is serialised, compressed and summed up in this order, and read in the opposite one. Replies have the form
//! that the service chooses, by default plain protobuf; error replies have no body and say no form. What cannot be
//! read is refused in brpc's words. Texts that are not UTF-8, which C++ peers may send, are made so with replacement
//! characters.
//!
//! # Bounds
//! Frames: [`Limits::max_body_size`]. What decompression makes of a body: the same, and
//! [`GROWTH_MAX`](rpc::compress::GROWTH_MAX) times its size beyond [`GROWN_FREE`](rpc::compress::GROWN_FREE) bytes.
//! Protobuf made of JSON: [`MAX_GROWTH`](rpc::json::MAX_GROWTH) times that. Streams that a call begins with: 4096.
//! User fields: 16,384.
//! Names of services and methods: as long as the description may be; error texts show 1024 bytes of each.

mod body;
mod client;
pub(crate) mod codec;
pub(crate) mod flags;
mod server;
#[cfg(test)]
mod tests;

use crate::streaming_rpc::STREAMING_RPC;
use rpc::Limits;
use rpc::protocol::{ClientSide, Codec, ConnectionType, Protocol, Role, ServerSide};

use codec::{FrameCodec, MAGIC};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use server::fuzzed_token;

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
