//! Butex: a 32-bit word that bthreads and OS threads can wait on, as on a futex (`spec/bthread.md` §6).
//!
//! Holds unsafe: the list of waiters runs through records on the waiters' own stacks. The argument, once:
//! (1) A record is in the list only while its owner is inside `wait`: it is put in under the list's lock, and the
//!     owner leaves only after it has seen, under that lock, that it is out (or has taken itself out).
//! (2) All fields of a record are read and written under the list's lock, from the moment it is in the list.
//! (3) The parker that a waker copies out of a record lives for ever, so it may be used after the lock.

#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomPinned;
use std::pin::{Pin, pin};
use std::ptr::{self, NonNull};
use std::time::Instant;

use crate::atomic::{AtomicU32, Mutex, Ordering, UnsafeCell, lock};
use crate::parker::Parker;
use crate::wait;

/// Waiters that `wake_all` wakes between two looks at the list's lock, so that it needs no memory.
const WAKE_BATCH: usize = 32;

/// How a [`Butex::wait`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum WaitResult {
    /// A wake-up chose this waiter.
    Woken,
    /// The word did not have the expected value; nobody slept. brpc: `EWOULDBLOCK`.
    Mismatch,
    /// The deadline passed first. brpc: `ETIMEDOUT`.
    TimedOut,
    /// The waiting bthread was interrupted. brpc: `EINTR`.
    Interrupted,
}

/// A word to wait on. Usable between bthreads and OS threads in any mix.
///
/// Waiters are woken in the order in which they came. A store to the word does not wake anybody: change it through
/// [`value`](Butex::value), then call one of the `wake` methods.
///
/// ```
/// # use bthread::{Butex, WaitResult};
/// # use std::sync::atomic::Ordering;
/// # use std::sync::Arc;
/// let ready = Arc::new(Butex::new(0));
/// let waiter = bthread::spawn({
///     let ready = ready.clone();
///     move || while ready.value().load(Ordering::Acquire) == 0 {
///         let _ = ready.wait(0, None);
///     }
/// });
/// ready.value().store(1, Ordering::Release);
/// ready.wake_all();
/// waiter.join().unwrap();
/// ```
pub struct Butex {
    value: AtomicU32,
    waiters: Mutex<Waiters>,
}

struct Waiters {
    first: *mut Waiter,
    last: *mut Waiter,
    len: usize,
}

// SAFETY: the records behind the pointers are shared under the list's lock alone (2).
unsafe impl Send for Waiters {}

struct Waiter {
    links: UnsafeCell<Links>,
    parker: &'static Parker,
    _pinned: PhantomPinned,
}

struct Links {
    previous: *mut Waiter,
    next: *mut Waiter,
    queued: bool,
}

impl Butex {
    /// A butex with this value and no waiters.
    pub fn new(value: u32) -> Self {
        let waiters = Waiters { first: ptr::null_mut(), last: ptr::null_mut(), len: 0 };
        Butex { value: AtomicU32::new(value), waiters: Mutex::new(waiters) }
    }

    /// The word itself.
    pub fn value(&self) -> &AtomicU32 {
        &self.value
    }

    /// Sleeps until a wake-up or the deadline, if the word still has the value `expected`; the look and the falling
    /// asleep are one step, as seen by wakers. A deadline that has passed gives [`WaitResult::TimedOut`] at once,
    /// unless the value does not match.
    ///
    /// *Blocking*: parks the calling bthread, or blocks the calling thread outside of bthreads.
    pub fn wait(&self, expected: u32, deadline: Option<Instant>) -> WaitResult {
        self.wait_as(expected, deadline, false)
    }

    /// As [`wait`](Butex::wait), but queues in front of the others when `first` is set: for a lock whose waiter was
    /// woken and lost the race, so that it does not start again at the end.
    pub(crate) fn wait_as(&self, expected: u32, deadline: Option<Instant>, first: bool) -> WaitResult {
        // Acquire pairs with the store that changed the word: on a mismatch the caller sees what came before it.
        if self.value.load(Ordering::Acquire) != expected {
            return WaitResult::Mismatch;
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return WaitResult::TimedOut;
        }
        let parker = wait::current_parker();
        let links = Links { previous: ptr::null_mut(), next: ptr::null_mut(), queued: false };
        let waiter = pin!(Waiter { links: UnsafeCell::new(links), parker, _pinned: PhantomPinned });
        let waiter = waiter.as_ref();
        {
            let mut list = lock(&self.waiters);
            // Under the lock: a waker changes the word before it takes the lock, so either we see the change here
            // or it sees us in the list. Acquire as above.
            if self.value.load(Ordering::Acquire) != expected {
                return WaitResult::Mismatch;
            }
            list.insert(waiter, first);
        }
        // Queued, we must not leave but through the list's lock: `park` does not unwind, and if it did, this aborts.
        let bomb = AbortOnUnwind;
        let result = loop {
            wait::park_for(parker, deadline, wait::Reason::Butex(ptr::from_ref(self).addr()));
            let mut list = lock(&self.waiters);
            if !list.contains(waiter) {
                break WaitResult::Woken;
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                list.remove(waiter);
                break WaitResult::TimedOut;
            }
        };
        std::mem::forget(bomb);
        result
    }

    /// How many wait now; a snapshot for people and tests.
    pub fn waiters(&self) -> usize {
        lock(&self.waiters).len
    }

    /// Wakes the waiter that came first; returns how many were woken, 0 or 1. Never blocks.
    pub fn wake_one(&self) -> usize {
        let parker = lock(&self.waiters).pop();
        parker.map_or(0, |parker| {
            parker.unpark();
            1
        })
    }

    /// Wakes everybody who waits now, in order; returns how many. Never blocks.
    pub fn wake_all(&self) -> usize {
        self.wake_n(usize::MAX)
    }

    /// Wakes at most `n` waiters, in order; returns how many. Never blocks.
    pub fn wake_n(&self, n: usize) -> usize {
        let mut list = lock(&self.waiters);
        // Who queues while we wake the first ones is not meant.
        let goal = n.min(list.len);
        let mut woken = 0;
        while woken < goal {
            let mut batch = [None; WAKE_BATCH];
            let mut count = 0;
            while count < WAKE_BATCH.min(goal - woken) {
                let Some(parker) = list.pop() else { break };
                batch[count] = Some(parker);
                count += 1;
            }
            drop(list);
            batch[..count].iter().flatten().for_each(|parker| parker.unpark());
            woken += count;
            if count < WAKE_BATCH {
                return woken;
            }
            list = lock(&self.waiters);
        }
        woken
    }
}

impl fmt::Debug for Butex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A snapshot for people; pairs with nothing.
        f.debug_struct("Butex").field("value", &self.value.load(Ordering::Relaxed)).finish_non_exhaustive()
    }
}

struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// The methods run under the list's lock, which `&mut self` stands for.
impl Waiters {
    fn insert(&mut self, waiter: Pin<&Waiter>, first: bool) {
        let me = ptr::from_ref(waiter.get_ref()).cast_mut();
        let (previous, next) =
            if first { (ptr::null_mut(), self.first) } else { (self.last, ptr::null_mut()) };
        // SAFETY: (2).
        unsafe { *waiter.links.get() = Links { previous, next, queued: true } };
        self.len += 1;
        self.set_next_of(previous, me);
        self.set_previous_of(next, me);
    }

    fn remove(&mut self, waiter: Pin<&Waiter>) {
        // SAFETY: (2).
        let links = unsafe { &mut *waiter.links.get() };
        links.queued = false;
        self.len -= 1;
        let (previous, next) = (links.previous, links.next);
        self.set_next_of(previous, next);
        self.set_previous_of(next, previous);
    }

    fn pop(&mut self) -> Option<&'static Parker> {
        let first = NonNull::new(self.first)?;
        // SAFETY: (1): it is in the list, so its owner is still inside `wait` and the record is alive and pinned.
        let first = unsafe { Pin::new_unchecked(first.as_ref()) };
        let parker = first.parker;
        self.remove(first);
        Some(parker)
    }

    fn contains(&self, waiter: Pin<&Waiter>) -> bool {
        // SAFETY: (2).
        unsafe { (*waiter.links.get()).queued }
    }

    fn set_next_of(&mut self, waiter: *mut Waiter, next: *mut Waiter) {
        match NonNull::new(waiter) {
            // SAFETY: (1), (2): a neighbour is in the list.
            Some(waiter) => unsafe { (*waiter.as_ref().links.get()).next = next },
            None => self.first = next,
        }
    }

    fn set_previous_of(&mut self, waiter: *mut Waiter, previous: *mut Waiter) {
        match NonNull::new(waiter) {
            // SAFETY: (1), (2): a neighbour is in the list.
            Some(waiter) => unsafe { (*waiter.as_ref().links.get()).previous = previous },
            None => self.last = previous,
        }
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::sync::Arc;

    #[test]
    fn loom_a_wake_up_is_never_lost() {
        crate::atomic::model(|| {
            let butex = Arc::new(Butex::new(0));
            let waker = loom::thread::spawn({
                let butex = butex.clone();
                move || {
                    butex.value().store(1, Ordering::Release);
                    butex.wake_one();
                }
            });
            while butex.value().load(Ordering::Acquire) == 0 {
                let _ = butex.wait(0, None);
            }
            waker.join().unwrap();
        });
    }

    #[test]
    fn loom_a_mismatch_shows_what_came_before() {
        crate::atomic::model(|| {
            let shared = Arc::new((Butex::new(0), AtomicU32::new(0)));
            let waker = loom::thread::spawn({
                let shared = shared.clone();
                move || {
                    shared.1.store(1, Ordering::Relaxed);
                    shared.0.value().store(1, Ordering::Release);
                    shared.0.wake_all();
                }
            });
            let _ = shared.0.wait(0, None); // one result is as good as the other
            assert_eq!(shared.1.load(Ordering::Relaxed), 1);
            waker.join().unwrap();
        });
    }

    #[test]
    fn loom_two_waiters_one_wake_all() {
        crate::atomic::model(|| {
            let butex = Arc::new(Butex::new(0));
            let waiters = [(); 2].map(|()| {
                let butex = butex.clone();
                loom::thread::spawn(move || {
                    while butex.value().load(Ordering::Acquire) == 0 {
                        let _ = butex.wait(0, None);
                    }
                })
            });
            butex.value().store(1, Ordering::Release);
            butex.wake_all();
            waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        });
    }
}
