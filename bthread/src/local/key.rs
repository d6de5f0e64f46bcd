//! Keys to bthread-local values that are made and deleted at run time.

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::access;
use super::table::Value;
use crate::atomic::lock;

/// Keys that there can be at a time.
pub const KEYS_MAX: usize = 992;

/// A key under which every bthread, and every OS thread, can have a value of its own; none until it sets one. brpc's
/// `bthread_key_t`; where a static will do, [`bthread_local!`](crate::bthread_local) is the better choice.
///
/// Values that a bthread still has at its end are dropped, or left to its [`LocalPool`](super::LocalPool). A key lives
/// until it is [deleted](Self::delete). No method blocks by itself.
///
/// ```
/// let key = bthread::local::Key::create().unwrap();
/// key.set(String::from("mine")).unwrap();
/// bthread::spawn(move || assert_eq!(key.get(), None)).join().unwrap();
/// assert_eq!(key.get().as_deref(), Some("mine"));
/// key.delete().unwrap();
/// assert_eq!(key.get(), None);
/// ```
pub struct Key<T: Send + 'static> {
    index: u16,
    /// What tells keys that had the same index apart; never the same again.
    serial: u64,
    destructor: Option<fn(T)>,
    _value: PhantomData<fn(T) -> T>,
}

/// Why an operation on a [`Key`] failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// There are [`KEYS_MAX`] keys. brpc: `EAGAIN`.
    Full,
    /// The key was deleted. brpc: `EINVAL`.
    Deleted,
    /// There are no bthread-locals any more; see [`AccessError`](super::AccessError).
    Gone,
}

/// The serial of the key that has the index now; 0 if none has.
static LIVE: [AtomicU64; KEYS_MAX] = [const { AtomicU64::new(0) }; KEYS_MAX];

static INDICES: Mutex<Indices> = Mutex::new(Indices { used: 0, free: Vec::new(), serials: 0 });

struct Indices {
    /// Indices below this one were given out.
    used: u16,
    free: Vec<u16>,
    serials: u64,
}

struct Held<T: Send + 'static> {
    key: Key<T>,
    /// Present until it is dropped.
    value: Option<T>,
}

/// Keys that are there now.
pub(crate) fn live_keys() -> usize {
    let indices = lock(&INDICES);
    usize::from(indices.used) - indices.free.len()
}

impl<T: Send + 'static> Drop for Held<T> {
    fn drop(&mut self) {
        if let (Some(destructor), Some(value)) =
            (self.key.destructor, self.value.take_if(|_| self.key.exists()))
        {
            destructor(value);
        }
    }
}

impl<T: Send + 'static> Key<T> {
    /// A new key.
    ///
    /// # Errors
    /// [`Full`](KeyError::Full).
    pub fn create() -> Result<Self, KeyError> {
        Self::new(None)
    }

    /// As [`create`](Self::create), with a function that ends each value instead of a plain drop: one that is
    /// replaced, or still there at the end of its bthread, thread or pool. Not so for the values of a key that was
    /// deleted, which are only dropped. It may wait, and use bthread-locals.
    ///
    /// # Errors
    /// [`Full`](KeyError::Full).
    pub fn create_with(destructor: fn(T)) -> Result<Self, KeyError> {
        Self::new(Some(destructor))
    }

    fn new(destructor: Option<fn(T)>) -> Result<Self, KeyError> {
        let (index, serial) = {
            let mut indices = lock(&INDICES);
            let index = match indices.free.pop() {
                Some(index) => index,
                None if usize::from(indices.used) < KEYS_MAX => {
                    indices.used += 1;
                    indices.used - 1
                }
                None => return Err(KeyError::Full),
            };
            indices.serials += 1;
            (index, indices.serials)
        };
        // Relaxed: whoever has the key has got it from here, in whatever way.
        LIVE[usize::from(index)].store(serial, Ordering::Relaxed);
        Ok(Key { index, serial, destructor, _value: PhantomData })
    }

    /// Ends the key: nobody sees a value of it any more. The values themselves are dropped, without the destructor,
    /// when their bthreads end or another key takes the place.
    ///
    /// # Errors
    /// [`Deleted`](KeyError::Deleted) when it was.
    pub fn delete(self) -> Result<(), KeyError> {
        // Relaxed: of several callers one succeeds, and the lock orders it before the next use of the index.
        LIVE[usize::from(self.index)]
            .compare_exchange(self.serial, 0, Ordering::Relaxed, Ordering::Relaxed)
            .map_err(|_| KeyError::Deleted)?;
        lock(&INDICES).free.push(self.index);
        Ok(())
    }

    /// Whether the key was not deleted.
    pub fn exists(self) -> bool {
        // Relaxed: a deletion elsewhere is seen by those who were told of it, in whatever way.
        LIVE[usize::from(self.index)].load(Ordering::Relaxed) == self.serial
    }

    /// Sets the caller's own value; the one before goes the way of all values.
    ///
    /// # Errors
    /// [`Deleted`](KeyError::Deleted), [`Gone`](KeyError::Gone); `value` is dropped then, without the destructor.
    pub fn set(self, value: T) -> Result<(), KeyError> {
        if !self.exists() {
            return Err(KeyError::Deleted);
        }
        let held = Rc::new(Held { key: self, value: Some(value) });
        let erased: Value = held.clone();
        let old = access(|locals| {
            Some(locals.table().ok()?.set_keyed(usize::from(self.index), self.serial, erased))
        });
        match old {
            Some(old) => {
                drop(old);
                Ok(())
            }
            None => {
                let value = Rc::into_inner(held).and_then(|mut held| held.value.take());
                drop(value);
                Err(KeyError::Gone)
            }
        }
    }

    /// Gives the caller's own value to `f`, or none if it has set none or the key was deleted.
    pub fn with<R>(self, f: impl FnOnce(Option<&T>) -> R) -> R {
        let value = self.exists().then(|| {
            access(|locals| locals.existing().ok()??.get_keyed(usize::from(self.index), self.serial))
        });
        let held =
            value.flatten().map(|value| value.downcast::<Held<T>>().expect("the serial is this key's alone"));
        f(held.as_ref().and_then(|held| held.value.as_ref()))
    }

    /// A clone of the caller's own value.
    pub fn get(self) -> Option<T>
    where
        T: Clone,
    {
        self.with(|value| value.cloned())
    }
}

impl<T: Send + 'static> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Send + 'static> Copy for Key<T> {}

impl<T: Send + 'static> PartialEq for Key<T> {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl<T: Send + 'static> Eq for Key<T> {}

impl<T: Send + 'static> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}v{})", self.index, self.serial)
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyError::Full => "no room for another bthread-local key",
            KeyError::Deleted => "the bthread-local key was deleted",
            KeyError::Gone => "bthread-locals are gone at this point of the end of a bthread or thread",
        })
    }
}

impl std::error::Error for KeyError {}
