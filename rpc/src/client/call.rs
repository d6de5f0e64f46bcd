//! Calls that somebody holds instead of waiting in them: joined later, awaited, cancelled, or ended by a callback.
//!
//! Owns that such a call ends exactly once, whatever comes first: the reply, the deadline, a failure that is not tried
//! again, or a cancel. Nothing of the caller's (waker, callback) runs under its lock.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bthread::Butex;
use bthread::timer::{self, TimerHandle};
use iobuf::IoBuf;

use super::channel::ChannelState;
use super::options::Reply;
use super::outcome::{Failure, Outcome, PendingCall};
use super::request::{Place, Request};
use crate::error::{ECANCELED, RpcError};
use crate::message::ProtoMessage;
use crate::protocol::IncomingReply;
use crate::socket::lock;
use crate::span::Span;
use crate::starting;
use crate::stream::CallStreams;

/// A call in progress whose response is a `T`: join it, await it, or drop it, which cancels it.
///
/// As a [`Future`] it works with any executor; it wakes the latest waker that polled it.
#[must_use = "dropping a call cancels it"]
pub struct Call<T> {
    held: Arc<HeldCall>,
    response: PhantomData<fn() -> T>,
}

impl<T: ProtoMessage> Call<T> {
    pub(super) fn new(held: Arc<HeldCall>) -> Self {
        Call { held, response: PhantomData }
    }

    /// Waits for the response.
    ///
    /// *Blocking*: parks the bthread, or blocks the thread outside of bthreads, until the call has ended.
    ///
    /// # Errors
    /// The error that the call ended with.
    pub fn join(self) -> Result<T, RpcError> {
        self.join_reply().map(|reply| reply.message)
    }

    /// As [`join`](Self::join), with what came beside the response.
    ///
    /// *Blocking*: as [`join`](Self::join).
    ///
    /// # Errors
    /// The error that the call ended with.
    pub fn join_reply(self) -> Result<Reply<T>, RpcError> {
        // Acquire pairs with the store in `finish`.
        while self.held.done.value().load(Ordering::Acquire) == 0 {
            let _ = self.held.done.wait(0, None); // the loop looks again however it ended
        }
        let ended = lock(&self.held.state).ended.take();
        self.read(ended)
    }

    /// Ends the call with [`ECANCELED`] if it has not ended. Its server is not told. Never blocks.
    pub fn cancel(&self) {
        self.held.cancel();
    }

    fn read(&self, ended: Option<Ended>) -> Result<Reply<T>, RpcError> {
        ended
            .expect("only `join` and a poll that is ready take the outcome, and both are the last")
            .read(&self.held)
    }
}

impl<T: ProtoMessage> Future for Call<T> {
    type Output = Result<T, RpcError>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Made and dropped outside of the lock, as both are code of the caller's.
        let waker = context.waker().clone();
        let (ended, unused) = {
            let mut state = lock(&self.held.state);
            if state.is_running {
                let earlier = state.waker.replace(waker);
                drop(state);
                drop(earlier);
                return Poll::Pending;
            }
            (state.ended.take(), waker)
        };
        drop(unused);
        Poll::Ready(self.read(ended).map(|reply| reply.message))
    }
}

impl<T> Drop for Call<T> {
    fn drop(&mut self) {
        self.held.cancel();
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.held.request.method.full_name)
            .field("running", &lock(&self.held.state).is_running)
            .finish_non_exhaustive()
    }
}

/// What a call ended with, and when.
pub(super) struct Ended {
    result: Result<IncomingReply, RpcError>,
    latency: Duration,
}

impl Ended {
    /// Reads the response message.
    pub(super) fn read<T: ProtoMessage>(self, call: &HeldCall) -> Result<Reply<T>, RpcError> {
        call.request.read(&call.channel, self.result?, self.latency)
    }

    /// The response as it came.
    pub(super) fn read_raw(self, call: &HeldCall) -> Result<Reply<IoBuf>, RpcError> {
        call.request.read_raw(&call.channel, self.result?, self.latency)
    }
}

/// Gets the end of a call, in a bthread of its own.
pub(super) type Callback = Box<dyn FnOnce(&HeldCall, Ended) + Send>;

/// A call in progress.
pub(super) struct HeldCall {
    channel: Arc<ChannelState>,
    request: Request,
    body: IoBuf,
    /// 1 once the call has ended.
    done: Butex,
    state: Mutex<State>,
}

struct State {
    is_running: bool,
    /// Number of the current attempt, from 0.
    attempt: u32,
    /// Where the current attempt waits.
    place: Option<Place>,
    /// The errors of the attempts before it.
    earlier: Option<RpcError>,
    timer: Option<TimerHandle>,
    waker: Option<Waker>,
    callback: Option<Callback>,
    ended: Option<Ended>,
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
            place: None,
            earlier: None,
            timer: None,
            waker: None,
            callback,
            ended: None,
        };
        let (body, error) = match body {
            Ok(body) => (body, None),
            Err(error) => (IoBuf::new(), Some(error)),
        };
        let call =
            Arc::new(HeldCall { channel, request, body, done: Butex::new(0), state: Mutex::new(state) });
        if let Some(error) = error {
            call.finish(Err(error));
            return call;
        }
        if let Some(deadline) = call.request.deadline {
            let timed = call.clone();
            let timer = timer::schedule(deadline, move || timed.time_out());
            call.keep_timer(timer);
        }
        call.try_once();
        call
    }

    fn keep_timer(&self, timer: TimerHandle) {
        let mut state = lock(&self.state);
        if state.is_running {
            state.timer = Some(timer);
        }
    }

    /// Makes one attempt.
    fn try_once(self: &Arc<Self>) {
        let attempt = lock(&self.state).attempt;
        let place = match self.request.expect(&self.channel, self.clone()) {
            Ok(place) => place,
            Err(failure) => return self.fail(failure),
        };
        {
            let mut state = lock(&self.state);
            // The connection may have failed meanwhile, and the next attempt begun.
            if !state.is_running || state.attempt != attempt {
                drop(state);
                place.leave();
                return;
            }
            state.place = Some(Place { socket: place.socket.clone(), id: place.id });
        }
        match self.request.write(&self.channel, &place, &self.body) {
            // The caller goes on and may not wait for long, or block its thread.
            Ok(()) => place.socket.send_deferred(),
            Err(Some(failure)) => self.fail(failure),
            Err(None) => {}
        }
    }

    /// An attempt has failed.
    fn fail(self: &Arc<Self>, failure: Failure) {
        let mut state = lock(&self.state);
        let tries_again = self.request.tries_again(state.attempt, &failure);
        let error = failure.error.after(state.earlier.take(), state.attempt);
        if !tries_again {
            drop(state);
            return self.finish(Err(error));
        }
        state.earlier = Some(error);
        state.attempt += 1;
        self.request.span.as_ref().inspect(|span| span.retry());
        state.place = None;
        drop(state);
        // Not here: this may be within the failing of a connection, with other calls still to be told.
        starting::start(self.clone(), |call| call.try_once());
    }

    fn time_out(self: &Arc<Self>) {
        self.finish(Err(self.request.timed_out(&self.channel)));
    }

    fn cancel(self: &Arc<Self>) {
        self.finish(Err(RpcError::new(ECANCELED, "The call was cancelled")));
    }

    /// Ends the call, unless it has ended.
    fn finish(self: &Arc<Self>, result: Result<IncomingReply, RpcError>) {
        let mut state = lock(&self.state);
        if !state.is_running {
            return;
        }
        state.is_running = false;
        self.request.note_end(&result);
        let ended =
            Ended { result, latency: bthread::clock::now().saturating_duration_since(self.request.started) };
        state.ended = Some(ended);
        let (place, timer, waker) = (state.place.take(), state.timer.take(), state.waker.take());
        let has_callback = state.callback.is_some();
        drop(state);
        if let Some(place) = place {
            place.leave(); // finds nothing if it was the reply that ended the call
        }
        if let Some(timer) = timer {
            timer.cancel();
        }
        self.done.value().store(1, Ordering::Release); // pairs with the load in `join_reply`
        self.done.wake_all();
        if let Some(waker) = waker {
            // It is the caller's code. The panic hook has reported it; others on the connection are to be told as well.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
        if has_callback {
            starting::start(self.clone(), Self::call_back);
        }
    }

    fn call_back(self: Arc<Self>) {
        let (callback, ended) = {
            let mut state = lock(&self.state);
            (state.callback.take(), state.ended.take())
        };
        if let (Some(callback), Some(ended)) = (callback, ended) {
            callback(&self, ended);
        }
    }
}

impl PendingCall for HeldCall {
    fn span(&self) -> Option<&Span> {
        self.request.span.as_ref()
    }

    fn end(self: Arc<Self>, outcome: Outcome) {
        match outcome {
            Outcome::Replied(reply) => self.finish(Ok(reply)),
            Outcome::Failed(failure) => self.fail(failure),
        }
    }

    fn streams(&self) -> Option<Arc<CallStreams>> {
        self.request.streams.clone()
    }

    fn wants_stream(&self) -> bool {
        self.request.reads_progressively()
    }
}
