//! The countdown: waiting until a number of things have happened.
//!
//! It owns the count, and how often it has reached zero, in one word, so that a waiter does not miss that when the
//! count is set anew at once. The butex word counts the same for those who sleep.

use std::fmt;
use std::time::{Duration, Instant};

use super::TimedOut;
use crate::atomic::{AtomicU64, Ordering, const_fn};
use crate::butex::{Butex, Manner, WaitResult};

/// One round, in the state; the lower half is the count.
const ROUND: u64 = 1 << 32;

/// Lets waiters go on when a count has reached zero: when all of several tasks are done, say. brpc: `CountdownEvent`.
///
/// A signaller uses the event until [`signal`](Self::signal) returns, which may be after the waiter has gone on. So
/// share it by `Arc`, a `static`, or within a scope that joins the signallers; as always in Rust, the compiler sees
/// to it.
///
/// ```
/// # use std::sync::Arc;
/// # use bthread::sync::CountdownEvent;
/// let done = Arc::new(CountdownEvent::new(3));
/// for _ in 0..3 {
///     let done = done.clone();
///     bthread::spawn(move || done.signal(1));
/// }
/// done.wait();
/// ```
pub struct CountdownEvent {
    state: AtomicU64,
    rounds: Butex,
}

impl CountdownEvent {
    const_fn! {
        /// An event that waits for `count` signals; with 0, nobody has to wait.
        pub const fn new(count: u32) -> Self {
            CountdownEvent { state: AtomicU64::new(count as u64), rounds: Butex::new(0) }
        }
    }

    /// Takes `n` off the count; the one that reaches zero wakes everybody who waits. What came before a signal is seen
    /// by those who are let go. Never blocks.
    ///
    /// # Panics
    /// When `n` is more than is left, after it was counted as what is left: somebody signals too often.
    pub fn signal(&self, n: u32) {
        let mut state = self.state.load(Ordering::Relaxed); // the exchange decides
        let before = loop {
            let before = state % ROUND;
            let ends = before != 0 && before <= u64::from(n);
            let next = if ends { next_round(state) } else { state - before.min(u64::from(n)) };
            // AcqRel pairs with itself, from one signal to the next, and with the Acquire of waiters: the last one has
            // seen what all have done, and shows it to them.
            match self.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if ends => {
                    self.rounds.value().fetch_add(1, Ordering::Release); // pairs with the load in `sleep`
                    self.rounds.wake_all();
                    break before;
                }
                Ok(_) => break before,
                Err(now) => state = now,
            }
        };
        assert!(u64::from(n) <= before, "{n} signals to a countdown of {before}");
    }

    /// Adds `n` to the count: before the first wait, or by somebody whose own signal is still to come. Otherwise it may
    /// have reached zero already, and waiters be on their way. Never blocks.
    ///
    /// # Panics
    /// When the count would be more than `u32::MAX`; it is left as it was.
    pub fn add(&self, n: u32) {
        // Relaxed: it publishes nothing; the signals do.
        let added = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
            (state % ROUND + u64::from(n) < ROUND).then(|| state + u64::from(n))
        });
        assert!(added.is_ok(), "a countdown of more than u32::MAX");
    }

    /// Sets the count for another round. Who waits for the last one is let go nevertheless. Never blocks.
    ///
    /// # Panics
    /// When the count is not zero; it is left as it was.
    pub fn reset(&self, count: u32) {
        // AcqRel pairs with the signals of the last round, and those of the next with it: that one comes after this.
        let reset = self.state.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |state| {
            state.is_multiple_of(ROUND).then(|| state + u64::from(count))
        });
        assert!(reset.is_ok(), "a countdown is reset before it has reached zero");
    }

    /// What is left; a snapshot.
    pub fn count(&self) -> u32 {
        (self.state.load(Ordering::Relaxed) % ROUND) as u32
    }

    /// Waits until the count has reached zero. *Blocking*: parks the calling bthread, or blocks the calling thread.
    pub fn wait(&self) {
        self.sleep(None).expect("waits without a deadline");
    }

    /// As [`wait`](Self::wait), until the deadline at most.
    ///
    /// # Errors
    /// [`TimedOut`] when the deadline has passed first.
    pub fn wait_until(&self, deadline: Instant) -> Result<(), TimedOut> {
        self.sleep(Some(deadline))
    }

    /// As [`wait`](Self::wait), for at most `timeout`.
    ///
    /// # Errors
    /// [`TimedOut`] when the time was up first.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), TimedOut> {
        self.sleep(super::after(timeout))
    }

    fn sleep(&self, deadline: Option<Instant>) -> Result<(), TimedOut> {
        let state = self.state.load(Ordering::Acquire); // pairs with the exchange in `signal`
        if state.is_multiple_of(ROUND) {
            return Ok(());
        }
        loop {
            let seen = self.rounds.value().load(Ordering::Acquire); // before the state; pairs with `signal`
            if self.state.load(Ordering::Acquire) / ROUND != state / ROUND {
                return Ok(()); // pairs as above
            }
            if self.rounds.wait_as(seen, Manner { deadline, ..Manner::default() }) == WaitResult::TimedOut {
                return Err(TimedOut);
            }
        }
    }
}

/// The count is 0 in it.
fn next_round(state: u64) -> u64 {
    (state / ROUND).wrapping_add(1).wrapping_mul(ROUND)
}

impl fmt::Debug for CountdownEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountdownEvent").field("count", &self.count()).finish()
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::atomic::AtomicU32;
    use loom::sync::Arc;
    use loom::thread;

    #[test]
    fn loom_the_last_signal_lets_the_waiter_go_and_shows_all_work() {
        crate::atomic::model(|| {
            let shared = Arc::new((CountdownEvent::new(2), [(); 2].map(|()| AtomicU32::new(0))));
            let signallers = [0, 1].map(|n| {
                let shared = shared.clone();
                thread::spawn(move || {
                    shared.1[n].store(1, Ordering::Relaxed);
                    shared.0.signal(1);
                })
            });
            shared.0.wait();
            assert!(shared.1.iter().all(|work| work.load(Ordering::Relaxed) == 1));
            signallers.into_iter().for_each(|signaller| signaller.join().unwrap());
        });
    }

    #[test]
    fn loom_a_reset_holds_up_nobody_of_the_last_round() {
        crate::atomic::model(|| {
            let event = Arc::new(CountdownEvent::new(1));
            let waiter = thread::spawn({
                let event = event.clone();
                move || event.wait()
            });
            event.signal(1);
            event.reset(1);
            event.signal(1);
            waiter.join().unwrap();
        });
    }
}
