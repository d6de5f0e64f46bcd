//! A value that is set once.
//!
//! Holds unsafe: the place of the value.
//! (1) It is written by the function of `once` alone, of which there is one at a time, and none after one has
//!     succeeded.
//! (2) It holds a value if and only if `once` is completed; who has seen that sees the value.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use super::once::Once;

/// A place for a value that is set once and then only read.
///
/// ```
/// static CONFIG: bthread::sync::OnceLock<String> = bthread::sync::OnceLock::new();
/// assert_eq!(CONFIG.get(), None);
/// assert_eq!(CONFIG.get_or_init(|| "fast".to_owned()), "fast");
/// assert_eq!(CONFIG.set("slow".to_owned()), Err("slow".to_owned()));
/// ```
pub struct OnceLock<T> {
    once: Once,
    value: UnsafeCell<MaybeUninit<T>>,
    _owns: PhantomData<T>,
}

// SAFETY: a shared one gives `&T` to several threads, and takes a `T` from any of them.
unsafe impl<T: Sync + Send> Sync for OnceLock<T> {}
// SAFETY: it owns a `T`.
unsafe impl<T: Send> Send for OnceLock<T> {}
impl<T: RefUnwindSafe + UnwindSafe> RefUnwindSafe for OnceLock<T> {}
impl<T: UnwindSafe> UnwindSafe for OnceLock<T> {}

impl<T> OnceLock<T> {
    /// An empty place.
    pub const fn new() -> Self {
        OnceLock { once: Once::new(), value: UnsafeCell::new(MaybeUninit::uninit()), _owns: PhantomData }
    }

    /// The value, if it is set. Never blocks.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // SAFETY: (2).
        self.once.is_completed().then(|| unsafe { (*self.value.get()).assume_init_ref() })
    }

    /// The value, if it is set. Never blocks.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        // SAFETY: (2).
        self.once.is_completed().then(|| unsafe { self.value.get_mut().assume_init_mut() })
    }

    /// Sets the value. *Blocking*: parks the calling bthread, or blocks the calling thread, while another one is
    /// setting it.
    ///
    /// # Errors
    /// The new value, when there was one already.
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("called once"));
        value.map_or(Ok(()), Err)
    }

    /// The value, which is `init()` if it was not set. *Blocking*: parks the calling bthread, or blocks the calling
    /// thread, while another one is setting it.
    ///
    /// # Panics
    /// When `init` does; the place is empty then, and the next one tries again. If `init` asks for the same value, it
    /// waits for ever.
    #[inline]
    pub fn get_or_init(&self, init: impl FnOnce() -> T) -> &T {
        self.once.call_once_force(|_| {
            let value = init();
            // SAFETY: (1).
            unsafe { (*self.value.get()).write(value) };
        });
        self.get().expect("completed")
    }

    /// Waits until the value is set. *Blocking*: parks the calling bthread, or blocks the calling thread.
    pub fn wait(&self) -> &T {
        self.once.wait_force();
        self.get().expect("completed")
    }

    /// As [`wait`](Self::wait), until the deadline at most: `None` when it has passed first.
    pub fn wait_until(&self, deadline: Instant) -> Option<&T> {
        self.once.wait_force_until(Some(deadline));
        self.get()
    }

    /// As [`wait`](Self::wait), for at most `timeout`: `None` when the time was up first.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<&T> {
        self.once.wait_force_until(super::after(timeout));
        self.get()
    }

    /// Takes the value out. Never blocks.
    pub fn into_inner(mut self) -> Option<T> {
        self.take()
    }

    /// Takes the value out; the place is empty then. Never blocks.
    pub fn take(&mut self) -> Option<T> {
        if !self.once.is_completed() {
            return None;
        }
        self.once = Once::new();
        // SAFETY: (2), and from here on it does not count as set.
        Some(unsafe { self.value.get_mut().assume_init_read() })
    }
}

impl<T> Drop for OnceLock<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone> Clone for OnceLock<T> {
    fn clone(&self) -> Self {
        self.get().cloned().map_or_else(Self::new, Self::from)
    }
}

impl<T> From<T> for OnceLock<T> {
    fn from(value: T) -> Self {
        let place = Self::new();
        place.get_or_init(|| value);
        place
    }
}

impl<T: PartialEq> PartialEq for OnceLock<T> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl<T: Eq> Eq for OnceLock<T> {}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.get() {
            Some(value) => f.debug_tuple("OnceLock").field(value).finish(),
            None => f.write_str("OnceLock(<unset>)"),
        }
    }
}
