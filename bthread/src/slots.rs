//! Numbered places that are made as they are needed and never given back: what versioned ids lead to.
//!
//! Owns where a place lies and which ones are free. It must never touch what is in one: the place itself says which
//! use of it an id names.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crossbeam_utils::CachePadded;

/// log2 of the places in the first chunk; each later chunk is twice the one before it.
const FIRST_CHUNK_BITS: u32 = 6;
/// Chunks in a table: enough for the largest capacity, 2^31.
const CHUNKS: usize = 26;
/// Free lists, so that threads seldom meet on one.
pub(crate) const SHARDS: usize = 8;
/// Places that a free list fetches at once when it runs dry.
const CARVE: u32 = 16;
/// The largest capacity a table can have.
const CAPACITY_LIMIT: u32 = 1 << 31;

/// At most `capacity` places, by index.
pub(crate) struct Slots<S> {
    capacity: u32,
    /// Places handed out so far; grows in steps of `CARVE`.
    carved: AtomicU32,
    chunks: [OnceLock<Box<[S]>>; CHUNKS],
    free: [CachePadded<Mutex<Vec<u32>>>; SHARDS],
}

impl<S> Slots<S> {
    /// At most 2^31 places. Allocates nothing yet.
    pub(crate) const fn new(capacity: usize) -> Self {
        let capacity = if capacity > CAPACITY_LIMIT as usize { CAPACITY_LIMIT } else { capacity as u32 };
        Slots {
            capacity,
            carved: AtomicU32::new(0),
            chunks: [const { OnceLock::new() }; CHUNKS],
            free: [const { CachePadded::new(Mutex::new(Vec::new())) }; SHARDS],
        }
    }

    /// The index of a place that nobody uses; `new` makes places that were not there before.
    pub(crate) fn allocate(&self, new: impl Fn() -> S) -> Option<u32> {
        let home = shard();
        if let Some(index) = self.free_list(home).pop() {
            return Some(index);
        }
        let carved = self.carved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |carved| {
            (carved < self.capacity).then(|| self.capacity.min(carved + CARVE))
        }); // a count; the locks of places and lists order the rest
        if let Ok(start) = carved {
            let end = self.capacity.min(start + CARVE);
            self.make_chunk_of(end - 1, &new);
            self.make_chunk_of(start, &new);
            self.free_list(home).extend((start + 1..end).rev());
            return Some(start);
        }
        (1..SHARDS).find_map(|step| self.free_list((home + step) % SHARDS).pop())
    }

    /// Takes back what `allocate` gave.
    pub(crate) fn free(&self, index: u32) {
        self.free_list(shard()).push(index);
    }

    fn free_list(&self, shard: usize) -> MutexGuard<'_, Vec<u32>> {
        // Nothing in here panics while it is held. std's, in models too: they are about what is in the places.
        self.free[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place with this index, used or not; none if it was never made.
    pub(crate) fn get(&self, index: u32) -> Option<&S> {
        let (chunk, offset) = locate(index);
        self.chunks.get(chunk)?.get()?.get(offset)
    }

    /// All places made so far have an index below this.
    pub(crate) fn end(&self) -> u32 {
        self.carved.load(Ordering::Relaxed) // a count, as in `allocate`; a place that is not made yet is `None`
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity as usize
    }

    fn make_chunk_of(&self, index: u32, new: &impl Fn() -> S) {
        let (chunk, _) = locate(index);
        self.chunks[chunk]
            .get_or_init(|| (0..1usize << (FIRST_CHUNK_BITS + chunk as u32)).map(|_| new()).collect());
    }
}

/// Chunk and offset of a place: chunk c holds the indices from 64·(2^c − 1) on.
fn locate(index: u32) -> (usize, usize) {
    let shifted = u64::from(index) + (1 << FIRST_CHUNK_BITS);
    let chunk = 63 - shifted.leading_zeros() - FIRST_CHUNK_BITS;
    (chunk as usize, (shifted - (1 << (chunk + FIRST_CHUNK_BITS))) as usize)
}

/// A number below [`SHARDS`] that is the calling thread's own as long as there are few threads. Never inlined, so that
/// no compiler keeps the thread-local's address across a wait.
#[inline(never)]
pub(crate) fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static SHARD: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
    SHARD.try_with(|shard| *shard).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_index_has_its_own_place() {
        let mut seen = HashSet::new();
        for index in 0..100_000u32 {
            let (chunk, offset) = locate(index);
            assert!(offset < 64 << chunk);
            assert!(seen.insert((chunk, offset)));
        }
        assert!(locate(CAPACITY_LIMIT - 1).0 < CHUNKS);
    }

    #[test]
    fn the_capacity_is_a_bound_and_what_is_freed_is_used_again() {
        let slots = Slots::new(20);
        let all: HashSet<u32> = std::iter::from_fn(|| slots.allocate(|| ())).collect();
        assert_eq!(all.len(), 20);
        slots.free(7);
        assert_eq!(slots.allocate(|| ()), Some(7));
        assert!(slots.allocate(|| ()).is_none() && slots.get(19).is_some() && slots.get(u32::MAX).is_none());
    }
}
