//! The condition variable with the types of its mutex.

use std::fmt;
use std::sync::{LockResult, PoisonError};
use std::time::{Duration, Instant};

use super::mutex::MutexGuard;
use super::raw::RawCondvar;

/// A condition that bthreads and OS threads wait for under a [`Mutex`](super::Mutex). Waiters are woken in the order in
/// which they came. A wait may end early for no reason, or because the bthread was interrupted: look at the condition
/// again, or use [`wait_while`](Self::wait_while).
///
/// [`notify_all`](Self::notify_all) makes one waiter run and has the others wait for the mutex at once, as all of them
/// need it. For that, all should wait with the same mutex; those who wait with another one are just woken.
///
/// ```
/// # use std::sync::Arc;
/// # use bthread::sync::{Condvar, Mutex};
/// let shared = Arc::new((Mutex::new(false), Condvar::new()));
/// let sets = shared.clone();
/// let setter = bthread::spawn(move || {
///     *sets.0.lock().unwrap() = true;
///     sets.1.notify_one();
/// });
/// let ready = shared.1.wait_while(shared.0.lock().unwrap(), |ready| !*ready).unwrap();
/// assert!(*ready);
/// # drop(ready); setter.join().unwrap();
/// ```
pub struct Condvar {
    raw: RawCondvar,
}

/// Whether a timed wait ended because its time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the time was up before a notification came.
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    /// A condition that nobody waits for.
    pub const fn new() -> Self {
        Condvar { raw: RawCondvar::new() }
    }

    /// Unlocks, waits for a notification and locks again. *Blocking*: parks the calling bthread, or blocks the
    /// calling thread.
    ///
    /// # Errors
    /// The guard all the same when the mutex is poisoned.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        let (guard, _) = self.sleep(guard, None);
        guard
    }

    /// Waits as long as `condition` holds. *Blocking*: as [`wait`](Self::wait).
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_while<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: F,
    ) -> LockResult<MutexGuard<'a, T>>
    where
        F: FnMut(&mut T) -> bool,
    {
        while condition(&mut guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait`](Self::wait), for at most `duration`.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        duration: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        self.wait_until(guard, super::after(duration))
    }

    /// As [`wait`](Self::wait), until the deadline at most; without one, for ever.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_until<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: impl Into<Option<Instant>>,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let (guard, timed_out) = self.sleep(guard, deadline.into());
        with_result(guard, timed_out)
    }

    /// As [`wait_while`](Self::wait_while), for at most `duration` in all; timed out means that the condition still
    /// holds.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout_while<'a, T, F>(
        &self,
        guard: MutexGuard<'a, T>,
        duration: Duration,
        condition: F,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)>
    where
        F: FnMut(&mut T) -> bool,
    {
        self.wait_until_while(guard, super::after(duration), condition)
    }

    /// As [`wait_while`](Self::wait_while), until the deadline at most; timed out means that the condition still holds.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_until_while<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        deadline: impl Into<Option<Instant>>,
        mut condition: F,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)>
    where
        F: FnMut(&mut T) -> bool,
    {
        let deadline = deadline.into();
        loop {
            if !condition(&mut guard) {
                return Ok((guard, WaitTimeoutResult(false)));
            }
            if deadline.is_some_and(|deadline| deadline <= crate::clock::now()) {
                return Ok((guard, WaitTimeoutResult(true)));
            }
            guard = match self.sleep(guard, deadline) {
                (Ok(guard), _) => guard,
                (poisoned, timed_out) => return with_result(poisoned, timed_out),
            };
        }
    }

    /// Wakes the waiter that came first. Never blocks.
    pub fn notify_one(&self) {
        self.raw.notify_one();
    }

    /// Wakes everybody who waits now. Never blocks.
    pub fn notify_all(&self) {
        self.raw.notify_all();
    }

    fn sleep<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Option<Instant>,
    ) -> (LockResult<MutexGuard<'a, T>>, WaitTimeoutResult) {
        // The guard stays: it is ours again when the wait is over.
        let timed_out = self.raw.wait(guard.raw(), deadline);
        (guard.check(), WaitTimeoutResult(timed_out))
    }
}

fn with_result<'a, T>(
    guard: LockResult<MutexGuard<'a, T>>,
    timed_out: WaitTimeoutResult,
) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
    match guard {
        Ok(guard) => Ok((guard, timed_out)),
        Err(poisoned) => Err(PoisonError::new((poisoned.into_inner(), timed_out))),
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}
