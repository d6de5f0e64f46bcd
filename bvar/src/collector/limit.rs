//! Whether something is sampled: a probability that follows the load.
//!
//! Owns the ratio and its adaptation, as arithmetic on numbers that are passed in. Must never read a clock.

use std::cell::Cell;
// Relaxed throughout: numbers that order nothing; one that is a moment old costs a sample more or less.
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The ratio at which everything is sampled.
pub const MAX_SAMPLING_RANGE: u32 = 16384;

/// Over how long the ratio is smoothed.
const SMOOTHING: Duration = Duration::from_secs(1);

/// Keeps samples of one kind to a number a second, whatever the load: a `static` beside the code that samples.
///
/// Everything is sampled as long as it is little; when more is submitted to the [`Collector`](crate::Collector) than
/// expected, a share of it is, the same for all.
#[derive(Debug)]
pub struct SpeedLimit {
    expected_per_second: AtomicU32,
    /// Of [`MAX_SAMPLING_RANGE`].
    range: AtomicU32,
    /// Samples submitted since the last adaptation.
    submitted: AtomicU64,
    /// Whether the collector has it in its list.
    pub(super) is_listed: AtomicBool,
}

/// The share of all objects that are sampled at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleRatio(u32);

impl SampleRatio {
    /// How many objects a sample stands for, at least 1.
    ///
    /// *Blocking:* no.
    pub fn weight(self) -> f64 {
        f64::from(MAX_SAMPLING_RANGE) / f64::from(self.0)
    }

    /// The share, above 0 and at most 1.
    ///
    /// *Blocking:* no.
    pub fn share(self) -> f64 {
        f64::from(self.0) / f64::from(MAX_SAMPLING_RANGE)
    }
}

thread_local! {
    /// State of the thread's random numbers; 0 before the first.
    static RANDOM: Cell<u64> = const { Cell::new(0) };
}

/// Different for each thread.
#[cold]
fn seed() -> u64 {
    static THREADS: AtomicU64 = AtomicU64::new(0);
    let mut bits = THREADS.fetch_add(1, Relaxed).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits ^ (bits >> 27) | 1
}

/// A random number (xorshift64*), good enough to choose samples by.
#[inline]
fn random() -> u64 {
    RANDOM.with(|state| {
        let mut bits = state.get();
        if bits == 0 {
            bits = seed();
        }
        bits ^= bits >> 12;
        bits ^= bits << 25;
        bits ^= bits >> 27;
        state.set(bits);
        bits.wrapping_mul(0x2545_F491_4F6C_DD1D)
    })
}

impl SpeedLimit {
    /// A limit of so many samples a second, at least 1, on average over seconds.
    pub const fn new(expected_per_second: u32) -> Self {
        SpeedLimit {
            expected_per_second: AtomicU32::new(if expected_per_second == 0 {
                1
            } else {
                expected_per_second
            }),
            range: AtomicU32::new(MAX_SAMPLING_RANGE),
            submitted: AtomicU64::new(0),
            is_listed: AtomicBool::new(false),
        }
    }

    /// Whether the object at hand is to be sampled (and submitted): `Some` with the share of objects that are.
    ///
    /// *Blocking:* no. Some nanoseconds.
    #[inline]
    pub fn is_collectable(&self) -> Option<SampleRatio> {
        let range = self.range.load(Relaxed);
        let is_chosen =
            range >= MAX_SAMPLING_RANGE || (random() >> 32) as u32 & (MAX_SAMPLING_RANGE - 1) < range;
        is_chosen.then_some(SampleRatio(range))
    }

    /// The share of objects that are sampled now.
    ///
    /// *Blocking:* no.
    pub fn ratio(&self) -> SampleRatio {
        SampleRatio(self.range.load(Relaxed))
    }

    /// Samples expected in a second.
    ///
    /// *Blocking:* no.
    pub fn expected_per_second(&self) -> u32 {
        self.expected_per_second.load(Relaxed)
    }

    /// Changes the number of samples expected in a second, to at least 1.
    ///
    /// *Blocking:* no.
    pub fn set_expected_per_second(&self, expected: u32) {
        self.expected_per_second.store(expected.max(1), Relaxed);
    }

    /// Counts a sample. True when a second's worth of them has come and the ratio should be adapted soon.
    pub(super) fn count(&self) -> bool {
        self.submitted.fetch_add(1, Relaxed) + 1 == u64::from(self.expected_per_second())
    }

    /// Adapts the ratio to what was submitted in the last `elapsed`. True if it is at its most, with nothing to come
    /// down from.
    pub(super) fn adapt(&self, elapsed: Duration) -> bool {
        let submitted = self.submitted.swap(0, Relaxed);
        let old = self.range.load(Relaxed);
        let new = adapted(old, submitted, self.expected_per_second(), elapsed);
        self.range.store(new, Relaxed);
        new == MAX_SAMPLING_RANGE && submitted == 0
    }
}

/// The new range, when `submitted` samples came in `elapsed` at the `old` one.
fn adapted(old: u32, submitted: u64, expected_per_second: u32, elapsed: Duration) -> u32 {
    let expected = f64::from(expected_per_second) * elapsed.as_secs_f64();
    let submitted = submitted as f64;
    let fitting = f64::from(old) * expected / submitted.max(f64::MIN_POSITIVE);
    let new = if submitted > 2.0 * expected {
        // Far too many: down at once.
        fitting
    } else {
        let share = (elapsed.as_secs_f64() / SMOOTHING.as_secs_f64()).min(1.0);
        // Up by degrees: no samples are no reason to take everything in the next moment.
        let aim = fitting.min(2.0 * f64::from(old) / share.max(0.01));
        share * aim + (1.0 - share) * f64::from(old)
    };
    (new.round() as u32).clamp(1, MAX_SAMPLING_RANGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(100);

    /// So many objects a second for so many intervals; the samples of the last second.
    fn run(limit: &SpeedLimit, per_second: u64, intervals: usize) -> u64 {
        let mut taken = std::collections::VecDeque::new();
        for _ in 0..intervals {
            let chosen = (0..per_second / 10).filter(|_| limit.is_collectable().is_some()).count() as u64;
            for _ in 0..chosen {
                limit.count();
            }
            limit.adapt(INTERVAL);
            taken.push_back(chosen);
            if taken.len() > 10 {
                taken.pop_front();
            }
        }
        taken.iter().sum()
    }

    #[test]
    fn everything_is_sampled_below_the_limit() {
        let limit = SpeedLimit::new(1000);
        assert_eq!(run(&limit, 900, 30), 900);
        assert_eq!(limit.ratio().weight(), 1.0);
    }

    #[test]
    fn about_as_many_as_expected_are_sampled_above_it() {
        for load in [3000, 50_000, 1_000_000] {
            let limit = SpeedLimit::new(1000);
            let taken = run(&limit, load, 60);
            assert!((600..=1700).contains(&taken), "{taken} of {load}");
            // The weights make up for it.
            let estimate = taken as f64 * limit.ratio().weight();
            assert!((0.5..2.0).contains(&(estimate / load as f64)), "{estimate} for {load}");
        }
    }

    #[test]
    fn the_ratio_comes_back_when_the_load_goes() {
        let limit = SpeedLimit::new(100);
        run(&limit, 1_000_000, 40);
        assert!(limit.ratio().share() < 0.01);
        run(&limit, 50, 100);
        assert_eq!(limit.ratio().share(), 1.0);
        assert!(limit.adapt(INTERVAL), "nothing left to adapt");
    }

    #[test]
    fn adaptation_stays_in_its_bounds() {
        let second = Duration::from_secs(1);
        assert_eq!(adapted(1, u64::MAX, 1, INTERVAL), 1);
        assert_eq!(adapted(MAX_SAMPLING_RANGE, 0, u32::MAX, second), MAX_SAMPLING_RANGE);
        assert_eq!(adapted(1000, 2000, 1000, second), 500);
        assert_eq!(adapted(1000, 10_000, 1000, second), 100);
        assert_eq!(adapted(1000, 500, 1000, second), 2000);
        assert_eq!(adapted(5, 0, 1000, Duration::ZERO), 5);
    }
}
