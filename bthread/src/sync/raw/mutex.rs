//! The mutex without its data: one butex word.
//!
//! A waiter that was woken does not own the lock yet: whoever comes by first takes it. So an unlock never waits for a
//! switch (no convoy), and the loser of the race queues in front.

use std::time::Instant;

use super::contention::{self, Lock};
use crate::atomic::{Ordering, const_fn, spin_loop};
use crate::butex::{Butex, Manner, WaitResult};

const UNLOCKED: u32 = 0;
const LOCKED: u32 = 1;
/// Locked, and somebody may be waiting.
const CONTENDED: u32 = 2;

/// Looks at a lock that is held before a waiter sleeps. The holder may be on another worker and about to unlock.
const SPINS: u32 = if cfg!(loom) { 0 } else { 40 };

pub(in crate::sync) struct RawMutex {
    word: Butex,
}

impl RawMutex {
    const_fn! {
        pub(in crate::sync) const fn new() -> Self {
            RawMutex { word: Butex::new(UNLOCKED) }
        }
    }

    /// The word, for waiters that are to be moved here from a condition variable.
    pub(super) fn butex(&self) -> &Butex {
        &self.word
    }

    #[inline]
    pub(in crate::sync) fn try_lock(&self) -> bool {
        // Acquire pairs with the Release in `unlock`.
        self.word.value().compare_exchange(UNLOCKED, LOCKED, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[inline]
    pub(in crate::sync) fn lock(&self) {
        if !self.try_lock() {
            self.lock_slow(None);
        }
    }

    /// False when the deadline passed first.
    pub(in crate::sync) fn lock_until(&self, deadline: Option<Instant>) -> bool {
        self.try_lock() || self.lock_slow(deadline)
    }

    /// Locks for a caller whom a wake-up has chosen. Others may be queued for the same lock, and it is up to him that
    /// they get their turn: he leaves the word CONTENDED.
    pub(super) fn lock_woken(&self) {
        self.lock_contended(None, true);
    }

    /// Only by the holder.
    #[inline]
    pub(in crate::sync) fn unlock(&self) {
        // Release pairs with the Acquires of those who lock.
        if self.word.value().swap(UNLOCKED, Ordering::Release) == CONTENDED {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        self.word.wake_one();
    }

    #[cold]
    fn lock_slow(&self, deadline: Option<Instant>) -> bool {
        (self.spin() == UNLOCKED && self.try_lock()) || self.lock_contended(deadline, false)
    }

    fn lock_contended(&self, deadline: Option<Instant>, mut woken: bool) -> bool {
        let mut watched = None;
        loop {
            // Who takes the word here leaves it CONTENDED, since others may be queued: one wake-up too many at worst.
            // Acquire pairs with the Release in `unlock`.
            if self.word.value().swap(CONTENDED, Ordering::Acquire) == UNLOCKED {
                return true;
            }
            watched.get_or_insert_with(|| contention::begin(Lock::Mutex));
            let manner = Manner { deadline, first: woken, ..Manner::default() };
            match self.word.wait_as(CONTENDED, manner) {
                WaitResult::Woken => woken = true,
                WaitResult::Mismatch => {}
                WaitResult::TimedOut => return false,
                WaitResult::Interrupted => unreachable!("locks ignore interruptions"),
            }
            self.spin();
        }
    }

    /// Gives the holder a moment, unless others wait already; the last value seen.
    fn spin(&self) -> u32 {
        for _ in 0..SPINS {
            // Relaxed: the exchange decides.
            match self.word.value().load(Ordering::Relaxed) {
                LOCKED => spin_loop(),
                other => return other,
            }
        }
        LOCKED
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::atomic::AtomicU32;
    use loom::sync::Arc;
    use loom::thread;
    use std::time::Duration;

    struct Counted {
        lock: RawMutex,
        inside: AtomicU32,
    }

    impl Counted {
        fn new() -> Arc<Self> {
            Arc::new(Counted { lock: RawMutex::new(), inside: AtomicU32::new(0) })
        }

        fn inside(&self) {
            // Not a read-modify-write: only the lock makes it come out right.
            self.inside.store(self.inside.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            self.lock.unlock();
        }
    }

    #[test]
    fn loom_a_mutex_excludes_and_wakes() {
        crate::atomic::model(|| {
            let counted = Counted::new();
            let others = [(); 2].map(|()| {
                let counted = counted.clone();
                thread::spawn(move || {
                    counted.lock.lock();
                    counted.inside();
                })
            });
            counted.lock.lock();
            counted.inside();
            others.into_iter().for_each(|other| other.join().unwrap());
            assert_eq!(counted.inside.load(Ordering::Relaxed), 3);
        });
    }

    #[test]
    fn loom_a_mutex_waiter_that_gives_up_strands_nobody() {
        crate::atomic::model(|| {
            let counted = Counted::new();
            counted.lock.lock();
            let patient = thread::spawn({
                let counted = counted.clone();
                move || {
                    counted.lock.lock();
                    counted.inside();
                }
            });
            let impatient = thread::spawn({
                let counted = counted.clone();
                move || {
                    let locked = counted.lock.lock_until(Some(Instant::now() + Duration::from_secs(3600)));
                    if locked {
                        counted.inside();
                    }
                    locked
                }
            });
            counted.inside();
            patient.join().unwrap();
            let locked = impatient.join().unwrap();
            assert_eq!(counted.inside.load(Ordering::Relaxed), 2 + u32::from(locked));
        });
    }
}
