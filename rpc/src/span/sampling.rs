//! Which requests are recorded: a share of all, adapted so that a budget of so many a second is kept, plus those that
//! their callers have chosen already.
//!
//! The share is what most requests pay for: a load and a count of the thread. A request that the share lets
//! through takes from a bucket, which keeps the budget while the share is still on its way. As long as the share is
//! less than all, a timer adapts it ten times a second; on a quiet server there is no timer.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::flags;
use super::id::mixed;
use crate::socket::lock;

/// The share is counted in parts of this, as in brpc's collector.
const SHARE_ALL: u32 = 1 << 14;
/// Between two adaptations of the share.
const ADAPT_EVERY: Duration = Duration::from_millis(100);
/// Times the share may grow in one adaptation.
const GROWTH_MAX: u64 = 4;
/// Requests a second that are recorded because their callers say so. It is the callers who say so: without a bound
/// they could have a server do nothing else.
pub const UPSTREAM_PER_SECOND_MAX: u64 = 10_000;

/// A budget of so many a second.
pub(super) struct Sampler {
    share: AtomicU32,
    bucket: Mutex<Bucket>,
    /// Requests that the share let through and the bucket did not.
    refused: AtomicU64,
}

struct Bucket {
    /// In millionths of a request.
    filled: u64,
    at: Option<Instant>,
    /// Requests that the share has let through since the last adaptation.
    chosen: u64,
    is_adapting: bool,
}

static OWN: Sampler = Sampler::new();
static UPSTREAM: Sampler = Sampler::new();

/// Whether to record a request that nobody has chosen.
#[inline]
pub(super) fn choose(now: impl FnOnce() -> Instant) -> bool {
    flags::ENABLE_RPCZ.get()
        && OWN.is_in_share()
        && OWN.take(now(), flags::SPANS_PER_SECOND.get(), adapt_later)
}

/// Whether to record a request whose caller records it.
pub(super) fn follow(now: Instant) -> bool {
    UPSTREAM.take(now, UPSTREAM_PER_SECOND_MAX, || {})
}

/// Requests chosen by their callers or the share and not recorded, since that would have been too many.
pub(super) fn refused() -> u64 {
    OWN.refused.load(Ordering::Relaxed) + UPSTREAM.refused.load(Ordering::Relaxed) // counts for people
}

/// The share of requests that are chosen now, from 0 to 1; 0 while it is switched off.
pub fn sampling_ratio() -> f64 {
    if flags::ENABLE_RPCZ.get() { f64::from(OWN.share()) / f64::from(SHARE_ALL) } else { 0.0 }
}

fn adapt_later() {
    bthread::timer::schedule(bthread::clock::now() + ADAPT_EVERY, || {
        if OWN.adapt(flags::SPANS_PER_SECOND.get()) {
            adapt_later();
        }
    });
}

impl Sampler {
    pub(super) const fn new() -> Self {
        Sampler {
            share: AtomicU32::new(SHARE_ALL),
            bucket: Mutex::new(Bucket { filled: 0, at: None, chosen: 0, is_adapting: false }),
            refused: AtomicU64::new(0),
        }
    }

    fn share(&self) -> u32 {
        self.share.load(Ordering::Relaxed) // a setting; pairs with nothing
    }

    #[inline]
    fn is_in_share(&self) -> bool {
        let share = self.share();
        share >= SHARE_ALL || is_turn(share)
    }

    fn lock(&self) -> MutexGuard<'_, Bucket> {
        lock(&self.bucket)
    }

    /// Takes a place in the budget, if there is one. `begin_adapting` is called when it is time to look after the
    /// share.
    #[cold]
    fn take(&self, now: Instant, per_second: u64, begin_adapting: impl FnOnce()) -> bool {
        let mut begins = false;
        let taken = {
            let mut bucket = self.lock();
            bucket.chosen += 1;
            let taken = bucket.take(now, per_second);
            if !taken && !bucket.is_adapting {
                bucket.is_adapting = true;
                begins = true;
            }
            taken
        };
        if begins {
            begin_adapting();
        }
        if !taken {
            self.refused.fetch_add(1, Ordering::Relaxed); // a count for people
        }
        taken
    }

    /// Sets the share to what would have kept the budget since the last time. False: all is let through again.
    fn adapt(&self, per_second: u64) -> bool {
        let share = u64::from(self.share());
        let mut bucket = self.lock();
        let chosen = std::mem::take(&mut bucket.chosen);
        // The budget is a flag: any number.
        let wanted = per_second.saturating_mul(ADAPT_EVERY.as_millis() as u64).div_ceil(1000);
        let kept = share.saturating_mul(wanted).checked_div(chosen).unwrap_or(u64::from(SHARE_ALL));
        let share = kept.min(share * GROWTH_MAX).clamp(1, u64::from(SHARE_ALL)) as u32;
        self.share.store(share, Ordering::Relaxed); // as in `share`
        bucket.is_adapting = share < SHARE_ALL;
        bucket.is_adapting
    }
}

/// What one request takes.
const ONE: u64 = 1_000_000;

impl Bucket {
    /// Holds a second's worth.
    fn take(&mut self, now: Instant, per_second: u64) -> bool {
        let full = per_second.saturating_mul(ONE);
        let came = match self.at {
            None => full,
            Some(at) => {
                let micros = now.saturating_duration_since(at).min(Duration::from_secs(1)).as_micros() as u64;
                micros.saturating_mul(per_second)
            }
        };
        // A `now` from before `at` brings nothing and leaves `at` alone.
        self.at = self.at.max(Some(now));
        self.filled = self.filled.saturating_add(came).min(full);
        match self.filled.checked_sub(ONE) {
            Some(left) => {
                self.filled = left;
                true
            }
            None => false,
        }
    }
}

/// True for so many of [`SHARE_ALL`] calls: the thread counts down to the next one, over a distance drawn at random so
/// that no pattern of requests is always or never met. Cheaper than a random number for each. Never inlined, so that no
/// compiler keeps the thread-local's address across a wait.
#[inline(never)]
fn is_turn(share: u32) -> bool {
    thread_local!(static LEFT: Cell<u32> = const { Cell::new(0) });
    let left = match LEFT.get() {
        0 => distance(share),
        left => left,
    };
    LEFT.set(left - 1);
    left == 1
}

/// Evenly from 1 to a number that makes the mean right.
#[cold]
fn distance(share: u32) -> u32 {
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    let draw = mixed(DRAWN.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)); // only has to differ
    let twice_the_mean = u64::from(2 * SHARE_ALL / share.max(1));
    1 + (draw % twice_the_mean.saturating_sub(1).max(1)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second of requests, `every` apart, with the share adapted as the timer does it.
    fn run(sampler: &Sampler, from: Instant, seconds: u64, every: Duration, budget: u64) -> u64 {
        let (mut now, mut taken, mut adapted) = (from, 0, from);
        while now < from + Duration::from_secs(seconds) {
            if sampler.is_in_share() && sampler.take(now, budget, || {}) {
                taken += 1;
            }
            now += every;
            if now - adapted >= ADAPT_EVERY {
                adapted = now;
                if sampler.lock().is_adapting {
                    sampler.adapt(budget);
                }
            }
        }
        taken
    }

    #[test]
    fn a_quiet_server_records_everything() {
        let sampler = Sampler::new();
        assert_eq!(run(&sampler, Instant::now(), 3, Duration::from_millis(20), 100), 150);
        assert_eq!(sampler.share(), SHARE_ALL);
    }

    #[test]
    fn a_busy_one_keeps_the_budget_and_recovers() {
        let sampler = Sampler::new();
        let start = Instant::now();
        let taken = run(&sampler, start, 5, Duration::from_micros(10), 100);
        // The full bucket that it began with, and five seconds.
        assert!((400..=601).contains(&taken), "{taken}");
        let share = sampler.share();
        assert!((2..100).contains(&share), "100 of 100,000 are 16 of 16,384, not {share}");
        run(&sampler, start + Duration::from_secs(5), 2, Duration::from_millis(50), 100);
        assert_eq!(sampler.share(), SHARE_ALL);
    }

    #[test]
    fn no_budget_lets_nothing_through() {
        let sampler = Sampler::new();
        assert_eq!(run(&sampler, Instant::now(), 1, Duration::from_millis(1), 0), 0);
    }

    #[test]
    fn a_boundless_budget_lets_all_through_again() {
        let sampler = Sampler::new();
        sampler.share.store(1, Ordering::Relaxed);
        let now = Instant::now();
        let adapt = || {
            assert!(sampler.take(now, u64::MAX, || {}));
            sampler.adapt(u64::MAX)
        };
        let shares: Vec<_> = std::iter::repeat_with(|| (adapt(), sampler.share())).take(7).collect();
        assert_eq!(shares[0], (true, 4));
        assert_eq!(shares[6], (false, SHARE_ALL));
    }

    #[test]
    fn time_that_goes_back_brings_nothing() {
        let mut bucket = Bucket { filled: 0, at: None, chosen: 0, is_adapting: false };
        let now = Instant::now() + Duration::from_secs(10);
        assert!(bucket.take(now, 1));
        assert!(!bucket.take(now - Duration::from_secs(5), 1) && !bucket.take(now, 1));
        assert!(bucket.take(now + Duration::from_secs(1), 1));
    }

    #[test]
    fn the_share_is_even() {
        let sampler = Sampler::new();
        sampler.share.store(SHARE_ALL / 4, Ordering::Relaxed);
        let chosen = (0..100_000).filter(|_| sampler.is_in_share()).count();
        assert!((24_000..26_000).contains(&chosen), "{chosen}");
    }
}
