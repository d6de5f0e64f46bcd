//! • Per-thread words: the storage below every counter of this crate.
//!
//! A [`Word`] or [`Run`] owns ids; each thread that writes to an id has a private `u64` for it. A write
//! is a thread-local look-up and a relaxed load and store by the only writer, without a locked
//! instruction; a read folds the words of all threads under one short lock. A word that was never
//! written is 0, and 0 is the identity of both folds, so memory is touched (and allocated) only by use.
//!
//! This module must never call code from outside itself while it holds its lock, and must never know
//! what a word means; encodings are the business of [`crate::reducer`].
//!
//! # Why it is sound
//!
//! * A thread's directory is replaced and freed by that thread alone, and only under the lock; all
//!   others look at it under the lock. So its owner may read it without the lock at any time.
//! * A chunk is freed by the thread it belongs to, when that thread ends, or by the drop of the only
//!   [`Run`] whose ids lie in it. That drop has exclusive access: every write through `&Run` happened
//!   before it, and none can follow. The same argument lets a drop clear words of other threads.
//! * Between the look-up and the store of one write nothing can suspend the caller, so a bthread that
//!   the runtime was told to move between OS threads never carries an address of this module along,
//!   unless the compiler kept a thread-local address in the *caller's* frame: that is part of the
//!   contract of the `unsafe` door which allows such moves.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Words in a chunk, the unit in which a thread's memory is allocated: 512 bytes, so that a histogram's
/// octave is one chunk.
pub(crate) const CHUNK_WORDS: usize = 64;

/// The most chunks of ids that a process may have: 2^28 words, and a directory of at most 32 MiB for each
/// thread. Asking for more panics; ids are asked for when a variable is created, never when one is written.
pub(crate) const MAX_CHUNKS: usize = 1 << 22;

/// How the words of one id become one value. Both are associative and commutative with identity 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fold {
    /// Wrapping addition.
    Sum,
    /// The larger word, unsigned.
    Max,
}

impl Fold {
    const ALL: usize = 2;

    #[inline(always)]
    fn combine(self, a: u64, b: u64) -> u64 {
        match self {
            Fold::Sum => a.wrapping_add(b),
            Fold::Max => a.max(b),
        }
    }

    /// Folds `value` into a word of which the caller is the only writer.
    ///
    /// Relaxed on both sides: a word publishes nothing but itself; its partners are the relaxed loads in
    /// [`State::read_word`] and [`State::read_chunk`], which tolerate a value that is a moment old.
    #[inline(always)]
    fn write(self, word: &AtomicU64, value: u64) {
        let old = word.load(Relaxed);
        match self {
            Fold::Sum => word.store(old.wrapping_add(value), Relaxed),
            Fold::Max if value > old => word.store(value, Relaxed),
            Fold::Max => {}
        }
    }
}

/// The words of one thread for [`CHUNK_WORDS`] consecutive ids. Aligned so that no two threads ever
/// write to one pair of cache lines.
#[repr(C, align(128))]
struct Chunk([AtomicU64; CHUNK_WORDS]);

type Directory = [AtomicPtr<Chunk>];

const NO_DIRECTORY: *const Directory = ptr::slice_from_raw_parts(NonNull::dangling().as_ptr(), 0);

thread_local! {
    /// The calling thread's directory, as in its [`Table`]; empty before its first write and after its
    /// enrolment ended. Has no destructor, so it can be read at any time in a thread's life.
    static LOCAL: Cell<*const Directory> = const { Cell::new(NO_DIRECTORY) };

    /// Ends the thread's table when the thread ends.
    static ENROLMENT: Enrolment = const { Enrolment { owner: Cell::new(None) } };
}

/// Folds `value` into the calling thread's word for `id`. The caller owns `id` (by reference).
#[inline(always)]
fn write(id: usize, fold: Fold, value: u64) {
    let done = LOCAL.with(|local| {
        // SAFETY: `LOCAL` is either `NO_DIRECTORY`, which is empty, or the live directory of this thread,
        // which only this thread replaces (`write_slowly`) or frees (`Enrolment::drop`), setting `LOCAL`
        // each time; neither can run during this closure.
        let directory = unsafe { &*local.get() };
        let Some(entry) = directory.get(id / CHUNK_WORDS) else {
            return false;
        };
        // Relaxed: this thread stored the pointer itself, or a drop of the id's former owner cleared it,
        // which happened before the caller could own the id.
        // SAFETY: a non-null entry points to a live chunk. It is freed only when this thread ends, or by
        // the drop of the `Run` that owns `id`, which the caller has borrowed.
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
    let mut state = lock();
    match ENROLMENT.try_with(|enrolment| enrolment.table(&mut state)) {
        Ok(index) => {
            let table = &mut state.tables[index];
            fold.write(table.word(id), value);
            LOCAL.set(table.directory.as_ptr());
        }
        // A destructor of some other thread-local writes after ours ran.
        Err(_) => fold.write(state.retired.word(id), value),
    }
}

/// Registers the thread's table on its first write and retires it when the thread ends.
struct Enrolment {
    owner: Cell<Option<u64>>,
}

impl Enrolment {
    /// The index of the calling thread's table, made if there was none.
    fn table(&self, state: &mut State) -> usize {
        if let Some(owner) = self.owner.get() {
            return state.index_of(owner);
        }
        let owner = state.next_owner;
        state.next_owner += 1;
        state.tables.push(Table::new(owner));
        self.owner.set(Some(owner));
        state.tables.len() - 1
    }
}

impl Drop for Enrolment {
    fn drop(&mut self) {
        LOCAL.set(NO_DIRECTORY);
        if let Some(owner) = self.owner.get() {
            lock().retire(owner);
        }
    }
}

/// The chunks of one thread, or of all threads that have ended.
struct Table {
    owner: u64,
    /// From `Box::into_raw`; raw because the owner reads it through `LOCAL` without the lock.
    directory: NonNull<Directory>,
}

// SAFETY: a table owns plain heap memory made of atomics; who may touch it when is stated in the module
// documentation and does not depend on the thread that made it.
unsafe impl Send for Table {}

impl Table {
    const fn new(owner: u64) -> Self {
        Table { owner, directory: NonNull::slice_from_raw_parts(NonNull::dangling(), 0) }
    }

    fn entries(&self) -> &Directory {
        // SAFETY: `directory` is empty or from `Box::into_raw`, and freed only with `&mut self` or by value.
        unsafe { self.directory.as_ref() }
    }

    fn chunk(&self, index: usize) -> Option<&Chunk> {
        // Relaxed: entries change only under the lock, which the caller holds.
        // SAFETY: a non-null entry is a live chunk; chunks are freed under the lock, which the caller holds.
        self.entries().get(index).and_then(|entry| unsafe { entry.load(Relaxed).as_ref() })
    }

    /// The word for `id`; its chunk is allocated and the directory grown where needed.
    fn word(&mut self, id: usize) -> &AtomicU64 {
        let index = id / CHUNK_WORDS;
        if index >= self.entries().len() {
            self.grow(index + 1);
        }
        let entry = &self.entries()[index];
        let mut chunk = entry.load(Relaxed);
        if chunk.is_null() {
            chunk = Box::into_raw(Box::new(Chunk([const { AtomicU64::new(0) }; CHUNK_WORDS])));
            // Relaxed: read again by this thread, or by others under the lock that the caller holds.
            entry.store(chunk, Relaxed);
        }
        // SAFETY: not null, hence a live chunk (see `chunk`).
        unsafe { &(*chunk).0[id % CHUNK_WORDS] }
    }

    fn grow(&mut self, at_least: usize) {
        let len = at_least.next_power_of_two().clamp(8, MAX_CHUNKS);
        let larger: Box<Directory> = (0..len)
            .map(|i| {
                AtomicPtr::new(self.entries().get(i).map_or(ptr::null_mut(), |entry| entry.load(Relaxed)))
            })
            .collect();
        let old = std::mem::replace(&mut self.directory, NonNull::from(Box::leak(larger)));
        free_directory(old);
    }

    /// Takes the chunk at `index` out of the table.
    fn take(&self, index: usize) -> Option<Box<Chunk>> {
        let chunk = self.entries().get(index)?.swap(ptr::null_mut(), Relaxed);
        // SAFETY: a non-null entry is from `Box::into_raw` in `word`, and the swap made this its only pointer.
        // Relaxed: its owner sees null before it can write here again, see `write`.
        (!chunk.is_null()).then(|| unsafe { Box::from_raw(chunk) })
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        for index in 0..self.entries().len() {
            drop(self.take(index));
        }
        free_directory(self.directory);
    }
}

fn free_directory(directory: NonNull<Directory>) {
    if !directory.is_empty() {
        // SAFETY: a directory that is not empty is from `Box::leak` in `Table::grow`; both callers have just
        // given it up, and its owning thread (the caller, or one that ended) no longer looks at it.
        drop(unsafe { Box::from_raw(directory.as_ptr()) });
    }
}

/// Everything behind the lock.
struct State {
    /// One table for each thread that has written and not ended.
    tables: Vec<Table>,
    /// What the threads that ended have left.
    retired: Table,
    /// The fold of each chunk of ids, by chunk; its length is the number of chunks ever handed out.
    folds: Vec<Fold>,
    /// Ids of single words that are free, by fold. Their words are 0 in every table.
    free_words: [Vec<u32>; Fold::ALL],
    /// Runs that are free: first chunk and length. No table has a chunk there.
    free_runs: Vec<(usize, usize)>,
    next_owner: u64,
}

static STATE: Mutex<State> = Mutex::new(State {
    tables: Vec::new(),
    retired: Table::new(0),
    folds: Vec::new(),
    free_words: [Vec::new(), Vec::new()],
    free_runs: Vec::new(),
    next_owner: 1,
});

/// The one panic under the lock, [`State::allocate_run`]'s at its bound, comes before any change of state.
fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn index_of(&self, owner: u64) -> usize {
        self.tables.iter().position(|table| table.owner == owner).expect("an enrolled thread has a table")
    }

    fn everyone(&self) -> impl Iterator<Item = &Table> {
        self.tables.iter().chain([&self.retired])
    }

    fn allocate_run(&mut self, chunks: usize, fold: Fold) -> usize {
        if let Some(at) = self.free_runs.iter().rposition(|&(_, len)| len == chunks) {
            let (first, _) = self.free_runs.swap_remove(at);
            self.folds[first..first + chunks].fill(fold);
            return first;
        }
        let first = self.folds.len();
        assert!(first + chunks <= MAX_CHUNKS, "bvar: more than {} words", MAX_CHUNKS * CHUNK_WORDS);
        self.folds.resize(first + chunks, fold);
        first
    }

    fn allocate_word(&mut self, fold: Fold) -> u32 {
        if self.free_words[fold as usize].is_empty() {
            let first = (self.allocate_run(1, fold) * CHUNK_WORDS) as u32;
            self.free_words[fold as usize].extend((first..first + CHUNK_WORDS as u32).rev());
        }
        self.free_words[fold as usize].pop().expect("a chunk of words was just added")
    }

    fn read_word(&self, id: usize, fold: Fold) -> u64 {
        let words = self.everyone().filter_map(|table| table.chunk(id / CHUNK_WORDS));
        words.fold(0, |total, chunk| fold.combine(total, chunk.0[id % CHUNK_WORDS].load(Relaxed)))
    }

    /// `None` if no thread has written there.
    fn read_chunk(&self, index: usize, fold: Fold) -> Option<[u64; CHUNK_WORDS]> {
        let mut total = None;
        for chunk in self.everyone().filter_map(|table| table.chunk(index)) {
            let total = total.get_or_insert([0; CHUNK_WORDS]);
            for (sum, word) in total.iter_mut().zip(&chunk.0) {
                *sum = fold.combine(*sum, word.load(Relaxed));
            }
        }
        total
    }

    /// Folds a thread's table into [`State::retired`] and frees it.
    fn retire(&mut self, owner: u64) {
        let index = self.index_of(owner);
        let table = self.tables.swap_remove(index);
        for index in 0..table.entries().len() {
            let Some(chunk) = table.take(index) else { continue };
            for (offset, word) in chunk.0.iter().map(|word| word.load(Relaxed)).enumerate() {
                if word != 0 {
                    self.folds[index].write(self.retired.word(index * CHUNK_WORDS + offset), word);
                }
            }
        }
    }
}

/// Owns the id of one word.
pub(crate) struct Word {
    id: u32,
    fold: Fold,
}

impl Word {
    /// A word that is 0 in every thread.
    ///
    /// # Panics
    /// If the process already has [`MAX_CHUNKS`] chunks of ids.
    pub(crate) fn new(fold: Fold) -> Self {
        Word { id: lock().allocate_word(fold), fold }
    }

    /// Folds `value` into the calling thread's word. `fold` is the one given to [`Word::new`], passed again
    /// because it is a constant at the call and would be a load here.
    #[inline(always)]
    pub(crate) fn write(&self, fold: Fold, value: u64) {
        debug_assert_eq!(fold, self.fold);
        write(self.id as usize, fold, value);
    }

    /// The fold over all threads, ended ones included.
    pub(crate) fn read(&self) -> u64 {
        lock().read_word(self.id as usize, self.fold)
    }
}

impl Drop for Word {
    fn drop(&mut self) {
        let id = self.id as usize;
        let mut state = lock();
        for chunk in state.everyone().filter_map(|table| table.chunk(id / CHUNK_WORDS)) {
            // Relaxed: every write happened before this drop, and the id's next owner gets it from the lock.
            chunk.0[id % CHUNK_WORDS].store(0, Relaxed);
        }
        state.free_words[self.fold as usize].push(self.id);
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}#{}", self.fold, self.id)
    }
}

/// Owns the ids of whole chunks of words that are summed. A thread has memory only for the chunks that it
/// wrote to.
pub(crate) struct Run {
    first: usize,
    chunks: usize,
}

/// The chunks of a [`Run`] that were ever written, in order: the chunk's place in the run, and its sums.
pub(crate) type RunSums = Vec<(usize, [u64; CHUNK_WORDS])>;

impl Run {
    /// A run of `chunks` × [`CHUNK_WORDS`] words, all 0.
    ///
    /// # Panics
    /// If the process would have more than [`MAX_CHUNKS`] chunks of ids.
    pub(crate) fn new(chunks: usize) -> Self {
        Run { first: lock().allocate_run(chunks, Fold::Sum), chunks }
    }

    /// Adds to the calling thread's word at `offset`.
    ///
    /// # Panics
    /// If `offset` is outside the run.
    #[inline(always)]
    pub(crate) fn add(&self, offset: usize, value: u64) {
        assert!(offset < self.chunks * CHUNK_WORDS, "bvar: a word outside its run");
        write(self.first * CHUNK_WORDS + offset, Fold::Sum, value);
    }

    /// The sums over all threads, ended ones included.
    pub(crate) fn read(&self) -> RunSums {
        let state = lock();
        let sums = (0..self.chunks).map(|i| (i, state.read_chunk(self.first + i, Fold::Sum)));
        sums.filter_map(|(i, sums)| sums.map(|sums| (i, sums))).collect()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let mut state = lock();
        for index in self.first..self.first + self.chunks {
            state.everyone().for_each(|table| drop(table.take(index)));
        }
        state.free_runs.push((self.first, self.chunks));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::thread;

    #[test]
    fn a_word_is_zero_until_written_and_folds_over_threads() {
        let (sum, max) = (Arc::new(Word::new(Fold::Sum)), Arc::new(Word::new(Fold::Max)));
        assert_eq!((sum.read(), max.read()), (0, 0));
        let threads: Vec<_> = (1..=4u64)
            .map(|n| {
                let (sum, max) = (sum.clone(), max.clone());
                thread::spawn(move || {
                    for _ in 0..1000 {
                        sum.write(Fold::Sum, n);
                        max.write(Fold::Max, n * 10);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((sum.read(), max.read()), (10_000, 40));
    }

    #[test]
    fn a_recycled_id_starts_from_zero_in_a_thread_that_wrote_to_it_before() {
        let (to_thread, orders) = channel::<Arc<Word>>();
        let (done, from_thread) = channel();
        let writer = thread::spawn(move || {
            for word in orders {
                word.write(Fold::Sum, 7);
                drop(word);
                done.send(()).unwrap();
            }
        });
        let mut ids = std::collections::HashSet::new();
        for _ in 0..1000 {
            let word = Arc::new(Word::new(Fold::Sum));
            ids.insert(word.id);
            assert_eq!(word.read(), 0);
            to_thread.send(word.clone()).unwrap();
            from_thread.recv().unwrap();
            assert_eq!(word.read(), 7);
        }
        assert!(ids.len() < 500, "ids are not recycled: {} for 1000 words", ids.len());
        drop(to_thread);
        writer.join().unwrap();
    }

    #[test]
    fn a_run_frees_its_chunks_and_a_later_run_starts_from_zero() {
        let mut firsts = std::collections::HashSet::new();
        for round in 0..100 {
            let run = Run::new(5);
            firsts.insert(run.first);
            assert!(run.read().is_empty(), "round {round}");
            run.add(0, 1);
            run.add(3 * CHUNK_WORDS + 9, 2);
            thread::scope(|scope| {
                scope.spawn(|| run.add(3 * CHUNK_WORDS + 9, 40));
            });
            let sums = run.read();
            assert_eq!(sums.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [0, 3]);
            assert_eq!((sums[0].1[0], sums[1].1[9]), (1, 42));
        }
        assert_eq!(firsts.len(), 1, "the only run of five chunks is not recycled");
    }

    #[test]
    #[should_panic(expected = "outside its run")]
    fn a_run_refuses_offsets_beyond_its_end() {
        Run::new(2).add(2 * CHUNK_WORDS, 1);
    }

    #[test]
    fn threads_that_ended_leave_their_values_and_no_table() {
        let word = Arc::new(Word::new(Fold::Sum));
        for _ in 0..500 {
            let word = word.clone();
            thread::spawn(move || word.write(Fold::Sum, 1)).join().unwrap();
        }
        assert_eq!(word.read(), 500);
        assert!(lock().tables.len() < 100);
    }

    #[test]
    fn destructors_of_thread_locals_can_still_write() {
        struct Last(Cell<Option<Arc<Word>>>);
        impl Drop for Last {
            fn drop(&mut self) {
                self.0.take().unwrap().write(Fold::Sum, 100);
            }
        }
        thread_local!(static LAST: Last = const { Last(Cell::new(None)) });
        let word = Arc::new(Word::new(Fold::Sum));
        // Destructors run in an order of the platform's choosing, so both orders of first use are tried.
        for write_first in [true, false] {
            let word = word.clone();
            let write = move |word: &Word| word.write(Fold::Sum, 1);
            thread::spawn(move || {
                if write_first {
                    write(&word);
                }
                LAST.with(|last| last.0.set(Some(word.clone())));
                write(&word);
            })
            .join()
            .unwrap();
        }
        assert_eq!(word.read(), 203);
    }
}
