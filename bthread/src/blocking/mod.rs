//! Calls that block a thread (files, name look-ups, C libraries), on threads of their own, so that none holds a
//! worker.
//!
//! Owns the hand-over of one call and its result; [`pool`] owns the threads. Never runs a user's function on a worker.
//!
//! There is one pool for the process, of at most [`BLOCKING_THREADS_MAX`] threads. They start as they are needed and
//! end after [`BLOCKING_IDLE_TIME`] without work. At most [`BLOCKING_QUEUE_MAX`] calls wait for a thread; beyond, who
//! comes with another one waits until there is room. Calls that wait for later calls of the pool can so block each
//! other for ever: such waits belong into bthreads.

mod borrowing;
mod pool;
mod slot;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slot::Slot;

pub use borrowing::blocking;
pub(crate) use borrowing::try_blocking;
pub use pool::{BLOCKING_IDLE_TIME, BLOCKING_QUEUE_MAX, BLOCKING_THREADS_MAX};

/// Runs `f` on a thread that may block, and goes on at once. Dropping the handle does not end it.
///
/// `f` runs outside of bthreads, so all its waits block that thread, and a `thread_local!` in it is that thread's.
///
/// *Blocking*: only when [`BLOCKING_QUEUE_MAX`] calls are waiting; then it parks the calling bthread, or blocks the
/// calling thread, until there is room. A call of the pool that comes with another one then runs it itself.
///
/// # Panics
/// When the pool has no thread and the system gives none.
///
/// ```
/// let handle = bthread::spawn_blocking(|| std::fs::read_to_string("/proc/self/comm"));
/// assert!(!handle.join().unwrap()?.is_empty());
/// # std::io::Result::Ok(())
/// ```
pub fn spawn_blocking<F, T>(f: F) -> BlockingHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    try_spawn_blocking(f).expect("no thread to be had for a blocking call")
}

/// [`spawn_blocking`] with an error instead of a panic; `f` is dropped then, without being called.
///
/// *Blocking*: as [`spawn_blocking`].
///
/// # Errors
/// The system's, when the pool has no thread and is given none.
pub fn try_spawn_blocking<F, T>(f: F) -> io::Result<BlockingHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let slot = Arc::new(Slot::new());
    let job = Box::new({
        let slot = slot.clone();
        move || slot.fill(f)
    });
    pool::global().submit(job)?;
    Ok(BlockingHandle { slot })
}

/// The right to wait for a [`spawn_blocking`] and to get its result. Dropping it changes nothing for the call.
pub struct BlockingHandle<T> {
    slot: Arc<Slot<T>>,
}

impl<T> BlockingHandle<T> {
    /// Waits for the end and returns the function's value, or the payload of its panic. Interruptions
    /// ([`interrupt`](crate::interrupt)) do not end the wait and stay pending.
    ///
    /// *Blocking*: parks the calling bthread, or blocks the calling thread.
    ///
    /// # Errors
    /// The payload when the function panicked.
    pub fn join(self) -> std::thread::Result<T> {
        self.slot.take()
    }

    /// As [`join`](Self::join), for at most `timeout`; gives the handle back when the time was up first.
    ///
    /// # Errors
    /// The handle.
    pub fn join_timeout(self, timeout: Duration) -> Result<std::thread::Result<T>, Self> {
        self.slot.take_before(crate::clock::now().checked_add(timeout)).ok_or(self)
    }

    /// As [`join`](Self::join), until the deadline at most; gives the handle back when it came first.
    ///
    /// # Errors
    /// The handle.
    pub fn join_until(self, deadline: Instant) -> Result<std::thread::Result<T>, Self> {
        self.slot.take_before(Some(deadline)).ok_or(self)
    }

    /// Whether the function has ended, so that [`join`](Self::join) would not wait.
    pub fn is_finished(&self) -> bool {
        self.slot.is_filled()
    }
}

impl<T> fmt::Debug for BlockingHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingHandle").field("finished", &self.is_finished()).finish()
    }
}
