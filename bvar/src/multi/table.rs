//! The combinations of one variable: found by label values, made on demand, evicted at the limit.
//!
//! The map is cut into shards, each with a lock of its own, so that combinations are mostly found without
//! waiting for each other. What is evicted is decided by a hand that goes round all combinations ("clock",
//! an approximation of least recently used): one that was asked for since the hand last passed is passed
//! over once more, and one whose handle somebody holds is passed over as long as there is any other. Finding
//! a combination again and again so writes nothing but the handle's own count.
//!
//! Must never call the code of a value (its making, its drop) under a lock.

use super::labels::{Values, Wanted};
use indexmap::IndexMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

const SHARDS: usize = 16;

/// How often the hand goes round in search of one that nobody holds: once to forget who was asked for, once
/// more to find it.
const ROUNDS: usize = 2;

struct Entry<V> {
    value: Arc<V>,
    /// Asked for since the hand passed.
    used: AtomicBool,
}

type Shard<V> = IndexMap<Values, Entry<V>, RandomState>;

/// Where the hand points to.
#[derive(Default)]
struct Hand {
    shard: usize,
    index: usize,
}

/// Moves the hand on from `index` and takes out the first combination that was not asked for since it last
/// passed and that nobody holds. The last of the shard moves to its place and is looked at next.
fn sweep<V>(shard: &mut Shard<V>, index: &mut usize) -> Option<(Values, Entry<V>)> {
    while let Some((_, entry)) = shard.get_index(*index) {
        // Handles are given out under the shard's lock, which is ours: nobody begins to hold it meanwhile.
        if !entry.used.swap(false, Relaxed) && Arc::strong_count(&entry.value) == 1 {
            return shard.swap_remove_index(*index);
        }
        *index += 1;
    }
    None
}

pub(super) struct Table<V> {
    shards: [RwLock<Shard<V>>; SHARDS],
    hash: RandomState,
    count: AtomicUsize,
    evicted: AtomicU64,
    /// Taken before a shard's lock, never while one is held.
    hand: Mutex<Hand>,
}

impl<V> Table<V> {
    pub(super) fn new() -> Self {
        let hash = RandomState::new();
        Table {
            shards: std::array::from_fn(|_| RwLock::new(IndexMap::with_hasher(hash.clone()))),
            hash,
            count: AtomicUsize::new(0),
            evicted: AtomicU64::new(0),
            hand: Mutex::default(),
        }
    }

    /// Nothing that can panic in the middle of a change runs under a shard's lock.
    fn read(&self, shard: usize) -> RwLockReadGuard<'_, Shard<V>> {
        self.shards[shard].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, shard: usize) -> RwLockWriteGuard<'_, Shard<V>> {
        self.shards[shard].write().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard_of<S: AsRef<str>>(&self, wanted: &Wanted<'_, S>) -> usize {
        // The map in the shard uses the hash's other end.
        (self.hash.hash_one(wanted) >> 32) as usize % SHARDS
    }

    pub(super) fn find<S: AsRef<str>>(&self, values: &[S]) -> Option<Arc<V>> {
        let wanted = Wanted(values);
        let shard = self.read(self.shard_of(&wanted));
        let entry = shard.get(&wanted)?;
        // Relaxed: a hint for the hand. Written only if it changes, so readers share the line.
        if !entry.used.load(Relaxed) {
            entry.used.store(true, Relaxed);
        }
        Some(entry.value.clone())
    }

    /// The combination, made if there is none, after as many others were evicted as `limit` asks for.
    pub(super) fn find_or_insert<S: AsRef<str>>(
        &self,
        values: &[S],
        limit: usize,
        make: impl FnOnce() -> V,
    ) -> Arc<V> {
        if let Some(found) = self.find(values) {
            return found;
        }
        let new = Arc::new(make());
        while self.count.load(Relaxed) >= limit.max(1) && self.evict_one() {}
        let wanted = Wanted(values);
        let mut shard = self.write(self.shard_of(&wanted));
        if let Some(entry) = shard.get(&wanted) {
            // Another thread was faster. `new` is dropped behind the lock: it was declared before it.
            return entry.value.clone();
        }
        shard.insert(Values::copy_of(values), Entry { value: new.clone(), used: AtomicBool::new(true) });
        // Relaxed: only a number. It is right at rest, and while others insert, off by their number at most.
        self.count.fetch_add(1, Relaxed);
        new
    }

    /// Evicts one combination; false if there is none.
    fn evict_one(&self) -> bool {
        let mut hand = self.hand.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gone = None;
        // One shard more than the rounds have, because the hand starts in the middle of one.
        for _ in 0..=ROUNDS * SHARDS {
            gone = sweep(&mut self.write(hand.shard), &mut hand.index);
            if gone.is_some() {
                break;
            }
            *hand = Hand { shard: (hand.shard + 1) % SHARDS, index: 0 };
        }
        // Everybody is held: any goes, and its holders keep writing to it, unseen.
        let gone = gone.or_else(|| (0..SHARDS).find_map(|shard| self.write(shard).pop()));
        drop(hand);
        if gone.is_some() {
            self.count.fetch_sub(1, Relaxed);
            self.evicted.fetch_add(1, Relaxed);
        }
        gone.is_some()
    }

    pub(super) fn remove<S: AsRef<str>>(&self, values: &[S]) -> bool {
        let wanted = Wanted(values);
        let gone = self.write(self.shard_of(&wanted)).swap_remove(&wanted);
        self.count.fetch_sub(usize::from(gone.is_some()), Relaxed);
        gone.is_some()
    }

    pub(super) fn clear(&self) {
        for shard in 0..SHARDS {
            let gone = std::mem::replace(&mut *self.write(shard), IndexMap::with_hasher(self.hash.clone()));
            self.count.fetch_sub(gone.len(), Relaxed);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }

    /// All combinations, sorted by their values.
    pub(super) fn entries(&self) -> Vec<(Values, Arc<V>)> {
        let mut all = Vec::with_capacity(self.count());
        for shard in 0..SHARDS {
            all.extend(self.read(shard).iter().map(|(values, entry)| (values.clone(), entry.value.clone())));
        }
        all.sort_unstable_by(|(a, _), (b, _)| a.0.cmp(&b.0));
        all
    }
}
