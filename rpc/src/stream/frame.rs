//! The seam of streams: what a wire format for their frames is to this crate. Data and one trait; nothing here waits.

use std::fmt;

use iobuf::IoBuf;

use crate::protocol::Frame;

/// The half of a protocol whose frames belong to streams (`spec/protocols-baidu.md` §3.1). They are handled in the order
/// of their arrival while the connection is read, and never become calls.
pub trait StreamSide: Send + Sync {
    /// Reads a frame. `None`: its description cannot be read; it is dropped, and the connection goes on.
    fn read_frame(&self, frame: Frame) -> Option<StreamFrame>;

    /// Appends a frame to `out`. A payload is at most as long as a frame's size can say with [`FRAME_META_MAX`] bytes of
    /// description.
    fn write_frame(&self, frame: StreamFrame, out: &mut IoBuf);
}

impl fmt::Debug for dyn StreamSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamSide")
    }
}

/// Bytes that the description of a stream's frame takes at most.
pub const FRAME_META_MAX: usize = 64;

/// One frame of a stream.
#[derive(Debug)]
pub struct StreamFrame {
    /// The receiver's stream.
    pub stream_id: i64,
    /// The sender's stream, where the frame says so.
    pub source_id: Option<i64>,
    /// What it is for.
    pub body: StreamFrameBody,
}

/// What a stream's frame is for (`spec/protocols-baidu.md` §3.2).
#[derive(Debug)]
pub enum StreamFrameBody {
    /// A type that this side does not know.
    Unknown,
    /// The receiver's stream is not known to the sender any more.
    Rst,
    /// The sender ends the stream.
    Close,
    /// A message, or a part of one.
    Data {
        /// Its bytes, perhaps none.
        payload: IoBuf,
        /// The message goes on in the next frame of this kind.
        has_continuation: bool,
    },
    /// The receiver's messages are being consumed.
    Feedback {
        /// Their bytes so far, since the stream began.
        consumed: i64,
    },
}
