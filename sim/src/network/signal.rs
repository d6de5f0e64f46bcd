//! Who is told of events: the one place where the network meets the nodes' pollers.

use std::io;
use std::sync::Arc;

use bthread::poller::{EventHandler, Readiness};

/// Gets events. Raised under the network's lock, so that it must be quick and never call the network.
pub(super) trait Signal: Send + Sync + 'static {
    fn raise(&self, readiness: Readiness);
}

/// Makes the signal of a handler, for the runtime of the caller.
pub(super) type MakeSignal = fn(Arc<dyn EventHandler>) -> io::Result<Arc<dyn Signal>>;
