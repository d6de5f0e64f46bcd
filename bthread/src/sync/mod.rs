//! Locks and conditions with the interface of `std::sync`, whose waits park the bthread and not the thread. All of
//! them may be shared between bthreads and OS threads in any mix.

#[cfg(not(loom))]
mod condvar;
pub mod mpsc;
#[cfg(not(loom))]
mod mutex;
pub mod oneshot;

#[cfg(not(loom))]
pub use {
    condvar::{Condvar, WaitTimeoutResult},
    mutex::{Mutex, MutexGuard},
};
