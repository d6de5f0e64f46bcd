//! Cutting bytes into frames: what a connection keeps of a format, and what it finds.

use std::any::Any;
use std::fmt;

use iobuf::IoBuf;

use crate::body::BodyReader;
use crate::error::{EINVAL, RpcError};

/// Cuts one connection's bytes into frames; sans-I/O, with whatever state the format needs between two calls.
pub trait Codec: Send {
    /// Cuts one frame off the front of `input`, or leaves `input` as it is. It is never empty, except behind a
    /// head and in the middle of a streamed body.
    ///
    /// The work is that of framing alone, its cost does not grow with the size of the message. Bytes of any kind may
    /// come; none makes it panic, and nothing is allocated for bytes that are declared but not there.
    ///
    /// # Errors
    /// The bytes are of this protocol and cannot be accepted: the connection is to be closed.
    fn parse(&mut self, input: &mut IoBuf) -> Result<Parsed, WireError>;

    /// Whether replies carry nothing that tells their requests apart, so that they must leave in the order of the
    /// requests: nothing more is cut from a connection until the message cut last is answered, and all that belongs to
    /// the answer is queued to be written.
    fn is_serial(&self) -> bool {
        false
    }

    /// Answers [`Parsed::Head`]: the body is wanted whole. The codec keeps the head and goes on to [`Parsed::Message`].
    fn gather(&mut self, head: Frame) {
        drop(head);
    }

    /// Answers [`Parsed::Head`]: the body is wanted as it arrives, in [`Parsed::Part`]s up to [`Parsed::End`].
    fn stream(&mut self) {}

    /// Says what reply comes next, before its request is written: what [`ClientSide::reply_hint`](super::ClientSide::reply_hint) gave.
    fn expect(&mut self, hint: u64) {
        let _ = hint;
    }

    /// The peer will send nothing more. A [`Parsed::Message`] or [`Parsed::End`] if that is how the message ends that
    /// is arriving.
    ///
    /// # Errors
    /// The message that is arriving must not end here.
    fn end_of_stream(&mut self) -> Result<Option<Parsed>, WireError> {
        Ok(None)
    }

    /// Bytes that the codec itself has to say, such as HTTP's `100 Continue`. Asked for after every call of
    /// [`parse`](Self::parse), also after one that failed, and written behind everything written before.
    fn take_output(&mut self) -> Option<IoBuf> {
        None
    }
}

/// What a codec found at the front of the bytes.
#[derive(Debug)]
#[must_use]
pub enum Parsed {
    /// One whole frame, which has been cut off.
    Message(Frame),
    /// What is in front of the body of a frame, which has been cut off; the body has not arrived whole.
    /// [`Codec::gather`] or [`Codec::stream`] comes next.
    Head(Frame),
    /// Some of a body that is streamed.
    Part(IoBuf),
    /// A body that is streamed has ended.
    End,
    /// The beginning of a frame, or of something in it.
    NeedMore,
    /// Bytes of some other protocol.
    NotMine,
}

/// One message as it was cut: its bytes, and where its description ends and its contents begin.
#[derive(Default)]
pub struct Frame {
    /// `meta_size` bytes of description, then the contents.
    pub bytes: IoBuf,
    /// Never more than `bytes` has.
    pub meta_size: u32,
    /// What the codec has read of the description already, for the side of its protocol.
    pub head: Option<Box<dyn Any + Send>>,
    /// The contents, where they are streamed; `bytes` has none of them then.
    pub body: Option<BodyReader>,
}

impl Frame {
    /// A frame of bytes alone.
    pub fn new(bytes: IoBuf, meta_size: u32) -> Self {
        Frame { bytes, meta_size, head: None, body: None }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("bytes", &self.bytes.len())
            .field("meta_size", &self.meta_size)
            .field("has_head", &self.head.is_some())
            .field("is_streamed", &self.body.is_some())
            .finish()
    }
}

/// Why a connection's bytes cannot be accepted. Data, to be logged or counted by whoever owns the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// No protocol knows these bytes.
    Unknown,
    /// A frame declares more bytes than [`Limits::max_body_size`](crate::Limits::max_body_size).
    TooBig {
        /// The size it declares.
        declared: u64,
        /// The size allowed.
        limit: usize,
    },
    /// The frame breaks its format; the text says how.
    Malformed(&'static str),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::Unknown => f.write_str("unknown message"),
            WireError::TooBig { declared, limit } => {
                write!(f, "a message of {declared} bytes is larger than max_body_size={limit}")
            }
            WireError::Malformed(how) => write!(f, "malformed message: {how}"),
        }
    }
}

impl std::error::Error for WireError {}

/// What the calls on a connection with such bytes fail with (`spec/protocols-baidu.md` §0.1).
impl From<WireError> for RpcError {
    fn from(error: WireError) -> Self {
        RpcError::new(EINVAL, error.to_string())
    }
}
