//! The synchronous call: its caller waits, so that no timer is needed and nothing outlives it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bthread::{Butex, WaitResult};

use super::channel::ChannelState;
use super::outcome::{Failure, Outcome, PendingCall};
use super::request::{Answer, Next, Place, Progress, Request};
use super::retry::EAGER_ATTEMPTS_MAX;
use crate::error::RpcError;
use crate::message::Body;
use crate::socket::lock;
use crate::span::Span;
use crate::stream::CallStreams;

/// What the text of an error says of a retry that the channel's budget does not allow.
pub(super) const TOO_DEAR: &str = "not tried again: the channel's retry budget is used up";

/// Makes a call and waits for its end.
///
/// *Blocking*: parks the bthread, or blocks the thread outside of bthreads.
pub(super) fn call(
    channel: &ChannelState,
    request: &Request,
    body: &dyn Body,
) -> (Result<Answer, RpcError>, Progress) {
    let (result, retried_count) = attempts(channel, request, body);
    let latency = bthread::clock::now().saturating_duration_since(request.started);
    request.note_end(result.as_ref().err());
    (result, Progress { latency, retried_count, has_backup_request: false })
}

/// A call that cannot begin.
pub(super) fn not_begun(request: &Request, error: RpcError) -> (Result<Answer, RpcError>, Progress) {
    request.note_end(Some(&error));
    let latency = bthread::clock::now().saturating_duration_since(request.started);
    (Err(error), Progress { latency, retried_count: 0, has_backup_request: false })
}

fn attempts(channel: &ChannelState, request: &Request, body: &dyn Body) -> (Result<Answer, RpcError>, u32) {
    if request.is_late() {
        return (Err(request.timed_out(channel)), 0);
    }
    let mut earlier = None;
    let mut attempt = 0;
    loop {
        let end = match try_once(channel, request, body, attempt) {
            Ok(answer) if !request.has_retry_policy(channel) || answer.reply.stream.is_some() => {
                return (Ok(answer), attempt);
            }
            Ok(mut answer) => answer
                .decode(channel, request.method)
                .map(|()| answer)
                .map_err(|error| Failure { error, sent: true }),
            Err(failure) => Err(failure),
        };
        let next = request.next(channel, attempt, end.as_ref().map(|answer| &answer.reply));
        match (next, end) {
            (Next::Again(pause), end) => {
                if let Err(failure) = end {
                    earlier = Some(failure.error.after(earlier.take(), attempt));
                }
                // That of a late attempt is nobody's wish, and kept wherever the call waits.
                let may_wait = attempt >= EAGER_ATTEMPTS_MAX
                    || bthread::is_bthread()
                    || request.may_block_threads(channel);
                if !pause.is_zero() && may_wait {
                    bthread::sleep(pause); // an interrupt shortens it, and that is all
                }
            }
            (_, Ok(answer)) => return (Ok(answer), attempt),
            (next, Err(failure)) => {
                let error = failure.error.after(earlier.take(), attempt);
                let error = if next == Next::TooDear { error.remarked(TOO_DEAR) } else { error };
                return (Err(error), attempt);
            }
        }
        attempt += 1;
        request.span.as_ref().inspect(|span| span.retry());
    }
}

fn try_once(
    channel: &ChannelState,
    request: &Request,
    body: &dyn Body,
    attempt: u32,
) -> Result<Answer, Failure> {
    let waiter = Arc::new(Waiter {
        done: Butex::new(0),
        outcome: Mutex::new(None),
        wants_stream: request.reads_progressively(),
        span: request.span.clone(),
        streams: request.streams.clone(),
    });
    let place = request.expect(channel, waiter.clone())?;
    let unwinding = LeaveOnUnwind(&place);
    let written = request.write(channel, &place, body, attempt);
    drop(unwinding);
    match written {
        Ok(()) | Err(None) => {}
        Err(Some(failure)) => return Err(failure),
    }
    match waiter.wait(&place, request.deadline) {
        Some(outcome) => outcome.into_result().map(|reply| Answer::new(reply, place.socket)),
        None => Err(Failure { error: request.timed_out(channel), sent: true }),
    }
}

/// Sees that nothing waits for the reply to a request whose writing has panicked, as the user's message may. Else its
/// connection, where it has one of its own, would never be used again, nor closed.
struct LeaveOnUnwind<'a>(&'a Place);

impl Drop for LeaveOnUnwind<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.leave();
        }
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
    /// Waits for the outcome; `None` if the deadline came first. An interrupt of the bthread does not end it.
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
