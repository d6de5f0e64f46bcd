//! Bthread-local storage: values that every bthread has its own of (`spec/bthread.md` §12).
//!
//! | | lives | may be | for |
//! |---|---|---|---|
//! | [`bthread_local!`](crate::bthread_local) `{ static … }` | to the bthread's end | anything | what `thread_local!` is for |
//! | `bthread_local! { pooled static … }` | to the pool's end, if there is one | `Send` | buffers and caches that the next request may use |
//! | [`Key`] | the same, until the key is deleted | `Send` | keys that are made at run time |
//!
//! Outside of bthreads each OS thread has its own values. A bthread's follow it wherever it goes.
//!
//! # The end
//! When a bthread's function has returned, before it can be joined, its values are dropped, in no order to rely on.
//! Their destructors run as the bthread: they may wait, and use bthread-locals. A value that they make is dropped in
//! turn, up to [`DESTRUCTOR_ROUNDS`] rounds; what the last one leaves is dropped while there are no bthread-locals to
//! be had any more. A destructor that panics ends by itself. The values of an OS thread are dropped the same way among
//! its thread-locals, in no order to rely on either; a destructor of one of those may find bthread-locals gone
//! ([`AccessError`]). Those of the main thread are not dropped on some systems, as with std's.
//!
//! # Pools
//! The `pooled` values and those under a [`Key`] of a bthread with a [`LocalPool`] are not dropped at its end but kept
//! for the next bthread with that pool.
//!
//! # Why some values must be `Send` and others need not
//! A value is used by one bthread and dropped by it. A bthread that has started stays on its OS thread, so for its
//! values nothing is ever sent: they are as safe as std's thread-locals are. What a pool keeps does go to other
//! threads, so it must be `Send`. A bthread that was let off its thread through the `unsafe` door takes its values
//! along like those on its stack; whoever opens the door vouches for both.
//!
//! Holds unsafe. The argument, once:
//! (1) The `Locals` of a bthread are reached by itself alone, those of an OS thread by that thread while it runs no
//!     bthread; and only in `access`, whose functions run no code of a user and do not call `access`. So there is one
//!     `&mut Locals` at a time.
//! (2) What a pool keeps has gone through `Table::retire`, so it has no values but those that were `Send` when they
//!     were put in, and its `Rc`s are the only ones: clones live in the frames of `with` alone, and those of the
//!     table's owner are left when it gives the table away.
//! (3) While a function that `LocalKey` gave a value to runs, the value stays where it is. A static's value is
//!     displaced only by one whose making began when there was none, so every use of it is within that making, and
//!     over. It is taken only at the end, from below all frames of its owner; by `LocalPool::reserve` while what it
//!     made is in place, whose uses are within `init`, and over; and by a pool, which has no frames.

#![allow(unsafe_code)]

mod key;
mod local_key;
mod pool;
mod table;

use std::cell::UnsafeCell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::Arc;

pub(crate) use key::live_keys;
pub use key::{KEYS_MAX, Key, KeyError};
pub use local_key::LocalKey;
pub(crate) use pool::PoolRef;
pub use pool::{LocalPool, POOL_TABLES_MAX};
pub(crate) use table::live_tables;

use crate::task::{TaskRef, contained};
use pool::Shared;
use table::{Table, Value};

/// Times that the values of a bthread or thread are gone through at its end, since destructors may make new ones.
pub const DESTRUCTOR_ROUNDS: usize = 4;

/// What a bthread or an OS thread has of its own.
pub(crate) struct Locals {
    table: Option<Box<Table>>,
    pool: Option<Arc<Shared>>,
    /// The last values are being dropped, or it was a thread and they are.
    closed: bool,
}

/// There are no bthread-locals any more: the OS thread is about to end, or the destructors of a bthread's values would
/// not come to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessError;

impl Locals {
    pub(crate) const fn new() -> Self {
        Locals { table: None, pool: None, closed: false }
    }

    /// Whether there is something to do at the end.
    pub(crate) fn is_used(&self) -> bool {
        self.table.is_some() || self.pool.is_some()
    }

    /// The table, if there is one; with a pool there is.
    fn existing(&mut self) -> Result<Option<&mut Table>, AccessError> {
        if self.closed {
            return Err(AccessError);
        }
        if let (None, Some(pool)) = (&self.table, &self.pool) {
            self.table = Some(pool.take().unwrap_or_default());
        }
        Ok(self.table.as_deref_mut())
    }

    fn table(&mut self) -> Result<&mut Table, AccessError> {
        if self.existing()?.is_none() && crate::worker::current_task().is_none() && !reap_at_thread_exit() {
            return Err(AccessError);
        }
        Ok(self.table.get_or_insert_default())
    }
}

/// Gives the caller's own locals to `f`, which must run no code of a user and not come here again.
fn access<R>(f: impl FnOnce(&mut Locals) -> R) -> R {
    let locals = match crate::worker::current_task() {
        Some(task) => task.locals(),
        None => thread_locals(),
    };
    // SAFETY: (1).
    f(unsafe { &mut *locals })
}

thread_local! {
    /// Has nothing to drop for std, so that it can be used as long as the thread runs.
    static THREAD: ManuallyDrop<UnsafeCell<Locals>> =
        const { ManuallyDrop::new(UnsafeCell::new(Locals::new())) };
    static REAPER: Reaper = const { Reaper };
}

struct Reaper;

impl Drop for Reaper {
    fn drop(&mut self) {
        if crate::worker::current_task().is_some() {
            return; // the process exits, from within a bthread
        }
        run_rounds(Table::take_any);
        access(|locals| {
            locals.closed = true;
            locals.table = None;
        });
    }
}

/// Never inlined, so that no compiler keeps the address across a wait.
#[inline(never)]
fn thread_locals() -> *mut Locals {
    THREAD.with(|locals| locals.get())
}

/// Sees that the thread's values are dropped at its end; false if they have been.
#[inline(never)]
fn reap_at_thread_exit() -> bool {
    REAPER.try_with(|_| ()).is_ok()
}

/// Drops what the bthread has, or leaves it to its pool. The bthread calls, when its function has returned.
pub(crate) fn finish(task: TaskRef) {
    // SAFETY: (1).
    if unsafe { &*task.locals() }.is_used() {
        finish_used();
    }
}

#[cold]
fn finish_used() {
    if access(|locals| locals.pool.is_some()) {
        run_rounds(Table::take_fresh);
        let (table, pool) = access(|locals| (locals.table.take(), locals.pool.take()));
        let refused = match (table, pool) {
            (Some(table), Some(pool)) => pool.put(table),
            (table, _) => table,
        };
        access(|locals| locals.table = refused);
    }
    run_rounds(Table::take_any);
    // A destructor may have entered a pool again.
    drop(access(|locals| (locals.table.take(), locals.pool.take())));
}

/// Drops the caller's values one by one, out of their places first; again if that has made new ones.
fn run_rounds(take: fn(&mut Table, usize) -> Option<Value>) {
    let take = |place| access(|locals| take(locals.table.as_mut()?, place));
    let places = || access(|locals| locals.table.as_ref().map_or(0, |table| table.places()));
    let round = || {
        let mut found = false;
        let mut place = 0;
        while place < places() {
            if let Some(value) = take(place) {
                found = true;
                contained(|| drop(value));
            }
            place += 1;
        }
        found
    };
    for _ in 0..DESTRUCTOR_ROUNDS {
        if !round() {
            return;
        }
    }
    access(|locals| locals.closed = true);
    round();
    access(|locals| locals.closed = false);
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bthread-locals are gone at this point of the end of a bthread or thread")
    }
}

impl std::error::Error for AccessError {}
