//! From spans that have ended to those that are kept: a queue, which ends of spans are pushed on without waiting, and a
//! bthread that empties it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use bthread::mpsc::{Push, Queue};

use super::flags;
use super::record::SpanRecord;
use super::sampling;
use super::store::{Bounds, Store, StoreStats};
use crate::socket::lock;
use crate::starting;

/// Spans that wait to be stored; those that come meanwhile are dropped and counted. brpc:
/// `bvar_collector_max_pending_samples`.
pub const PENDING_MAX: usize = 1000;

struct Collector {
    queue: Queue<Arc<SpanRecord>>,
    pending: AtomicUsize,
    dropped: AtomicU64,
    too_fast: AtomicU64,
    store: Mutex<Store>,
}

static COLLECTOR: LazyLock<Arc<Collector>> = LazyLock::new(|| {
    Arc::new(Collector {
        queue: Queue::new(),
        pending: AtomicUsize::new(0),
        dropped: AtomicU64::new(0),
        too_fast: AtomicU64::new(0),
        store: Mutex::default(),
    })
});

/// Has a span stored soon. Never blocks.
pub(super) fn submit(record: SpanRecord) {
    let collector = &*COLLECTOR;
    // Relaxed, all of them: counts; the queue publishes the span.
    let shortest = Duration::from_micros(u64::try_from(flags::SAVE_SPAN_MIN_LATENCY_US.get()).unwrap_or(0));
    if record.latency() < shortest {
        collector.too_fast.fetch_add(1, Ordering::Relaxed);
        return;
    }
    if collector.pending.fetch_add(1, Ordering::Relaxed) >= PENDING_MAX {
        collector.pending.fetch_sub(1, Ordering::Relaxed);
        collector.dropped.fetch_add(1, Ordering::Relaxed);
        return;
    }
    if collector.queue.push(Arc::new(record)) == Push::First {
        starting::start_behind(collector.clone(), Collector::store_all);
    }
}

/// Has a look at what is stored. `look` only copies pointers.
pub(super) fn look<R>(look: impl FnOnce(&Store) -> R) -> R {
    let mut store = COLLECTOR.store();
    let evicted = store.evict(Bounds::from_flags(), bthread::clock::wall());
    let seen = look(&store);
    drop(store);
    drop(evicted);
    seen
}

/// What is kept, and what became of the rest.
///
/// *Blocking*: the thread, for the time of a short internal lock.
pub fn stats() -> StoreStats {
    StoreStats {
        dropped: COLLECTOR.dropped.load(Ordering::Relaxed),
        refused: sampling::refused(),
        too_fast: COLLECTOR.too_fast.load(Ordering::Relaxed),
        ..look(Store::stats)
    }
}

impl Collector {
    fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    /// The bthread that stores, until nothing is left.
    fn store_all(self: Arc<Self>) {
        loop {
            let taken = self.queue.drain(|record| {
                let (bounds, now) = (Bounds::from_flags(), bthread::clock::wall());
                let evicted = self.store().insert(record, bounds, now);
                drop(evicted);
            });
            self.pending.fetch_sub(taken, Ordering::Relaxed);
            if self.queue.release() {
                return;
            }
        }
    }
}
