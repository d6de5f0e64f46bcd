//! Giving way and sleeping.

use std::time::{Duration, Instant};

use crate::task::TaskId;
use crate::{wait, worker};

/// What stands for a duration that no clock reaches: 136 years.
const FOR_EVER: Duration = Duration::from_secs(1 << 32);

/// Lets the other runnable bthreads of this worker go first. It gives no worker to anybody else, and there are no
/// priorities. Outside of bthreads it is `std::thread::yield_now`.
pub fn yield_now() {
    if !worker::yield_now() {
        std::thread::yield_now();
    }
}

/// How a sleep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slept {
    /// The time was up.
    Full,
    /// Somebody interrupted the bthread before ([`interrupt`](crate::interrupt), [`stop`](crate::stop)).
    Interrupted,
}

/// Sleeps for at least `duration`, unless the bthread is interrupted. *Blocking*: parks the calling bthread, or blocks
/// the calling thread.
///
/// ```
/// bthread::spawn(|| bthread::sleep(std::time::Duration::from_millis(1))).join().unwrap();
/// ```
pub fn sleep(duration: Duration) -> Slept {
    match Instant::now().checked_add(duration) {
        Some(deadline) => sleep_until(deadline),
        None => sleep_until(Instant::now() + FOR_EVER),
    }
}

/// Sleeps until `deadline` has passed, unless the bthread is interrupted. *Blocking*: parks the calling bthread, or
/// blocks the calling thread.
pub fn sleep_until(deadline: Instant) -> Slept {
    let parker = wait::current_parker();
    while Instant::now() < deadline {
        if wait::take_interrupt(parker) {
            return Slept::Interrupted;
        }
        wait::park_for(parker, Some(deadline), wait::Reason::Sleep);
    }
    Slept::Full
}

/// Whether the caller is a bthread.
pub fn is_bthread() -> bool {
    worker::current_task().is_some()
}

/// The calling bthread's id; none outside of bthreads.
pub fn current_id() -> Option<TaskId> {
    worker::current_task().map(|task| task.get().id())
}
