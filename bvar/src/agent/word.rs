//! • Single numbers, a word for each thread.
//!
//! Must never free a chunk: many ids share it. Why the unsafe code is sound: see [`super`].

#![allow(unsafe_code)]

use super::{LOCAL, MAX_CHUNKS, State, lock, with_own_table};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Words in a chunk, the unit in which a thread's memory is allocated: 512 bytes.
pub(crate) const CHUNK_WORDS: usize = 64;

/// How the words of one id become one value. All are associative and commutative with identity 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fold {
    /// Wrapping addition.
    Sum,
    /// Addition of the bits of `f64`.
    FloatSum,
    /// The larger word, unsigned.
    Max,
}

impl Fold {
    pub(super) const ALL: usize = 3;

    #[inline(always)]
    fn combine(self, a: u64, b: u64) -> u64 {
        match self {
            Fold::Sum => a.wrapping_add(b),
            Fold::FloatSum => (f64::from_bits(a) + f64::from_bits(b)).to_bits(),
            Fold::Max => a.max(b),
        }
    }

    /// Folds `value` into a word of which the caller is the only writer.
    ///
    /// Relaxed on both sides: a word publishes nothing but itself; its partners are the relaxed loads in
    /// [`State::read_word`] and [`super::Tally`]'s reads, which tolerate a value that is a moment old, and the
    /// swap that takes a maximum (see [`super`]).
    #[inline(always)]
    pub(super) fn write(self, word: &AtomicU64, value: u64) {
        let old = word.load(Relaxed);
        match self {
            Fold::Max if value <= old => {}
            Fold::Max => word.store(value, Relaxed),
            Fold::Sum | Fold::FloatSum => word.store(self.combine(old, value), Relaxed),
        }
    }
}

/// The words of one thread for [`CHUNK_WORDS`] consecutive ids. Aligned so that no two threads ever
/// write to one pair of cache lines.
#[repr(C, align(128))]
pub(super) struct Chunk(pub(super) [AtomicU64; CHUNK_WORDS]);

impl Default for Chunk {
    fn default() -> Self {
        Chunk([const { AtomicU64::new(0) }; CHUNK_WORDS])
    }
}

impl Chunk {
    /// Folds the words of `other` into this one's. The caller holds the lock.
    pub(super) fn merge(&self, other: &Chunk, fold: Fold) {
        for (word, other) in self.0.iter().zip(&other.0) {
            fold.write(word, other.load(Relaxed));
        }
    }
}

/// Folds `value` into the calling thread's word for `id`. The caller owns `id` (by reference).
#[inline(always)]
fn write(id: usize, fold: Fold, value: u64) {
    let done = LOCAL.with(|local| {
        // SAFETY: the directory is empty, or the live one of this thread, which only this thread replaces
        // (`with_own_table`) or frees (`Enrolment::drop`), setting `LOCAL` each time; neither can run here.
        let directory = unsafe { &*local.chunks.get() };
        let Some(entry) = directory.get(id / CHUNK_WORDS) else {
            return false;
        };
        // Relaxed: this thread stored the pointer itself.
        // SAFETY: a non-null entry points to a live chunk; it is freed only when this thread ends.
        match unsafe { entry.load(Relaxed).as_ref() } {
            Some(chunk) => {
                fold.write(&chunk.0[id % CHUNK_WORDS], value);
                true
            }
            None => false,
        }
    });
    if !done {
        write_slowly(id, fold, value);
    }
}

/// The first write of a thread to a chunk, and every write of a thread whose enrolment has ended.
#[cold]
#[inline(never)]
fn write_slowly(id: usize, fold: Fold, value: u64) {
    with_own_table(|table| {
        let chunk = table.chunks.get_or_insert(id / CHUNK_WORDS, MAX_CHUNKS);
        fold.write(&chunk.0[id % CHUNK_WORDS], value);
    });
}

impl State {
    fn allocate_word(&mut self, fold: Fold) -> u32 {
        if let Some(id) = self.free_words[fold as usize].pop() {
            return id;
        }
        let chunk = self.folds.len();
        assert!(chunk < MAX_CHUNKS, "bvar: more than {} words", MAX_CHUNKS * CHUNK_WORDS);
        self.folds.push(fold);
        let first = (chunk * CHUNK_WORDS) as u32;
        self.free_words[fold as usize].extend((first + 1..first + CHUNK_WORDS as u32).rev());
        first
    }

    fn words(&self, id: usize) -> impl Iterator<Item = &AtomicU64> {
        let chunks = self.everyone().filter_map(move |table| table.chunks.get(id / CHUNK_WORDS));
        chunks.map(move |chunk| &chunk.0[id % CHUNK_WORDS])
    }

    fn read_word(&self, id: usize, fold: Fold) -> u64 {
        self.words(id).fold(0, |total, word| fold.combine(total, word.load(Relaxed)))
    }
}

/// Owns the id of one word.
pub(crate) struct Word {
    id: u32,
    fold: Fold,
    /// The largest value that [`Word::take_max`] has taken. Written and read under the lock.
    taken: AtomicU64,
}

impl Word {
    /// A word that is 0 in every thread.
    ///
    /// # Panics
    /// If the process already has [`MAX_CHUNKS`] chunks of ids.
    pub(crate) fn new(fold: Fold) -> Self {
        Word { id: lock().allocate_word(fold), fold, taken: AtomicU64::new(0) }
    }

    #[cfg(test)]
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Folds `value` into the calling thread's word. `fold` is the one given to [`Word::new`], passed again
    /// because it is a constant at the call and would be a load here.
    #[inline(always)]
    pub(crate) fn write(&self, fold: Fold, value: u64) {
        debug_assert_eq!(fold, self.fold);
        write(self.id as usize, fold, value);
    }

    /// The fold over all threads, ended ones included, since creation.
    pub(crate) fn read(&self) -> u64 {
        let state = lock();
        let words = state.read_word(self.id as usize, self.fold);
        match self.fold {
            // Relaxed: under the lock.
            Fold::Max => words.max(self.taken.load(Relaxed)),
            Fold::Sum | Fold::FloatSum => words,
        }
    }

    /// The maximum since the last call, 0 if nothing was written.
    pub(crate) fn take_max(&self) -> u64 {
        debug_assert_eq!(self.fold, Fold::Max);
        let state = lock();
        let max = state.words(self.id as usize).map(take).max().unwrap_or(0);
        // Relaxed: under the lock.
        self.taken.fetch_max(max, Relaxed);
        max
    }
}

/// Takes a maximum out of a word whose owner may be writing to it.
pub(super) fn take(word: &AtomicU64) -> u64 {
    // Relaxed: see `Fold::write`. The load keeps the line of an idle thread where it is.
    if word.load(Relaxed) == 0 { 0 } else { word.swap(0, Relaxed) }
}

impl Drop for Word {
    fn drop(&mut self) {
        let mut state = lock();
        for word in state.words(self.id as usize) {
            // Relaxed: every write happened before this drop, and the id's next owner gets it from the lock.
            word.store(0, Relaxed);
        }
        state.free_words[self.fold as usize].push(self.id);
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}#{}", self.fold, self.id)
    }
}
