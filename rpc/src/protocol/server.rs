//! The half of a format that servers use: frames to requests, answers to bytes.

use std::any::Any;
use std::time::Duration;

use iobuf::IoBuf;

use super::{AfterReply, Frame, StreamSettings, WireError};
use crate::body::BodyReader;
use crate::builtin::{PageReply, PageRequest};
use crate::error::{ErrorCode, RpcError};
use crate::limits::Limits;
use crate::message::{Body, Encoding};
use crate::server::{Routes, Target};
use crate::service::MethodDescriptor;
use crate::span::TraceContext;
use crate::user_fields::UserFields;

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
