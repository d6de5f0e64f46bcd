//! The state machines of the locks: words and butexes, without the data that they guard.
//!
//! They decide who may go on and who is woken. They know nothing of data, guards or poisoning: the types that users see
//! stand on them and see to it that only a holder unlocks. Loom models run on these.

mod condvar;
mod mutex;
mod once;
mod rwlock;

#[cfg(not(loom))]
pub(super) use crate::profile::contention;
#[cfg(not(loom))]
pub(super) use condvar::RawCondvar;
pub(super) use mutex::RawMutex;
#[cfg(not(loom))]
pub(super) use once::{Begin, RawOnce};
#[cfg(not(loom))]
pub(super) use rwlock::RawRwLock;

/// Models watch no waits.
#[cfg(loom)]
pub(super) mod contention {
    pub(in crate::sync) enum Lock {
        Mutex,
        Read,
        Write,
        Semaphore,
    }

    pub(in crate::sync) fn begin(_: Lock) -> Option<()> {
        None
    }
}
