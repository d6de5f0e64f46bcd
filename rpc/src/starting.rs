//! Starting the bthreads that connections and calls cannot do without: while the runtime has none to give, it is asked
//! again and again. It must never panic or block, as nobody else would go on with the work.

use std::sync::Arc;
use std::time::Duration;

use bthread::{Batch, timer};

/// How long to wait before the runtime is asked again.
const PAUSE: Duration = Duration::from_millis(10);

/// Has `work` done in a bthread, the next one of this worker, as soon as one can be had. Never blocks, and never fails.
pub(crate) fn start<T: Send + Sync + 'static>(target: Arc<T>, work: fn(Arc<T>)) {
    let start = Start { target: Some(target), work };
    let _ = bthread::spawn_next(move || start.run()); // a failure drops it, which is seen to
}

/// As [`start`], behind the others that are queued, where any worker may take it.
pub(crate) fn start_behind<T: Send + Sync + 'static>(target: Arc<T>, work: fn(Arc<T>)) {
    let start = Start { target: Some(target), work };
    let _ = Batch::new().spawn(move || start.run()); // as in `start`
}

/// Work to be started: dropped without having been run, as happens when a bthread cannot be had, it starts later.
struct Start<T: Send + Sync + 'static> {
    /// `None` once it runs.
    target: Option<Arc<T>>,
    work: fn(Arc<T>),
}

impl<T: Send + Sync + 'static> Start<T> {
    fn run(mut self) {
        if let Some(target) = self.target.take() {
            (self.work)(target);
        }
    }
}

impl<T: Send + Sync + 'static> Drop for Start<T> {
    fn drop(&mut self) {
        if let Some(target) = self.target.take() {
            let work = self.work;
            timer::schedule(bthread::clock::now() + PAUSE, move || start(target, work)); // never cancelled
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn work_that_could_not_be_started_starts_later() {
        let (done, runs) = mpsc::channel();
        let work: fn(Arc<mpsc::Sender<()>>) = |done| done.send(()).expect("the test waits for it");
        drop(Start { target: Some(Arc::new(done)), work });
        runs.recv().expect("the work holds the sender until it has run");
        assert!(runs.recv().is_err(), "once");
    }
}
