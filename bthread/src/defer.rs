//! Work put off to the end of a batch, so that what several tasks leave behind is done once: replies of many
//! requests leave in one system call.

use std::sync::Arc;

use crate::worker;

/// Something to do at the end of a batch.
pub trait Deferred: Send + Sync + 'static {
    /// Called once for each [`defer`], on the worker that deferred it, possibly on the stack of a bthread that is
    /// about to wait. Must not block and should be short. A panic is caught and reported like that of a thread.
    fn run(self: Arc<Self>);
}

/// Has `target` run soon on the calling worker: at the latest before the running bthread waits or yields, before the
/// worker looks for events or sleeps, or after 64 further tasks or about 50 µs of them, whatever comes first.
/// Never blocks.
///
/// # Errors
/// Gives `target` back when the caller is not on a worker; the caller then does the work at once.
pub fn defer(target: Arc<dyn Deferred>) -> Result<(), Arc<dyn Deferred>> {
    worker::defer(target)
}
