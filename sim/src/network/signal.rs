//! Who is told of events: the one place where the network meets the nodes' pollers.

use std::io;
use std::sync::Arc;

use bthread::poller::{EventHandler, Readiness};
use bthread::simulation::Source;

/// Gets events. Raised under the network's lock, so that it must be quick and never call the network.
pub(super) trait Signal: Send + Sync + 'static {
    fn raise(&self, readiness: Readiness);
}

impl Signal for Source {
    fn raise(&self, readiness: Readiness) {
        Source::raise(self, readiness);
    }
}

/// Makes the signal of a handler.
pub(super) type MakeSignal = fn(Arc<dyn EventHandler>) -> io::Result<Arc<dyn Signal>>;

/// One that a worker of the caller's runtime hands to the handler.
pub(super) fn of_runtime(handler: Arc<dyn EventHandler>) -> io::Result<Arc<dyn Signal>> {
    Ok(Arc::new(Source::new(handler)?))
}
