//! The state of something that happens once: one butex word.

use std::time::Instant;

use crate::atomic::{Ordering, const_fn};
use crate::butex::{Butex, Manner, WaitResult};

const INCOMPLETE: u32 = 0;
/// The last attempt has panicked.
const POISONED: u32 = 1;
const RUNNING: u32 = 2;
const COMPLETE: u32 = 3;
/// Set beside one of the others but COMPLETE: somebody may be waiting.
const WAITED_FOR: u32 = 4;

pub(in crate::sync) struct RawOnce {
    word: Butex,
}

/// What a caller has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sync) enum Begin {
    /// Nothing: it is complete.
    Complete,
    /// The work, and then [`RawOnce::finish`].
    Run { poisoned: bool },
    /// Nothing: another one has panicked at it.
    Poisoned,
}

impl RawOnce {
    const_fn! {
        pub(in crate::sync) const fn new() -> Self {
            RawOnce { word: Butex::new(INCOMPLETE) }
        }
    }

    #[inline]
    pub(in crate::sync) fn is_complete(&self) -> bool {
        // Acquire pairs with the Release in `finish`: who sees it complete sees what was done.
        self.word.value().load(Ordering::Acquire) == COMPLETE
    }

    pub(in crate::sync) fn is_poisoned(&self) -> bool {
        self.word.value().load(Ordering::Relaxed) & !WAITED_FOR == POISONED // orders nothing
    }

    /// Waits while another one is at it. With `force`, a panic of that one is no reason not to try again.
    pub(in crate::sync) fn begin(&self, force: bool) -> Begin {
        let word = self.word.value();
        loop {
            let state = word.load(Ordering::Acquire); // as in `is_complete`
            match state & !WAITED_FOR {
                COMPLETE => return Begin::Complete,
                POISONED if !force => return Begin::Poisoned,
                RUNNING => {
                    let _ = self.sleep(state, None); // the state tells
                }
                found => {
                    let next = RUNNING | state & WAITED_FOR;
                    // Acquire pairs with the Release in `finish`: a second attempt sees what the first has left.
                    if word.compare_exchange(state, next, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                        return Begin::Run { poisoned: found == POISONED };
                    }
                }
            }
        }
    }

    /// Ends what `begin` told the caller to do. Only by that caller.
    pub(in crate::sync) fn finish(&self, complete: bool) {
        let state = if complete { COMPLETE } else { POISONED };
        // Release pairs with the Acquires above.
        if self.word.value().swap(state, Ordering::Release) & WAITED_FOR != 0 {
            self.word.wake_all();
        }
    }

    /// Waits until it is complete, or poisoned unless `force`, or the deadline has passed; true if complete.
    pub(in crate::sync) fn wait_until(&self, deadline: Option<Instant>, force: bool) -> bool {
        loop {
            let state = self.word.value().load(Ordering::Acquire); // as in `is_complete`
            match state & !WAITED_FOR {
                COMPLETE => return true,
                POISONED if !force => return false,
                _ if self.sleep(state, deadline) == WaitResult::TimedOut => return self.is_complete(),
                _ => {}
            }
        }
    }

    /// Sleeps, with the mark that makes `finish` wake us, unless the state changes meanwhile.
    fn sleep(&self, state: u32, deadline: Option<Instant>) -> WaitResult {
        let marked = state | WAITED_FOR;
        // Relaxed: it publishes nothing.
        if state != marked
            && self
                .word
                .value()
                .compare_exchange(state, marked, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            return WaitResult::Mismatch;
        }
        self.word.wait_as(marked, Manner { deadline, ..Manner::default() })
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::atomic::AtomicU32;
    use loom::sync::Arc;
    use loom::thread;

    fn call(shared: &(RawOnce, AtomicU32), panics: bool) {
        if let Begin::Run { .. } = shared.0.begin(true) {
            if !panics {
                shared.1.store(shared.1.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            }
            shared.0.finish(!panics);
        }
    }

    #[test]
    fn loom_once_happens_once_and_all_see_it() {
        crate::atomic::model(|| {
            let shared = Arc::new((RawOnce::new(), AtomicU32::new(0)));
            let other = thread::spawn({
                let shared = shared.clone();
                move || call(&shared, false)
            });
            let waiter = thread::spawn({
                let shared = shared.clone();
                move || {
                    assert!(shared.0.wait_until(None, true));
                    assert_eq!(shared.1.load(Ordering::Relaxed), 1);
                }
            });
            call(&shared, false);
            assert_eq!(shared.1.load(Ordering::Relaxed), 1);
            other.join().unwrap();
            waiter.join().unwrap();
        });
    }

    #[test]
    fn loom_once_is_tried_again_after_a_panic() {
        crate::atomic::model(|| {
            let shared = Arc::new((RawOnce::new(), AtomicU32::new(0)));
            let other = thread::spawn({
                let shared = shared.clone();
                move || call(&shared, true)
            });
            call(&shared, false);
            other.join().unwrap();
            assert_eq!(shared.1.load(Ordering::Relaxed), 1);
        });
    }
}
