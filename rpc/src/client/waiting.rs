//! The synchronous call: its caller waits, so that no timer is needed and nothing outlives it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bthread::{Butex, WaitResult};

use super::channel::ChannelState;
use super::outcome::{Failure, Outcome, PendingCall};
use super::request::{Place, Request};
use crate::error::RpcError;
use crate::message::Body;
use crate::protocol::IncomingReply;
use crate::socket::lock;
use crate::span::Span;
use crate::stream::CallStreams;

/// Makes a call and waits for its end.
///
/// *Blocking*: parks the bthread, or blocks the thread outside of bthreads.
pub(super) fn call(
    channel: &ChannelState,
    request: &Request,
    body: &dyn Body,
) -> Result<IncomingReply, RpcError> {
    let mut earlier = None;
    for attempt in 0.. {
        let failure = match try_once(channel, request, body) {
            Ok(reply) => return Ok(reply),
            Err(failure) => failure,
        };
        let tries_again = request.tries_again(attempt, &failure);
        let error = failure.error.after(earlier.take(), attempt);
        if !tries_again {
            return Err(error);
        }
        earlier = Some(error);
        request.span.as_ref().inspect(|span| span.retry());
    }
    unreachable!("the attempts are numbered with a u32, and at most that many are made")
}

fn try_once(channel: &ChannelState, request: &Request, body: &dyn Body) -> Result<IncomingReply, Failure> {
    let waiter = Arc::new(Waiter {
        done: Butex::new(0),
        outcome: Mutex::new(None),
        wants_stream: request.reads_progressively(),
        span: request.span.clone(),
        streams: request.streams.clone(),
    });
    let place = request.expect(channel, waiter.clone())?;
    match request.write(channel, &place, body) {
        Ok(()) | Err(None) => {}
        Err(Some(failure)) => return Err(failure),
    }
    match waiter.wait(&place, request.deadline) {
        Some(Outcome::Replied(reply)) => Ok(reply),
        Some(Outcome::Failed(failure)) => Err(failure),
        None => Err(Failure { error: request.timed_out(channel), sent: true }),
    }
}

/// One attempt of a synchronous call.
struct Waiter {
    /// 1 once `outcome` is there.
    done: Butex,
    outcome: Mutex<Option<Outcome>>,
    wants_stream: bool,
    span: Option<Span>,
    streams: Option<Arc<CallStreams>>,
}

impl Waiter {
    /// Waits for the outcome; `None` if the deadline came first.
    fn wait(&self, place: &Place, mut deadline: Option<Instant>) -> Option<Outcome> {
        // Acquire pairs with the store in `end`.
        while self.done.value().load(Ordering::Acquire) == 0 {
            if self.done.wait(0, deadline) == WaitResult::TimedOut {
                if place.leave() {
                    return None;
                }
                // Somebody is about to end it.
                deadline = None;
            }
        }
        lock(&self.outcome).take()
    }
}

impl PendingCall for Waiter {
    fn span(&self) -> Option<&Span> {
        self.span.as_ref()
    }

    fn end(self: Arc<Self>, outcome: Outcome) {
        *lock(&self.outcome) = Some(outcome);
        self.done.value().store(1, Ordering::Release); // pairs with the load in `wait`
        self.done.wake_one();
    }

    fn streams(&self) -> Option<Arc<CallStreams>> {
        self.streams.clone()
    }

    fn wants_stream(&self) -> bool {
        self.wants_stream
    }
}
