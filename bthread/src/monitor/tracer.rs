//! The thread that takes the traces of held workers: it may wait for each, which the monitor must not.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use crate::trace;
use crate::worker::Worker;

/// Traces that wait to be taken; beyond, none is taken.
const JOBS_MAX: usize = 64;

struct Job {
    worker: &'static Worker,
    noticed: Instant,
    /// The worker's, when it was noticed.
    progress: u64,
}

/// Has the trace of a worker taken, that was held at `noticed`. It comes to the runtime's reports, or not at all.
pub(super) fn ask(worker: &'static Worker, noticed: Instant, progress: u64) {
    static JOBS: Mutex<Option<SyncSender<Job>>> = Mutex::new(None);
    let mut jobs = JOBS.lock().unwrap_or_else(PoisonError::into_inner);
    if jobs.is_none() {
        let (sender, receiver) = sync_channel(JOBS_MAX);
        let run = move || receiver.into_iter().for_each(take);
        // Without a thread to be had there is no trace; the next culprit tries again.
        if thread::Builder::new().name("bthread:tracer".into()).spawn(run).is_ok() {
            *jobs = Some(sender);
        }
    }
    if let Some(jobs) = &*jobs {
        let _ = jobs.try_send(Job { worker, noticed, progress }); // full: no trace
    }
}

fn take(Job { worker, noticed, progress }: Job) {
    let trace = trace::of_held(worker.thread());
    // If the worker has got on, the trace may show what came after.
    if let Ok(trace) = trace
        && worker.progress() == progress
    {
        worker.scheduler().watch.add_trace(worker.index(), noticed, trace);
    }
}
