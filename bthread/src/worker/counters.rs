//! What a worker counts of its own work. Others only read it, but for `wakeups`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counts of one worker, written by it alone (but `wakeups`).
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) tasks: AtomicU64,
    pub(crate) switches: AtomicU64,
    pub(crate) steals: AtomicU64,
    pub(crate) looks: AtomicU64,
    pub(crate) sleeps: AtomicU64,
    pub(crate) spurious_wakeups: AtomicU64,
    /// Times that somebody woke this worker by a system call.
    pub(crate) wakeups: AtomicU64,
    /// Waits that began here, and waits that ended here.
    pub(crate) parks: AtomicU64,
    pub(crate) parks_ended: AtomicU64,
    /// Task slots that the worker keeps for itself.
    pub(crate) spare_tasks: AtomicUsize,
    pub(crate) queue_wait: crate::histogram::Buckets,
}

/// Adds one. By the worker that the counter belongs to.
pub(super) fn count(counter: &AtomicU64) {
    // One writer, so no read-modify-write is needed; readers want a rough figure.
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}
