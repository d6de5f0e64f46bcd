//! A blocking call that borrows from its caller, who waits for it.
//!
//! Holds unsafe: the pool takes functions that live for ever, and this one lives as long as its caller waits. The
//! argument:
//! (1) `Pool::submit` gives an error only for a function that it has dropped, and otherwise runs it once.
//! (2) `Slot::take` returns after the function, with all that it borrows, is used up and its result is in our hands.
//!     What is left of it on the pool's thread is an `Arc` of an empty slot, whose release touches no `T`.
//! (3) Between the two nothing leaves this frame: they do not unwind, and if they did, this aborts.

#![allow(unsafe_code)]

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;

use super::pool::{self, Job};
use super::slot::Slot;
use crate::worker;

/// Runs `f`, which may block its thread and may borrow, and returns what it gives: from a bthread on a thread of the
/// pool, while the bthread waits; outside of bthreads, and while a bthread unwinds from a panic, in place.
///
/// A panic of `f` goes on in the caller. Interruptions ([`interrupt`](crate::interrupt)) do not end the wait and stay
/// pending. `f` runs outside of bthreads; a `thread_local!` in it is that thread's.
///
/// *Blocking*: parks the calling bthread, or blocks the calling thread.
///
/// # Panics
/// When `f` does, or when the pool has no thread and the system gives none.
///
/// ```
/// let name = String::from("localhost");
/// let length = bthread::spawn(move || bthread::blocking(|| name.len())).join().unwrap();
/// assert_eq!(length, 9);
/// ```
pub fn blocking<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    try_blocking(f).expect("no thread to be had for a blocking call")
}

/// As [`blocking`], with an error when there is no thread.
pub(crate) fn try_blocking<F, T>(f: F) -> io::Result<T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    if worker::current_task().is_none() || std::thread::panicking() {
        return Ok(f());
    }
    let slot = Arc::new(Slot::new());
    let job: Box<dyn FnOnce() + Send + '_> = Box::new({
        let slot = slot.clone();
        move || slot.fill(f)
    });
    // SAFETY: (1), (2), (3): it is used up, or dropped, before this frame ends.
    let job = unsafe { std::mem::transmute::<Box<dyn FnOnce() + Send + '_>, Job>(job) };
    let bomb = AbortOnUnwind;
    let result = pool::global().submit(job).map(|()| slot.take());
    std::mem::forget(bomb);
    result.map(|result| result.unwrap_or_else(|payload| resume_unwind(payload)))
}

struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}
