//! Functions that are called when their time has come: what users see of the timers.

use std::fmt;
use std::io;
use std::time::Instant;

use super::{Action, Key, TIMERS_MAX, Time};
use crate::worker::{self, Worker};

/// Calls `f` once the deadline has passed, between two tasks of a worker.
///
/// It is never called early. What a worker finds due in one look it calls in the order of the deadlines, and those with
/// the same deadline in the order in which they were scheduled; a deadline in the past counts as now. When the worker is
/// held, another thread calls its functions, and one that is due later may then be called while an earlier one still
/// runs: functions that must not overlap see to that themselves. A bthread's functions are its worker's; those of other
/// threads go to the workers of the global runtime by turns.
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
/// bthread::timer::schedule(at, move || tx.send(Instant::now()).unwrap());
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
    set(deadline, Action::call(f), TIMERS_MAX)
}

fn set(deadline: Instant, action: Action, max: usize) -> io::Result<TimerHandle> {
    let mut due = Time::of(deadline);
    if planted!(EarlyTimer) {
        let early = Time::from_nanos(due.as_nanos() / 1_000_000 * 1_000_000);
        due = if early > Time::now() { early } else { due };
    }
    match worker::add_timer(due, &mut Some(action), max) {
        Some((worker, key)) => Ok(TimerHandle { worker, key }),
        None => Err(io::Error::new(io::ErrorKind::OutOfMemory, format!("a worker has {max} timers already"))),
    }
}

/// A scheduled function. Dropping the handle does not cancel it.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Runtime;
    use std::sync::mpsc;
    use std::time::Duration;

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    fn one_worker() -> Runtime {
        Runtime::builder().workers(1).start().unwrap()
    }

    #[test]
    fn any_thread_fires_the_timers_of_a_worker_that_is_held_up() {
        let (handles, handle) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let held = one_worker().spawn(move || {
            handles.send(schedule(Instant::now(), move || release.send("released").unwrap())).unwrap();
            released.recv().unwrap() // blocks the thread, so the worker cannot fire it
        });
        let handle = handle.recv().unwrap();
        let timers = handle.worker.timers();
        assert!(timers.next() <= Time::now());
        let (key, action) = timers.pop_due(Time::now()).unwrap();
        assert!(key == handle.key && !handle.cancel());
        action.run();
        assert_eq!(held.join().unwrap(), "released");
        assert_eq!(timers.next(), Time::NEVER);
    }

    #[test]
    fn at_the_bound_there_is_an_error_and_waits_go_on() {
        one_worker()
            .spawn(|| {
                let first = set(far(), Action::call(|| ()), 1).unwrap();
                let captured = std::sync::Arc::new(());
                let also = captured.clone();
                let refused = set(far(), Action::call(move || drop(also)), 1);
                assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::OutOfMemory);
                assert_eq!(std::sync::Arc::strong_count(&captured), 1);
                assert_eq!(crate::sleep(Duration::from_micros(1)), crate::Slept::Full);
                assert!(first.cancel() && set(far(), Action::call(|| ()), 1).unwrap().cancel());
            })
            .join()
            .unwrap();
    }

    #[test]
    fn a_wait_that_ends_leaves_no_timer() {
        let runtime = one_worker();
        let other = runtime.spawn(|| schedule(far(), || ())).join().unwrap();
        let timers = other.worker.timers();
        let sleeper = runtime.spawn(|| crate::sleep_until(far()));
        while timers.len() < 2 {
            std::thread::yield_now();
        }
        assert!(crate::interrupt(sleeper.id()));
        assert_eq!(sleeper.join().unwrap(), crate::Slept::Interrupted);
        let soon = Instant::now() + Duration::from_millis(1);
        assert_eq!(runtime.spawn(move || crate::sleep_until(soon)).join().unwrap(), crate::Slept::Full);
        assert_eq!(timers.len(), 1);
        assert!(other.cancel());
    }
}
