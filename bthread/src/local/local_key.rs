//! Statics of which every bthread has its own.
//!
//! Holds unsafe: the way from a place in the table to the value; the argument stands in `local`.

#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::table::{Kind, Value};
use super::{AccessError, access};
use crate::atomic::lock;

/// Declares statics of which every bthread, and every OS thread, has its own: `thread_local!` for bthreads. Each
/// becomes a [`LocalKey`]; its initial value is made in a bthread that first uses it, and dropped at that one's end.
///
/// With `pooled` before `static` the value must be `Send`, and stays in the bthread's [`LocalPool`](crate::LocalPool),
/// if it has one, for the next.
///
/// ```
/// use std::cell::{Cell, RefCell};
/// bthread::bthread_local! {
///     static DEPTH: Cell<u32> = const { Cell::new(0) };
///     /// Stays for the next request.
///     pub pooled static BUFFER: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(4096));
/// }
/// DEPTH.set(1);
/// bthread::spawn(|| assert_eq!(DEPTH.get(), 0)).join().unwrap();
/// BUFFER.with_borrow_mut(|buffer| buffer.push(1));
/// ```
#[macro_export]
macro_rules! bthread_local {
    () => {};
    ($(#[$attribute:meta])* $vis:vis static $name:ident: $type:ty = $init:expr $(; $($rest:tt)*)?) => {
        $(#[$attribute])*
        $vis static $name: $crate::local::LocalKey<$type> = $crate::local::LocalKey::__fresh(|| $init);
        $($crate::bthread_local! { $($rest)* })?
    };
    ($(#[$attribute:meta])* $vis:vis pooled static $name:ident: $type:ty = $init:expr $(; $($rest:tt)*)?) => {
        $(#[$attribute])*
        $vis static $name: $crate::local::LocalKey<$type> = $crate::local::LocalKey::__pooled(|| $init);
        $($crate::bthread_local! { $($rest)* })?
    };
}

/// A static of which every bthread, and every OS thread, has its own; declared by
/// [`bthread_local!`](crate::bthread_local). The interface is that of `std::thread::LocalKey`.
///
/// No method blocks by itself; the functions that are passed in may wait.
///
/// # Panics
/// All methods but [`try_with`](Self::try_with) panic where that gives an [`AccessError`].
pub struct LocalKey<T: 'static> {
    init: fn() -> T,
    kind: Kind,
    /// 1 more than the index in the table; 0 before the first use.
    index: AtomicU32,
}

impl<T: 'static> LocalKey<T> {
    /// For the macro.
    #[doc(hidden)]
    pub const fn __fresh(init: fn() -> T) -> Self {
        LocalKey { init, kind: Kind::Fresh, index: AtomicU32::new(0) }
    }

    /// For the macro.
    #[doc(hidden)]
    pub const fn __pooled(init: fn() -> T) -> Self
    where
        T: Send,
    {
        LocalKey { init, kind: Kind::Pooled, index: AtomicU32::new(0) }
    }

    /// Gives the caller's own value to `f`; makes it first if there is none.
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        self.try_with(f).expect(GONE)
    }

    /// As [`with`](Self::with).
    ///
    /// # Errors
    /// When the values of the bthread or thread are gone for good; see [`AccessError`].
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        self.try_with_or(self.init, f)
    }

    fn with_or<R>(&'static self, init: impl FnOnce() -> T, f: impl FnOnce(&T) -> R) -> R {
        self.try_with_or(init, f).expect(GONE)
    }

    fn try_with_or<R>(
        &'static self,
        init: impl FnOnce() -> T,
        f: impl FnOnce(&T) -> R,
    ) -> Result<R, AccessError> {
        let index = self.index();
        let existing = access(|locals| Ok(locals.existing()?.and_then(|table| table.get(self.kind, index))))?;
        let value = match existing {
            Some(value) => value.cast::<T>(),
            None => self.make(index, init)?,
        };
        // SAFETY: `local` (3), and the index is this static's alone, so it is a `T`.
        Ok(f(unsafe { &*value }))
    }

    #[cold]
    fn make(&'static self, index: usize, init: impl FnOnce() -> T) -> Result<*const T, AccessError> {
        let value = Rc::new(init());
        let erased: Value = value.clone(); // dropped in `access` if there is no table, and not the last one then
        // What `init` itself has put there, if it came here too, is displaced and dropped.
        drop(access(|locals| Ok(locals.table()?.set(self.kind, index, erased)))?);
        Ok(Rc::as_ptr(&value))
    }

    fn index(&'static self) -> usize {
        // Relaxed: the number is all there is to it.
        match self.index.load(Ordering::Relaxed) {
            0 => self.register(),
            index => index as usize - 1,
        }
    }

    #[cold]
    fn register(&'static self) -> usize {
        static USED: [Mutex<u32>; 2] = [Mutex::new(0), Mutex::new(0)];
        let mut used = lock(&USED[self.kind as usize]);
        // Written under the lock alone.
        if self.index.load(Ordering::Relaxed) == 0 {
            *used += 1; // bounded by the statics of the program
            self.index.store(*used, Ordering::Relaxed);
        }
        self.index.load(Ordering::Relaxed) as usize - 1
    }
}

const GONE: &str = "a bthread-local was used after the end of its bthread or thread";

impl<T: 'static> LocalKey<Cell<T>> {
    /// Sets the value; does not make the initial one first.
    pub fn set(&'static self, value: T) {
        let value = Cell::new(Some(value));
        let taken = || value.take().expect("taken once");
        self.with_or(
            || Cell::new(taken()),
            |cell| {
                if let Some(value) = value.take() {
                    cell.set(value)
                }
            },
        )
    }

    /// A copy of the value.
    pub fn get(&'static self) -> T
    where
        T: Copy,
    {
        self.with(Cell::get)
    }

    /// Takes the value and leaves the default one.
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(Cell::take)
    }

    /// Replaces the value and gives the old one.
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> LocalKey<RefCell<T>> {
    /// Gives the value to `f`.
    ///
    /// # Panics
    /// Also when it is mutably borrowed.
    pub fn with_borrow<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        self.with(|cell| f(&cell.borrow()))
    }

    /// Gives the value to `f`, which may change it.
    ///
    /// # Panics
    /// Also when it is borrowed.
    pub fn with_borrow_mut<R>(&'static self, f: impl FnOnce(&mut T) -> R) -> R {
        self.with(|cell| f(&mut cell.borrow_mut()))
    }

    /// Sets the value; does not make the initial one first.
    ///
    /// # Panics
    /// Also when it is borrowed.
    pub fn set(&'static self, value: T) {
        let value = Cell::new(Some(value));
        let taken = || value.take().expect("taken once");
        self.with_or(
            || RefCell::new(taken()),
            |cell| {
                if let Some(value) = value.take() {
                    drop(cell.replace(value));
                }
            },
        )
    }

    /// Takes the value and leaves the default one.
    ///
    /// # Panics
    /// Also when it is borrowed.
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(RefCell::take)
    }

    /// Replaces the value and gives the old one.
    ///
    /// # Panics
    /// Also when it is borrowed.
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}
