//! A table from versioned 64-bit ids to shared objects: `version << 32 | index`.
//!
//! An id names one insertion for ever: once its object was removed the id misses, also after its slot was used
//! again (`spec/rpc-core.md` §1). Slots are never given back, their number is bounded by the capacity.
//! Each slot has a lock of its own that is held for a few instructions, so use of different ids does not contend.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::atomic::lock;
use crate::slots::Slots;

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
    len: AtomicUsize,
    slots: Slots<Mutex<Entry<T>>>,
}

struct Entry<T: ?Sized> {
    version: u32,
    value: Option<Arc<T>>,
}

impl<T: ?Sized> Slab<T> {
    /// A table that holds at most `capacity` objects at a time (at most 2^31; 0 holds none). Allocates nothing yet.
    pub fn new(capacity: usize) -> Self {
        Slab { len: AtomicUsize::new(0), slots: Slots::new(capacity) }
    }

    /// Stores `value` and returns its id (never 0), or `None` when the table is at its capacity.
    pub fn insert(&self, value: Arc<T>) -> Option<u64> {
        let index = self.slots.allocate(|| Mutex::new(Entry { version: 1, value: None }))?;
        let mut entry = lock(self.slots.get(index)?);
        entry.value = Some(value);
        self.len.fetch_add(1, Ordering::Relaxed); // a count for people; pairs with nothing
        Some(u64::from(entry.version) << 32 | u64::from(index))
    }

    /// The object that `id` names, or `None` when it was removed or never existed.
    pub fn get(&self, id: u64) -> Option<Arc<T>> {
        let entry = lock(self.slots.get(id as u32)?);
        if entry.version == (id >> 32) as u32 { entry.value.clone() } else { None }
    }

    /// Takes the object out. Of several concurrent callers exactly one gets it.
    pub fn remove(&self, id: u64) -> Option<Arc<T>> {
        let value = {
            let mut entry = lock(self.slots.get(id as u32)?);
            if entry.version != (id >> 32) as u32 {
                return None;
            }
            let value = entry.value.take()?;
            entry.version = next_version(entry.version);
            value
        };
        self.len.fetch_sub(1, Ordering::Relaxed); // as in insert
        self.slots.free(id as u32);
        Some(value)
    }

    /// The objects in the table, in the order of their places. Those that come or go meanwhile may be missed. No lock is
    /// held while the caller looks at one.
    pub fn iter(&self) -> impl Iterator<Item = Arc<T>> {
        (0..self.slots.end()).filter_map(|index| lock(self.slots.get(index)?).value.clone())
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
        self.slots.capacity()
    }
}

impl<T: ?Sized> std::fmt::Debug for Slab<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slab")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

/// Versions run from 1 and skip 0, so that no id is 0.
fn next_version(version: u32) -> u32 {
    version.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

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
    fn what_is_in_the_table_can_be_looked_through() {
        let slab = Slab::new(100);
        let ids: Vec<_> = (0..100).map(|n| slab.insert(Arc::new(n)).unwrap()).collect();
        slab.remove(ids[7]);
        let mut seen: Vec<_> = slab.iter().map(|value| *value).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..100).filter(|n| *n != 7).collect::<Vec<_>>());
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
