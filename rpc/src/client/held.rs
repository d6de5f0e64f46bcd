//! The progress of a call that nobody waits in: its attempts, of which two are under way after a backup request, its
//! timer, and its end.
//!
//! Owns that such a call ends exactly once, whatever comes first: a success, the deadline, a failure that is not tried
//! again, or a cancel; and that what is said by an attempt that does not count any more changes nothing. Nothing of the
//! caller's (waker, callback, policy) runs under its lock.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bthread::timer::{self, TimerHandle};
use bthread::{Butex, planted};
use iobuf::IoBuf;
use smallvec::SmallVec;

use super::channel::ChannelState;
use super::ended::{Callback, Ended};
use super::outcome::{Failure, Outcome, PendingCall};
use super::request::{Answer, Next, Place, Progress, Request};
use super::waiting::TOO_DEAR;
use crate::error::{ERESPONSE, RpcError};
use crate::protocol::IncomingReply;
use crate::socket::lock;
use crate::span::Span;
use crate::starting;
use crate::stream::CallStreams;

/// A call in progress.
pub(super) struct HeldCall {
    pub(super) channel: Arc<ChannelState>,
    pub(super) request: Request,
    body: IoBuf,
    /// If it may be sent a second time.
    backup_at: Option<Instant>,
    /// 1 once the call has ended, and its callback has returned.
    done: Butex,
    state: Mutex<State>,
}

struct State {
    is_running: bool,
    /// Number of the attempt that was begun last, from 0.
    attempt: u32,
    /// The attempts about which it is not decided what follows: one, and none before the first and during a pause; two
    /// after a backup request.
    under_way: SmallVec<[UnderWay; 1]>,
    has_backup_request: bool,
    /// The errors of the attempts that have failed.
    earlier: Option<RpcError>,
    /// Of the deadline and the backup request.
    timers: SmallVec<[TimerHandle; 1]>,
    waker: Option<Waker>,
    callback: Option<Callback>,
    ended: Option<Ended>,
}

/// An attempt about which it is not decided what follows.
struct UnderWay {
    attempt: u32,
    /// `None` until it has one.
    place: Option<Place>,
    /// Nothing more comes of it.
    has_ended: bool,
}

impl UnderWay {
    fn new(attempt: u32) -> Self {
        UnderWay { attempt, place: None, has_ended: false }
    }
}

impl HeldCall {
    /// Starts a call, or ends it at once if there is no body to send. Never blocks.
    pub(super) fn start(
        channel: Arc<ChannelState>,
        request: Request,
        body: Result<IoBuf, RpcError>,
        callback: Option<Callback>,
    ) -> Arc<Self> {
        let state = State {
            is_running: true,
            attempt: 0,
            under_way: SmallVec::new(),
            has_backup_request: false,
            earlier: None,
            timers: SmallVec::new(),
            waker: None,
            callback,
            ended: None,
        };
        let backup_at = request.backup_request_at(&channel);
        let (body, error) = match body {
            Ok(body) => (body, None),
            Err(error) => (IoBuf::new(), Some(error)),
        };
        let (done, state) = (Butex::new(0), Mutex::new(state));
        let call = Arc::new(HeldCall { channel, request, body, backup_at, done, state });
        if let Some(error) = error {
            call.finish(Err(error));
            return call;
        }
        if call.request.is_late() {
            call.time_out();
            return call;
        }
        if let Some(token) = call.request.token() {
            token.watch(&call);
        }
        if let Some(deadline) = call.request.deadline {
            call.set_timer(deadline, |call| call.time_out());
        }
        call.begin(0);
        // Behind the first attempt: without one there would be nothing to back up, should the time come at once.
        if let Some(at) = call.backup_at {
            call.set_timer(at, |call| starting::start(call, HeldCall::back_up));
        }
        call
    }

    fn set_timer(self: &Arc<Self>, at: Instant, action: fn(Arc<Self>)) {
        let timed = self.clone();
        let timer = timer::schedule(at, move || action(timed));
        let mut state = lock(&self.state);
        if state.is_running {
            state.timers.push(timer);
        } else {
            drop(state);
            timer.cancel();
        }
    }

    /// Begins the attempt of this number, unless the call has ended.
    fn begin(self: &Arc<Self>, attempt: u32) {
        {
            let mut state = lock(&self.state);
            if !state.is_running {
                return;
            }
            state.under_way.push(UnderWay::new(attempt));
        }
        self.try_once(attempt);
    }

    /// Makes an attempt that is under way.
    fn try_once(self: &Arc<Self>, attempt: u32) {
        // Two attempts at a time have to be told apart.
        let pending: Arc<dyn PendingCall> = match self.backup_at {
            Some(_) => Arc::new(NumberedAttempt { call: self.clone(), attempt }),
            None => self.clone(),
        };
        let place = match self.request.expect(&self.channel, pending) {
            Ok(place) => place,
            Err(failure) => return self.ended(attempt, Err(failure)),
        };
        {
            let mut state = lock(&self.state);
            let Some(under_way) = state.find(attempt) else {
                // The connection has failed meanwhile, or the call has ended.
                drop(state);
                place.leave();
                return;
            };
            under_way.place = Some(Place { socket: place.socket.clone(), id: place.id });
        }
        match self.request.write(&self.channel, &place, &self.body, attempt) {
            // The caller goes on and may not wait for long, or block its thread.
            Ok(()) => place.socket.send_deferred(),
            Err(Some(failure)) => self.ended(attempt, Err(failure)),
            Err(None) => {}
        }
    }

    /// An attempt has ended. Called within the reading or the failing of a connection.
    fn ended(self: &Arc<Self>, attempt: u32, end: Result<IncomingReply, Failure>) {
        let place = {
            let mut state = lock(&self.state);
            let Some(under_way) = state.find(attempt) else {
                return; // it does not count any more
            };
            under_way.has_ended = true;
            under_way.place.take()
        };
        let end = match (end, place) {
            (Ok(reply), Some(place)) => Ok(Answer::new(reply, place.socket)),
            // Before there is a place nothing is written: the peer has guessed the id.
            (Ok(_), None) => {
                Err(Failure::unsent(RpcError::new(ERESPONSE, "The reply came before the request was sent")))
            }
            (Err(failure), _) => Err(failure),
        };
        if !self.request.has_retry_policy(&self.channel) {
            return match end {
                Ok(answer) => self.finish(Ok(answer)),
                Err(failure) => self.failed(attempt, failure),
            };
        }
        // The user's policy is asked where it may wait.
        let call = self.clone();
        starting::start(Arc::new(Mutex::new(Some((call, attempt, end)))), |end| {
            // Not in the condition, where the lock would be held while the policy waits.
            let taken = lock(&end).take();
            if let Some((call, attempt, end)) = taken {
                call.judge(attempt, end);
            }
        });
    }

    /// Asks the policy about an attempt.
    fn judge(self: &Arc<Self>, attempt: u32, end: Result<Answer, Failure>) {
        let end = end.and_then(|mut answer| {
            if answer.reply.stream.is_some() || lock(&self.state).under_way.len() > 1 {
                return Ok((answer, Next::End));
            }
            answer
                .decode(&self.channel, self.request.method)
                .map_err(|error| Failure { error, sent: true })?;
            let next = self.next(attempt, Ok(&answer.reply));
            Ok((answer, next))
        });
        match end {
            Ok((_, Next::Again(pause))) => {
                lock(&self.state).forget(attempt);
                self.go_on(pause);
            }
            Ok((answer, _)) => self.finish(Ok(answer)),
            Err(failure) => self.failed(attempt, failure),
        }
    }

    /// What follows an attempt; the end, if the user's policy panics, which the panic hook has reported.
    fn next(&self, attempt: u32, end: Result<&IncomingReply, &Failure>) -> Next {
        catch_unwind(AssertUnwindSafe(|| self.request.next(&self.channel, attempt, end))).unwrap_or(Next::End)
    }

    /// An attempt has failed.
    fn failed(self: &Arc<Self>, attempt: u32, failure: Failure) {
        let last = {
            let mut state = lock(&self.state);
            if !state.is_running {
                return;
            }
            state.earlier = Some(failure.error.clone().after(state.earlier.take(), attempt));
            state.forget(attempt);
            if !state.under_way.is_empty() {
                return; // the other one may succeed
            }
            state.attempt
        };
        match self.next(last, Err(&failure)) {
            Next::Again(pause) => self.go_on(pause),
            next => {
                let error = lock(&self.state).earlier.take().unwrap_or(failure.error);
                self.finish(Err(if next == Next::TooDear { error.remarked(TOO_DEAR) } else { error }));
            }
        }
    }

    /// Makes another attempt, after a pause.
    fn go_on(self: &Arc<Self>, pause: Duration) {
        self.request.span.as_ref().inspect(|span| span.retry());
        // Not here: this may be within the failing of a connection, with other calls still to be told.
        if pause.is_zero() {
            starting::start(self.clone(), Self::begin_next);
        } else if let Some(at) = bthread::clock::now().checked_add(pause) {
            let call = self.clone();
            // Never cancelled: a call that has ended meanwhile begins nothing.
            timer::schedule(at, move || starting::start(call, Self::begin_next));
        }
        // Else the policy wants a pause that never ends; the call can be cancelled.
    }

    fn begin_next(self: Arc<Self>) {
        let attempt = {
            let mut state = lock(&self.state);
            state.attempt += 1;
            state.attempt
        };
        self.begin(attempt);
    }

    /// Sends the call a second time, if it is still waiting for its reply.
    fn back_up(self: Arc<Self>) {
        let may_be = |state: &State| {
            let waits = matches!(&state.under_way[..], [UnderWay { has_ended: false, .. }]);
            state.is_running && waits && state.attempt < self.request.max_retry
        };
        if !may_be(&lock(&self.state)) {
            return;
        }
        let wants = |policy: &dyn super::BackupRequestPolicy| {
            catch_unwind(AssertUnwindSafe(|| policy.do_backup(self.request.method))).unwrap_or(false)
        };
        if !self.request.backup_policy(&self.channel).is_none_or(wants) {
            return;
        }
        let attempt = {
            let mut state = lock(&self.state);
            if !may_be(&state) {
                return;
            }
            state.has_backup_request = true;
            state.attempt += 1;
            let attempt = state.attempt;
            state.under_way.push(UnderWay::new(attempt));
            attempt
        };
        self.request.span.as_ref().inspect(|span| span.retry());
        self.try_once(attempt);
    }

    fn time_out(self: &Arc<Self>) {
        self.finish_with(self.request.timed_out(&self.channel));
    }

    /// Ends the call with [`ECANCELED`](crate::error::ECANCELED), unless it has ended.
    pub(super) fn cancel(self: &Arc<Self>) {
        if self.is_running() {
            self.finish_with(self.request.cancelled(&self.channel));
        }
    }

    /// Ends the call with an error that is not an attempt's, behind those of the attempts.
    fn finish_with(self: &Arc<Self>, error: RpcError) {
        let (earlier, attempt) = {
            let mut state = lock(&self.state);
            (state.earlier.take(), state.attempt)
        };
        self.finish(Err(error.after(earlier, attempt)));
    }

    /// Ends the call, unless it has ended.
    fn finish(self: &Arc<Self>, result: Result<Answer, RpcError>) {
        let mut state = lock(&self.state);
        let once_more = planted!(DoubleCompletion) && result.is_ok() && !state.under_way.is_empty();
        if !state.is_running && !once_more {
            return;
        }
        state.is_running = false;
        self.request.note_end_in_span(result.as_ref().err());
        // Only cloned for who needs it once the lock is free: ending streams may make their connection fail.
        let stream_error = self.request.streams.as_ref().and(result.as_ref().err().cloned());
        let progress = Progress {
            latency: bthread::clock::now().saturating_duration_since(self.request.started),
            retried_count: state.attempt,
            has_backup_request: state.has_backup_request,
        };
        let policy = self.request.backup_policy(&self.channel);
        let error = policy.and_then(|_| result.as_ref().err().cloned());
        state.ended = Some(Ended { result, progress });
        let mut under_way = std::mem::take(&mut state.under_way);
        if once_more {
            std::mem::swap(&mut under_way, &mut state.under_way);
        }
        let (timers, waker) = (std::mem::take(&mut state.timers), state.waker.take());
        let has_callback = state.callback.is_some();
        drop(state);
        self.request.fail_streams(stream_error.as_ref());
        for place in under_way.into_iter().filter_map(|one| one.place) {
            place.leave();
        }
        for timer in timers {
            timer.cancel();
        }
        if let Some(policy) = policy {
            let report = self.request.report(&self.channel, progress);
            // It is the user's code. The panic hook has reported it.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                policy.on_rpc_end(self.request.method, &report, error.as_ref());
            }));
        }
        if has_callback {
            return starting::start(self.clone(), Self::call_back);
        }
        self.set_done();
        if let Some(waker) = waker {
            // As above; others on the connection are to be told as well.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }

    fn set_done(&self) {
        self.done.value().store(1, Ordering::Release); // pairs with the load in `wait`
        self.done.wake_all();
    }

    fn call_back(self: Arc<Self>) {
        /// Also if the callback panics.
        struct SetDone<'a>(&'a HeldCall);
        impl Drop for SetDone<'_> {
            fn drop(&mut self) {
                self.0.set_done();
            }
        }
        let (callback, ended) = {
            let mut state = lock(&self.state);
            (state.callback.take(), state.ended.take())
        };
        let _done = SetDone(&self);
        if let (Some(callback), Some(ended)) = (callback, ended) {
            callback(&self, ended);
        }
    }

    pub(super) fn is_running(&self) -> bool {
        lock(&self.state).is_running
    }

    /// Waits for the end, and that of the callback. Any number may.
    ///
    /// *Blocking*: parks the bthread, or blocks the thread outside of bthreads.
    pub(super) fn wait(&self) {
        // Acquire pairs with the store in `set_done`.
        while self.done.value().load(Ordering::Acquire) == 0 {
            let _ = self.done.wait(0, None); // the loop looks again however it ended
        }
    }

    /// What the call ended with, once.
    pub(super) fn take_end(&self) -> Option<Ended> {
        lock(&self.state).ended.take()
    }

    /// What the call ended with, once; or the waker is kept.
    pub(super) fn poll(&self, waker: &Waker) -> Poll<Option<Ended>> {
        // Made and dropped outside of the lock, as both are code of the caller's.
        let waker = waker.clone();
        let mut state = lock(&self.state);
        if state.is_running {
            let earlier = state.waker.replace(waker);
            drop(state);
            drop(earlier);
            return Poll::Pending;
        }
        let ended = state.ended.take();
        drop(state);
        drop(waker);
        Poll::Ready(ended)
    }
}

impl State {
    fn find(&mut self, attempt: u32) -> Option<&mut UnderWay> {
        self.under_way.iter_mut().find(|one| one.attempt == attempt && !one.has_ended)
    }

    fn forget(&mut self, attempt: u32) {
        self.under_way.retain(|one| one.attempt != attempt);
    }
}

/// Of a call without a backup request one attempt is under way at a time.
impl PendingCall for HeldCall {
    fn span(&self) -> Option<&Span> {
        self.request.span.as_ref()
    }

    fn end(self: Arc<Self>, outcome: Outcome) {
        let attempt = lock(&self.state).under_way.first().map(|one| one.attempt);
        if let Some(attempt) = attempt {
            self.ended(attempt, outcome.into_result());
        }
    }

    fn wants_stream(&self) -> bool {
        self.request.reads_progressively()
    }

    fn streams(&self) -> Option<Arc<CallStreams>> {
        self.request.streams.clone()
    }
}

/// One of several attempts of a call.
struct NumberedAttempt {
    call: Arc<HeldCall>,
    attempt: u32,
}

impl PendingCall for NumberedAttempt {
    fn span(&self) -> Option<&Span> {
        self.call.span()
    }

    fn end(self: Arc<Self>, outcome: Outcome) {
        self.call.ended(self.attempt, outcome.into_result());
    }

    fn wants_stream(&self) -> bool {
        self.call.wants_stream()
    }

    fn streams(&self) -> Option<Arc<CallStreams>> {
        self.call.streams()
    }
}
