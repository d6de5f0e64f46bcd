//! • Histograms, one look-up for count, sum, maximum and bucket.
//!
//! A thread has a root for each tally that it wrote to, and below it a chunk of buckets for each leaf that
//! it counted in. Must never know which values a bucket stands for: [`crate::percentile`] does. Why the
//! unsafe code is sound: see [`super`]; what it says of an entry and its root holds for a root and its
//! leaves.

#![allow(unsafe_code)]

use super::word::{Chunk, take};
use super::{CHUNK_WORDS, Fold, LOCAL, lock, with_own_table};
use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

/// Chunks of buckets in a tally.
pub(crate) const LEAVES: usize = 43;

/// The most tallies that a process may have, which bounds a thread's directory to 8 MiB. Asking for more
/// panics, when a variable is created.
pub(crate) const MAX_TALLIES: usize = 1 << 20;

/// What one thread has recorded in one tally.
#[repr(C, align(128))]
pub(super) struct Root {
    /// Written last, with release: who has seen it (acquire) sees all that it counts.
    count: AtomicU64,
    sum: AtomicU64,
    /// Since it was taken last.
    max: AtomicU64,
    leaves: [AtomicPtr<Chunk>; LEAVES],
}

impl Default for Root {
    fn default() -> Self {
        Root {
            count: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            max: AtomicU64::new(0),
            leaves: [const { AtomicPtr::new(ptr::null_mut()) }; LEAVES],
        }
    }
}

impl Root {
    fn leaf(&self, leaf: usize) -> Option<&Chunk> {
        // Relaxed: stored by the calling thread, or the caller holds the lock under which leaves are made.
        // SAFETY: a non-null leaf lives as long as its root.
        unsafe { self.leaves[leaf].load(Relaxed).as_ref() }
    }

    /// The leaf, made where there was none. The caller holds the lock.
    fn make_leaf(&self, leaf: usize) -> &Chunk {
        if self.leaf(leaf).is_none() {
            // Relaxed: read again by this thread, or by others under the lock.
            self.leaves[leaf].store(Box::into_raw(Box::default()), Relaxed);
        }
        self.leaf(leaf).expect("just made")
    }

    /// Counts a value, unless there is no memory for its bucket yet. The caller is the only writer.
    #[inline(always)]
    fn record(&self, leaf: usize, bucket: usize, value: u64) -> bool {
        let Some(chunk) = self.leaf(leaf) else {
            return false;
        };
        // Relaxed but for the count: see `Fold::write` and `Root::count`.
        Fold::Sum.write(&chunk.0[bucket], 1);
        Fold::Sum.write(&self.sum, value);
        Fold::Max.write(&self.max, value);
        self.count.store(self.count.load(Relaxed).wrapping_add(1), Release);
        true
    }

    /// Adds what another thread recorded. The caller holds the lock.
    pub(super) fn merge(&self, other: &Root) {
        for leaf in 0..LEAVES {
            if let Some(chunk) = other.leaf(leaf) {
                self.make_leaf(leaf).merge(chunk, Fold::Sum);
            }
        }
        // Relaxed: under the lock, and `other` has no writer any more.
        Fold::Sum.write(&self.sum, other.sum.load(Relaxed));
        Fold::Max.write(&self.max, other.max.load(Relaxed));
        Fold::Sum.write(&self.count, other.count.load(Relaxed));
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        for leaf in &mut self.leaves {
            let chunk = *leaf.get_mut();
            if !chunk.is_null() {
                // SAFETY: from `Box::into_raw` in `make_leaf`, and nobody else has the root.
                drop(unsafe { Box::from_raw(chunk) });
            }
        }
    }
}

/// What a tally has seen, without its buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) count: u64,
    /// Wraps around.
    pub(crate) sum: u64,
    pub(crate) max: u64,
}

/// Owns the id of one tally.
pub(crate) struct Tally {
    id: u32,
    /// The largest value that [`Tally::take_max`] has taken. Written and read under the lock.
    taken: AtomicU64,
}

impl Tally {
    /// A tally of nothing.
    ///
    /// # Panics
    /// If the process already has [`MAX_TALLIES`].
    pub(crate) fn new() -> Self {
        let mut state = lock();
        let id = state.free_tallies.pop().unwrap_or_else(|| {
            let id = state.tallies;
            assert!((id as usize) < MAX_TALLIES, "bvar: more than {MAX_TALLIES} histograms");
            state.tallies += 1;
            id
        });
        Tally { id, taken: AtomicU64::new(0) }
    }

    #[cfg(test)]
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Counts `value` in `bucket` of `leaf`.
    ///
    /// # Panics
    /// If there is no such bucket.
    #[inline(always)]
    pub(crate) fn record(&self, leaf: usize, bucket: usize, value: u64) {
        let id = self.id as usize;
        let done = LOCAL.with(|local| {
            // SAFETY: as in `word::write`.
            let directory = unsafe { &*local.roots.get() };
            let Some(entry) = directory.get(id) else {
                return false;
            };
            // Relaxed: this thread stored the pointer itself, or a drop of the id's former owner cleared it,
            // which happened before the caller could own the id.
            // SAFETY: a non-null entry points to a live root. It is freed only when this thread ends, or by the
            // drop of the tally that owns `id`, which is borrowed.
            match unsafe { entry.load(Relaxed).as_ref() } {
                Some(root) => root.record(leaf, bucket, value),
                None => false,
            }
        });
        if !done {
            self.record_slowly(leaf, bucket, value);
        }
    }

    /// The first value of a thread for a leaf, and every one of a thread whose enrolment has ended.
    #[cold]
    #[inline(never)]
    fn record_slowly(&self, leaf: usize, bucket: usize, value: u64) {
        with_own_table(|table| {
            let root = table.roots.get_or_insert(self.id as usize, MAX_TALLIES);
            root.make_leaf(leaf);
            root.record(leaf, bucket, value);
        });
    }

    /// Runs `fold` over what each thread has, and ended ones together, under the lock.
    fn fold<T>(&self, start: T, fold: impl FnMut(T, &Root) -> T) -> T {
        let state = lock();
        let id = self.id as usize;
        state.everyone().filter_map(|table| table.roots.get(id)).fold(start, fold)
    }

    /// Count, sum and maximum since creation.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = self.fold(Totals::default(), |totals, root| totals.and(root));
        // Relaxed: the lock was taken after whoever took a maximum out of the words that were read, if he did.
        totals.max = totals.max.max(self.taken.load(Relaxed));
        totals
    }

    /// [`Tally::totals`], and the counts of each leaf that was ever counted in, in order.
    pub(crate) fn read(&self) -> (Totals, Vec<(usize, [u64; CHUNK_WORDS])>) {
        let mut leaves: Vec<(usize, [u64; CHUNK_WORDS])> = Vec::new();
        let mut totals = self.fold(Totals::default(), |totals, root| {
            // The count first: buckets may be ahead of it, never behind.
            let totals = totals.and(root);
            for (index, chunk) in (0..LEAVES).filter_map(|leaf| root.leaf(leaf).map(|chunk| (leaf, chunk))) {
                let at = leaves.binary_search_by_key(&index, |(leaf, _)| *leaf).unwrap_or_else(|at| {
                    leaves.insert(at, (index, [0; CHUNK_WORDS]));
                    at
                });
                for (sum, word) in leaves[at].1.iter_mut().zip(&chunk.0) {
                    *sum = sum.wrapping_add(word.load(Relaxed));
                }
            }
            totals
        });
        // Relaxed: as in `totals`.
        totals.max = totals.max.max(self.taken.load(Relaxed));
        (totals, leaves)
    }

    /// The maximum since the last call, 0 if nothing was recorded.
    pub(crate) fn take_max(&self) -> u64 {
        self.fold(0, |max, root| {
            let max = max.max(take(&root.max));
            // Relaxed: under the lock.
            self.taken.fetch_max(max, Relaxed);
            max
        })
    }
}

impl Totals {
    fn and(self, root: &Root) -> Totals {
        // Acquire: pairs with the release of the count.
        let count = root.count.load(Acquire);
        Totals {
            count: self.count.wrapping_add(count),
            sum: self.sum.wrapping_add(root.sum.load(Relaxed)),
            max: self.max.max(root.max.load(Relaxed)),
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let mut state = lock();
        state.everyone().for_each(|table| drop(table.roots.take(self.id as usize)));
        state.free_tallies.push(self.id);
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tally#{}", self.id)
    }
}
