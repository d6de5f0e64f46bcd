//! The seam: what a wire format is to this crate.
//!
//! A [`Protocol`] is stateless and shared. It opens a [`Codec`] for each connection (bytes to frames, no socket, no
//! clock) and offers a [`ServerSide`] (frame to request, answer to bytes), a [`ClientSide`] (request to bytes, frame
//! to reply), or both. Nothing behind this seam may wait, and nothing in front of it may know a format.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use iobuf::IoBuf;
use smallvec::SmallVec;

use crate::body::BodyReader;
use crate::builtin::{PageReply, PageRequest};
use crate::error::{EINVAL, ErrorCode, RpcError};
use crate::limits::Limits;
use crate::message::{Body, Encoding};
use crate::server::{Routes, Target};
use crate::service::MethodDescriptor;
use crate::user_fields::UserFields;

pub use crate::span::TraceContext;
pub use crate::stream::{StreamFrame, StreamFrameBody, StreamSide};

/// Which end of a connection a codec reads for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It reads requests.
    Server,
    /// It reads replies.
    Client,
}

/// How calls share connections (`spec/rpc-core.md` §11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

    /// The half that streams use: all its frames belong to them. `None`: none does.
    fn stream(&self) -> Option<&dyn StreamSide> {
        None
    }

    /// The ways in which its calls can share connections, the default one first.
    fn connection_types(&self) -> &'static [ConnectionType];

    /// The protocols whose messages may come between its own on a channel's connection.
    fn companions(&self) -> &'static [&'static dyn Protocol] {
        &[]
    }
}

impl fmt::Debug for dyn Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

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

    /// Says what reply comes next, before its request is written: what [`ClientSide::reply_hint`] gave.
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

    /// Whether the method that this head of a message calls reads bodies as they arrive.
    fn wants_stream(&self, head: &Frame, routes: &Routes<'_>) -> bool {
        let _ = (head, routes);
        false
    }

    /// Makes protobuf of a body that came in another form, compressed or JSON for two. Called once for an admitted call,
    /// before its request message is decoded.
    ///
    /// # Errors
    /// The body is not what it should be; the call is answered with the error.
    fn decode_request(
        &self,
        token: &mut ReplyToken,
        body: IoBuf,
        context: &BodyContext<'_>,
    ) -> Result<IoBuf, RpcError> {
        let _ = (token, context);
        Ok(body)
    }

    /// The form that the body of a request has come in.
    fn request_encoding(&self, token: &ReplyToken) -> Encoding {
        let _ = token;
        Encoding::default()
    }

    /// Whether a request that is not decoded is what its caller has summed up, if it was summed up at all.
    fn is_intact(&self, token: &ReplyToken, body: &IoBuf, attachment: &IoBuf) -> bool {
        let _ = (token, body, attachment);
        true
    }

    /// Makes the body of a reply that is to travel in another form than plain protobuf. Called once, before
    /// [`write_reply`](Self::write_reply). `None`: the message can stay as it is until then.
    ///
    /// # Errors
    /// There is no such form; the call is answered with the error.
    fn encode_reply(
        &self,
        method: &'static MethodDescriptor,
        body: &dyn Body,
        encoding: Encoding,
    ) -> Result<Option<IoBuf>, RpcError> {
        let _ = (method, body, encoding);
        Ok(None)
    }

    /// Appends a reply to `out`. It cannot fail: what is too large for the format becomes an error reply.
    fn write_reply(&self, token: ReplyToken, reply: OutgoingReply<'_>, out: &mut IoBuf) -> AfterReply;

    /// Appends a debug page to `out`. Only called for requests whose target is a page.
    fn write_page(&self, token: ReplyToken, page: PageReply, out: &mut IoBuf) -> AfterReply {
        let _ = (token, page, out);
        AfterReply::Close
    }

    /// The text of the error for a body that cannot be read as a `request_type`.
    fn unreadable_request(&self, token: &ReplyToken, request_type: &str, request_size: usize) -> String;
}

/// What a body belongs to.
#[derive(Debug)]
pub struct BodyContext<'a> {
    /// What is called.
    pub method: &'static MethodDescriptor,
    /// What came behind the body.
    pub attachment: &'a IoBuf,
    /// Those of the connection. No body grows beyond [`Limits::max_body_size`].
    pub limits: &'a Limits,
}

/// What becomes of a connection behind a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterReply {
    /// It goes on.
    GoOn,
    /// It is closed when the reply is written.
    Close,
}

/// A request as a protocol has read it, before anything is decided about it.
#[derive(Debug)]
pub struct IncomingRequest {
    /// The method or page, or the error for one that does not exist here.
    pub target: Result<Target, RpcError>,
    /// What a page is asked for; there if the target is one.
    pub page: Option<Box<PageRequest>>,
    /// The body and behind it the attachment.
    pub payload: IoBuf,
    /// The body, where it is streamed.
    pub body: Option<BodyReader>,
    /// The length of the attachment. Negative counts as 0.
    pub attachment_size: i32,
    /// How long the caller still waits, where it says so.
    pub timeout: Option<Duration>,
    /// What users may see of the request.
    pub info: RequestInfo,
    /// For [`ServerSide::write_reply`].
    pub token: ReplyToken,
    /// What few requests have.
    pub extras: Option<Box<RequestExtras>>,
}

impl IncomingRequest {
    /// A request of a payload without an attachment, and nothing else.
    pub fn new(target: Result<Target, RpcError>, payload: IoBuf, token: ReplyToken) -> Self {
        IncomingRequest {
            target,
            page: None,
            payload,
            body: None,
            attachment_size: 0,
            timeout: None,
            info: RequestInfo::default(),
            token,
            extras: None,
        }
    }
}

/// The parts of an [`IncomingRequest`] that few requests have and no user sees as they are.
#[derive(Debug, Default)]
pub struct RequestExtras {
    /// What the caller identifies itself with, perhaps empty; `None`: it does not.
    pub credential: Option<Vec<u8>>,
    /// The streams that it wants to have with the service.
    pub streams: Option<StreamSettings>,
    /// What is called, for a [`Target`] that takes everything.
    pub generic: Option<GenericRequest>,
}

/// A request for whatever a caller has named, whose body is in whatever form the caller has chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GenericRequest {
    /// The service, as the caller has named it.
    pub service_name: String,
    /// The bare name of the method.
    pub method_name: String,
    /// The form of the body.
    pub encoding: Encoding,
}

/// One side's streams that begin with a call, and what it says of all of them (`spec/protocols-baidu.md` §3.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamSettings {
    /// This side's ids, in the order in which they are paired with those of the other side.
    pub ids: SmallVec<[i64; 1]>,
    /// It wants to hear what of its data was consumed.
    pub need_feedback: bool,
    /// It may be written to.
    pub writable: bool,
}

/// What came with a request beside its body and attachment.
#[derive(Debug, Default)]
pub struct RequestInfo {
    /// The user's log id, where one was sent.
    pub log_id: Option<u64>,
    /// The trace that the request is a part of, where the caller said so.
    pub trace: Option<Box<TraceContext>>,
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
    /// What was called; `None` where that was not found.
    pub method: Option<&'static MethodDescriptor>,
    /// The response, or the number and the complete text of the error. The number is -1 where the service gave none.
    pub outcome: Result<&'a dyn Body, (ErrorCode, &'a str)>,
    /// Sent behind the response. Not sent with an error.
    pub attachment: IoBuf,
    /// Free pairs for the caller.
    pub user_fields: &'a UserFields,
    /// The form in which the response is to travel.
    pub encoding: Encoding,
    /// The response is in that form already.
    pub is_encoded: bool,
    /// The service's end of the streams that it has accepted.
    pub streams: Option<&'a StreamSettings>,
    /// The error is that the caller was not let in.
    pub is_auth_failure: bool,
}

/// The half of a protocol that channels use. No method waits.
pub trait ClientSide: Send + Sync {
    /// Makes the body of a request that is to travel in another form than plain protobuf. Called once for a call,
    /// before its first attempt. `None`: the message can stay as it is until it is written.
    ///
    /// # Errors
    /// There is no such form; the call ends with the error.
    fn encode_request(
        &self,
        method: &'static MethodDescriptor,
        body: &dyn Body,
        encoding: Encoding,
    ) -> Result<Option<IoBuf>, RpcError>;

    /// Whether it can name what a caller names and no descriptor does. If not, such calls end in an error.
    fn has_generic_calls(&self) -> bool {
        false
    }

    /// Appends a request to `out`.
    ///
    /// # Errors
    /// The request does not fit the format. `out` is to be thrown away.
    fn write_request(&self, request: OutgoingRequest<'_>, out: &mut IoBuf) -> Result<(), RpcError>;

    /// What the codec must know of a request to read its reply, if anything.
    fn reply_hint(&self, request: &OutgoingRequest<'_>) -> Option<u64> {
        let _ = request;
        None
    }

    /// Makes a reply of a frame.
    ///
    /// # Errors
    /// The description cannot be read. Where calls share a connection the frame is ignored: whose reply it would be is
    /// not known. Else the connection is closed, and its call ends with the error.
    fn read_reply(&self, frame: Frame) -> Result<IncomingReply, WireError>;

    /// Makes protobuf of the body of a reply that came in another form, compressed or JSON for two. Called before the
    /// response message is decoded, for replies without an error.
    ///
    /// # Errors
    /// The body is not what it should be; the call fails with the error.
    fn decode_reply(
        &self,
        method: &'static MethodDescriptor,
        reply: &mut IncomingReply,
        limits: &Limits,
    ) -> Result<(), RpcError> {
        let _ = (method, reply, limits);
        Ok(())
    }

    /// The error for a body that came in this form and cannot be read as a `response_type`.
    fn unreadable_reply(&self, response_type: &str, encoding: Encoding, response_size: usize) -> RpcError;
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
    /// What stands behind the protocol's name in the channel's options: `json` of `http:json`.
    pub parameter: &'a str,
    /// The server as the channel was told of it: `host:port`, without a scheme.
    pub authority: &'a str,
    /// What the user gave for this protocol, see [`CallOptions::protocol_options`](crate::CallOptions::protocol_options).
    pub options: Option<&'a (dyn Any + Send + Sync)>,
    /// The span of the call, if it is recorded.
    pub trace: Option<TraceContext>,
    /// The body of the reply is to be read as it arrives.
    pub reads_progressively: bool,
    /// The form in which the message is to travel.
    pub encoding: Encoding,
    /// The body is in that form already.
    pub is_encoded: bool,
    /// Service and method to be named in place of those of `method`.
    pub generic: Option<(&'a str, &'a str)>,
    /// What the caller identifies itself with, where this request is the one to say it.
    pub credential: Option<&'a [u8]>,
    /// The caller's end of the streams that it wants to have with the service.
    pub streams: Option<&'a StreamSettings>,
}

impl<'a> OutgoingRequest<'a> {
    /// A request of this message, with nothing beside it.
    pub fn new(
        method: &'static MethodDescriptor,
        correlation_id: u64,
        body: &'a dyn Body,
        user_fields: &'a UserFields,
    ) -> Self {
        OutgoingRequest {
            method,
            correlation_id,
            body,
            attachment: IoBuf::new(),
            log_id: None,
            request_id: "",
            user_fields,
            timeout: None,
            parameter: "",
            authority: "",
            options: None,
            trace: None,
            reads_progressively: false,
            encoding: Encoding::default(),
            is_encoded: false,
            generic: None,
            credential: None,
            streams: None,
        }
    }
}

impl<'a> OutgoingReply<'a> {
    /// A reply of this outcome, with nothing beside it.
    pub fn new(
        method: Option<&'static MethodDescriptor>,
        outcome: Result<&'a dyn Body, (ErrorCode, &'a str)>,
        user_fields: &'a UserFields,
    ) -> Self {
        OutgoingReply {
            method,
            outcome,
            attachment: IoBuf::new(),
            user_fields,
            encoding: Encoding::default(),
            is_encoded: false,
            streams: None,
            is_auth_failure: false,
        }
    }
}

/// A reply as a protocol has read it.
#[derive(Debug)]
pub struct IncomingReply {
    /// That of the request; 0 on protocols that have none, whose connections carry one call at a time.
    pub correlation_id: u64,
    /// The error that the server answered with, or that reading the reply gave.
    pub error: Option<RpcError>,
    /// The message.
    pub body: IoBuf,
    /// What came behind it.
    pub attachment: IoBuf,
    /// The body, where it is read as it arrives.
    pub stream: Option<BodyReader>,
    /// Free pairs from the server.
    pub user_fields: UserFields,
    /// What becomes of the connection.
    pub after: AfterReply,
    /// What else the protocol has read, for its users.
    pub extra: Option<Box<dyn Any + Send>>,
    /// The form of the body as it travelled.
    pub encoding: Encoding,
    /// The service's end of the streams that it has accepted.
    pub streams: Option<Box<StreamSettings>>,
}

impl IncomingReply {
    /// A reply with nothing in it.
    pub fn new(correlation_id: u64) -> Self {
        IncomingReply {
            correlation_id,
            error: None,
            body: IoBuf::new(),
            attachment: IoBuf::new(),
            stream: None,
            user_fields: UserFields::default(),
            after: AfterReply::GoOn,
            extra: None,
            encoding: Encoding::default(),
            streams: None,
        }
    }
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
