//! The readers-writer lock with its data.
//!
//! Holds unsafe: access to the data. `&T` is handed out by guards of either kind, `&mut T` by write guards alone. A
//! guard exists only between a lock of the `RawRwLock` in its mode and the unlock that its drop does.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::sync::{LockResult, TryLockError, TryLockResult};
use std::time::{Duration, Instant};

use super::poison::{Poison, Watch, wrap};
use super::raw::RawRwLock;

/// A lock that one writer or up to 2^30 - 1 readers hold. Writers come first: while one waits or holds, no new reader
/// gets in.
///
/// It is not recursive in either mode: a reader that locks again waits for a writer who waits for the reader. It is
/// [poisoned](super#poisoning) when a writer panics.
///
/// ```
/// static LIMIT: bthread::sync::RwLock<u32> = bthread::sync::RwLock::new(5);
/// {
///     let (one, other) = (LIMIT.read().unwrap(), LIMIT.read().unwrap());
///     assert_eq!(*one + *other, 10);
/// }
/// *LIMIT.write().unwrap() += 1;
/// ```
pub struct RwLock<T: ?Sized> {
    raw: RawRwLock,
    poison: Poison,
    data: UnsafeCell<T>,
}

// SAFETY: the lock hands the data from one thread to the next, which needs `T: Send`.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: as above, and it gives `&T` to several threads at once, which needs `T: Sync`.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}
impl<T: ?Sized> std::panic::UnwindSafe for RwLock<T> {}
impl<T: ?Sized> std::panic::RefUnwindSafe for RwLock<T> {}

/// The right to read the data of an [`RwLock`]; dropping it unlocks.
#[must_use = "dropping the guard unlocks at once"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    /// As the other guards, not for another thread.
    _here: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives `&T` only.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}

/// The right to the data of an [`RwLock`]; dropping it unlocks.
#[must_use = "dropping the guard unlocks at once"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    watch: Watch,
    /// Must not move to another thread: poisoning looks at the thread's panic.
    _here: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives `&T` only.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<T> RwLock<T> {
    /// An unlocked lock.
    pub const fn new(data: T) -> Self {
        RwLock { raw: RawRwLock::new(), poison: Poison::new(), data: UnsafeCell::new(data) }
    }

    /// Takes the data out. Never blocks.
    ///
    /// # Errors
    /// The data all the same when the lock is poisoned.
    pub fn into_inner(self) -> LockResult<T> {
        let poisoned = self.is_poisoned();
        wrap(poisoned, self.data.into_inner())
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Locks for reading. *Blocking*: parks the calling bthread, or blocks the calling thread, until no writer holds
    /// the lock or waits for it.
    ///
    /// # Errors
    /// The guard all the same when a writer has panicked.
    ///
    /// # Panics
    /// When 2^30 - 1 readers hold it.
    #[inline]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        self.raw.read_until(None);
        self.poison.wrap(self.reader())
    }

    /// Locks for reading if that is possible at once. Never blocks.
    ///
    /// # Errors
    /// `WouldBlock` when a writer holds it or waits for it, or when 2^30 - 1 readers hold it; `Poisoned` with the guard
    /// when a writer has panicked.
    #[inline]
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        self.read_result(self.raw.try_read())
    }

    /// Locks for reading unless the deadline passes first. *Blocking*: as [`read`](Self::read).
    ///
    /// # Errors
    /// `WouldBlock` when the deadline has passed; `Poisoned` with the guard when a writer has panicked.
    ///
    /// # Panics
    /// As [`read`](Self::read).
    pub fn try_read_until(&self, deadline: Instant) -> TryLockResult<RwLockReadGuard<'_, T>> {
        self.read_result(self.raw.read_until(Some(deadline)))
    }

    /// As [`try_read_until`](Self::try_read_until), for at most `timeout`.
    ///
    /// # Errors
    /// As [`try_read_until`](Self::try_read_until).
    ///
    /// # Panics
    /// As [`read`](Self::read).
    pub fn try_read_timeout(&self, timeout: Duration) -> TryLockResult<RwLockReadGuard<'_, T>> {
        self.read_result(self.raw.try_read() || self.raw.read_until(super::after(timeout)))
    }

    /// Locks for writing. *Blocking*: parks the calling bthread, or blocks the calling thread, until nobody holds it.
    ///
    /// # Errors
    /// The guard all the same when a writer has panicked.
    #[inline]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.raw.write_until(None);
        self.poison.wrap(self.writer())
    }

    /// Locks for writing if that is possible at once. Never blocks.
    ///
    /// # Errors
    /// `WouldBlock` when somebody holds it; `Poisoned` with the guard when a writer has panicked.
    #[inline]
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        self.write_result(self.raw.try_write())
    }

    /// Locks for writing unless the deadline passes first. *Blocking*: as [`write`](Self::write).
    ///
    /// # Errors
    /// `WouldBlock` when the deadline has passed; `Poisoned` with the guard when a writer has panicked.
    pub fn try_write_until(&self, deadline: Instant) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        self.write_result(self.raw.write_until(Some(deadline)))
    }

    /// As [`try_write_until`](Self::try_write_until), for at most `timeout`.
    ///
    /// # Errors
    /// As [`try_write_until`](Self::try_write_until).
    pub fn try_write_timeout(&self, timeout: Duration) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        self.write_result(self.raw.try_write() || self.raw.write_until(super::after(timeout)))
    }

    /// Whether a writer has panicked. Never blocks.
    pub fn is_poisoned(&self) -> bool {
        self.poison.get()
    }

    /// Forgets that a writer has panicked. Never blocks.
    pub fn clear_poison(&self) {
        self.poison.clear();
    }

    /// The data; no lock is needed, as nobody else has a reference. Never blocks.
    ///
    /// # Errors
    /// The data all the same when the lock is poisoned.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        let poisoned = self.is_poisoned();
        wrap(poisoned, self.data.get_mut())
    }

    /// After a lock of `raw` for reading alone.
    #[inline]
    fn reader(&self) -> RwLockReadGuard<'_, T> {
        RwLockReadGuard { lock: self, _here: PhantomData }
    }

    /// After a lock of `raw` for writing alone.
    #[inline]
    fn writer(&self) -> RwLockWriteGuard<'_, T> {
        RwLockWriteGuard { lock: self, watch: self.poison.watch(), _here: PhantomData }
    }

    #[inline]
    fn read_result(&self, locked: bool) -> TryLockResult<RwLockReadGuard<'_, T>> {
        if !locked {
            return Err(TryLockError::WouldBlock);
        }
        self.poison.wrap(self.reader()).map_err(TryLockError::Poisoned)
    }

    #[inline]
    fn write_result(&self, locked: bool) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        if !locked {
            return Err(TryLockError::WouldBlock);
        }
        self.poison.wrap(self.writer()).map_err(TryLockError::Poisoned)
    }
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Goes from writing to reading; no other writer gets in between. Never blocks.
    pub fn downgrade(guard: Self) -> RwLockReadGuard<'a, T> {
        let guard = ManuallyDrop::new(guard);
        guard.lock.poison.end(guard.watch);
        guard.lock.raw.downgrade();
        guard.lock.reader()
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: we hold the lock, so there is no `&mut T`.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: we hold the lock for writing.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: we hold the lock for writing, and `self` is borrowed exclusively.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.raw.unlock_read();
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.poison.end(self.watch);
        self.lock.raw.unlock_write();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("RwLock");
        match self.try_read() {
            Ok(guard) => out.field("data", &&*guard),
            Err(TryLockError::Poisoned(poisoned)) => out.field("data", &&**poisoned.get_ref()),
            Err(TryLockError::WouldBlock) => out.field("data", &format_args!("<locked>")),
        };
        out.field("poisoned", &self.is_poisoned()).finish()
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        RwLock::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(data: T) -> Self {
        RwLock::new(data)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
