//! The half of a format that channels use: requests to bytes, frames to replies.

use std::any::Any;
use std::time::Duration;

use iobuf::IoBuf;

use super::{AfterReply, Frame, StreamSettings, WireError};
use crate::body::BodyReader;
use crate::error::RpcError;
use crate::limits::Limits;
use crate::message::{Body, Encoding};
use crate::service::MethodDescriptor;
use crate::span::TraceContext;
use crate::user_fields::UserFields;

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
