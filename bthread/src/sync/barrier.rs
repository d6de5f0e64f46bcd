//! The barrier: several wait for each other, round after round.
//!
//! It owns the count of those who have come, and the number of the round, in one word, so that one who gives up can
//! tell whether he is still counted. The butex word counts the rounds for those who sleep.

use std::fmt;
use std::time::{Duration, Instant};

use super::TimedOut;
use crate::atomic::{AtomicU64, Ordering, const_fn};
use crate::butex::{Butex, Manner, WaitResult};

/// One round, in the state; the lower half is how many have come.
const ROUND: u64 = 1 << 32;

/// Makes `n` bthreads or OS threads wait until all of them have come, and can then be used again.
///
/// ```
/// # use std::sync::Arc;
/// # use bthread::sync::Barrier;
/// let barrier = Arc::new(Barrier::new(3));
/// let all: Vec<_> = (0..3).map(|_| {
///     let barrier = barrier.clone();
///     bthread::spawn(move || barrier.wait().is_leader())
/// }).collect();
/// let leaders = all.into_iter().filter_map(|one| one.join().unwrap().then_some(())).count();
/// assert_eq!(leaders, 1);
/// ```
pub struct Barrier {
    n: u32,
    state: AtomicU64,
    rounds: Butex,
}

/// What a [`Barrier`] tells those it lets go.
#[derive(Debug, Clone, Copy)]
pub struct BarrierWaitResult(bool);

impl BarrierWaitResult {
    /// True for one of each round: the one who came last.
    pub fn is_leader(&self) -> bool {
        self.0
    }
}

impl Barrier {
    const_fn! {
        /// A barrier for `n`; 0 is as good as 1, where nobody waits.
        pub const fn new(n: u32) -> Self {
            Barrier { n, state: AtomicU64::new(0), rounds: Butex::new(0) }
        }
    }

    /// Waits until all have come. What any of them did before is seen by all afterwards. *Blocking*: parks the calling
    /// bthread, or blocks the calling thread.
    pub fn wait(&self) -> BarrierWaitResult {
        self.come(None).expect("waits without a deadline")
    }

    /// As [`wait`](Self::wait), until the deadline at most. Who gives up counts as not having come.
    ///
    /// # Errors
    /// [`TimedOut`] when the deadline has passed first.
    pub fn wait_until(&self, deadline: Instant) -> Result<BarrierWaitResult, TimedOut> {
        self.come(Some(deadline))
    }

    /// As [`wait_until`](Self::wait_until), for at most `timeout`.
    ///
    /// # Errors
    /// [`TimedOut`] when the time was up first.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierWaitResult, TimedOut> {
        self.come(super::after(timeout))
    }

    fn come(&self, deadline: Option<Instant>) -> Result<BarrierWaitResult, TimedOut> {
        let mut state = self.state.load(Ordering::Relaxed); // the exchange decides
        let round = loop {
            let last = state % ROUND + 1 >= u64::from(self.n);
            let next = if last { next_round(state) } else { state + 1 };
            // AcqRel pairs with itself, from one who comes to the next, and with the load below: the last one has seen
            // what all have done, and shows it to them.
            match self.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if last => {
                    self.rounds.value().fetch_add(1, Ordering::Release); // pairs with the load below
                    self.rounds.wake_all();
                    return Ok(BarrierWaitResult(true));
                }
                Ok(_) => break state / ROUND,
                Err(now) => state = now,
            }
        };
        loop {
            let seen = self.rounds.value().load(Ordering::Acquire); // before the state; pairs with the above
            let mut state = self.state.load(Ordering::Acquire); // pairs with the exchange of the last one
            if state / ROUND != round {
                return Ok(BarrierWaitResult(false));
            }
            if self.rounds.wait_as(seen, Manner { deadline, ..Manner::default() }) != WaitResult::TimedOut {
                continue;
            }
            while state / ROUND == round {
                // Acquire as above, should the round have ended; Relaxed: who leaves shows nothing to others.
                match self.state.compare_exchange_weak(state, state - 1, Ordering::Relaxed, Ordering::Acquire)
                {
                    Ok(_) => return Err(TimedOut),
                    Err(now) => state = now,
                }
            }
            return Ok(BarrierWaitResult(false));
        }
    }
}

fn next_round(state: u64) -> u64 {
    (state / ROUND).wrapping_add(1).wrapping_mul(ROUND)
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let come = self.state.load(Ordering::Relaxed) % ROUND; // a snapshot
        f.debug_struct("Barrier").field("n", &self.n).field("come", &come).finish()
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    #[test]
    fn loom_a_barrier_lets_all_go_twice() {
        crate::atomic::model(|| {
            let barrier = Arc::new(Barrier::new(2));
            let other = thread::spawn({
                let barrier = barrier.clone();
                move || [barrier.wait().is_leader(), barrier.wait().is_leader()]
            });
            let mine = [barrier.wait().is_leader(), barrier.wait().is_leader()];
            let theirs = other.join().unwrap();
            assert!(mine.iter().zip(theirs).all(|(&mine, theirs)| mine != theirs));
        });
    }

    #[test]
    fn loom_one_who_gives_up_at_a_barrier_is_not_counted() {
        crate::atomic::model(|| {
            let barrier = Arc::new(Barrier::new(2));
            let others = [(); 2].map(|()| {
                let barrier = barrier.clone();
                thread::spawn(move || {
                    barrier.wait_timeout(Duration::from_secs(3600)).map(|result| result.is_leader())
                })
            });
            let results = others.map(|other| other.join().unwrap());
            match results {
                [Err(TimedOut), Err(TimedOut)] => {}
                [Ok(one), Ok(other)] => assert_ne!(one, other),
                other => panic!("{other:?}"),
            }
            assert_eq!(barrier.state.load(Ordering::Relaxed) % ROUND, 0);
        });
    }
}
