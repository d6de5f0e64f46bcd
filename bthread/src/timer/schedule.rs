//! Functions that are called when their time has come: what users see of the timers.

use std::fmt;
use std::io;
use std::time::Instant;

use super::{Action, Key, TIMERS_MAX, Time};
use crate::worker::{self, Worker};

/// Calls `f` once the deadline has passed, between two tasks of a worker.
///
/// It is never called early. One worker calls its functions in the order of their deadlines, and those with the same
/// deadline in the order in which they were scheduled; a deadline in the past counts as now. A bthread's functions are
/// its worker's; those of other threads go to the workers of the global runtime by turns.
///
/// `f` runs outside of any bthread and holds its worker up: it must be short and must not block; it may wake bthreads,
/// schedule and cancel, and [`spawn`](crate::spawn) a bthread for anything long. A panic in it is caught and reported
/// like that of a thread. *Blocking*: neither parks nor blocks; may be called from anywhere, also from within `f`.
///
/// Takes no allocation if what `f` captures fits 40 bytes (aligned to 8). A timer takes about 80 bytes, which are used
/// again when it is gone, but are not given back to the system.
///
/// # Panics
/// Where [`try_schedule`] fails.
///
/// ```
/// # use std::time::{Duration, Instant};
/// let (tx, rx) = std::sync::mpsc::channel();
/// let at = Instant::now() + Duration::from_millis(5);
/// let _ = bthread::timer::schedule(at, move || tx.send(Instant::now()).unwrap());
/// assert!(rx.recv().unwrap() >= at);
/// ```
pub fn schedule(deadline: Instant, f: impl FnOnce() + Send + 'static) -> TimerHandle {
    try_schedule(deadline, f).expect("scheduling a function")
}

/// [`schedule`] with an error instead of a panic; `f` is dropped then, without being called.
///
/// # Errors
/// `OutOfMemory` when the worker holds [`TIMERS_MAX`] functions.
pub fn try_schedule(deadline: Instant, f: impl FnOnce() + Send + 'static) -> io::Result<TimerHandle> {
    let mut action = Some(Action::call(f));
    match worker::add_timer(Time::of(deadline), &mut action, TIMERS_MAX) {
        Some((worker, key)) => Ok(TimerHandle { worker, key }),
        None => Err(io::Error::new(
            io::ErrorKind::OutOfMemory,
            format!("a worker has {TIMERS_MAX} timers already"),
        )),
    }
}

/// A scheduled function. Dropping the handle does not cancel it.
#[must_use = "without its handle a timer cannot be cancelled"]
pub struct TimerHandle {
    worker: &'static Worker,
    key: Key,
}

impl TimerHandle {
    /// Prevents the function from being called; it is dropped at once, by the caller. False: it is being called, was
    /// called, or was cancelled before.
    ///
    /// *Blocking*: neither parks nor blocks, and does not wait for a function that is being called. May be called from
    /// anywhere, also from within this or another scheduled function.
    pub fn cancel(&self) -> bool {
        self.worker.timers().remove(self.key).is_some()
    }
}

impl fmt::Debug for TimerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerHandle").field("pending", &self.worker.timers().contains(self.key)).finish()
    }
}
