//! The blocks that a thread keeps at hand: partly filled ones to append to, and empty ones. Where it has too many or none
//! it turns to the [`depot`] of all threads.
//!
//! Owns which block an append goes to. It must never hand the same block out twice (the type [`Block`] sees to
//! that), nor run user code while it is borrowed. Nothing here parks or blocks.
//!
//! The thread-local is looked up in functions that are never inlined, so that no address of it survives in a
//! caller that has meanwhile moved to another thread.

use std::cell::RefCell;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use crate::block::{Block, Size};
use crate::depot;
use crate::refs::RefQueue;
use crate::shelf::Shelf;
use crate::stats::{self, CACHE_OVER_THRESHOLD};

/// Partly filled blocks that one thread keeps for later appends; more are given up (and counted, see
/// [`Stats::cache_hit_threshold`](crate::Stats::cache_hit_threshold)).
pub const PARTIAL_BLOCKS_MAX: usize = 8;

/// Empty blocks that one thread keeps for reuse (512 KiB); when there are more, half of them go where all threads find
/// them.
pub const FREE_BLOCKS_MAX: usize = 64;

/// Empty blocks of the larger size that one thread keeps for reuse (512 KiB).
pub const FREE_LARGE_BLOCKS_MAX: usize = 8;

thread_local! {
    static CACHE: RefCell<Cache> = const { RefCell::new(Cache::new()) };
}

/// Empty blocks of a size that one thread keeps.
const fn free_max(size: Size) -> usize {
    match size {
        Size::Small => FREE_BLOCKS_MAX,
        Size::Large => FREE_LARGE_BLOCKS_MAX,
    }
}

struct Cache {
    /// The last one is the head, which appends go to. At most [`PARTIAL_BLOCKS_MAX`], all of them small.
    partial: Vec<Block>,
    /// By size, at most [`free_max`] of each.
    empty: [Shelf; 2],
    /// Whether blocks came or went since the counts were set.
    changed: bool,
    /// [`depot::trims`] when idle blocks were given back last.
    trims: usize,
}

impl Cache {
    const fn new() -> Self {
        Self { partial: Vec::new(), empty: [const { Shelf::new() }; 2], changed: false, trims: 0 }
    }

    /// A small block with room, taken out of the cache.
    fn acquire(&mut self) -> Block {
        self.changed = true;
        while let Some(mut block) = self.partial.pop() {
            if block.rewind() || block.spare() > 0 {
                return block;
            }
        }
        self.take_empty(Size::Small)
    }

    #[inline]
    fn take_empty(&mut self, size: Size) -> Block {
        self.changed = true;
        match self.empty[size.index()].take() {
            Some(block) => block,
            None => self.refill(size),
        }
    }

    /// Fetches as many blocks as half of the room takes, and returns one of them.
    #[cold]
    #[inline(never)]
    fn refill(&mut self, size: Size) -> Block {
        let shelf = &mut self.empty[size.index()];
        depot::take(size, free_max(size) / 2, shelf);
        shelf.take().unwrap_or_else(|| Block::alloc(size))
    }

    /// Keeps the block, or gives it back if it is of no use here.
    fn release(&mut self, mut block: Block) -> Option<Block> {
        block.discard_staged();
        if block.rewind() {
            if self.partial.is_empty() && block.size() == Size::Small {
                self.changed = true;
                self.partial.push(block);
            } else {
                self.keep_empty(block);
            }
            return None;
        }
        // The rest of a large block is too much to be pinned by a few small appends.
        if block.spare() == 0 || block.size() == Size::Large {
            return Some(block);
        }
        if self.partial.len() >= PARTIAL_BLOCKS_MAX {
            CACHE_OVER_THRESHOLD.fetch_add(1, Ordering::Relaxed); // Relaxed: a counter only.
            return Some(block);
        }
        self.changed = true;
        self.partial.push(block);
        None
    }

    #[inline]
    fn keep_empty(&mut self, block: Block) {
        self.changed = true;
        let size = block.size();
        if self.empty[size.index()].len() >= free_max(size) {
            self.give_away(size);
        }
        self.empty[size.index()].put(block);
    }

    /// Gives the half of the blocks that was not used longest to all threads.
    #[cold]
    #[inline(never)]
    fn give_away(&mut self, size: Size) {
        let blocks = self.empty[size.index()].take_coldest(free_max(size) / 2);
        depot::put(size, blocks);
    }

    fn give_idle_back(&mut self) {
        self.empty.iter_mut().flat_map(Shelf::take_idle).for_each(Block::destroy);
    }

    /// Brings the counts of the thread up to date, and gives idle blocks back if that is due.
    fn settle(&mut self) {
        self.changed = false;
        let trims = depot::trims();
        if self.trims != trims {
            self.trims = trims;
            self.give_idle_back();
        }
        let cached = Size::ALL.into_iter().map(|size| self.empty[size.index()].len() * size.bytes()).sum();
        let partial = self.partial.len() * Size::Small.bytes();
        stats::set_cached(cached, partial);
    }

    /// The block that appends go to, if it has more room than `n` bytes.
    #[inline]
    fn head(&mut self, n: usize) -> Option<&mut Block> {
        let head = self.partial.last_mut()?;
        head.rewind();
        (head.spare() > n).then_some(head)
    }

    /// Stages into the head, and into further blocks as each gets full, until `stage` says that it is done. Each
    /// block's bytes are committed to `refs`.
    #[inline(never)]
    fn fill(&mut self, refs: &mut RefQueue, stage: &mut dyn FnMut(&mut Block) -> bool) {
        loop {
            let mut block = self.acquire();
            let done = stage(&mut block);
            refs.commit(&mut block);
            if block.spare() > 0 {
                self.partial.push(block);
            }
            if done {
                return;
            }
        }
    }
}

/// Runs `op` on the thread's cache, or on an empty one of its own when that is gone (the thread is ending) or in
/// use (an allocator that itself uses buffers).
#[inline]
fn with_cache<R>(mut op: impl FnMut(&mut Cache) -> R) -> R {
    let result = CACHE.try_with(|cache| {
        let mut cache = cache.try_borrow_mut().ok()?;
        let result = op(&mut cache);
        if cache.changed {
            cache.settle();
        }
        Some(result)
    });
    match result {
        Ok(Some(result)) => result,
        _ => without_cache(&mut op),
    }
}

#[cold]
#[inline(never)]
fn without_cache<R>(op: &mut dyn FnMut(&mut Cache) -> R) -> R {
    op(&mut Cache::new())
}

/// Copies `src` behind what `refs` has.
#[inline(never)]
pub(crate) fn append(refs: &mut RefQueue, src: &[u8]) {
    with_cache(|cache| match cache.head(src.len()) {
        Some(head) => {
            head.stage(src);
            refs.commit(head);
        }
        None => {
            let mut rest = src;
            cache.fill(refs, &mut |block| {
                rest = &rest[block.stage(rest)..];
                rest.is_empty()
            });
        }
    });
}

/// Puts one byte behind what `refs` has.
#[inline(never)]
pub(crate) fn push(refs: &mut RefQueue, byte: u8) {
    with_cache(|cache| match cache.head(1) {
        Some(head) => {
            head.stage_byte(byte);
            refs.commit(head);
        }
        None => cache.fill(refs, &mut |block| block.stage_byte(byte)),
    });
}

/// Puts `n` times the same byte behind what `refs` has.
#[inline(never)]
pub(crate) fn append_fill(refs: &mut RefQueue, byte: u8, n: usize) {
    with_cache(|cache| {
        let mut rest = n;
        cache.fill(refs, &mut |block| {
            rest -= block.stage_fill(byte, rest);
            rest == 0
        });
    });
}

/// A block with room, which from now on is the caller's alone.
#[inline(never)]
pub(crate) fn acquire() -> Block {
    with_cache(Cache::acquire)
}

/// Adds blocks with room until together they have room for `bytes` or `blocks` has `count_max` elements: as [`acquire`]
/// gives them, but for large ones behind the first if so many bytes fill one. The first is never large, so that a few
/// bytes, where many were asked for, do not pin it.
#[inline(never)]
pub(crate) fn acquire_room<const N: usize>(
    blocks: &mut SmallVec<[Block; N]>,
    bytes: usize,
    count_max: usize,
) {
    let is_long = bytes >= Size::Large.payload();
    with_cache(|cache| {
        let mut left = bytes;
        while left > 0 && blocks.len() < count_max {
            let block =
                if is_long && !blocks.is_empty() { cache.take_empty(Size::Large) } else { cache.acquire() };
            left = left.saturating_sub(block.spare());
            blocks.push(block);
        }
    });
}

/// Gives blocks from [`acquire`] back, possibly on another thread. Staged bytes are forgotten.
#[inline(never)]
pub(crate) fn release(blocks: impl IntoIterator<Item = Block>) {
    let mut blocks = blocks.into_iter();
    with_cache(|cache| {
        // A block that is refused and not referenced either is freed: the cache, being in use, cannot take it again.
        blocks.by_ref().filter_map(|block| cache.release(block)).for_each(drop);
    });
}

/// Gives back to the allocator what the calling thread's cache did not need since the last call (or since its first use of
/// blocks after a [`trim`](crate::trim)): for threads that have nothing to do and keep what they had to do something
/// with. Neither parks nor blocks.
#[inline(never)]
pub fn trim_thread() {
    // Nothing to do for a thread without a cache, or inside of an allocator.
    let _ = CACHE.try_with(|cache| {
        let Ok(mut cache) = cache.try_borrow_mut() else { return };
        cache.give_idle_back();
        cache.settle();
    });
}

/// Keeps an empty block to which nothing refers any more, or frees it.
#[inline(never)]
pub(crate) fn recycle(block: Block) {
    let mut block = Some(block);
    let kept = CACHE.try_with(|cache| {
        let mut cache = cache.try_borrow_mut().ok()?;
        cache.keep_empty(block.take()?);
        cache.settle();
        Some(())
    });
    let _ = kept; // when the cache is gone or in use the block is still here
    if let Some(block) = block {
        block.destroy();
    }
}

#[cfg(test)]
mod tests;
