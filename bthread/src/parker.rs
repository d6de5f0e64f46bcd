//! How one waiter sleeps and is woken: a token per bthread and per OS thread.
//!
//! | state | meaning | who leaves it |
//! |---|---|---|
//! | `EMPTY` | running, no wake-up pending | waker → `NOTIFIED`, owner → `PARKED` |
//! | `NOTIFIED` | a wake-up is pending; the next park returns at once | owner → `EMPTY` |
//! | `PARKED` | asleep | waker → `NOTIFIED`, and makes the owner run again |
//!
//! Parkers are never freed, only reused, so a late wake-up of somebody who has gone on is harmless: it makes one
//! later park of the new owner return early. Everybody who parks therefore looks again at what he waits for.

use std::time::{Duration, Instant};

use crate::atomic::{AtomicU32, Condvar, Mutex, Ordering, lock};
#[cfg(not(loom))]
use crate::task::TaskRef;

const EMPTY: u32 = 0;
const NOTIFIED: u32 = 1;
const PARKED: u32 = 2;

/// The sleeping place of one waiter; lives for ever.
pub(crate) struct Parker {
    state: AtomicU32,
    sleeper: Sleeper,
}

enum Sleeper {
    #[cfg(not(loom))]
    Bthread(TaskRef),
    Thread {
        lock: Mutex<()>,
        wake: Condvar,
    },
}

impl Parker {
    /// For debuggers: where the state lies, and its value while the owner is asleep.
    #[cfg(not(loom))]
    pub(crate) const STATE_OFFSET: usize = std::mem::offset_of!(Parker, state);
    #[cfg(not(loom))]
    pub(crate) const STATE_PARKED: u32 = PARKED;

    #[cfg(not(loom))]
    pub(crate) fn of_bthread(task: TaskRef) -> Self {
        Parker { state: AtomicU32::new(EMPTY), sleeper: Sleeper::Bthread(task) }
    }

    pub(crate) fn of_thread() -> Self {
        let sleeper = Sleeper::Thread { lock: Mutex::new(()), wake: Condvar::new() };
        Parker { state: AtomicU32::new(EMPTY), sleeper }
    }

    /// The bthread that sleeps here, unless it is a thread.
    #[cfg(not(loom))]
    pub(crate) fn bthread(&self) -> Option<TaskRef> {
        match self.sleeper {
            Sleeper::Bthread(task) => Some(task),
            Sleeper::Thread { .. } => None,
        }
    }

    /// Ends the current or the next park of the owner. Never blocks; may run in parallel with everything.
    pub(crate) fn unpark(&'static self) {
        // Release pairs with the Acquire of `consume`: the woken one sees what was done before the wake-up. Acquire
        // pairs with the Release of `announce`: we see where the owner is at home.
        if self.state.swap(NOTIFIED, Ordering::AcqRel) != PARKED {
            return;
        }
        match &self.sleeper {
            #[cfg(not(loom))]
            Sleeper::Bthread(task) => crate::worker::resume(*task),
            Sleeper::Thread { lock: mutex, wake } => {
                drop(lock(mutex)); // the owner is either before its check or in the wait
                wake.notify_one();
            }
        }
    }

    /// Whether the owner sleeps; a snapshot.
    #[cfg(not(loom))]
    pub(crate) fn is_parked(&self) -> bool {
        self.state.load(Ordering::Acquire) == PARKED // pairs with the Release in `announce`
    }

    /// Whether a wake-up was pending a moment ago: cheaper than to try and take it.
    #[cfg(not(loom))]
    pub(crate) fn is_notified(&self) -> bool {
        self.state.load(Ordering::Relaxed) == NOTIFIED
    }

    /// Takes a pending wake-up. Owner only.
    pub(crate) fn consume(&self) -> bool {
        // Acquire pairs with the Release in `unpark`.
        self.state.compare_exchange(NOTIFIED, EMPTY, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Declares the owner asleep; false if a wake-up was pending, which is thereby taken. Owner only.
    pub(crate) fn announce(&self) -> bool {
        // Release pairs with the swap of `unpark`, which then reads PARKED and resumes us.
        if self.state.compare_exchange(EMPTY, PARKED, Ordering::Release, Ordering::Relaxed).is_ok() {
            return true;
        }
        let taken = self.consume();
        debug_assert!(taken, "only the owner parks");
        false
    }

    /// Blocks the calling OS thread until a wake-up or the deadline. The parker must be this thread's own.
    pub(crate) fn park_thread(&self, deadline: Option<Instant>) {
        let (mutex, wake) = match &self.sleeper {
            #[cfg(not(loom))]
            Sleeper::Bthread(_) => unreachable!("the parker of a bthread is parked by the scheduler"),
            Sleeper::Thread { lock, wake } => (lock, wake),
        };
        if self.consume() {
            return;
        }
        #[cfg(not(loom))]
        if crate::simulation::is_simulation_thread() {
            eprintln!(
                "bthread: a wait outside of bthreads, or of one that unwinds from a panic, cannot end in a simulation:\n{}",
                std::backtrace::Backtrace::force_capture()
            );
            std::process::abort();
        }
        let mut guard = lock(mutex);
        if !self.announce() {
            return;
        }
        while !self.consume() {
            match deadline {
                None => guard = wake.wait(guard).unwrap_or_else(|poisoned| poisoned.into_inner()),
                Some(deadline) => {
                    let left = crate::clock::patience(deadline);
                    if left == Duration::ZERO {
                        // Acquire pairs with the Release in `unpark`, should one come in between.
                        self.state.swap(EMPTY, Ordering::Acquire);
                        return;
                    }
                    guard = wake.wait_timeout(guard, left).unwrap_or_else(|poisoned| poisoned.into_inner()).0;
                }
            }
        }
    }
}

/// The parker of the calling OS thread: leased from a list of idle ones, given back when the thread ends.
/// Never inlined, so that no compiler keeps the thread-local's address across a wait.
#[cfg(not(loom))]
#[inline(never)]
pub(crate) fn of_this_thread() -> &'static Parker {
    static IDLE: Mutex<Vec<&'static Parker>> = Mutex::new(Vec::new());

    struct Lease(&'static Parker);
    impl Drop for Lease {
        fn drop(&mut self) {
            lock(&IDLE).push(self.0);
        }
    }
    fn lease() -> Lease {
        Lease(lock(&IDLE).pop().unwrap_or_else(|| Box::leak(Box::new(Parker::of_thread()))))
    }
    thread_local!(static LEASE: Lease = lease());
    // A destructor of another thread-local may wait after ours has run: that wait gets a parker of its own.
    LEASE.try_with(|lease| lease.0).unwrap_or_else(|_| Box::leak(Box::new(Parker::of_thread())))
}

#[cfg(loom)]
pub(crate) fn of_this_thread() -> &'static Parker {
    loom::thread_local!(static PARKER: &'static Parker = Box::leak(Box::new(Parker::of_thread())));
    PARKER.with(|parker| *parker)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_wake_up_before_the_park_is_kept() {
        let parker = of_this_thread();
        parker.unpark();
        parker.park_thread(None);
        assert!(!parker.consume());
    }

    #[test]
    fn a_deadline_ends_the_park() {
        let parker = of_this_thread();
        parker.park_thread(Some(Instant::now()));
        parker.unpark();
        parker.park_thread(None);
    }

    #[test]
    fn parkers_of_ended_threads_are_used_again() {
        let address = || std::thread::spawn(|| of_this_thread() as *const Parker as usize).join().unwrap();
        let seen: std::collections::HashSet<usize> = (0..100).map(|_| address()).collect();
        assert!(seen.len() < 100);
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::atomic::AtomicU32;
    use loom::sync::Arc;

    #[test]
    fn loom_who_is_woken_sees_what_came_before() {
        crate::atomic::model(|| {
            let parker: &'static Parker = Box::leak(Box::new(Parker::of_thread()));
            let word = Arc::new(AtomicU32::new(0));
            let waker = loom::thread::spawn({
                let word = word.clone();
                move || {
                    word.store(1, Ordering::Relaxed);
                    parker.unpark();
                    word.store(2, Ordering::Relaxed);
                    parker.unpark();
                }
            });
            parker.park_thread(None);
            let seen = word.load(Ordering::Relaxed);
            assert_ne!(seen, 0);
            // The second wake-up is still to come, or was one with the first; then it is not waited for.
            if seen == 1 {
                parker.park_thread(None);
                assert_eq!(word.load(Ordering::Relaxed), 2);
            }
            waker.join().unwrap();
        });
    }
}
