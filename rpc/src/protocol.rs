//! The seam: what a wire format is to this crate.
//!
//! A [`Protocol`] is stateless and shared. It opens a [`Codec`] for each connection (bytes to frames, no socket, no
//! clock) and offers a [`ServerSide`] (frame to request, answer to bytes), a [`ClientSide`] (request to bytes, frame
//! to reply), or both. Nothing behind this seam may wait, and nothing in front of it may know a format.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use iobuf::IoBuf;

use crate::error::{EINVAL, ErrorCode, RpcError};
use crate::limits::Limits;
use crate::message::Body;
use crate::server::{MethodId, Routes};
use crate::service::MethodDescriptor;
use crate::user_fields::UserFields;

/// Which end of a connection a codec reads for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It reads requests.
    Server,
    /// It reads replies.
    Client,
}

/// How calls share connections (`spec/rpc-core.md` §11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionType {
    /// One connection for all calls of a channel, many in flight at a time.
    Single,
    /// One call at a time on a connection, which is kept for the next.
    Pooled,
    /// A connection for each call.
    Short,
}

impl ConnectionType {
    /// brpc's name: `single`, `pooled` or `short`.
    pub fn name(self) -> &'static str {
        match self {
            ConnectionType::Single => "single",
            ConnectionType::Pooled => "pooled",
            ConnectionType::Short => "short",
        }
    }
}

impl std::str::FromStr for ConnectionType {
    type Err = RpcError;

    fn from_str(name: &str) -> Result<Self, RpcError> {
        [ConnectionType::Single, ConnectionType::Pooled, ConnectionType::Short]
            .into_iter()
            .find(|known| known.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| RpcError::new(EINVAL, format!("Unknown connection_type={name}")))
    }
}

/// A wire format. Implemented once per format by a value without state that is listed in a
/// [`Registry`](crate::Registry).
pub trait Protocol: Send + Sync + 'static {
    /// The name users choose it by, unique in a registry; compared without regard to case.
    fn name(&self) -> &'static str;

    /// A codec for one new connection.
    fn codec(&self, role: Role, limits: &Limits) -> Box<dyn Codec>;

    /// The half that servers use. `None`: servers do not speak it.
    fn server(&self) -> Option<&dyn ServerSide> {
        None
    }

    /// The half that channels use. `None`: channels do not speak it.
    fn client(&self) -> Option<&dyn ClientSide> {
        None
    }

    /// The ways in which its calls can share connections, the default one first.
    fn connection_types(&self) -> &'static [ConnectionType];
}

impl fmt::Debug for dyn Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Cuts one connection's bytes into frames; sans-I/O, with whatever state the format needs between two calls.
pub trait Codec: Send {
    /// Cuts one frame off the front of `input`, which is never empty, or leaves `input` as it is.
    ///
    /// The work is that of framing alone, its cost does not grow with the size of the message. Bytes of any kind may
    /// come; none makes it panic, and nothing is allocated for bytes that are declared but not there.
    ///
    /// # Errors
    /// The bytes are of this protocol and cannot be accepted: the connection is to be closed.
    fn parse(&mut self, input: &mut IoBuf) -> Result<Parsed, WireError>;
}

/// What a codec found at the front of the bytes.
#[derive(Debug)]
#[must_use]
pub enum Parsed {
    /// One whole frame, which has been cut off.
    Message(Frame),
    /// The beginning of a frame.
    NeedMore,
    /// Bytes of some other protocol.
    NotMine,
}

/// One message as it was cut: its bytes, and where its description ends and its contents begin.
#[derive(Debug)]
pub struct Frame {
    /// `meta_size` bytes of description, then the contents.
    pub bytes: IoBuf,
    /// Never more than `bytes` has.
    pub meta_size: u32,
}

/// Why a connection's bytes cannot be accepted. Data, to be logged or counted by whoever owns the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// No protocol knows these bytes.
    Unknown,
    /// A frame declares more bytes than [`Limits::max_body_size`].
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

/// What a protocol remembers of a request to write its reply: opaque to this crate, carried by the call.
#[derive(Debug, Default)]
pub struct ReplyToken {
    /// Such as a correlation id.
    pub id: u64,
    /// Whatever else is small.
    pub bits: u64,
    /// Whatever is rare.
    pub extra: Option<Box<dyn Any + Send + Sync>>,
}

/// The half of a protocol that servers use. No method waits.
pub trait ServerSide: Send + Sync {
    /// Makes a request of a frame. Whether it is admitted, and all errors that its sender is told of, are not decided
    /// here.
    ///
    /// # Errors
    /// The description cannot be read: the connection is closed without a reply.
    fn read_request(&self, frame: Frame, routes: &Routes<'_>) -> Result<IncomingRequest, WireError>;

    /// Appends a reply to `out`. It cannot fail: what is too large for the format becomes an error reply.
    fn write_reply(&self, token: ReplyToken, reply: OutgoingReply<'_>, out: &mut IoBuf);

    /// The text of the error for a body that cannot be read as a `request_type`.
    fn unreadable_request(&self, token: &ReplyToken, request_type: &str, request_size: usize) -> String;
}

/// A request as a protocol has read it, before anything is decided about it.
#[derive(Debug)]
pub struct IncomingRequest {
    /// The method, or the error for one that does not exist here.
    pub method: Result<MethodId, RpcError>,
    /// The body and behind it the attachment.
    pub payload: IoBuf,
    /// The length of the attachment. Negative counts as 0.
    pub attachment_size: i32,
    /// Whether the body is in a form that can be read, rather than compressed or encoded in an unknown way.
    pub is_readable: bool,
    /// How long the caller still waits, where it says so.
    pub timeout: Option<Duration>,
    /// What users may see of the request.
    pub info: RequestInfo,
    /// For [`ServerSide::write_reply`].
    pub token: ReplyToken,
}

/// What came with a request beside its body and attachment.
#[derive(Debug, Default)]
pub struct RequestInfo {
    /// The user's log id, where one was sent.
    pub log_id: Option<u64>,
    /// What few requests have.
    pub rare: Option<Box<RareRequestInfo>>,
}

/// The parts of [`RequestInfo`] that few requests have.
#[derive(Debug, Default)]
pub struct RareRequestInfo {
    /// Names the request through several servers, like HTTP's `x-request-id`; empty if not sent.
    pub request_id: String,
    /// Free pairs from the caller.
    pub user_fields: UserFields,
}

/// What a call was answered with.
pub struct OutgoingReply<'a> {
    /// The response, or the number and the complete text of the error. The number is -1 where the service gave none.
    pub outcome: Result<&'a dyn Body, (ErrorCode, &'a str)>,
    /// Sent behind the response. Not sent with an error.
    pub attachment: IoBuf,
    /// Free pairs for the caller.
    pub user_fields: &'a UserFields,
}

/// The half of a protocol that channels use. No method waits.
pub trait ClientSide: Send + Sync {
    /// Appends a request to `out`.
    ///
    /// # Errors
    /// The request does not fit the format. `out` is to be thrown away.
    fn write_request(&self, request: OutgoingRequest<'_>, out: &mut IoBuf) -> Result<(), RpcError>;

    /// Makes a reply of a frame.
    ///
    /// # Errors
    /// The description cannot be read. The frame is ignored: whose reply it would be is not known.
    fn read_reply(&self, frame: Frame) -> Result<IncomingReply, WireError>;

    /// The error for a body that cannot be read as a `response_type`.
    fn unreadable_reply(&self, response_type: &str, response_size: usize) -> RpcError;
}

/// A request about to be written.
pub struct OutgoingRequest<'a> {
    /// What is called.
    pub method: &'static MethodDescriptor,
    /// Comes back with the reply.
    pub correlation_id: u64,
    /// The message.
    pub body: &'a dyn Body,
    /// Sent behind it.
    pub attachment: IoBuf,
    /// The user's log id.
    pub log_id: Option<u64>,
    /// Empty: none.
    pub request_id: &'a str,
    /// Free pairs for the server.
    pub user_fields: &'a UserFields,
    /// The time that the caller still waits, if the server is to know it.
    pub timeout: Option<Duration>,
}

/// A reply as a protocol has read it.
#[derive(Debug)]
pub struct IncomingReply {
    /// That of the request.
    pub correlation_id: u64,
    /// The error that the server answered with, or that reading the reply gave.
    pub error: Option<RpcError>,
    /// The message.
    pub body: IoBuf,
    /// What came behind it.
    pub attachment: IoBuf,
    /// Free pairs from the server.
    pub user_fields: UserFields,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_types_have_brpcs_names() {
        assert_eq!("SINGLE".parse(), Ok(ConnectionType::Single));
        assert_eq!("pooled".parse(), Ok(ConnectionType::Pooled));
        assert_eq!("shor".parse::<ConnectionType>().unwrap_err().code(), EINVAL);
    }
}
