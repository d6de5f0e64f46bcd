//! Process-wide counters of what the crate holds.
//!
//! They change where memory is taken from or given back to the allocator, never on the way to a cache.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::block::BLOCK_SIZE;

pub(crate) static BLOCKS: AtomicUsize = AtomicUsize::new(0);
pub(crate) static USER_BLOCKS: AtomicUsize = AtomicUsize::new(0);
pub(crate) static CACHE_OVER_THRESHOLD: AtomicU64 = AtomicU64::new(0);

/// What the process holds at this moment, see [`stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Blocks taken from the allocator and not given back; those waiting in thread caches are counted.
    pub block_count: usize,
    /// Bytes in those blocks.
    pub block_memory: usize,
    /// Pieces of user memory that are still referenced.
    pub user_blocks: usize,
    /// How often a partly filled block found [`PARTIAL_BLOCKS_MAX`](crate::PARTIAL_BLOCKS_MAX) others in its
    /// thread's cache and was given up instead of kept. Only grows.
    pub cache_hit_threshold: u64,
}

/// Reads the process-wide counters (`spec/iobuf.md` §1.2). Neither parks nor blocks; the numbers are each exact,
/// but not taken at one instant.
#[must_use]
pub fn stats() -> Stats {
    // Relaxed: counters only, nothing is published through them.
    let block_count = BLOCKS.load(Ordering::Relaxed);
    Stats {
        block_count,
        block_memory: block_count * BLOCK_SIZE,
        user_blocks: USER_BLOCKS.load(Ordering::Relaxed),
        cache_hit_threshold: CACHE_OVER_THRESHOLD.load(Ordering::Relaxed),
    }
}
