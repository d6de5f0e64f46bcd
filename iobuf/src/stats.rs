//! Process-wide counters of what the crate holds, and by what it is held.
//!
//! What changes with each use of a thread's cache is counted by the thread alone, and added up by
//! whoever asks; the rest where memory is taken from or given back to the allocator. It must never look into a cache of
//! another thread.

use std::sync::atomic::{AtomicIsize, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::block::Size;
use crate::depot;

pub(crate) static BLOCKS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
pub(crate) static USER_BLOCKS: AtomicUsize = AtomicUsize::new(0);
pub(crate) static USER_BYTES: AtomicUsize = AtomicUsize::new(0);
pub(crate) static CACHE_OVER_THRESHOLD: AtomicU64 = AtomicU64::new(0);

/// What one thread counts. Only that thread writes, so that load and store will do. Relaxed all of it: statistics.
#[derive(Debug, Default)]
struct ThreadCounts {
    /// Bytes of the empty blocks it keeps.
    cached: AtomicUsize,
    /// Bytes of the partly filled blocks it keeps.
    partial: AtomicUsize,
    /// Bytes of the blocks that portals took on this thread, less those they gave back on it: may be negative.
    read_ahead: AtomicIsize,
    /// How often a buffer got its third piece.
    big_views: AtomicU64,
}

/// The counts of all threads.
struct Threads {
    living: Vec<Arc<ThreadCounts>>,
    /// What is left of those that have ended.
    read_ahead: isize,
    big_views: u64,
}

static THREADS: Mutex<Threads> = Mutex::new(Threads { living: Vec::new(), read_ahead: 0, big_views: 0 });

fn threads() -> MutexGuard<'static, Threads> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread's own counts, which are in the list as long as it lives.
struct Listed(Arc<ThreadCounts>);

impl Listed {
    fn new() -> Self {
        let counts = Arc::new(ThreadCounts::default());
        threads().living.push(counts.clone());
        Self(counts)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut threads = threads();
        threads.living.retain(|living| !Arc::ptr_eq(living, &self.0));
        threads.read_ahead += self.0.read_ahead.load(Ordering::Relaxed);
        threads.big_views += self.0.big_views.load(Ordering::Relaxed);
    }
}

thread_local! {
    static COUNTS: Listed = Listed::new();
}

/// Sets the bytes of the empty and of the partly filled blocks that this thread keeps.
pub(crate) fn set_cached(cached: usize, partial: usize) {
    // A thread that is ending has no count any more, and soon no blocks.
    let _ = COUNTS.try_with(|Listed(counts)| {
        counts.cached.store(cached, Ordering::Relaxed);
        counts.partial.store(partial, Ordering::Relaxed);
    });
}

/// Counts bytes of blocks that a portal has taken for itself, or, negative, has no more.
#[inline(never)]
pub(crate) fn add_read_ahead(bytes: isize) {
    let counted = COUNTS.try_with(|Listed(counts)| {
        let before = counts.read_ahead.load(Ordering::Relaxed);
        counts.read_ahead.store(before + bytes, Ordering::Relaxed);
    });
    if counted.is_err() {
        threads().read_ahead += bytes;
    }
}

/// Counts a buffer that got its third piece.
#[inline(never)]
pub(crate) fn add_big_view() {
    let counted = COUNTS.try_with(|Listed(counts)| {
        counts.big_views.store(counts.big_views.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    });
    if counted.is_err() {
        threads().big_views += 1;
    }
}

/// What the process holds at this moment, see [`stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Blocks taken from the allocator and not given back, of either size; those waiting in caches are counted.
    pub block_count: usize,
    /// How many of them are of [`LARGE_BLOCK_SIZE`](crate::LARGE_BLOCK_SIZE).
    pub large_block_count: usize,
    /// Bytes in those blocks: the sum of the next five.
    pub block_memory: usize,
    /// Bytes of blocks that buffers refer to, or are being written: what was received and not yet dropped, queued to be
    /// sent, or kept by the user.
    pub referenced_bytes: usize,
    /// Bytes of blocks that [`IoPortal`](crate::IoPortal)s keep for what arrives next.
    pub read_ahead_bytes: usize,
    /// Bytes of partly filled blocks that threads keep to append to; buffers may refer to them as well.
    pub partial_bytes: usize,
    /// Bytes of empty blocks that threads keep for themselves.
    pub thread_cache_bytes: usize,
    /// Bytes of empty blocks that wait for any thread.
    pub shared_cache_bytes: usize,
    /// Pieces of user memory that are still referenced.
    pub user_blocks: usize,
    /// Bytes in those pieces.
    pub user_bytes: usize,
    /// How often a partly filled block found [`PARTIAL_BLOCKS_MAX`](crate::PARTIAL_BLOCKS_MAX) others in its
    /// thread's cache and was given up instead of kept. Only grows.
    pub cache_hit_threshold: u64,
    /// How often a buffer got a third piece, which takes an allocation. Only grows.
    pub big_views: u64,
}

/// Reads the process-wide counters (`spec/iobuf.md` §1.2). Neither parks nor blocks; the numbers are each exact,
/// but not taken at one instant, while `referenced_bytes` is what the others leave.
#[must_use]
pub fn stats() -> Stats {
    // Relaxed: counters only, nothing is published through them.
    let [small, large] = Size::ALL.map(|size| BLOCKS[size.index()].load(Ordering::Relaxed));
    let mut stats = Stats {
        block_count: small + large,
        large_block_count: large,
        block_memory: small * Size::Small.bytes() + large * Size::Large.bytes(),
        shared_cache_bytes: depot::bytes(),
        user_blocks: USER_BLOCKS.load(Ordering::Relaxed),
        user_bytes: USER_BYTES.load(Ordering::Relaxed),
        cache_hit_threshold: CACHE_OVER_THRESHOLD.load(Ordering::Relaxed),
        ..Stats::default()
    };
    let mut read_ahead;
    {
        let threads = threads();
        read_ahead = threads.read_ahead;
        stats.big_views = threads.big_views;
        for counts in &threads.living {
            stats.thread_cache_bytes += counts.cached.load(Ordering::Relaxed);
            stats.partial_bytes += counts.partial.load(Ordering::Relaxed);
            read_ahead += counts.read_ahead.load(Ordering::Relaxed);
            stats.big_views += counts.big_views.load(Ordering::Relaxed);
        }
    }
    stats.read_ahead_bytes = usize::try_from(read_ahead).unwrap_or(0); // a sum that others change meanwhile
    let waiting =
        stats.read_ahead_bytes + stats.partial_bytes + stats.thread_cache_bytes + stats.shared_cache_bytes;
    stats.referenced_bytes = stats.block_memory.saturating_sub(waiting);
    stats
}
