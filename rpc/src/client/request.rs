//! One call as its attempts see it: what to write, how long to wait, whether to try again, and what to make of the reply.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bthread::planted;
use iobuf::IoBuf;

use super::backup::BackupRequestPolicy;
use super::cancel::CancelToken;
use super::channel::ChannelState;
use super::connection;
use super::generic::GENERIC;
use super::greeting::Turn;
use super::options::{CallOptions, Reply};
use super::outcome::{Failure, PendingCall};
use super::report::CallReport;
use super::retry::{self, Attempt, RetryPolicy};
use crate::auth::{Authenticator, CREDENTIAL_BYTES_MAX};
use crate::context::{self, CallContext};
use crate::error::{ECANCELED, EFAILEDSOCKET, EOVERCROWDED, ERPCAUTH, ERPCTIMEDOUT, RpcError};
use crate::message::{self, Body, Encoding, ProtoMessage};
use crate::protocol::{IncomingReply, OutgoingRequest};
use crate::service::MethodDescriptor;
use crate::socket::{FailOnUnwind, Overcrowded, Socket};
use crate::span::{self, Point, Span};
use crate::stream::CallStreams;

/// A call, apart from its body and its progress.
pub(super) struct Request {
    pub(super) method: &'static MethodDescriptor,
    options: CallOptions,
    pub(super) started: Instant,
    /// `None`: there is no deadline.
    pub(super) deadline: Option<Instant>,
    /// The deadline is that of the request which is being served.
    has_inherited_deadline: bool,
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

/// A successful attempt.
pub(super) struct Answer {
    pub(super) reply: IncomingReply,
    /// Where it came by.
    pub(super) socket: Arc<Socket>,
    /// The body is that of the message: [`ClientSide::decode_reply`](crate::protocol::ClientSide) has seen it.
    pub(super) is_decoded: bool,
    /// Bytes of the body as it came.
    size: usize,
}

/// How far a call has got when it ends.
#[derive(Clone, Copy)]
pub(super) struct Progress {
    pub(super) latency: Duration,
    pub(super) retried_count: u32,
    pub(super) has_backup_request: bool,
}

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The call ends as the attempt did.
    End,
    /// Another attempt would be made if the channel could pay for it.
    TooDear,
    /// Another attempt, after this time.
    Again(Duration),
}

impl Request {
    pub(super) fn new(
        channel: &ChannelState,
        method: &'static MethodDescriptor,
        mut options: CallOptions,
    ) -> Self {
        let started = bthread::clock::now();
        let mut deadline = started.checked_add(options.timeout.unwrap_or(channel.timeout));
        let mut has_inherited_deadline = false;
        if !options.is_detached {
            if let Some(outer) = context::deadline()
                && deadline.is_none_or(|own| outer < own)
            {
                deadline = Some(outer);
                has_inherited_deadline = true;
            }
            if context::has_ids() {
                options.inherit_ids(&CallContext::current());
            }
        }
        let max_retry = options.max_retry.unwrap_or(channel.max_retry);
        let span = Span::of_call(started, || span::Request {
            method: method.full_name,
            remote: channel.connections.remote(),
            protocol: channel.protocol,
            log_id: options.log_id,
            request_id: &options.request_id,
            request_size: 0, // known when it is written
        });
        let streams = options.streams.take().map(|offer| Arc::new(offer.begin()));
        if let Some(purse) = &channel.purse {
            purse.put_aside();
        }
        Request {
            method,
            options,
            started,
            deadline,
            has_inherited_deadline,
            max_retry,
            is_encoded: false,
            generic: None,
            span,
            streams,
        }
    }

    /// Whether it has no time from the beginning.
    pub(super) fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= self.started)
    }

    /// Whether something may happen to it while it waits, which nobody does who waits in it.
    pub(super) fn is_to_be_held(&self, channel: &ChannelState) -> bool {
        self.options.token().is_some()
            || self.backup_policy(channel).is_some()
            || self.backup_request_at(channel).is_some()
    }

    pub(super) fn token(&self) -> Option<&CancelToken> {
        self.options.token()
    }

    fn retry_policy<'a>(&'a self, channel: &'a ChannelState) -> Option<&'a dyn RetryPolicy> {
        self.options.own_retry_policy().or(channel.retry_policy.as_deref())
    }

    /// Whether somebody has to be asked about successful attempts, too.
    pub(super) fn has_retry_policy(&self, channel: &ChannelState) -> bool {
        self.options.own_retry_policy().is_some() || channel.retry_policy.is_some()
    }

    pub(super) fn backup_policy<'a>(
        &'a self,
        channel: &'a ChannelState,
    ) -> Option<&'a dyn BackupRequestPolicy> {
        if self.streams.is_some() {
            return None; // they cannot begin twice
        }
        self.options.own_backup_request_policy().or(channel.backup_request_policy.as_deref())
    }

    /// When the call is sent a second time, if it is to be at all.
    pub(super) fn backup_request_at(&self, channel: &ChannelState) -> Option<Instant> {
        if self.max_retry == 0 || self.options.reads_progressively {
            return None;
        }
        if self.streams.is_some() {
            return None;
        }
        let asked = || self.options.own_backup_request().or(channel.backup_request);
        let after = match self.backup_policy(channel) {
            None => asked()?,
            Some(policy) => policy.backup_request_after(self.method).or_else(asked)?,
        };
        let at = self.started.checked_add(after)?;
        self.deadline.is_none_or(|deadline| at < deadline).then_some(at)
    }

    /// A call of what a caller names, with a body that is in its form already.
    pub(super) fn generic(
        channel: &ChannelState,
        service: &str,
        method: &str,
        encoding: Encoding,
        mut options: CallOptions,
    ) -> Self {
        options.encoding = encoding;
        let mut request = Request::new(channel, &GENERIC, options);
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

    /// Writes the request of attempt number `attempt`. With an error the caller is the one to end the attempt; `None`:
    /// somebody else does or has.
    pub(super) fn write(
        &self,
        channel: &ChannelState,
        place: &Place,
        body: &dyn Body,
        attempt: u32,
    ) -> Result<(), Option<Failure>> {
        let written = match &channel.authenticator {
            None => self
                .make(channel, place, body, attempt, None)
                .and_then(|bytes| place.socket.write_traced(bytes, self.overcrowded(), self.span.clone())),
            Some(authenticator) => self.write_in_turn(channel, &**authenticator, place, body, attempt),
        };
        written.map_err(|error| {
            let stays = planted!(LeakedPendingCall) && error.code() == EOVERCROWDED;
            (stays || place.leave()).then(|| Failure::unsent(error))
        })
    }

    /// As [`write`](Self::write), where the first request of a connection says who calls.
    fn write_in_turn(
        &self,
        channel: &ChannelState,
        authenticator: &dyn Authenticator,
        place: &Place,
        body: &dyn Body,
        attempt: u32,
    ) -> Result<(), RpcError> {
        let greeting = connection::greeting(&place.socket);
        if greeting.turn() == Turn::Later {
            let bytes = self.make(channel, place, body, attempt, None)?;
            return greeting.write_behind(&place.socket, bytes, self.overcrowded(), self.span.clone());
        }
        // Others wait for this one: what panics here takes the connection along.
        let _guard = FailOnUnwind(&place.socket);
        let fail = |error: RpcError| {
            place.socket.set_failed(error.clone());
            Err(error)
        };
        let credential = match authenticator.generate_credential() {
            Ok(credential) if credential.len() <= CREDENTIAL_BYTES_MAX => credential,
            Ok(credential) => {
                let text = format!("A credential of {} bytes is too long", credential.len());
                return fail(RpcError::new(ERPCAUTH, text));
            }
            Err(error) => {
                let remote = place.socket.remote();
                let text = format!("No credential for {remote}: {}", error.text());
                return fail(RpcError::new(ERPCAUTH, text));
            }
        };
        match self.make(channel, place, body, attempt, Some(&credential)) {
            Ok(bytes) => {
                place.socket.write_traced(bytes, Overcrowded::Ignore, self.span.clone())?;
                greeting.end(&place.socket);
                Ok(())
            }
            Err(error) if greeting.give_up() => Err(error),
            Err(error) => {
                let text = format!("The first request to {} cannot be made", place.socket.remote());
                place.socket.set_failed(RpcError::new(EFAILEDSOCKET, text));
                Err(error)
            }
        }
    }

    fn overcrowded(&self) -> Overcrowded {
        if self.options.ignores_eovercrowded { Overcrowded::Ignore } else { Overcrowded::Refuse }
    }

    /// Makes the bytes of the request.
    fn make(
        &self,
        channel: &ChannelState,
        place: &Place,
        body: &dyn Body,
        attempt: u32,
        credential: Option<&[u8]>,
    ) -> Result<IoBuf, RpcError> {
        let outgoing = OutgoingRequest {
            attachment: self.options.request_attachment.clone(),
            log_id: self.options.log_id,
            request_id: &self.options.request_id,
            timeout: self.time_to_tell(channel, attempt),
            parameter: &channel.parameter,
            authority: &channel.authority,
            options: self.options.protocol_options.as_deref(),
            trace: self.span.as_ref().map(Span::context),
            reads_progressively: self.options.reads_progressively,
            streams: self.streams.as_ref().map(|streams| streams.settings()),
            credential,
            encoding: self.options.encoding,
            is_encoded: self.is_encoded,
            generic: self.generic.as_ref().map(|named| (&*named.0, &*named.1)),
            ..OutgoingRequest::new(self.method, place.id, body, &self.options.user_fields)
        };
        if let Some(hint) = channel.side.reply_hint(&outgoing) {
            place.socket.expect(hint);
        }
        let mut out = IoBuf::new();
        channel.side.write_request(outgoing, &mut out)?;
        if let Some(span) = &self.span {
            span.set_request_size(out.len());
            span.reach(Point::Serialised);
        }
        Ok(out)
    }

    fn time_to_tell(&self, channel: &ChannelState, attempt: u32) -> Option<Duration> {
        let deadline = self.deadline.filter(|_| channel.delivers_timeout())?;
        // The first attempt follows the beginning at once: the clock is not worth a look.
        let now =
            if attempt == 0 || planted!(DeadlineNotShrunk) { self.started } else { bthread::clock::now() };
        Some(deadline.saturating_duration_since(now))
    }

    /// What follows attempt number `attempt` (from 0), which has ended so. Asks the user's policy, if there is one.
    pub(super) fn next(
        &self,
        channel: &ChannelState,
        attempt: u32,
        end: Result<&IncomingReply, &Failure>,
    ) -> Next {
        if attempt >= self.max_retry || self.streams.is_some() {
            return Next::End;
        }
        let remaining =
            self.deadline.map(|deadline| deadline.saturating_duration_since(bthread::clock::now()));
        if remaining.is_some_and(|remaining| remaining.is_zero()) {
            return Next::End;
        }
        let sent = end.err().is_none_or(|failure| failure.sent);
        let end = end.map_err(|failure| &failure.error);
        let attempt = Attempt { method: self.method, number: attempt, end, sent, remaining };
        let policy = self.retry_policy(channel);
        if !policy.map_or_else(|| attempt.is_retriable(), |policy| policy.do_retry(&attempt)) {
            return Next::End;
        }
        if sent && channel.purse.as_ref().is_some_and(|purse| !purse.pay()) {
            return Next::TooDear;
        }
        let pause = policy.map_or(Duration::ZERO, |policy| policy.backoff(&attempt));
        Next::Again(retry::pause(&attempt, pause))
    }

    /// Whether a pause between attempts may block the caller's thread.
    pub(super) fn may_block_threads(&self, channel: &ChannelState) -> bool {
        self.retry_policy(channel).is_some_and(RetryPolicy::may_block_threads)
    }

    pub(super) fn reads_progressively(&self) -> bool {
        self.options.reads_progressively
    }

    #[cold]
    pub(super) fn timed_out(&self, channel: &ChannelState) -> RpcError {
        let remote = channel.connections.remote();
        let time = self.deadline.map_or(Duration::MAX, |deadline| {
            deadline.saturating_duration_since(self.started) // that of the options, to the nanosecond
        });
        let whose = if self.has_inherited_deadline { " of the request that is served" } else { "" };
        RpcError::new(ERPCTIMEDOUT, format!("Reached timeout={}ms{whose} @{remote}", time.as_millis()))
    }

    #[cold]
    pub(super) fn cancelled(&self, channel: &ChannelState) -> RpcError {
        let remote = channel.connections.remote();
        RpcError::new(ECANCELED, format!("The call was cancelled @{remote}"))
    }

    /// Notes how the call has ended.
    pub(super) fn note_end(&self, error: Option<&RpcError>) {
        self.fail_streams(error);
        self.note_end_in_span(error);
    }

    /// The part of [`note_end`](Self::note_end) that may end streams, and so fail connections: no lock may be held.
    pub(super) fn fail_streams(&self, error: Option<&RpcError>) {
        if let (Some(streams), Some(error)) = (&self.streams, error) {
            streams.fail(error);
        }
    }

    /// The part of [`note_end`](Self::note_end) that may be done under a lock.
    pub(super) fn note_end_in_span(&self, error: Option<&RpcError>) {
        let Some(span) = &self.span else { return };
        span.reach(Point::Ended);
        error.inspect(|error| span.set_error(error));
    }

    pub(super) fn report(&self, channel: &ChannelState, progress: Progress) -> CallReport {
        CallReport {
            latency: progress.latency,
            retried_count: progress.retried_count,
            has_backup_request: progress.has_backup_request,
            remote_side: channel.connections.remote().clone(),
        }
    }

    /// The error that the call ends with, for its caller.
    #[cold]
    pub(super) fn fail(&self, channel: &ChannelState, progress: Progress, error: RpcError) -> RpcError {
        error.with_report(Arc::new(self.report(channel, progress)))
    }

    /// Reads the response message.
    pub(super) fn read<T: ProtoMessage>(
        &self,
        channel: &ChannelState,
        answer: Answer,
        progress: Progress,
    ) -> Result<Reply<T>, RpcError> {
        let Some(streams) = &self.streams else { return self.read_answer(channel, answer, progress) };
        let connected = streams.check().map_err(|error| self.fail(channel, progress, error));
        let read = connected.and_then(|()| self.read_answer(channel, answer, progress));
        read.inspect_err(|error| streams.fail(error))
    }

    fn read_answer<T: ProtoMessage>(
        &self,
        channel: &ChannelState,
        mut answer: Answer,
        progress: Progress,
    ) -> Result<Reply<T>, RpcError> {
        answer.decode(channel, self.method).map_err(|error| self.fail(channel, progress, error))?;
        let reply = &mut answer.reply;
        let message = message::decode(&reply.body).map_err(|_| {
            let kind = self.method.response_type;
            let error = channel.side.unreadable_reply(kind, reply.encoding, answer.size);
            self.fail(channel, progress, error)
        })?;
        Ok(reply_of(message, answer, progress))
    }

    /// The response as it came, in the form that it came in.
    pub(super) fn read_raw(mut answer: Answer, progress: Progress) -> Reply<IoBuf> {
        answer.reply.extra = None; // is for reading the message, which nobody does
        let body = std::mem::take(&mut answer.reply.body);
        reply_of(body, answer, progress)
    }
}

fn reply_of<T>(message: T, answer: Answer, progress: Progress) -> Reply<T> {
    let Answer { reply, socket, .. } = answer;
    Reply {
        message,
        attachment: reply.attachment,
        user_fields: reply.user_fields,
        encoding: reply.encoding,
        latency: progress.latency,
        remote_side: socket.remote().clone(),
        local_side: socket.local().clone(),
        retried_count: progress.retried_count,
        has_backup_request: progress.has_backup_request,
        stream: reply.stream,
        extra: reply.extra,
    }
}

impl Answer {
    pub(super) fn new(reply: IncomingReply, socket: Arc<Socket>) -> Self {
        Answer { size: reply.body.len(), reply, socket, is_decoded: false }
    }

    /// Makes the body that of the message; once.
    pub(super) fn decode(
        &mut self,
        channel: &ChannelState,
        method: &'static MethodDescriptor,
    ) -> Result<(), RpcError> {
        if self.is_decoded {
            return Ok(());
        }
        self.is_decoded = true;
        channel.side.decode_reply(method, &mut self.reply, channel.connections.limits())
    }
}

impl Place {
    /// Stops waiting: true if that makes the caller the one to end the attempt.
    pub(super) fn leave(&self) -> bool {
        connection::expect_no_reply(&self.socket, self.id)
    }
}
