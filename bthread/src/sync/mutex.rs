//! The mutex with its data.
//!
//! Holds unsafe: access to the data. `&mut T` and `&T` are handed out by a guard alone, and a guard exists only
//! between a lock of the `RawMutex` and the unlock that its drop does.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::{LockResult, TryLockError, TryLockResult};
use std::time::{Duration, Instant};

use super::poison::{Poison, Watch, wrap};
use super::raw::RawMutex;

/// A mutual exclusion lock. It is not recursive: locking it twice waits for ever.
///
/// It is [poisoned](super#poisoning) when its holder panics. The guard may stay across waits; it must be dropped on the
/// bthread or thread that locked, which the compiler ensures.
///
/// ```
/// let total = std::sync::Arc::new(bthread::sync::Mutex::new(0));
/// let adders: Vec<_> = (1..=3).map(|n| {
///     let total = total.clone();
///     bthread::spawn(move || *total.lock().unwrap() += n)
/// }).collect();
/// adders.into_iter().for_each(|adder| adder.join().unwrap());
/// assert_eq!(*total.lock().unwrap(), 6);
/// ```
pub struct Mutex<T: ?Sized> {
    raw: RawMutex,
    poison: Poison,
    data: UnsafeCell<T>,
}

// SAFETY: the lock hands the data from one thread to the next, which needs `T: Send`.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}
impl<T: ?Sized> std::panic::UnwindSafe for Mutex<T> {}
impl<T: ?Sized> std::panic::RefUnwindSafe for Mutex<T> {}

/// The right to the data of a locked [`Mutex`]; dropping it unlocks.
#[must_use = "dropping the guard unlocks at once"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    watch: Watch,
    /// Must not move to another thread: poisoning looks at the thread's panic.
    _here: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives `&T` only.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T> Mutex<T> {
    /// An unlocked mutex.
    pub const fn new(data: T) -> Self {
        Mutex { raw: RawMutex::new(), poison: Poison::new(), data: UnsafeCell::new(data) }
    }

    /// Takes the data out. Never blocks.
    ///
    /// # Errors
    /// The data all the same when the mutex is poisoned.
    pub fn into_inner(self) -> LockResult<T> {
        let poisoned = self.is_poisoned();
        wrap(poisoned, self.data.into_inner())
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks. *Blocking*: parks the calling bthread, or blocks the calling thread, until the lock is free.
    ///
    /// # Errors
    /// The guard all the same when a former holder has panicked.
    #[inline]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        self.raw.lock();
        self.guard()
    }

    /// Locks if that is possible at once. Never blocks.
    ///
    /// # Errors
    /// `WouldBlock` when it is locked; `Poisoned` with the guard when a former holder has panicked.
    #[inline]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        self.locked(self.raw.try_lock())
    }

    /// Locks unless the deadline passes first. *Blocking*: as [`lock`](Self::lock).
    ///
    /// # Errors
    /// `WouldBlock` when the deadline has passed; `Poisoned` with the guard when a former holder has panicked.
    pub fn try_lock_until(&self, deadline: Instant) -> TryLockResult<MutexGuard<'_, T>> {
        self.locked(self.raw.lock_until(Some(deadline)))
    }

    /// As [`try_lock_until`](Self::try_lock_until), for at most `timeout`.
    ///
    /// # Errors
    /// As [`try_lock_until`](Self::try_lock_until).
    pub fn try_lock_timeout(&self, timeout: Duration) -> TryLockResult<MutexGuard<'_, T>> {
        self.locked(self.raw.try_lock() || self.raw.lock_until(super::after(timeout)))
    }

    /// Whether a holder has panicked. Never blocks.
    pub fn is_poisoned(&self) -> bool {
        self.poison.get()
    }

    /// Forgets that a holder has panicked. Never blocks.
    pub fn clear_poison(&self) {
        self.poison.clear();
    }

    /// The data; no lock is needed, as nobody else has a reference. Never blocks.
    ///
    /// # Errors
    /// The data all the same when the mutex is poisoned.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        let poisoned = self.is_poisoned();
        wrap(poisoned, self.data.get_mut())
    }

    /// After a lock of `raw` alone.
    #[inline]
    fn guard(&self) -> LockResult<MutexGuard<'_, T>> {
        self.poison.wrap(MutexGuard { mutex: self, watch: self.poison.watch(), _here: PhantomData })
    }

    #[inline]
    fn locked(&self, locked: bool) -> TryLockResult<MutexGuard<'_, T>> {
        if !locked {
            return Err(TryLockError::WouldBlock);
        }
        self.guard().map_err(TryLockError::Poisoned)
    }
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// The lock itself, for a condition variable, which gives it back locked.
    pub(super) fn raw(&self) -> &'a RawMutex {
        &self.mutex.raw
    }

    /// The guard, in an error if the mutex has been poisoned meanwhile; for a condition variable.
    pub(super) fn check(mut self) -> LockResult<Self> {
        self.watch = self.mutex.poison.watch();
        self.mutex.poison.wrap(self)
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: we hold the lock.
        unsafe { &*self.mutex.data.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: we hold the lock, and `self` is borrowed exclusively.
        unsafe { &mut *self.mutex.data.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.poison.end(self.watch);
        self.mutex.raw.unlock();
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
