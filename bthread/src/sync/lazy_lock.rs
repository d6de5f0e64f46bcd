//! A value that is made when it is first needed.
//!
//! Holds unsafe: `init` is a `Cell` that several threads can reach. It is touched only by the function of `value`, of
//! which there is one at a time, each after the other.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::once_lock::OnceLock;

/// A value that is made by the first who looks at it; the others wait meanwhile.
///
/// It is [poisoned](super#poisoning) when the function panics.
///
/// ```
/// use bthread::sync::LazyLock;
/// static TABLE: LazyLock<Vec<u32>> = LazyLock::new(|| (0..10).map(|n| n * n).collect());
/// assert_eq!(TABLE[3], 9);
/// ```
pub struct LazyLock<T, F = fn() -> T> {
    value: OnceLock<T>,
    init: Cell<Option<F>>,
}

// SAFETY: the cell as said above; the function is moved out on the thread that calls it, which needs `F: Send`.
unsafe impl<T, F: Send> Sync for LazyLock<T, F> where OnceLock<T>: Sync {}
impl<T, F> RefUnwindSafe for LazyLock<T, F> where OnceLock<T>: RefUnwindSafe {}
impl<T, F: UnwindSafe> UnwindSafe for LazyLock<T, F> where OnceLock<T>: UnwindSafe {}

impl<T, F: FnOnce() -> T> LazyLock<T, F> {
    /// A value that is still to be made by `init`.
    pub const fn new(init: F) -> Self {
        LazyLock { value: OnceLock::new(), init: Cell::new(Some(init)) }
    }

    /// The value, made now if it was not. So does a dereference. *Blocking*: parks the calling bthread, or blocks the
    /// calling thread, while another one is making it.
    ///
    /// # Panics
    /// When the function panics, or has panicked before.
    #[inline]
    pub fn force(this: &Self) -> &T {
        this.value.get_or_init(|| match this.init.take() {
            Some(init) => init(),
            None => panic!("the function of this LazyLock has panicked"),
        })
    }
}

impl<T, F: FnOnce() -> T> Deref for LazyLock<T, F> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        Self::force(self)
    }
}

impl<T: Default> Default for LazyLock<T> {
    fn default() -> Self {
        LazyLock::new(T::default)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for LazyLock<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value.get() {
            Some(value) => f.debug_tuple("LazyLock").field(value).finish(),
            None => f.write_str("LazyLock(<unset>)"),
        }
    }
}
