//! The blocks that a thread keeps at hand: partly filled ones to append to, and empty ones.
//!
//! Owns which block an append goes to. It must never hand the same block out twice (the type [`Block`] sees to
//! that), nor run user code while it is borrowed. Nothing here parks or blocks.
//!
//! The thread-local is looked up in functions that are never inlined, so that no address of it survives in a
//! caller that has meanwhile moved to another thread.

use std::cell::RefCell;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use crate::block::Block;
use crate::refs::RefQueue;
use crate::stats::CACHE_OVER_THRESHOLD;

/// Partly filled blocks that one thread keeps for later appends; more are given up (and counted, see
/// [`Stats::cache_hit_threshold`](crate::Stats::cache_hit_threshold)).
pub const PARTIAL_BLOCKS_MAX: usize = 8;

/// Empty blocks that one thread keeps for reuse (2 MiB); more go back to the allocator.
pub const FREE_BLOCKS_MAX: usize = 256;

thread_local! {
    static CACHE: RefCell<Cache> = const { RefCell::new(Cache { partial: Vec::new(), empty: Vec::new() }) };
}

struct Cache {
    /// The last one is the head, which appends go to. At most [`PARTIAL_BLOCKS_MAX`].
    partial: Vec<Block>,
    /// At most [`FREE_BLOCKS_MAX`].
    empty: Vec<Block>,
}

impl Cache {
    /// A block with room, taken out of the cache.
    fn acquire(&mut self) -> Block {
        while let Some(mut block) = self.partial.pop() {
            if block.rewind() || block.spare() > 0 {
                return block;
            }
        }
        self.empty.pop().unwrap_or_else(Block::alloc)
    }

    /// Keeps the block, or gives it back if it is of no use here.
    fn release(&mut self, mut block: Block) -> Option<Block> {
        block.discard_staged();
        if block.rewind() {
            if self.partial.is_empty() {
                self.partial.push(block);
                return None;
            }
            return self.keep_empty(block);
        }
        if block.spare() == 0 {
            return Some(block);
        }
        if self.partial.len() >= PARTIAL_BLOCKS_MAX {
            CACHE_OVER_THRESHOLD.fetch_add(1, Ordering::Relaxed); // Relaxed: a counter only.
            return Some(block);
        }
        self.partial.push(block);
        None
    }

    fn keep_empty(&mut self, block: Block) -> Option<Block> {
        if self.empty.len() >= FREE_BLOCKS_MAX {
            return Some(block);
        }
        self.empty.push(block);
        None
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
    let result = CACHE.try_with(|cache| cache.try_borrow_mut().ok().map(|mut cache| op(&mut cache)));
    match result {
        Ok(Some(result)) => result,
        _ => without_cache(&mut op),
    }
}

#[cold]
#[inline(never)]
fn without_cache<R>(op: &mut dyn FnMut(&mut Cache) -> R) -> R {
    op(&mut Cache { partial: Vec::new(), empty: Vec::new() })
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

/// Adds blocks with room, as [`acquire`] gives them, until together they have room for `bytes` or `blocks` has
/// `count_max` elements.
#[inline(never)]
pub(crate) fn acquire_room<const N: usize>(
    blocks: &mut SmallVec<[Block; N]>,
    bytes: usize,
    count_max: usize,
) {
    with_cache(|cache| {
        let mut left = bytes;
        while left > 0 && blocks.len() < count_max {
            let block = cache.acquire();
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

/// Keeps an empty block to which nothing refers any more, or frees it.
#[inline(never)]
pub(crate) fn recycle(block: Block) {
    let mut block = Some(block);
    let kept = CACHE.try_with(|cache| {
        let mut cache = cache.try_borrow_mut().ok()?;
        block = cache.keep_empty(block.take()?);
        Some(())
    });
    let _ = kept; // when the cache is gone or in use the block is still here
    if let Some(block) = block {
        block.destroy();
    }
}

#[cfg(test)]
mod tests;
