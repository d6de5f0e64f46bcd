//! One call as its attempts see it: what to write, how long to wait, and what to make of the reply.

use std::sync::Arc;
use std::time::{Duration, Instant};

use iobuf::IoBuf;

use super::channel::ChannelState;
use super::connection;
use super::generic::GENERIC;
use super::options::{CallOptions, Reply};
use super::outcome::{Failure, PendingCall};
use crate::error::{ERPCTIMEDOUT, RpcError};
use crate::message::{self, Body, Encoding, ProtoMessage};
use crate::protocol::{IncomingReply, OutgoingRequest};
use crate::service::MethodDescriptor;
use crate::socket::{Overcrowded, Socket};
use crate::span::{self, Point, Span};
use crate::stream::CallStreams;

/// A call, apart from its body and its progress.
pub(super) struct Request {
    pub(super) method: &'static MethodDescriptor,
    options: CallOptions,
    pub(super) started: Instant,
    timeout: Duration,
    /// `None`: there is no deadline.
    pub(super) deadline: Option<Instant>,
    pub(super) max_retry: u32,
    /// The body is in the form that the options say already.
    is_encoded: bool,
    /// Service and method, where no descriptor names them.
    generic: Option<Box<(String, String)>>,
    /// If it is recorded.
    pub(super) span: Option<Span>,
    /// The streams that begin with it.
    pub(super) streams: Option<Arc<CallStreams>>,
}

/// Where an attempt waits for its reply.
pub(super) struct Place {
    pub(super) socket: Arc<Socket>,
    pub(super) id: u64,
}

impl Request {
    pub(super) fn new(
        channel: &ChannelState,
        method: &'static MethodDescriptor,
        mut options: CallOptions,
    ) -> Self {
        let started = bthread::clock::now();
        let timeout = options.timeout.unwrap_or(channel.timeout);
        let max_retry = options.max_retry.unwrap_or(channel.max_retry);
        let span = Span::of_call(started, || span::Request {
            method: method.full_name,
            remote: channel.connections.remote(),
            protocol: channel.protocol,
            log_id: options.log_id,
            request_id: &options.request_id,
            request_size: 0, // known when it is written
        });
        let deadline = started.checked_add(timeout);
        let streams = options.streams.take().map(|offer| Arc::new(offer.begin()));
        Request {
            method,
            options,
            started,
            timeout,
            deadline,
            max_retry,
            is_encoded: false,
            generic: None,
            span,
            streams,
        }
    }

    /// A call of what a caller names, with a body that is in its form already.
    pub(super) fn generic(
        channel: &ChannelState,
        service: &str,
        method: &str,
        encoding: Encoding,
        options: CallOptions,
    ) -> Self {
        let mut request = Request::new(channel, &GENERIC, CallOptions { encoding, ..options });
        request.is_encoded = true;
        request.generic = Some(Box::new((service.to_owned(), method.to_owned())));
        request
    }

    /// The body in the form that the options say, once for all attempts. `None`: it stays as it is.
    pub(super) fn encode(
        &mut self,
        channel: &ChannelState,
        body: &dyn Body,
    ) -> Result<Option<IoBuf>, RpcError> {
        if self.options.encoding == Encoding::default() || self.is_encoded {
            return Ok(None);
        }
        let encoded = channel.side.encode_request(self.method, body, self.options.encoding)?;
        self.is_encoded = encoded.is_some();
        Ok(encoded)
    }

    /// Puts `call` in a connection's table. Nothing is written yet.
    pub(super) fn expect(
        &self,
        channel: &ChannelState,
        call: Arc<dyn PendingCall>,
    ) -> Result<Place, Failure> {
        let socket = channel.connections.socket()?;
        if let Some(streams) = &self.streams {
            streams.bind(&socket, channel.connections.is_shared()).map_err(Failure::unsent)?;
        }
        let id = connection::expect_reply(&socket, call)?;
        Ok(Place { socket, id })
    }

    /// Writes the request. With an error the caller is the one to end the attempt; `None`: somebody else does or has.
    pub(super) fn write(
        &self,
        channel: &ChannelState,
        place: &Place,
        body: &dyn Body,
    ) -> Result<(), Option<Failure>> {
        let outgoing = OutgoingRequest {
            attachment: self.options.request_attachment.clone(),
            log_id: self.options.log_id,
            request_id: &self.options.request_id,
            timeout: self.time_to_tell(channel),
            parameter: &channel.parameter,
            authority: &channel.authority,
            options: self.options.protocol_options.as_deref(),
            trace: self.span.as_ref().map(Span::context),
            reads_progressively: self.options.reads_progressively,
            streams: self.streams.as_ref().map(|streams| streams.settings()),
            encoding: self.options.encoding,
            is_encoded: self.is_encoded,
            generic: self.generic.as_ref().map(|named| (&*named.0, &*named.1)),
            ..OutgoingRequest::new(self.method, place.id, body, &self.options.user_fields)
        };
        if let Some(hint) = channel.side.reply_hint(&outgoing) {
            place.socket.expect(hint);
        }
        let mut out = IoBuf::new();
        let written = channel.side.write_request(outgoing, &mut out).and_then(|()| {
            if let Some(span) = &self.span {
                span.set_request_size(out.len());
                span.reach(Point::Serialised);
            }
            place.socket.write_traced(out, Overcrowded::Refuse, self.span.clone())
        });
        written.map_err(|error| place.leave().then(|| Failure::unsent(error)))
    }

    fn time_to_tell(&self, channel: &ChannelState) -> Option<Duration> {
        let deadline = self.deadline.filter(|_| channel.deliver_timeout)?;
        Some(deadline.saturating_duration_since(bthread::clock::now()))
    }

    /// Whether `failure` of attempt number `attempt` (from 0) is to be followed by another one.
    pub(super) fn tries_again(&self, attempt: u32, failure: &Failure) -> bool {
        attempt < self.max_retry
            && self.streams.is_none()
            && failure.is_worth_another_attempt()
            && self.deadline.is_none_or(|deadline| bthread::clock::now() < deadline)
    }

    pub(super) fn reads_progressively(&self) -> bool {
        self.options.reads_progressively
    }

    pub(super) fn timed_out(&self, channel: &ChannelState) -> RpcError {
        let remote = channel.connections.remote();
        RpcError::new(ERPCTIMEDOUT, format!("Reached timeout={}ms @{remote}", self.timeout.as_millis()))
    }

    /// Notes how the call has ended.
    pub(super) fn note_end(&self, result: &Result<IncomingReply, RpcError>) {
        if let Some(streams) = &self.streams
            && let Err(error) | Ok(IncomingReply { error: Some(error), .. }) = result
        {
            streams.fail(error);
        }
        let Some(span) = &self.span else { return };
        span.reach(Point::Ended);
        match result {
            Ok(IncomingReply { error: None, .. }) => {}
            Ok(IncomingReply { error: Some(error), .. }) | Err(error) => span.set_error(error),
        }
    }

    /// Reads the response message.
    pub(super) fn read<T: ProtoMessage>(
        &self,
        channel: &ChannelState,
        reply: IncomingReply,
        latency: Duration,
    ) -> Result<Reply<T>, RpcError> {
        let read = self.read_reply(channel, reply, latency);
        if let Some(streams) = &self.streams {
            match &read {
                Ok(_) => streams.check()?,
                Err(error) => streams.fail(error),
            }
        }
        read
    }

    fn read_reply<T: ProtoMessage>(
        &self,
        channel: &ChannelState,
        mut reply: IncomingReply,
        latency: Duration,
    ) -> Result<Reply<T>, RpcError> {
        if let Some(error) = reply.error {
            return Err(error);
        }
        let size = reply.body.len();
        channel.side.decode_reply(self.method, &mut reply, channel.connections.limits())?;
        let message = message::decode(&reply.body)
            .map_err(|_| channel.side.unreadable_reply(self.method.response_type, reply.encoding, size))?;
        Ok(self.reply(channel, message, reply, latency))
    }

    /// The response as it came, in the form that it came in.
    pub(super) fn read_raw(
        &self,
        channel: &ChannelState,
        mut reply: IncomingReply,
        latency: Duration,
    ) -> Result<Reply<IoBuf>, RpcError> {
        if let Some(error) = reply.error {
            return Err(error);
        }
        reply.extra = None; // is for reading the message, which nobody does
        let body = std::mem::take(&mut reply.body);
        Ok(self.reply(channel, body, reply, latency))
    }

    fn reply<T>(
        &self,
        channel: &ChannelState,
        message: T,
        reply: IncomingReply,
        latency: Duration,
    ) -> Reply<T> {
        Reply {
            message,
            attachment: reply.attachment,
            user_fields: reply.user_fields,
            encoding: reply.encoding,
            latency,
            remote_side: channel.connections.remote().clone(),
            stream: reply.stream,
            extra: reply.extra,
        }
    }
}

impl Place {
    /// Stops waiting: true if that makes the caller the one to end the attempt.
    pub(super) fn leave(&self) -> bool {
        connection::expect_no_reply(&self.socket, self.id)
    }
}
