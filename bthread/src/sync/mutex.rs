//! The mutex: a butex word, and the typed guard above it.
//!
//! Holds unsafe: access to the data. `&mut T` and `&T` are handed out by a guard alone, and a guard exists only
//! between a lock that has taken the word from 0 and the unlock that gives it back.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
use std::time::Instant;

use crate::butex::{Butex, WaitResult};

const UNLOCKED: u32 = 0;
const LOCKED: u32 = 1;
/// Locked, and somebody may be waiting.
const CONTENDED: u32 = 2;

/// Looks at a lock that is held before a waiter queues. The holder may be on another worker and about to unlock.
const SPINS: u32 = 32;

/// A mutual exclusion lock. It is not recursive, and not fair: whoever comes by while it is free may take it, but one
/// who was woken and came too late waits at the head of the queue next time.
///
/// It is *poisoned* when its holder panics, as `std::sync::Mutex` is. The guard may stay across waits; it must be
/// dropped on the bthread or thread that locked, which the compiler ensures.
///
/// ```
/// let total = std::sync::Arc::new(bthread::sync::Mutex::new(0));
/// let adders: Vec<_> = (1..=3).map(|n| { let total = total.clone(); bthread::spawn(move || *total.lock().unwrap() += n) }).collect();
/// adders.into_iter().for_each(|adder| adder.join().unwrap());
/// assert_eq!(*total.lock().unwrap(), 6);
/// ```
pub struct Mutex<T: ?Sized> {
    word: Butex,
    poisoned: AtomicBool,
    data: UnsafeCell<T>,
}

// SAFETY: the lock hands the data from one thread to the next, which needs `T: Send`.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

/// The right to the data of a locked [`Mutex`]; dropping it unlocks.
#[must_use = "dropping the guard unlocks at once"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    /// The holder was not panicking when it locked.
    sound: bool,
    /// Must not move to another thread: poisoning looks at the thread's panic.
    _here: std::marker::PhantomData<*const ()>,
}

// SAFETY: a shared guard gives `&T` only.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T> Mutex<T> {
    /// An unlocked mutex.
    pub fn new(data: T) -> Self {
        Mutex { word: Butex::new(UNLOCKED), poisoned: AtomicBool::new(false), data: UnsafeCell::new(data) }
    }

    /// Takes the data out.
    ///
    /// # Errors
    /// The data all the same when the mutex is poisoned.
    pub fn into_inner(self) -> LockResult<T> {
        let poisoned = self.is_poisoned();
        let data = self.data.into_inner();
        if poisoned { Err(PoisonError::new(data)) } else { Ok(data) }
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks. *Blocking*: parks the calling bthread, or blocks the calling thread, until the lock is free.
    ///
    /// # Errors
    /// The guard all the same when a former holder has panicked.
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        if !self.try_acquire() {
            self.acquire(None);
        }
        self.guard()
    }

    /// Locks if that is possible at once. Never blocks.
    ///
    /// # Errors
    /// `WouldBlock` when it is locked; `Poisoned` with the guard when a former holder has panicked.
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        if !self.try_acquire() {
            return Err(TryLockError::WouldBlock);
        }
        self.guard().map_err(TryLockError::Poisoned)
    }

    /// Locks unless the deadline passes first. *Blocking*: as [`lock`](Self::lock).
    ///
    /// # Errors
    /// `WouldBlock` when the deadline has passed; `Poisoned` with the guard when a former holder has panicked.
    pub fn try_lock_until(&self, deadline: Instant) -> TryLockResult<MutexGuard<'_, T>> {
        if !self.try_acquire() && !self.acquire(Some(deadline)) {
            return Err(TryLockError::WouldBlock);
        }
        self.guard().map_err(TryLockError::Poisoned)
    }

    /// Whether a holder has panicked.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Relaxed) // the lock itself orders it
    }

    /// Forgets that a holder has panicked.
    pub fn clear_poison(&self) {
        self.poisoned.store(false, Ordering::Relaxed); // as above
    }

    /// The data; no lock is needed, as nobody else has a reference.
    ///
    /// # Errors
    /// The data all the same when the mutex is poisoned.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        let poisoned = self.is_poisoned();
        let data = self.data.get_mut();
        if poisoned { Err(PoisonError::new(data)) } else { Ok(data) }
    }

    fn try_acquire(&self) -> bool {
        // Acquire pairs with the Release in `release`.
        self.word.value().compare_exchange(UNLOCKED, LOCKED, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[cold]
    fn acquire(&self, deadline: Option<Instant>) -> bool {
        let word = self.word.value();
        for _ in 0..SPINS {
            // Relaxed: the exchange decides.
            match word.load(Ordering::Relaxed) {
                UNLOCKED if self.try_acquire() => return true,
                LOCKED => std::hint::spin_loop(),
                _ => break,
            }
        }
        let mut woken = false;
        // Who takes the word here leaves it CONTENDED, since others may be queued: one wake-up too many at worst.
        // Acquire pairs with the Release in `release`.
        while word.swap(CONTENDED, Ordering::Acquire) != UNLOCKED {
            match self.word.wait_as(CONTENDED, deadline, woken) {
                WaitResult::Woken => woken = true,
                WaitResult::Mismatch | WaitResult::Interrupted => {}
                WaitResult::TimedOut => return false,
            }
        }
        true
    }

    fn release(&self) {
        // Release pairs with the Acquires above.
        if self.word.value().swap(UNLOCKED, Ordering::Release) == CONTENDED {
            self.word.wake_one();
        }
    }

    fn guard(&self) -> LockResult<MutexGuard<'_, T>> {
        let sound = !std::thread::panicking();
        let guard = MutexGuard { mutex: self, sound, _here: std::marker::PhantomData };
        if self.is_poisoned() { Err(PoisonError::new(guard)) } else { Ok(guard) }
    }
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// The mutex behind a guard, for [`Condvar`](super::Condvar).
    pub(super) fn mutex(guard: &Self) -> &'a Mutex<T> {
        guard.mutex
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: we hold the lock.
        unsafe { &*self.mutex.data.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: we hold the lock, and `self` is borrowed exclusively.
        unsafe { &mut *self.mutex.data.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        if self.sound && std::thread::panicking() {
            self.mutex.poisoned.store(true, Ordering::Relaxed); // ordered by the release
        }
        self.mutex.release();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Mutex");
        match self.try_lock() {
            Ok(guard) => out.field("data", &&*guard),
            Err(TryLockError::Poisoned(poisoned)) => out.field("data", &&**poisoned.get_ref()),
            Err(TryLockError::WouldBlock) => out.field("data", &format_args!("<locked>")),
        };
        out.field("poisoned", &self.is_poisoned()).finish()
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(data: T) -> Self {
        Mutex::new(data)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
