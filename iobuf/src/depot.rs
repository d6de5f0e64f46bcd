//! The empty blocks that threads have too many of, for those that have none: a reader's thread takes blocks, the
//! sender's, often another one, gives them back.
//!
//! Owns the second level of the cache, its bound, and giving memory back. A thread comes here once for many blocks, and
//! the lock is held for moving them; no block is allocated or freed meanwhile, so that no user code runs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::block::{Block, Size};
use crate::shelf::Shelf;

/// Bytes of empty blocks of either size that the process keeps for all threads, beside what each has for itself; more go
/// back to the allocator.
pub const SHARED_BYTES_MAX: usize = 16 << 20;

static SHELVES: [Mutex<Shelf>; 2] = [const { Mutex::new(Shelf::new()) }; 2];

/// How often [`trim`] was called.
static TRIMS: AtomicUsize = AtomicUsize::new(0);

fn shelf(size: Size) -> MutexGuard<'static, Shelf> {
    SHELVES[size.index()].lock().unwrap_or_else(PoisonError::into_inner)
}

/// Moves up to `n` blocks to `to`.
pub(crate) fn take(size: Size, n: usize, to: &mut Shelf) {
    shelf(size).move_to(to, n);
}

/// Keeps blocks of one size, and frees those for which there is no room.
pub(crate) fn put(size: Size, blocks: Vec<Block>) {
    let mut rest = blocks.into_iter();
    {
        let mut shelf = shelf(size);
        let room = (SHARED_BYTES_MAX / size.bytes()).saturating_sub(shelf.len());
        rest.by_ref().take(room).for_each(|block| shelf.put(block));
    }
    rest.for_each(Block::destroy);
}

/// Bytes of the blocks here.
pub(crate) fn bytes() -> usize {
    Size::ALL.into_iter().map(|size| shelf(size).len() * size.bytes()).sum()
}

/// A number that changes with each [`trim`].
#[inline]
pub(crate) fn trims() -> usize {
    TRIMS.load(Ordering::Relaxed) // nothing is published through it
}

/// Gives back to the allocator what the cache that all threads share did not need since the last call, and has each
/// thread do the same with its own when it next takes or gives a block; returns the bytes given back here. To be called
/// from time to time, as servers and channels do each second: a process that has become idle then keeps no more than
/// [`FREE_BLOCKS_MAX`](crate::FREE_BLOCKS_MAX) and [`FREE_LARGE_BLOCKS_MAX`](crate::FREE_LARGE_BLOCKS_MAX) blocks for
/// each thread. Neither parks nor blocks.
pub fn trim() -> usize {
    TRIMS.fetch_add(1, Ordering::Relaxed); // as in `trims`
    let mut freed = 0;
    for size in Size::ALL {
        let idle = shelf(size).take_idle();
        freed += idle.len() * size.bytes();
        idle.into_iter().for_each(Block::destroy);
    }
    freed
}
