//! • Per-thread memory: the storage below every counter of this crate.
//!
//! A [`Word`] owns the id of one number, a [`Tally`] that of a histogram; each thread that writes to an
//! id has private memory for it. A write is a thread-local look-up and relaxed loads and stores by the
//! only writer, without a locked instruction; a read folds the memory of all threads under one short
//! lock. What was never written is 0, and 0 is the identity of every fold, so memory is touched (and
//! allocated) only by use.
//!
//! This module must never call code from outside itself while it holds its lock, and must never know
//! what a word means; encodings are the business of [`crate::reducer`].
//!
//! # Why it is sound
//!
//! * A thread's directory is replaced and freed by that thread alone, and only under the lock; all
//!   others look at it under the lock. So its owner may read it without the lock at any time.
//! * What an entry points to is freed by the thread it belongs to, when that thread ends, or by the drop
//!   of the only [`Tally`] whose id it has. That drop has exclusive access: every write through `&Tally`
//!   happened before it, and none can follow. The same argument lets a drop clear words of other threads.
//! * Between the look-up and the store of one write nothing can suspend the caller, so a bthread that
//!   the runtime was told to move between OS threads never carries an address of this module along,
//!   unless the compiler kept a thread-local address in the *caller's* frame: that is part of the
//!   contract of the `unsafe` door which allows such moves.
//!
//! # Taking a maximum
//!
//! A window over a maximum needs the largest value of each second, so the words are set back to 0 once a
//! second, by a swap, while their owners go on with a plain load, comparison and store. That loses
//! nothing: a writer that compares with the old word and finds its value smaller recorded before the
//! swap, which has a larger one; one that found it larger stores it after the swap and so into the next
//! second. The largest value taken is kept beside the id, so the maximum since creation stays whole.

#![allow(unsafe_code)]

mod slots;
mod tally;
mod word;

pub(crate) use tally::{LEAVES, MAX_TALLIES, Tally, Totals};
pub(crate) use word::{CHUNK_WORDS, Fold, Word};

use slots::{Directory, Slots, empty};
use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tally::Root;
use word::Chunk;

/// The most chunks of words that a process may have: 2^28 words, and a directory of at most 32 MiB for
/// each thread. Asking for more panics; ids are asked for when a variable is created, never when one is
/// written.
const MAX_CHUNKS: usize = 1 << 22;

/// The calling thread's directories, as in its [`Table`]; empty before its first write and after its
/// enrolment ended.
struct Local {
    chunks: Cell<*const Directory<Chunk>>,
    roots: Cell<*const Directory<Root>>,
}

thread_local! {
    /// Has no destructor, so it can be read at any time in a thread's life.
    static LOCAL: Local = const { Local { chunks: Cell::new(empty()), roots: Cell::new(empty()) } };

    /// Ends the thread's table when the thread ends.
    static ENROLMENT: Enrolment = const { Enrolment { owner: Cell::new(None) } };
}

/// Lets the calling thread's table be written to where it had no memory yet. A thread whose enrolment has
/// ended, and which runs the destructor of some other thread-local, writes to that of the ended threads.
fn with_own_table(write: impl FnOnce(&mut Table)) {
    let mut state = lock();
    match ENROLMENT.try_with(|enrolment| enrolment.table(&mut state)) {
        Ok(index) => {
            let table = &mut state.tables[index];
            write(table);
            LOCAL.with(|local| {
                local.chunks.set(table.chunks.as_ptr());
                local.roots.set(table.roots.as_ptr());
            });
        }
        Err(_) => write(&mut state.retired),
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
        LOCAL.with(|local| {
            local.chunks.set(empty());
            local.roots.set(empty());
        });
        if let Some(owner) = self.owner.get() {
            lock().retire(owner);
        }
    }
}

/// The memory of one thread, or of all threads that have ended.
struct Table {
    owner: u64,
    chunks: Slots<Chunk>,
    roots: Slots<Root>,
}

impl Table {
    const fn new(owner: u64) -> Self {
        Table { owner, chunks: Slots::new(), roots: Slots::new() }
    }
}

/// Everything behind the lock.
struct State {
    /// One table for each thread that has written and not ended.
    tables: Vec<Table>,
    /// What the threads that ended have left.
    retired: Table,
    /// The fold of each chunk of words; its length is the number of chunks ever handed out.
    folds: Vec<Fold>,
    /// Ids of words that are free, by fold. They are 0 in every table.
    free_words: [Vec<u32>; Fold::ALL],
    /// Tallies ever handed out.
    tallies: u32,
    /// Those that are free. No table has anything for them.
    free_tallies: Vec<u32>,
    next_owner: u64,
}

static STATE: Mutex<State> = Mutex::new(State {
    tables: Vec::new(),
    retired: Table::new(0),
    folds: Vec::new(),
    free_words: [const { Vec::new() }; Fold::ALL],
    tallies: 0,
    free_tallies: Vec::new(),
    next_owner: 1,
});

/// The panics under the lock, of allocations at their bounds, come before any change of state.
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

    /// Folds a thread's table into [`State::retired`] and frees it.
    fn retire(&mut self, owner: u64) {
        let index = self.index_of(owner);
        let table = self.tables.swap_remove(index);
        for index in 0..table.chunks.len() {
            if let Some(chunk) = table.chunks.take(index) {
                let fold = self.folds[index];
                self.retired.chunks.get_or_insert(index, MAX_CHUNKS).merge(&chunk, fold);
            }
        }
        for index in 0..table.roots.len() {
            if let Some(root) = table.roots.take(index) {
                self.retired.roots.get_or_insert(index, MAX_TALLIES).merge(&root);
            }
        }
    }
}

#[cfg(test)]
mod tests;
