//! streaming_rpc, the frames of streams beside the calls of baidu_std: `STRM`, laid out as `PRPC` frames are, with a
//! description of its own and a payload (`spec/protocols-baidu.md` §3).
//!
//! | Feature | Server | Client |
//! |---|---|---|
//! | one stream in a call, or several | yes | yes, on `single` connections |
//! | windows and feedback, dynamic windows | yes | yes |
//! | messages in several frames, put together again | yes | yes |
//! | the answer inside of a frame of the first stream | yes | yes; a bare one is understood as well |
//! | CLOSE, answered by CLOSE, answered by RST; RST for unknown streams | yes | yes |
//!
//! Not a protocol for channels: their calls go over [`baidu_std`](crate::baidu_std), whose connections know it. A server
//! that is to accept streams has both in its registry. Streams themselves are in [`rpc::stream`].
//!
//! A frame whose description cannot be read is dropped, and the connection goes on, as in brpc; one whose description
//! would be larger than the frame ends it.

pub(crate) mod codec;
#[cfg(test)]
mod tests;

use iobuf::IoBuf;
use rpc::Limits;
use rpc::protocol::{Codec, ConnectionType, Frame, Protocol, Role, StreamFrame, StreamSide};

use crate::baidu_std::codec::FrameCodec;

/// The protocol as a value, for registries.
pub static STREAMING_RPC: StreamingRpc = StreamingRpc;

/// The protocol. Stateless.
#[derive(Clone, Copy, Debug)]
pub struct StreamingRpc;

impl Protocol for StreamingRpc {
    fn name(&self) -> &'static str {
        "streaming_rpc"
    }

    fn codec(&self, _: Role, limits: &Limits) -> Box<dyn Codec> {
        Box::new(FrameCodec::new(codec::MAGIC, limits.max_body_size))
    }

    fn stream(&self) -> Option<&dyn StreamSide> {
        Some(self)
    }

    fn connection_types(&self) -> &'static [ConnectionType] {
        &[ConnectionType::Single]
    }
}

impl StreamSide for StreamingRpc {
    fn read_frame(&self, frame: Frame) -> Option<StreamFrame> {
        codec::read(frame)
    }

    fn write_frame(&self, frame: StreamFrame, out: &mut IoBuf) {
        codec::write(frame, out);
    }
}
