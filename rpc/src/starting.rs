//! Starting the bthreads that connections and calls cannot do without: while the runtime has none to give, it is asked
//! again and again. It must never panic or block, as nobody else would go on with the work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bthread::timer;

/// How long to wait before the runtime is asked again.
const PAUSE: Duration = Duration::from_millis(10);

/// Has `work` done in a bthread, as soon as one can be had. Never blocks, and never fails.
pub(crate) fn start<T: Send + Sync + 'static>(target: Arc<T>, work: fn(Arc<T>)) {
    let kept = target.clone();
    if bthread::Builder::new().spawn(move || work(target)).is_err() {
        let _ = timer::schedule(Instant::now() + PAUSE, move || start(kept, work)); // never cancelled
    }
}
