//! A table from versioned 64-bit ids to shared objects: `version << 32 | index`.
//!
//! An id names one insertion for ever: once its object was removed the id misses, also after its slot was used
//! again (`spec/rpc-core.md` §1). Slots are never given back, their number is bounded by the capacity.
//! Each slot has a lock of its own that is held for a few instructions, so use of different ids does not contend.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crossbeam_utils::CachePadded;

use crate::atomic::lock;

/// log2 of the slots in the first chunk; each later chunk is twice the one before it.
const FIRST_CHUNK_BITS: u32 = 6;
/// Chunks in a table: enough for the largest capacity, 2^31.
const CHUNKS: usize = 26;
/// Free lists, so that threads seldom meet on one.
const SHARDS: usize = 8;
/// Slots that a free list fetches at once when it runs dry.
const CARVE: u32 = 16;
/// The largest capacity a table can have.
const CAPACITY_LIMIT: u32 = 1 << 31;

/// A bounded table of `Arc<T>` addressed by versioned ids. All methods may run in parallel with each other from
/// any thread or bthread; none blocks beyond a lock held for a few instructions.
///
/// ```
/// # use std::sync::Arc;
/// let slab = bthread::slab::Slab::new(1000);
/// let id = slab.insert(Arc::new("call")).unwrap();
/// assert_eq!(*slab.get(id).unwrap(), "call");
/// assert!(slab.remove(id).is_some());
/// assert!(slab.remove(id).is_none() && slab.get(id).is_none());
/// ```
pub struct Slab<T: ?Sized> {
    capacity: u32,
    /// Slots handed out so far; grows in steps of `CARVE`.
    carved: AtomicU32,
    len: AtomicUsize,
    chunks: [OnceLock<Box<[Slot<T>]>>; CHUNKS],
    free: [CachePadded<Mutex<Vec<u32>>>; SHARDS],
}

struct Slot<T: ?Sized>(Mutex<Entry<T>>);

struct Entry<T: ?Sized> {
    version: u32,
    value: Option<Arc<T>>,
}

impl<T: ?Sized> Slab<T> {
    /// A table that holds at most `capacity` objects at a time (at most 2^31; 0 holds none). Allocates nothing yet.
    pub fn new(capacity: usize) -> Self {
        Slab {
            capacity: u32::try_from(capacity).unwrap_or(CAPACITY_LIMIT).min(CAPACITY_LIMIT),
            carved: AtomicU32::new(0),
            len: AtomicUsize::new(0),
            chunks: [const { OnceLock::new() }; CHUNKS],
            free: std::array::from_fn(|_| CachePadded::new(Mutex::new(Vec::new()))),
        }
    }

    /// Stores `value` and returns its id (never 0), or `None` when the table is at its capacity.
    pub fn insert(&self, value: Arc<T>) -> Option<u64> {
        let index = self.allocate()?;
        let mut entry = lock(&self.slot(index)?.0);
        entry.value = Some(value);
        self.len.fetch_add(1, Ordering::Relaxed); // a count for people; pairs with nothing
        Some(u64::from(entry.version) << 32 | u64::from(index))
    }

    /// The object that `id` names, or `None` when it was removed or never existed.
    pub fn get(&self, id: u64) -> Option<Arc<T>> {
        let entry = lock(&self.slot(id as u32)?.0);
        if entry.version == (id >> 32) as u32 { entry.value.clone() } else { None }
    }

    /// Takes the object out. Of several concurrent callers exactly one gets it.
    pub fn remove(&self, id: u64) -> Option<Arc<T>> {
        let value = {
            let mut entry = lock(&self.slot(id as u32)?.0);
            if entry.version != (id >> 32) as u32 {
                return None;
            }
            let value = entry.value.take()?;
            entry.version = next_version(entry.version);
            value
        };
        self.len.fetch_sub(1, Ordering::Relaxed); // as in insert
        lock(&self.free[shard()]).push(id as u32);
        Some(value)
    }

    /// Objects in the table now; a snapshot.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether the table held no object a moment ago.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The largest number of objects this table holds.
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    fn allocate(&self) -> Option<u32> {
        let home = shard();
        if let Some(index) = lock(&self.free[home]).pop() {
            return Some(index);
        }
        let carved = self.carved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |carved| {
            (carved < self.capacity).then(|| self.capacity.min(carved + CARVE))
        }); // a count; the locks of slots and lists order the rest
        if let Ok(start) = carved {
            let end = self.capacity.min(start + CARVE);
            self.chunk_of(end - 1);
            self.chunk_of(start);
            lock(&self.free[home]).extend((start + 1..end).rev());
            return Some(start);
        }
        (1..SHARDS).find_map(|step| lock(&self.free[(home + step) % SHARDS]).pop())
    }

    fn slot(&self, index: u32) -> Option<&Slot<T>> {
        let (chunk, offset) = locate(index);
        self.chunks.get(chunk)?.get()?.get(offset)
    }

    fn chunk_of(&self, index: u32) -> &[Slot<T>] {
        let (chunk, _) = locate(index);
        self.chunks[chunk].get_or_init(|| {
            (0..1usize << (FIRST_CHUNK_BITS + chunk as u32))
                .map(|_| Slot(Mutex::new(Entry { version: 1, value: None })))
                .collect()
        })
    }
}

impl<T: ?Sized> std::fmt::Debug for Slab<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slab")
            .field("len", &self.len())
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

/// Chunk and offset of a slot: chunk c holds the indices from 64·(2^c − 1) on.
fn locate(index: u32) -> (usize, usize) {
    let shifted = u64::from(index) + (1 << FIRST_CHUNK_BITS);
    let chunk = 63 - shifted.leading_zeros() - FIRST_CHUNK_BITS;
    (chunk as usize, (shifted - (1 << (chunk + FIRST_CHUNK_BITS))) as usize)
}

/// Versions run from 1 and skip 0, so that no id is 0.
fn next_version(version: u32) -> u32 {
    version.checked_add(1).unwrap_or(1)
}

fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static SHARD: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
    SHARD.with(|shard| *shard)
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
    fn a_removed_id_misses_for_ever() {
        let slab = Slab::new(1);
        let first = slab.insert(Arc::new(1)).unwrap();
        assert!(slab.insert(Arc::new(2)).is_none(), "the capacity is a bound");
        assert_eq!(slab.remove(first).as_deref(), Some(&1));
        let second = slab.insert(Arc::new(3)).unwrap();
        assert_ne!(first, second);
        assert!(slab.get(first).is_none() && slab.remove(first).is_none());
        assert_eq!(slab.get(second).as_deref(), Some(&3));
        assert!(slab.get(0).is_none() && slab.get(u64::MAX).is_none());
    }

    #[test]
    fn version_zero_is_skipped() {
        assert_eq!(next_version(u32::MAX), 1);
    }

    #[test]
    fn one_remover_wins() {
        const ITEMS: usize = if cfg!(miri) { 64 } else { 4096 };
        let slab = Arc::new(Slab::new(4096));
        let ids: Vec<u64> = (0..ITEMS).map(|n| slab.insert(Arc::new(n)).unwrap()).collect();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (slab, ids) = (slab.clone(), ids.clone());
                std::thread::spawn(move || ids.iter().filter(|id| slab.remove(**id).is_some()).count())
            })
            .collect();
        assert_eq!(threads.into_iter().map(|t| t.join().unwrap()).sum::<usize>(), ITEMS);
        assert!(slab.is_empty());
        assert_eq!((0..ITEMS).filter_map(|n| slab.insert(Arc::new(n))).collect::<HashSet<_>>().len(), ITEMS);
    }
}
