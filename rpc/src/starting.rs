//! Starting the bthreads that connections and calls cannot do without: while the runtime has none to give, it is asked
//! again and again. It must never panic or block, as nobody else would go on with the work.

use std::sync::Arc;
use std::time::Duration;

use bthread::{Batch, timer};

/// How long to wait before the runtime is asked again.
const PAUSE: Duration = Duration::from_millis(10);

/// Has `work` done in a bthread, the next one of this worker, as soon as one can be had. Never blocks, and never fails.
pub(crate) fn start<T: Send + Sync + 'static>(target: Arc<T>, work: fn(Arc<T>)) {
    let kept = target.clone();
    if bthread::spawn_next(move || work(target)).is_err() {
        start_later(kept, work);
    }
}

/// As [`start`], behind the others that are queued, where any worker may take it.
pub(crate) fn start_behind<T: Send + Sync + 'static>(target: Arc<T>, work: fn(Arc<T>)) {
    let kept = target.clone();
    if Batch::new().spawn(move || work(target)).is_err() {
        start_later(kept, work);
    }
}

fn start_later<T: Send + Sync + 'static>(target: Arc<T>, work: fn(Arc<T>)) {
    timer::schedule(bthread::clock::now() + PAUSE, move || start(target, work)); // never cancelled
}
