//! The mark of data whose holder has panicked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LockResult, PoisonError};
use std::thread::panicking;

pub(super) struct Poison(AtomicBool);

/// Kept by a guard: the holder was not panicking when it locked, so a panic at the end began in between.
#[derive(Clone, Copy)]
pub(super) struct Watch {
    sound: bool,
}

impl Poison {
    pub(super) const fn new() -> Self {
        Poison(AtomicBool::new(false))
    }

    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed) // ordered by the lock
    }

    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed); // as above
    }

    /// At the lock.
    #[inline]
    pub(super) fn watch(&self) -> Watch {
        Watch { sound: !panicking() }
    }

    /// Before the unlock.
    #[inline]
    pub(super) fn end(&self, watch: Watch) {
        if watch.sound && panicking() {
            self.0.store(true, Ordering::Relaxed); // as above
        }
    }

    /// `value`, in an error if poisoned.
    #[inline]
    pub(super) fn wrap<V>(&self, value: V) -> LockResult<V> {
        wrap(self.get(), value)
    }
}

#[inline]
pub(super) fn wrap<V>(poisoned: bool, value: V) -> LockResult<V> {
    if poisoned { Err(PoisonError::new(value)) } else { Ok(value) }
}
