//! Work put off to the end of a batch, so that what several tasks leave behind is done once: replies of many
//! requests leave in one system call.

use std::sync::Arc;

use crate::worker;

/// Something to do at the end of a batch.
pub trait Deferred: Send + Sync + 'static {
    /// Called once for each [`defer`], on the worker that deferred it, possibly on the stack of a bthread that is
    /// about to wait, but never as that bthread: a wait in it blocks the thread. If that worker is held by a blocking
    /// call, a bthread on another one calls it, perhaps while an earlier call for the same target still runs. Deferring the same target twice in a
    /// row counts once. Must not block and should be short. A panic is caught and reported like that of a thread.
    fn run(self: Arc<Self>);
}

/// Has `target` run soon on the calling worker: before the worker looks for events or sleeps, or after 64 further
/// tasks or about 50 µs of them, whatever comes first. So it is done at once when the running bthread waits and the
/// worker has nothing else to run; and what many bthreads defer one after another is done together. A single task
/// that computes for long delays it, however. Never blocks.
///
/// False: nothing was deferred, since the caller is not on a worker, or 1024 targets wait on it already; do the work
/// at once.
#[must_use = "off a worker nothing is deferred"]
pub fn defer(target: Arc<dyn Deferred>) -> bool {
    worker::defer(target)
}
