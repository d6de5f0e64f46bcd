//! Giving way, sleeping, and what a bthread knows of itself.

use std::cell::Cell;
use std::sync::atomic::Ordering;
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
    match crate::clock::now().checked_add(duration) {
        Some(deadline) => sleep_until(deadline),
        None => sleep_until(crate::clock::now() + FOR_EVER),
    }
}

/// Sleeps until `deadline` has passed, unless the bthread is interrupted. *Blocking*: parks the calling bthread, or
/// blocks the calling thread.
pub fn sleep_until(deadline: Instant) -> Slept {
    let parker = wait::current_parker();
    while crate::clock::now() < deadline {
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

/// Labels the calling bthread with the id of the trace (of a request through several servers) that it works for, to be
/// seen in [`BthreadInfo`](crate::BthreadInfo); 0 takes the label off. Bthreads that it spawns from here on begin with
/// the same label, as goroutines do with their labels: that costs a spawn a nanosecond. Outside of bthreads it is a
/// label of the thread, which only [`trace_id`] tells. Never blocks.
///
/// ```
/// bthread::spawn(|| {
///     bthread::set_trace_id(0xabc);
///     assert_eq!(bthread::spawn(bthread::trace_id).join().unwrap(), 0xabc);
/// }).join().unwrap();
/// assert_eq!(bthread::trace_id(), 0);
/// ```
pub fn set_trace_id(id: u128) {
    match worker::current_task() {
        Some(task) => task.get().set_trace_id(id),
        None => THREAD_TRACE_ID.set(id),
    }
}

thread_local!(static THREAD_TRACE_ID: Cell<u128> = const { Cell::new(0) });

/// Has the calling bthread carry a number: one for the whole program, for the framework that it is built on, which puts
/// into it what is looked at too often for a [`bthread_local!`](crate::bthread_local). It is 0 when a bthread begins,
/// also one that this one spawns. Outside of bthreads the thread carries it. Never blocks.
///
/// ```
/// bthread::spawn(|| {
///     bthread::set_carried(7);
///     assert_eq!(bthread::spawn(bthread::carried).join().unwrap(), 0);
///     assert_eq!(bthread::carried(), 7);
/// }).join().unwrap();
/// ```
pub fn set_carried(number: u64) {
    match worker::current_task() {
        // Relaxed: the bthread's own; whatever moves it to another thread publishes it.
        Some(task) => task.get().carried.store(number, Ordering::Relaxed),
        None => THREAD_CARRIES.set(number),
    }
}

thread_local!(static THREAD_CARRIES: Cell<u64> = const { Cell::new(0) });

/// The number that the calling bthread or thread carries, see [`set_carried`]. Never blocks.
pub fn carried() -> u64 {
    match worker::current_task() {
        Some(task) => task.get().carried.load(Ordering::Relaxed), // as above
        None => THREAD_CARRIES.get(),
    }
}

/// The id that the calling bthread or thread is labelled with, see [`set_trace_id`]; 0 if there is none. Never blocks.
pub fn trace_id() -> u128 {
    worker::current_task().map_or_else(|| THREAD_TRACE_ID.get(), |task| task.get().trace_id())
}
