//! One call at the server: what came with the request, what goes with the response, and the answer.
//!
//! Owns that each call is answered exactly once and counted exactly once. It knows the protocol only through its
//! [`ServerSide`](crate::protocol::ServerSide), and keeps nothing of it but the token.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use iobuf::IoBuf;

use super::admission::{self, Admitted};
use super::call_extras::CallExtras;
use super::connection::{Origin, ServerConnection};
use super::method::{Method, MethodId};
use super::state::{Permit, ServerState};
use super::tail::{Tail, TailState};
use crate::body::BodyReader;
use crate::context::{self, CallContext};
use crate::error::{ECLOSE, EINTERNAL, EINVAL, EREQUEST, ErrorCode, RpcError};
use crate::limit::Ended;
use crate::message::{Body, ChecksumType, CompressType, ContentType, Encoding, MessageBody, ProtoMessage};
use crate::protocol::{
    AfterReply, BodyContext, GenericRequest, IncomingRequest, OutgoingReply, RareRequestInfo, ReplyToken,
    RequestExtras, RequestInfo,
};
use crate::service::MethodDescriptor;
use crate::socket::{Overcrowded, Socket, clock};
use crate::span::{Point, Span, SpanRef};
use crate::stream::{OfferedStreams, Stream, StreamOptions};
use crate::transport::Endpoint;
use crate::user_fields::UserFields;

/// A call that a service is to answer.
///
/// It may be kept and sent to other threads and bthreads. Dropped without an answer it fails with
/// [`EINTERNAL`].
pub struct ServerCall {
    socket: Arc<Socket>,
    origin: Origin,
    method: MethodId,
    /// `None` once it is answered.
    token: Option<ReplyToken>,
    /// Where the answer goes on after the call.
    tail: Option<Arc<TailState>>,
    body: Option<BodyReader>,
    /// The streams that the caller offers.
    streams: Option<Box<OfferedStreams>>,
    deadline: Option<Instant>,
    permit: Permit,
    /// When it began to run, if that was looked at.
    started: Option<Instant>,
    close: bool,
    info: RequestInfo,
    request_attachment: IoBuf,
    response_attachment: IoBuf,
    response_user_fields: UserFields,
    response_encoding: Encoding,
    /// The response is in that form already.
    response_is_encoded: bool,
    /// What came with the request that few requests have.
    extras: Option<Box<RequestExtras>>,
    /// If the request is recorded.
    span: Option<Span>,
    /// What few calls have.
    pub(super) call_extras: Option<Box<CallExtras>>,
}

impl ServerCall {
    /// A call that the admission counts as running. What is left of the payload is the attachment.
    #[inline]
    pub(super) fn new(
        socket: Arc<Socket>,
        origin: Origin,
        request: &mut IncomingRequest,
        admitted: Admitted,
        span: Option<Span>,
    ) -> Self {
        if let Some(span) = &span {
            span.reach(Point::Entered); // and again once the message is read
        }
        let mut extras = request.extras.take();
        let offered = extras.as_mut().and_then(|extras| extras.streams.take());
        ServerCall {
            socket,
            origin,
            method: admitted.method,
            token: Some(std::mem::take(&mut request.token)),
            tail: None,
            body: request.body.take(),
            streams: offered.map(|offered| Box::new(OfferedStreams::new(offered))),
            deadline: admitted.deadline,
            permit: admitted.permit,
            started: admitted.started,
            close: false,
            info: std::mem::take(&mut request.info),
            request_attachment: std::mem::take(&mut request.payload),
            response_attachment: IoBuf::new(),
            response_user_fields: UserFields::default(),
            response_encoding: Encoding::default(),
            response_is_encoded: false,
            extras,
            span,
            call_extras: None,
        }
    }

    pub(super) fn call_extras_mut(&mut self) -> &mut CallExtras {
        self.call_extras.get_or_insert_default()
    }

    /// The span, as the server runs the call with it.
    pub(super) fn recorded(&self) -> Option<&Span> {
        self.span.as_ref()
    }

    pub(super) fn server(&self) -> &Arc<ServerState> {
        &self.socket.owner::<ServerConnection>().server
    }

    fn entry(&self) -> &Method {
        self.server().methods.method(self.method)
    }

    /// What is called.
    pub fn method(&self) -> &'static MethodDescriptor {
        self.entry().descriptor
    }

    /// The bytes that came behind the request message. Cloning them copies nothing.
    pub fn request_attachment(&self) -> &IoBuf {
        &self.request_attachment
    }

    /// The bytes that came behind the request message, leaving none.
    pub fn take_request_attachment(&mut self) -> IoBuf {
        std::mem::take(&mut self.request_attachment)
    }

    /// The bytes to send behind the response message. Not sent with an error.
    pub fn response_attachment(&mut self) -> &mut IoBuf {
        &mut self.response_attachment
    }

    /// The caller's log id, if it sent one.
    pub fn log_id(&self) -> Option<u64> {
        self.info.log_id
    }

    /// What the caller names this request by, also across servers; empty if it did not.
    pub fn request_id(&self) -> &str {
        self.rare().map_or("", |rare| &rare.request_id)
    }

    /// A free value that came with the request.
    pub fn user_field(&self, key: &str) -> Option<&str> {
        self.rare()?.user_fields.get(key)
    }

    /// The free values that came with the request, if any did.
    pub fn user_fields(&self) -> Option<&UserFields> {
        self.rare().map(|rare| &rare.user_fields)
    }

    /// Free values to send with the response.
    pub fn response_user_fields(&mut self) -> &mut UserFields {
        &mut self.response_user_fields
    }

    /// The form in which the request message came; the default on protocols that have one alone.
    pub fn request_encoding(&self) -> Encoding {
        self.token.as_ref().map(|token| self.origin.side.request_encoding(token)).unwrap_or_default()
    }

    /// How the response message is to be compressed. HTTP knows gzip alone, for callers that accept it, and compresses
    /// nothing else. A type that is not registered makes the call fail with [`ERESPONSE`](crate::error::ERESPONSE).
    /// Default: [`CompressType::NONE`], whatever the request's was.
    pub fn set_response_compress_type(&mut self, compress: CompressType) {
        self.response_encoding.compress = compress;
    }

    /// What the response is to be checked by, on protocols that have checksums. Default: nothing, whatever the request
    /// was checked by.
    pub fn set_response_checksum_type(&mut self, checksum: ChecksumType) {
        self.response_encoding.checksum = checksum;
    }

    /// How the response message is to be serialised, on protocols that say so with each message; HTTP has its
    /// `Content-Type`. Default: protobuf, whatever the request's was.
    pub fn set_response_content_type(&mut self, content: ContentType) {
        self.response_encoding.content = content;
    }

    fn rare(&self) -> Option<&RareRequestInfo> {
        self.info.rare.as_deref()
    }

    /// The caller's address.
    pub fn remote_side(&self) -> &Endpoint {
        self.socket.remote()
    }

    /// The address that the caller has reached.
    pub fn local_side(&self) -> &Endpoint {
        self.socket.local()
    }

    /// When the request was read from the connection.
    pub fn received_at(&self) -> Instant {
        self.origin.received
    }

    /// When the caller stops waiting, if it said so.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// What calls that are made for this one take over from it: for bthreads and threads that go on with its work. The
    /// method itself has entered it.
    pub fn context(&self) -> CallContext {
        context::of_request(self.deadline, self.log_id(), self.request_id())
    }

    /// What the protocol keeps of the request, if that is a `T`. Protocols give their users better names for it.
    pub fn protocol_state<T: Any>(&self) -> Option<&T> {
        self.token.as_ref()?.extra.as_ref()?.downcast_ref()
    }

    /// As [`protocol_state`](Self::protocol_state), to be changed.
    pub fn protocol_state_mut<T: Any>(&mut self) -> Option<&mut T> {
        self.token.as_mut()?.extra.as_mut()?.downcast_mut()
    }

    /// The body of the request, if it is read as it arrives: see
    /// [`ServiceOptions::enable_progressive_read`](super::ServiceOptions::enable_progressive_read). The first call
    /// gets it. What is not read when the call is answered is thrown away; a long rest ends the connection.
    pub fn take_body(&mut self) -> Option<BodyReader> {
        self.body.take()
    }

    /// How many streams the caller wants to have with the service.
    pub fn offered_streams(&self) -> usize {
        self.streams.as_ref().map_or(0, |streams| streams.count())
    }

    /// Accepts the stream that the caller offers. What is written to it follows the answer; it receives nothing before. If
    /// the call fails it ends with the call's error. Never blocks.
    ///
    /// # Errors
    /// [`EINVAL`]: the caller offers none or several, it is accepted already, the call is answered, or the server does not
    /// speak `streaming_rpc`; [`ELIMIT`](crate::error::ELIMIT): there are too many.
    pub fn accept_stream(&mut self, options: StreamOptions) -> Result<Stream, RpcError> {
        if self.offered_streams() > 1 {
            return Err(RpcError::new(EINVAL, "The caller offers several streams: accept them all"));
        }
        let accepted = self.accept_streams(options)?.pop();
        accepted.ok_or_else(|| RpcError::internal("No stream was made"))
    }

    /// As [`accept_stream`](Self::accept_stream), for all streams that the caller offers, in its order. They share the
    /// options.
    ///
    /// # Errors
    /// As [`accept_stream`](Self::accept_stream), but for several.
    pub fn accept_streams(&mut self, options: StreamOptions) -> Result<Vec<Stream>, RpcError> {
        match &mut self.streams {
            Some(streams) if self.token.is_some() => streams.accept(&self.socket, &options),
            _ => Err(RpcError::new(EINVAL, "The caller offers no stream")),
        }
    }

    /// Lets the answer go on after the call, with bytes as they go on the wire; protocols give their users better
    /// names for it. `None` on protocols that do not answer in order, and for the second time.
    pub fn hold(&mut self) -> Option<Tail> {
        if !self.origin.is_serial || self.tail.is_some() || self.token.is_none() {
            return None;
        }
        let (tail, state) = Tail::new(self.socket.clone(), self.method);
        self.tail = Some(state);
        Some(tail)
    }

    /// Notes something in the call's span, with the time; does nothing if the request is not recorded. See
    /// [`span::annotate`](crate::span::annotate()), which needs no call.
    pub fn annotate(&self, text: impl fmt::Display) {
        if let Some(span) = &self.span {
            span.to_ref().annotate(text);
        }
    }

    /// The call's span, if the request is recorded: for bthreads and threads that go on with its work.
    pub fn span(&self) -> Option<SpanRef> {
        self.span.as_ref().map(Span::to_ref)
    }

    /// Whether nobody waits for the answer any more: the connection is gone, or the deadline has passed. See
    /// [`notify_on_cancel`](Self::notify_on_cancel) for being told.
    pub fn is_canceled(&self) -> bool {
        self.socket.error().is_some()
            || self.deadline.is_some_and(|deadline| bthread::clock::now() >= deadline)
    }

    /// Closes the connection instead of answering, as soon as the call ends. Other calls of the connection lose their
    /// answers as well.
    pub fn close_connection(&mut self) {
        self.close = true;
    }

    /// Answers with a message and the response attachment. Never blocks.
    pub fn succeed<M: ProtoMessage>(mut self, response: &M) {
        self.answer(Ok(&MessageBody(response)));
    }

    /// Answers with a message that is encoded already, and the response attachment. Never blocks.
    pub fn succeed_encoded(mut self, response: &IoBuf) {
        self.answer(Ok(response));
    }

    /// Answers with a body that is in this form already.
    pub(super) fn succeed_raw(mut self, body: &IoBuf, encoding: Encoding) {
        self.response_encoding = encoding;
        self.response_is_encoded = true;
        self.answer(Ok(body));
    }

    /// Answers with an error, and nothing else. Never blocks.
    pub fn fail(mut self, error: RpcError) {
        self.answer(Err(&error));
    }

    /// Reads the request message.
    pub(super) fn read<M: ProtoMessage>(&mut self, body: IoBuf) -> Result<M, RpcError> {
        let method = self.method();
        let Some(token) = &mut self.token else {
            return Err(RpcError::new(EREQUEST, "The call was answered before its request was read"));
        };
        let side = self.origin.side;
        let size = body.len();
        let context =
            BodyContext { method, attachment: &self.request_attachment, limits: self.socket.limits() };
        let body = side.decode_request(token, body, &context)?;
        let read = crate::message::decode(&body).ok();
        if let Some(span) = &self.span {
            span.reach(Point::Entered);
        }
        read.ok_or_else(|| RpcError::new(EREQUEST, side.unreadable_request(token, M::FULL_NAME, size)))
    }

    /// What the caller has named, if its request goes to a service that takes everything.
    pub(super) fn take_generic(&mut self) -> Option<GenericRequest> {
        self.extras.as_mut()?.generic.take()
    }

    /// Whether the body of a request that was not decoded is what its caller has summed up.
    pub(super) fn check_body(&self, body: &IoBuf) -> bool {
        let token = self.token.as_ref();
        token.is_none_or(|token| self.origin.side.is_intact(token, body, &self.request_attachment))
    }

    pub(super) fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }

    /// Answers, if nobody has yet. Never blocks.
    pub(super) fn answer(&mut self, outcome: Result<&dyn Body, &RpcError>) {
        let body = match outcome {
            Ok(body) if self.response_encoding != Encoding::default() && !self.response_is_encoded => body,
            outcome => return self.answer_encoded(outcome),
        };
        match self.origin.side.encode_reply(self.method(), body, self.response_encoding) {
            Ok(Some(encoded)) => {
                self.response_is_encoded = true;
                self.answer_encoded(Ok(&encoded));
            }
            Ok(None) => self.answer_encoded(Ok(body)),
            Err(error) => self.answer_encoded(Err(&error)),
        }
    }

    fn answer_encoded(&mut self, outcome: Result<&dyn Body, &RpcError>) {
        let Some(token) = self.token.take() else { return };
        if let Some(span) = &self.span {
            span.reach(Point::Answered);
            outcome.err().inspect(|error| span.set_error(error));
        }
        // Before the answer: who has it must find the call counted, and its place free.
        self.count(if self.close { Some(ECLOSE) } else { outcome.err().map(RpcError::code) });
        let after = if self.close {
            self.socket.set_failed(RpcError::new(ECLOSE, "The service closed the connection"));
            AfterReply::Close
        } else {
            // What makes the bytes may be the user's; a panic of it must not keep the server from ever being joined.
            catch_unwind(AssertUnwindSafe(|| self.send(token, outcome))).unwrap_or_else(|_| {
                self.socket.set_failed(RpcError::internal("The answer cannot be written: a panic"));
                AfterReply::Close
            })
        };
        if let Some(extras) = self.call_extras.take() {
            extras.end(&self.socket, outcome.err());
        }
        match (self.tail.take(), outcome) {
            (Some(tail), Ok(_)) => return tail.begin(after),
            (Some(tail), Err(_)) => return tail.cancel(after),
            (None, _) => admission::answered(&self.socket, self.origin, after),
        }
        // After it: a stopping server closes the connection when no call runs.
        let server = self.server();
        admission::leave(server, server.methods.method(self.method));
    }

    fn send(&mut self, token: ReplyToken, outcome: Result<&dyn Body, &RpcError>) -> AfterReply {
        let attachment = std::mem::take(&mut self.response_attachment);
        let method = Some(self.method());
        if let Some(streams) = &mut self.streams {
            streams.decide(outcome.is_err());
        }
        let (out, after) = match outcome {
            Ok(body) => {
                let user_fields = &self.response_user_fields;
                let streams = self.streams.as_ref().and_then(|streams| streams.settings());
                let reply = OutgoingReply {
                    attachment,
                    streams,
                    encoding: self.response_encoding,
                    is_encoded: self.response_is_encoded,
                    ..OutgoingReply::new(method, Ok(body), user_fields)
                };
                let mut out = IoBuf::new();
                let after = self.origin.side.write_reply(token, reply, &mut out);
                (out, after)
            }
            Err(error) => {
                let side = self.origin.side;
                admission::error_reply(&self.socket, self.server(), side, token, method, error, attachment)
            }
        };
        let out = match &self.streams {
            None => out,
            Some(streams) => streams.wrap(&self.socket, out),
        };
        let span = self.span.take();
        if let Some(span) = &span {
            span.set_response_size(out.len());
            span.reach(Point::Serialised);
        }
        let _ = self.socket.write_traced(out, Overcrowded::Ignore, span); // nobody is there any more to be told
        if let Some(streams) = self.streams.take() {
            streams.answered(&self.socket, outcome.err());
        }
        after
    }

    fn count(&self, error: Option<ErrorCode>) {
        let server = self.server();
        let method = server.methods.method(self.method);
        let now = clock::note_now();
        let latency = now.saturating_duration_since(self.origin.received);
        method.status.count(error, latency);
        if let Some(started) = self.started {
            method.status.measure_run(now.saturating_duration_since(started));
        }
        if let Some(limit) = &method.limit {
            // A user's limiter that panics must not keep the server from ever being joined.
            let _ = catch_unwind(AssertUnwindSafe(|| limit.leave(&Ended::new(error, latency, now))));
        }
        server.return_permit(self.permit);
    }
}

impl Drop for ServerCall {
    fn drop(&mut self) {
        if self.token.is_some() {
            let how =
                if std::thread::panicking() { "panicked" } else { "dropped the call without an answer" };
            let text = format!("The service {how}: {}", self.method().full_name);
            self.answer(Err(&RpcError::new(EINTERNAL, text)));
        }
    }
}

impl fmt::Debug for ServerCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCall")
            .field("method", &self.method().full_name)
            .field("remote_side", self.remote_side())
            .field("log_id", &self.info.log_id)
            .field("answered", &self.token.is_none())
            .finish_non_exhaustive()
    }
}
