//! The semaphore: a butex whose word is the number of free permits.
//!
//! It owns the count. Waiters sleep while it is too small for them; whoever adds permits wakes as many waiters, who then
//! take theirs like anybody else. A waiter for several may use up wake-ups and still find too few; it goes back to the
//! front. So nobody sleeps beside permits for nothing, but behind one who waits for more: whoever leaves the queue and
//! leaves permits wakes the next one, who looks.

use std::fmt;
use std::mem::forget;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::raw::contention::{self, Lock};
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

/// One or several permits of a [`Semaphore`]; dropping them gives them back.
#[must_use = "dropping the permit gives it back at once"]
#[derive(Debug)]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    count: u32,
}

/// As [`Permit`], with a share in its semaphore: so that it can go to another bthread, or into what a request owns.
#[must_use = "dropping the permit gives it back at once"]
#[derive(Debug)]
pub struct OwnedPermit {
    semaphore: Arc<Semaphore>,
    count: u32,
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
        self.acquire_many(1)
    }

    /// Takes a permit if there is one. Never blocks.
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        self.try_acquire_many(1)
    }

    /// Takes a permit unless the deadline passes first. *Blocking*: as [`acquire`](Self::acquire).
    pub fn try_acquire_until(&self, deadline: Instant) -> Option<Permit<'_>> {
        self.try_acquire_many_until(1, deadline)
    }

    /// As [`try_acquire_until`](Self::try_acquire_until), for at most `timeout`.
    pub fn try_acquire_timeout(&self, timeout: Duration) -> Option<Permit<'_>> {
        self.try_acquire_many_timeout(1, timeout)
    }

    /// Takes `n` permits at a time, all or none; with 0 it takes none and does not wait. They come back together, when
    /// the [`Permit`] is dropped.
    ///
    /// No semaphore knows how many permits there can ever be, so it waits for ever when `n` is more than that; hold
    /// none of them while waiting for more. Those who have queued behind wait until this one has its permits. Who comes
    /// by later and finds enough for itself takes those first, so this one may wait for as long as others go on to do
    /// so.
    ///
    /// *Blocking*: parks the calling bthread, or blocks the calling thread, until that many are free.
    ///
    /// ```
    /// let workers = bthread::sync::Semaphore::new(4);
    /// let one = workers.acquire();
    /// assert!(workers.try_acquire_many(4).is_none());
    /// drop(one);
    /// let _all = workers.acquire_many(4); // nobody else works now
    /// ```
    pub fn acquire_many(&self, n: u32) -> Permit<'_> {
        self.take(n, None).expect("waits without a deadline")
    }

    /// Takes `n` permits if that many are free. Never blocks.
    pub fn try_acquire_many(&self, n: u32) -> Option<Permit<'_>> {
        self.try_take(n).is_ok().then(|| self.permit(n)) // lazily: it would give back what was not taken
    }

    /// Takes `n` permits unless the deadline passes first. *Blocking*: as [`acquire_many`](Self::acquire_many).
    pub fn try_acquire_many_until(&self, n: u32, deadline: Instant) -> Option<Permit<'_>> {
        self.take(n, Some(deadline))
    }

    /// As [`try_acquire_many_until`](Self::try_acquire_many_until), for at most `timeout`.
    pub fn try_acquire_many_timeout(&self, n: u32, timeout: Duration) -> Option<Permit<'_>> {
        self.try_acquire_many(n).or_else(|| self.take(n, super::after(timeout)))
    }

    /// As [`acquire`](Self::acquire), for a permit that owns a share in the semaphore. Of the other ways to acquire,
    /// [`Permit::into_owned`] makes one.
    ///
    /// ```
    /// use std::sync::Arc;
    /// let slots = Arc::new(bthread::sync::Semaphore::new(10));
    /// let permit = slots.clone().acquire_owned(); // waits here, not in the bthread
    /// bthread::spawn(move || drop(permit)).join().unwrap();
    /// assert_eq!(slots.available_permits(), 10);
    /// ```
    pub fn acquire_owned(self: Arc<Self>) -> OwnedPermit {
        self.acquire().forget();
        OwnedPermit { semaphore: self, count: 1 }
    }

    /// Adds `n` permits, whether they were taken before or not, and wakes those whom they may be enough for, `n` at
    /// most. Never blocks.
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

    fn permit(&self, count: u32) -> Permit<'_> {
        Permit { semaphore: self, count }
    }

    /// How many are left; or, when there were too few, how many there were.
    fn try_take(&self, n: u32) -> Result<u32, u32> {
        // Acquire pairs with the Release in `release`.
        self.permits
            .value()
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, |permits| permits.checked_sub(n))
            .map(|before| before - n)
    }

    fn take(&self, n: u32, deadline: Option<Instant>) -> Option<Permit<'_>> {
        let mut woken = false;
        let mut watched = None;
        loop {
            // Who was woken tries before it gives up: if there are enough, nobody else may have been woken for them.
            let seen = match self.try_take(n) {
                Ok(left) => {
                    if woken {
                        self.leave(left);
                    }
                    return Some(self.permit(n));
                }
                Err(seen) => seen,
            };
            watched.get_or_insert_with(|| contention::begin(Lock::Semaphore));
            match self.permits.wait_as(seen, Manner { deadline, first: woken, ..Manner::default() }) {
                WaitResult::Woken if planted!(EatenWakeUp) && crate::wait::is_over(deadline) => return None,
                WaitResult::Woken => woken = true,
                WaitResult::Mismatch => {}
                WaitResult::TimedOut => {
                    self.leave(self.available_permits());
                    return None;
                }
                WaitResult::Interrupted => unreachable!("semaphores ignore interruptions"),
            }
        }
    }

    /// After leaving the queue: what is left may be enough for the next one. Permits that come meanwhile wake by
    /// themselves.
    fn leave(&self, left: u32) {
        if left != 0 {
            self.permits.wake_one();
        }
    }
}

impl Permit<'_> {
    /// How many permits it stands for.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Does not give the permits back. [`Semaphore::release`] can do so later, from anywhere.
    pub fn forget(self) {
        forget(self);
    }

    /// The same permits, with a share in their semaphore.
    ///
    /// # Panics
    /// When they are of another semaphore.
    pub fn into_owned(self, semaphore: &Arc<Semaphore>) -> OwnedPermit {
        assert!(std::ptr::eq(self.semaphore, &**semaphore), "a permit of another semaphore");
        let count = self.count;
        forget(self);
        OwnedPermit { semaphore: semaphore.clone(), count }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.semaphore.release(self.count);
    }
}

impl OwnedPermit {
    /// How many permits it stands for.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The semaphore that they are of.
    pub fn semaphore(&self) -> &Arc<Semaphore> {
        &self.semaphore
    }

    /// Does not give the permits back. [`Semaphore::release`] can do so later, from anywhere.
    pub fn forget(mut self) {
        self.count = 0;
    }
}

impl Drop for OwnedPermit {
    fn drop(&mut self) {
        self.semaphore.release(self.count);
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

    /// One for several in front, one behind it; then all permits come in two steps.
    fn many(impatient: bool) {
        crate::atomic::model(move || {
            let semaphore = Arc::new(Semaphore::new(0));
            let several = thread::spawn({
                let semaphore = semaphore.clone();
                move || {
                    if impatient {
                        drop(semaphore.try_acquire_many_timeout(2, Duration::from_secs(3600)));
                    } else {
                        drop(semaphore.acquire_many(2));
                    }
                }
            });
            let one = thread::spawn({
                let semaphore = semaphore.clone();
                move || semaphore.acquire().forget()
            });
            semaphore.release(1);
            if !impatient {
                semaphore.release(2);
            }
            several.join().unwrap();
            one.join().unwrap();
            assert_eq!(semaphore.available_permits(), if impatient { 0 } else { 2 });
        });
    }

    #[test]
    fn loom_one_and_several_get_their_permits() {
        many(false);
    }

    #[test]
    fn loom_who_gives_up_waiting_for_several_leaves_what_there_is_to_the_next() {
        many(true);
    }
}
