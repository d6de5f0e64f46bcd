//! Locks, conditions and other meeting points with the interface of `std::sync`, whose waits park the bthread and not
//! the thread. All of them may be shared between bthreads and OS threads in any mix, and all can be made in constants.
//!
//! | | |
//! |---|---|
//! | [`Mutex`], [`RwLock`] | data that one, or one writer or several readers, may touch |
//! | [`Condvar`] | waiting under a mutex until something is the case |
//! | [`Semaphore`] | a number of permits, to take one or several of |
//! | [`CountdownEvent`], [`Barrier`] | waiting for several others |
//! | [`mpsc`], [`oneshot`] | values handed from one to another |
//! | [`Once`], [`OnceLock`], [`LazyLock`] | what happens once |
//!
//! # Timeouts
//! Nearly every wait has a variant with a `timeout` and one `until` a deadline; neither ends before its time. A deadline
//! that has passed means a look without a wait. A timeout beyond what the clock can express is none. Without a bound, as
//! in std, are [`Once::call_once`], [`OnceLock::get_or_init`] and a [`LazyLock`], which may have to run the function or
//! wait for the one who does; `wait_until` of the first two waits for somebody else's.
//!
//! # Interruptions
//! [`interrupt`](crate::interrupt) and [`stop`](crate::stop) do not end these waits, and stay pending. The one
//! exception is [`Condvar`], where they are a wake-up for no reason.
//!
//! # Poisoning
//! As in `std`: a [`Mutex`] or [`RwLock`] is poisoned when a guard that can write is dropped by a panic that began
//! while it was held, and gives its data out in an error from then on, until `clear_poison`. A [`Once`] or [`LazyLock`]
//! whose function has panicked panics for everybody who comes later; a [`OnceLock`] is just tried again. Semaphores,
//! countdowns and barriers guard no data and are not poisoned.
//!
//! # Fairness
//! Waiters queue in the order in which they come, but whoever comes by while a lock is free may take it before the one
//! who was woken for it: handing a lock over would make everybody wait for a switch each time. Who loses such a race
//! queues in front.

mod barrier;
#[cfg(not(loom))]
mod condvar;
mod countdown;
#[cfg(not(loom))]
mod lazy_lock;
pub mod mpsc;
#[cfg(not(loom))]
mod mutex;
#[cfg(not(loom))]
mod once;
#[cfg(not(loom))]
mod once_lock;
pub mod oneshot;
#[cfg(not(loom))]
mod poison;
mod raw;
#[cfg(not(loom))]
mod rwlock;
mod semaphore;

use std::fmt;
use std::time::{Duration, Instant};

pub use barrier::{Barrier, BarrierWaitResult};
pub use countdown::CountdownEvent;
pub use semaphore::{OwnedPermit, Permit, Semaphore};
#[cfg(not(loom))]
pub use {
    condvar::{Condvar, WaitTimeoutResult},
    lazy_lock::LazyLock,
    mutex::{Mutex, MutexGuard},
    once::{Once, OnceState},
    once_lock::OnceLock,
    rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// The time of a wait was up first. brpc: `ETIMEDOUT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedOut;

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl std::error::Error for TimedOut {}

/// When a wait that starts now is over; never, if no clock reaches that far.
fn after(timeout: Duration) -> Option<Instant> {
    crate::clock::now().checked_add(timeout)
}
