//! Butex: a 32-bit word that bthreads and OS threads can wait on, as on a futex (`spec/bthread.md` §6).
//!
//! This file owns when a waiter sleeps and which are woken; the list of waiters is in `queue`. It knows nothing of
//! what the word means: that belongs to those who wait.

#[cfg(all(test, loom))]
mod models;
mod queue;

use std::fmt;
use std::pin::pin;
use std::time::Instant;

use crate::atomic::{AtomicU32, Mutex, Ordering, const_fn, fence, spin_loop};
use crate::parker::Parker;
#[cfg(not(loom))]
use crate::task::TaskId;
use crate::wait;
use queue::{Ends, Locked, Waiter};

/// Waiters that are woken between two looks at the list's lock, so that it needs no memory.
const WAKE_BATCH: usize = 32;
/// Attempts to get at the list that waiters are to be moved to, before they are all woken instead.
const MOVE_TRIES: usize = 64;

/// How a [`Butex::wait`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum WaitResult {
    /// A wake-up chose this waiter. There are no other reasons: a waiter is never woken for nothing.
    Woken,
    /// The word did not have the expected value; nobody slept. brpc: `EWOULDBLOCK`.
    Mismatch,
    /// The deadline passed first. brpc: `ETIMEDOUT`.
    TimedOut,
    /// The waiting bthread was interrupted ([`interrupt`](crate::interrupt), [`stop`](crate::stop)). brpc: `EINTR`.
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
/// static READY: Butex = Butex::new(0);
/// let waiter = bthread::spawn(|| while READY.value().load(Ordering::Acquire) == 0 {
///     let _ = READY.wait(0, None);
/// });
/// READY.value().store(1, Ordering::Release);
/// READY.wake_all();
/// waiter.join().unwrap();
/// ```
pub struct Butex {
    value: AtomicU32,
    /// How many are in the list; written under its lock.
    len: AtomicU32,
    ends: Mutex<Ends>,
}

/// What a wait is like, beyond its word.
#[derive(Clone, Copy, Default)]
pub(crate) struct Manner<'a> {
    pub(crate) deadline: Option<Instant>,
    /// Queues in front of the others: for a lock whose waiter was woken and lost the race, so that it does not start
    /// again at the end.
    pub(crate) first: bool,
    /// Ends when the bthread is interrupted; otherwise the interruption stays pending.
    pub(crate) interruptible: bool,
    /// What lists of bthreads say, if not the address of the word.
    pub(crate) reason: Option<wait::Reason>,
    /// The butex to which a requeue may move the waiter.
    pub(crate) target: Option<&'a Butex>,
}

impl Manner<'_> {
    /// A wait for a descriptor.
    pub(crate) fn io(deadline: Option<Instant>) -> Self {
        Manner { deadline, interruptible: true, reason: Some(wait::Reason::Io), ..Manner::default() }
    }
}

impl Butex {
    const_fn! {
        /// A butex with this value and no waiters.
        pub const fn new(value: u32) -> Self {
            Butex { value: AtomicU32::new(value), len: AtomicU32::new(0), ends: Mutex::new(Ends::empty()) }
        }
    }

    /// The word itself.
    pub fn value(&self) -> &AtomicU32 {
        &self.value
    }

    /// Sleeps until a wake-up, an interruption or the deadline, if the word still has the value `expected`; the look
    /// and the falling asleep are one step, as seen by wakers. If the word does not match, that is the result,
    /// whatever else is the case. A deadline that has passed gives [`WaitResult::TimedOut`] at once.
    ///
    /// An interruption is used up by [`WaitResult::Interrupted`] alone; after any other result it is still pending.
    ///
    /// *Blocking*: parks the calling bthread, or blocks the calling thread outside of bthreads.
    pub fn wait(&self, expected: u32, deadline: Option<Instant>) -> WaitResult {
        self.wait_as(expected, Manner { deadline, interruptible: true, ..Manner::default() })
    }

    /// As [`wait`](Self::wait), and agrees to being moved to the waiters of `target` by a [`requeue`](Self::requeue):
    /// it then goes on sleeping until somebody wakes it there. A condition variable waits like this, with the word of
    /// the lock as target.
    ///
    /// *Blocking*: as [`wait`](Self::wait).
    pub fn wait_movable(&self, expected: u32, deadline: Option<Instant>, target: &Butex) -> WaitResult {
        let target = Some(target);
        self.wait_as(expected, Manner { deadline, interruptible: true, target, ..Manner::default() })
    }

    pub(crate) fn wait_as(&self, expected: u32, manner: Manner<'_>) -> WaitResult {
        // Acquire pairs with the store that changed the word: on a mismatch the caller sees what came before it.
        if self.value.load(Ordering::Acquire) != expected {
            return WaitResult::Mismatch;
        }
        if cfg!(not(loom)) && wait::is_over(manner.deadline) {
            return WaitResult::TimedOut;
        }
        let parker = wait::current_parker();
        let waiter = pin!(Waiter::new(parker, manner.target));
        let waiter = waiter.as_ref();
        let interrupted = || manner.interruptible && wait::take_interrupt(parker);
        {
            let mut list = self.locked();
            // First into the list, then the look: a waker changes the word first and then looks whether the list is
            // empty. With the fences that both have in between, one of us sees the other.
            list.insert(waiter, manner.first);
            // Acquire as above.
            if self.value.load(Ordering::Acquire) != expected {
                list.remove(waiter);
                return WaitResult::Mismatch;
            }
            if interrupted() {
                list.remove(waiter);
                return WaitResult::Interrupted;
            }
        }
        // Queued, we must not leave before we are out: `park` does not unwind, and if it did, this aborts.
        let bomb = AbortOnUnwind;
        let result = loop {
            let reason = manner.reason.unwrap_or(wait::Reason::Butex(std::ptr::from_ref(self).addr()));
            wait::park_for(parker, manner.deadline, reason);
            let Some(mut list) = waiter.find(self, manner.target) else { break WaitResult::Woken };
            // In the list, and it is ours: nobody wakes us from here on. So an interruption that is used up here is
            // also what the caller gets to know.
            if interrupted() {
                list.remove(waiter);
                break WaitResult::Interrupted;
            }
            if wait::is_over(manner.deadline) {
                list.remove(waiter);
                break WaitResult::TimedOut;
            }
        };
        std::mem::forget(bomb);
        result
    }

    /// How many wait now; a snapshot for people and tests.
    pub fn waiters(&self) -> usize {
        self.len.load(Ordering::Relaxed) as usize
    }

    /// Wakes the waiter that came first; returns how many were woken, 0 or 1. Never blocks.
    pub fn wake_one(&self) -> usize {
        if !self.has_waiters() {
            return 0;
        }
        let parker = self.locked().pop(|_| true);
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
        self.wake_wanted(n, |_| true)
    }

    /// Wakes everybody who waits now, but not the bthread `id`; returns how many. Never blocks.
    #[cfg(not(loom))]
    pub fn wake_except(&self, id: TaskId) -> usize {
        // A bthread that waits is alive, so the id of its slot is its own.
        self.wake_wanted(usize::MAX, |parker| parker.bthread().is_none_or(|task| task.get().id() != id))
    }

    /// Wakes the first waiter and moves the others behind the waiters of `target`, where they go on sleeping until
    /// they are woken there, or their own deadlines pass. Only those can be moved who wait by
    /// [`wait_movable`](Self::wait_movable) with this very target: that is how it is certain that `target` lives as
    /// long as they are in its list. The others are woken. Returns how many were woken.
    ///
    /// So that all get their turn, somebody must wake the waiters of `target` from here on: where it is the word of a
    /// lock, the first one must lock in the way that makes the unlock wake another. With itself as target, this
    /// is [`wake_one`](Self::wake_one). Never blocks.
    pub fn requeue(&self, target: &Butex) -> usize {
        if std::ptr::eq(self, target) {
            return self.wake_one();
        }
        if !self.has_waiters() {
            return 0;
        }
        // In the order of addresses, so that nobody who does the reverse waits for us while we wait for him.
        let (mut list, mut to);
        if std::ptr::from_ref(self) < std::ptr::from_ref(target) {
            list = self.locked();
            to = target.locked();
        } else {
            to = target.locked();
            list = self.locked();
        }
        list.move_rest_to(&mut to);
        drop(to);
        self.wake_after_move(list)
    }

    /// As [`requeue`](Self::requeue), to the target that the first waiter has named.
    pub(crate) fn requeue_as_named(&self) -> usize {
        if !self.has_waiters() {
            return 0;
        }
        for _ in 0..MOVE_TRIES {
            let mut list = self.locked();
            if list.try_move_rest_to_named() {
                return self.wake_after_move(list);
            }
            drop(list);
            spin_loop();
        }
        self.wake_all()
    }

    /// Wakes the first one, who is not woken before the others are in their place, and those that cannot be moved.
    fn wake_after_move(&self, mut list: Locked<'_>) -> usize {
        let first = list.pop(|_| true);
        let unmoved = list.len();
        drop(list);
        let Some(first) = first else { return 0 };
        first.unpark();
        if unmoved == 0 { 1 } else { 1 + self.wake_n(unmoved) }
    }

    /// Whether there may be somebody to wake: no less certain than a look under the lock, for a caller that has
    /// changed the word.
    fn has_waiters(&self) -> bool {
        // Relaxed: if we see somebody, the lock decides.
        if self.len.load(Ordering::Relaxed) != 0 {
            return true;
        }
        // Pairs with the one in `queue`: either we see the waiter that is in the list here, or it sees the word as our
        // caller has changed it.
        fence(Ordering::SeqCst);
        self.len.load(Ordering::Relaxed) != 0
    }

    fn wake_wanted(&self, n: usize, wanted: impl Fn(&'static Parker) -> bool) -> usize {
        if !self.has_waiters() {
            return 0;
        }
        let mut list = self.locked();
        // Who queues while we wake the first ones is not meant.
        let goal = n.min(list.len());
        let mut woken = 0;
        while woken < goal {
            let mut batch = [None; WAKE_BATCH];
            let mut count = 0;
            while count < WAKE_BATCH.min(goal - woken) {
                let Some(parker) = list.pop(&wanted) else { break };
                batch[count] = Some(parker);
                count += 1;
            }
            drop(list);
            batch[..count].iter().flatten().for_each(|parker| parker.unpark());
            woken += count;
            if count < WAKE_BATCH {
                return woken;
            }
            list = self.locked();
        }
        woken
    }
}

impl fmt::Debug for Butex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A snapshot for people; pairs with nothing.
        f.debug_struct("Butex")
            .field("value", &self.value.load(Ordering::Relaxed))
            .field("waiters", &self.waiters())
            .finish()
    }
}

struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}
