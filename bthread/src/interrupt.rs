//! Interrupting a bthread's wait from outside, and telling it to stop (`spec/bthread.md` §5).
//!
//! | wait | what an interruption does |
//! |---|---|
//! | [`sleep`](crate::sleep), [`sleep_until`](crate::sleep_until) | ends it |
//! | [`Butex::wait`](crate::Butex::wait) | gives [`WaitResult::Interrupted`](crate::WaitResult::Interrupted) |
//! | a condition variable | a wake-up for no reason, as those may happen at any time |
//! | sockets and other descriptors (`net`) | `io::ErrorKind::Interrupted` |
//! | locks, semaphores, joins, channels, countdowns, barriers, call ids, blocking calls and files, futures | nothing: it stays pending |
//!
//! An interruption is kept: if the bthread does not wait, the next wait of the first kinds takes it. Waits of OS
//! threads are not interrupted.

use crate::task::{self, TaskId};

/// Ends the current or the next interruptible wait of a bthread. False: the bthread is gone. Never blocks.
pub fn interrupt(id: TaskId) -> bool {
    mark(id, false)
}

/// Tells a bthread to stop: [`is_stopped`] is true from here on, and it is interrupted once. Nothing else happens; it
/// is up to the bthread to look. One that has not started yet still runs. False: the bthread is gone. Never blocks.
///
/// ```
/// let worker = bthread::spawn(|| {
///     while !bthread::stop_requested() {
///         bthread::sleep(std::time::Duration::from_secs(3600));
///     }
/// });
/// bthread::stop(worker.id());
/// worker.join().unwrap();
/// ```
pub fn stop(id: TaskId) -> bool {
    mark(id, true)
}

/// Whether a bthread was told to stop, or is gone. Never blocks.
pub fn is_stopped(id: TaskId) -> bool {
    task::slot_of(id).is_none_or(|task| task.get().is_stopped(id))
}

/// Whether the calling bthread was told to [`stop`]; false outside of bthreads. Never blocks.
pub fn stop_requested() -> bool {
    crate::current_id().is_some_and(is_stopped)
}

fn mark(id: TaskId, stop: bool) -> bool {
    let Some(task) = task::slot_of(id) else { return false };
    let marked = task.get().interrupt(id, stop);
    if marked {
        task.get().parker().unpark();
    }
    marked
}
