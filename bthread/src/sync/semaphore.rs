//! The semaphore: a butex whose word is the number of free permits.
//!
//! It owns the count. Waiters sleep while it is 0; whoever adds permits wakes as many waiters, who then take the
//! permits like anybody else.

use std::fmt;
use std::time::{Duration, Instant};

use crate::atomic::{Ordering, const_fn};
use crate::butex::{Butex, Manner, WaitResult};

/// A number of permits that bthreads and OS threads take and give back. Who waits queues in the order of arrival, but
/// see [fairness](super#fairness).
///
/// ```
/// static SLOTS: bthread::sync::Semaphore = bthread::sync::Semaphore::new(2);
/// let one = SLOTS.acquire();
/// let other = SLOTS.acquire();
/// assert!(SLOTS.try_acquire().is_none());
/// drop(one);
/// other.forget(); // for good
/// SLOTS.release(1); // or so
/// assert_eq!(SLOTS.available_permits(), 2);
/// ```
pub struct Semaphore {
    permits: Butex,
}

/// One permit of a [`Semaphore`]; dropping it gives it back.
#[must_use = "dropping the permit gives it back at once"]
#[derive(Debug)]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
}

impl Semaphore {
    const_fn! {
        /// A semaphore with this many free permits.
        pub const fn new(permits: u32) -> Self {
            Semaphore { permits: Butex::new(permits) }
        }
    }

    /// Takes a permit. *Blocking*: parks the calling bthread, or blocks the calling thread, until there is one.
    pub fn acquire(&self) -> Permit<'_> {
        self.take(None).expect("waits without a deadline")
    }

    /// Takes a permit if there is one. Never blocks.
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        self.try_take().then(|| Permit { semaphore: self }) // lazily: it would give back what was not taken
    }

    /// Takes a permit unless the deadline passes first. *Blocking*: as [`acquire`](Self::acquire).
    pub fn try_acquire_until(&self, deadline: Instant) -> Option<Permit<'_>> {
        self.take(Some(deadline))
    }

    /// As [`try_acquire_until`](Self::try_acquire_until), for at most `timeout`.
    pub fn try_acquire_timeout(&self, timeout: Duration) -> Option<Permit<'_>> {
        self.try_acquire().or_else(|| self.take(super::after(timeout)))
    }

    /// Adds `n` permits, whether they were taken before or not. Wakes no more than `n` waiters. Never blocks.
    ///
    /// # Panics
    /// When there would be more than `u32::MAX` free permits; none is added then.
    pub fn release(&self, n: u32) {
        // Release pairs with the Acquire in `try_take`.
        let added = self
            .permits
            .value()
            .fetch_update(Ordering::Release, Ordering::Relaxed, |permits| permits.checked_add(n));
        assert!(added.is_ok(), "more than u32::MAX permits");
        self.permits.wake_n(n as usize);
    }

    /// How many permits are free; a snapshot.
    pub fn available_permits(&self) -> u32 {
        self.permits.value().load(Ordering::Relaxed)
    }

    fn try_take(&self) -> bool {
        // Acquire pairs with the Release in `release`.
        self.permits
            .value()
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, |permits| permits.checked_sub(1))
            .is_ok()
    }

    fn take(&self, deadline: Option<Instant>) -> Option<Permit<'_>> {
        let mut woken = false;
        // Who was woken tries before it gives up: if there is a permit, nobody else may have been woken for it.
        while !self.try_take() {
            match self.permits.wait_as(0, Manner { deadline, first: woken, ..Manner::default() }) {
                WaitResult::Woken => woken = true,
                WaitResult::Mismatch => {}
                WaitResult::TimedOut => return None,
                WaitResult::Interrupted => unreachable!("semaphores ignore interruptions"),
            }
        }
        Some(Permit { semaphore: self })
    }
}

impl Permit<'_> {
    /// Does not give the permit back. [`Semaphore::release`] can do so later, from anywhere.
    pub fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.semaphore.release(1);
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("available_permits", &self.available_permits()).finish()
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    #[test]
    fn loom_permits_reach_all_who_wait() {
        crate::atomic::model(|| {
            let semaphore = Arc::new(Semaphore::new(0));
            let takers = [(); 2].map(|()| {
                let semaphore = semaphore.clone();
                thread::spawn(move || semaphore.acquire().forget())
            });
            semaphore.release(2);
            takers.into_iter().for_each(|taker| taker.join().unwrap());
            assert_eq!(semaphore.available_permits(), 0);
        });
    }

    #[test]
    fn loom_a_permit_goes_round() {
        crate::atomic::model(|| {
            let semaphore = Arc::new(Semaphore::new(1));
            let takers = [(); 2].map(|()| {
                let semaphore = semaphore.clone();
                thread::spawn(move || drop(semaphore.acquire()))
            });
            drop(semaphore.acquire());
            takers.into_iter().for_each(|taker| taker.join().unwrap());
            assert_eq!(semaphore.available_permits(), 1);
        });
    }

    #[test]
    fn loom_a_permit_is_not_lost_to_a_timeout() {
        crate::atomic::model(|| {
            let semaphore = Arc::new(Semaphore::new(0));
            let impatient = thread::spawn({
                let semaphore = semaphore.clone();
                move || drop(semaphore.try_acquire_timeout(Duration::from_secs(3600)))
            });
            let patient = thread::spawn({
                let semaphore = semaphore.clone();
                move || semaphore.acquire().forget()
            });
            semaphore.release(1);
            impatient.join().unwrap();
            patient.join().unwrap();
        });
    }
}
