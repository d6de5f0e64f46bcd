//! Locks and conditions with the interface of `std::sync`, whose waits park the bthread and not the thread. All of
//! them may be shared between bthreads and OS threads in any mix.

mod condvar;
mod mutex;

pub use condvar::{Condvar, WaitTimeoutResult};
pub use mutex::{Mutex, MutexGuard};
