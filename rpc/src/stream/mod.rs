//! Streams: messages in both directions beside the calls of a connection (`spec/rpc-core.md` §19,
//! `spec/protocols-baidu.md` §3).
//!
//! A stream begins with a call: the caller offers it, the service accepts it, and the answer connects the two ends. It
//! lives on the call's connection. Its frames are handled in the order of their arrival by the reader of the connection,
//! which never waits for a stream; a window on either side bounds what is on its way. No format is known here: a
//! [`StreamSide`] brings one.

mod accept;
mod connection;
mod frame;
mod handle;
mod life;
mod offer;
mod options;
mod receiving;
mod sending;
mod state;
mod turn;
mod window;

pub use connection::STREAMS_PER_CONNECTION_MAX;
pub use frame::{FRAME_META_MAX, StreamFrame, StreamFrameBody, StreamSide};
pub use handle::{Stream, StreamReader, StreamWriter, TryWriteError};
pub use offer::STREAMS_PER_CALL_MAX;
pub use options::{
    IDLE_TIMEOUT_MIN, MAX_BUF_SIZE_DEFAULT, MAX_RECEIVED_SIZE_DEFAULT, MAX_SEGMENT_SIZE_DEFAULT,
    MESSAGES_IN_BATCH_DEFAULT, MIN_BUF_SIZE_DEFAULT, StreamHandler, StreamOptions,
};
pub use receiving::RECEIVED_MESSAGES_MAX;
pub use sending::UNCONNECTED_BYTES_MAX;
pub use state::STREAMS_MAX;

pub(crate) use accept::{OfferedStreams, wrap_refusal};
pub(crate) use connection::ConnectionStreams;
pub(crate) use offer::{CallStreams, Offer, refuse};
pub(crate) use options::register_flags;
pub(crate) use state::live_streams;
pub(crate) use turn::StreamTurn;
