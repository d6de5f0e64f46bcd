//! Counts over all execution queues of the process.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;

/// Counts over all execution queues of the process, from [`stats`]; each is a snapshot of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecutionQueueStats {
    /// Queues started and not yet ended. brpc: `bthread_execq_count`.
    pub queues: usize,
    /// Queues with something to run: a consumer was started and has not gone idle. brpc: `bthread_execq_active_count`.
    pub active: usize,
    /// Executors that are at work on a batch now. brpc: `bthread_execq_running_task_count`.
    pub running: usize,
    /// Items that executors have taken since the process began.
    pub items: u64,
    /// Executor calls that ended in a panic since the process began.
    pub panics: u64,
    /// Times that a consumer had to be started later, since there were no bthreads or stacks.
    pub delayed_starts: u64,
}

/// All counts. Never blocks.
pub fn stats() -> ExecutionQueueStats {
    // Snapshots of counts; they pair with nothing.
    ExecutionQueueStats {
        queues: COUNTERS.queues.load(Ordering::Relaxed),
        active: COUNTERS.active.load(Ordering::Relaxed),
        running: COUNTERS.running.load(Ordering::Relaxed),
        items: COUNTERS.items.load(Ordering::Relaxed),
        panics: COUNTERS.panics.load(Ordering::Relaxed),
        delayed_starts: COUNTERS.delayed_starts.load(Ordering::Relaxed),
    }
}

/// All of them are counts for people and pair with nothing.
pub(super) struct Counters {
    pub(super) queues: AtomicUsize,
    pub(super) active: AtomicUsize,
    pub(super) running: AtomicUsize,
    pub(super) items: AtomicU64,
    pub(super) panics: AtomicU64,
    pub(super) delayed_starts: AtomicU64,
}

/// On a cache line of their own: every consumer counts here, once for each batch.
pub(super) static COUNTERS: CachePadded<Counters> = CachePadded::new(Counters {
    queues: AtomicUsize::new(0),
    active: AtomicUsize::new(0),
    running: AtomicUsize::new(0),
    items: AtomicU64::new(0),
    panics: AtomicU64::new(0),
    delayed_starts: AtomicU64::new(0),
});
