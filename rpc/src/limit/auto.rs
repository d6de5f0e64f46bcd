//! The limiter that finds its number (`spec/rpc-core.md` §16.1): by Little's law, as many calls are under way as the
//! highest rate and the latency without load make, and a few more, to see whether the rate can be higher.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bthread::clock;
use bthread::random::random;

use super::sampling::{Sampler, Sampling, Seen};
use super::{ConcurrencyLimiter, Ended, Entering, Exceeded, flags};
use crate::socket::lock;

/// How far a latency or a rate may be off without meaning anything.
const FLUCTUATION: f64 = 0.06;

/// Admits as many calls as the method can serve without a queue, found by measuring. For methods whose latency rises
/// under load, with a hundred calls a second or more. The settings are the flags `auto_cl_…`.
pub struct Auto {
    max: AtomicUsize,
    sampler: Sampler,
    estimate: Mutex<Estimate>,
}

#[derive(Debug)]
struct Estimate {
    /// The latency without load, in microseconds, once known.
    min_latency: Option<f64>,
    /// The highest rate, per second.
    max_qps: f64,
    /// What is admitted beyond the estimate, as a share of it.
    explore: f64,
    /// When the latency without load is measured anew, in the sampler's microseconds.
    remeasure_at: u64,
}

impl Auto {
    /// Knows nothing yet.
    pub fn new() -> Self {
        let sampler = Sampler::new(clock::origin());
        let remeasure_at = next_remeasurement(sampler.micros(clock::now()));
        Auto {
            max: AtomicUsize::new(usize::try_from(flags::AUTO_INITIAL.get()).unwrap_or(1).max(1)),
            sampler,
            estimate: Mutex::new(Estimate {
                min_latency: None,
                max_qps: 0.0,
                explore: flags::AUTO_MAX_EXPLORE.get(),
                remeasure_at,
            }),
        }
    }

    /// What a window says. Returns up to when nothing is sampled.
    fn conclude(&self, seen: &Seen) -> u64 {
        let Some(average) = seen.average(punishment(seen)) else {
            let halved = self.max.load(Ordering::Relaxed) / 2; // one at a time concludes
            self.set(halved as f64);
            return 0;
        };
        let (max, not_before) = lock(&self.estimate).follow(seen, average);
        self.set(max);
        not_before
    }

    fn set(&self, max: f64) {
        let floor = bthread::Runtime::current().workers();
        self.max.store((max as usize).max(floor), Ordering::Relaxed); // nothing is published with it
    }
}

impl Default for Auto {
    fn default() -> Self {
        Self::new()
    }
}

/// How much the time of failed calls counts.
fn punishment(seen: &Seen) -> f64 {
    let (ratio, threshold) = (flags::AUTO_FAIL_RATIO.get(), flags::AUTO_ERROR_THRESHOLD.get());
    if threshold <= 0.0 {
        return ratio;
    }
    let rate = seen.failures as f64 / (seen.failures + seen.successes) as f64;
    ratio * ((rate - threshold) / (1.0 - threshold)).max(0.0)
}

/// Some time between half the interval and the whole of it.
fn next_remeasurement(now: u64) -> u64 {
    let interval = flags::AUTO_REMEASURE_MS.get().unsigned_abs().saturating_mul(1000);
    let half = (interval / 2).max(1);
    now.saturating_add(half).saturating_add(random() % half)
}

impl Estimate {
    /// The number that follows from what a window has seen, and up to when nothing is sampled.
    fn follow(&mut self, seen: &Seen, average: f64) -> (f64, u64) {
        let alpha = flags::AUTO_ALPHA.get();
        let mixed = |old: f64, new: f64, weight: f64| old * (1.0 - weight) + new * weight;
        let min_latency = match self.min_latency {
            None => average,
            Some(known) if average < known => mixed(known, average, alpha),
            Some(known) => known,
        };
        self.min_latency = Some(min_latency);
        let qps = seen.all_successes as f64 * 1e6 / seen.span as f64;
        self.max_qps = if qps >= self.max_qps { qps } else { mixed(self.max_qps, qps, alpha / 10.0) };
        let running = self.max_qps * min_latency / 1e6;
        if seen.now >= self.remeasure_at {
            self.remeasure_at = next_remeasurement(seen.now);
            self.min_latency = None;
            let settled = seen.now.saturating_add((2.0 * average) as u64);
            return ((running * flags::AUTO_REDUCE.get()).ceil(), settled);
        }
        let is_fast = average <= min_latency * (1.0 + FLUCTUATION * flags::AUTO_FLUCTUATION.get());
        let step = flags::AUTO_EXPLORE_STEP.get();
        let wanted = if is_fast || qps <= self.max_qps / (1.0 + FLUCTUATION) { step } else { -step };
        let (least, most) = (flags::AUTO_MIN_EXPLORE.get(), flags::AUTO_MAX_EXPLORE.get());
        self.explore = (self.explore + wanted).min(most).max(least);
        ((running * (1.0 + self.explore)).floor(), 0)
    }
}

impl ConcurrencyLimiter for Auto {
    fn admit(&self, call: &Entering) -> Result<(), Exceeded> {
        let max = self.max.load(Ordering::Relaxed); // as in `set`
        if call.concurrency <= max { Ok(()) } else { Err(Exceeded::Concurrency { max }) }
    }

    fn ended(&self, call: &Ended) {
        let sampling = Sampling {
            interval: flags::AUTO_INTERVAL_MS.get() * 1000.0,
            window: flags::AUTO_WINDOW_MS.get().unsigned_abs() * 1000,
            min_samples: flags::AUTO_MIN_SAMPLES.get().unsigned_abs(),
            max_samples: flags::AUTO_MAX_SAMPLES.get().unsigned_abs(),
            failures: flags::AUTO_PUNISH.get(),
        };
        self.sampler.note(call, &sampling, |seen| self.conclude(&seen));
    }

    fn max_concurrency(&self) -> Option<usize> {
        Some(self.max.load(Ordering::Relaxed)) // as in `set`
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::EINTERNAL;
    use std::time::Duration;
    use std::time::Instant;

    fn estimate() -> Estimate {
        Estimate { min_latency: None, max_qps: 0.0, explore: 0.3, remeasure_at: 50_000_000 }
    }

    /// A window of a second.
    fn window(qps: u64, now: u64) -> Seen {
        let span = 1_000_000;
        Seen { successes: 200, all_successes: qps, span, now, ..Seen::default() }
    }

    #[test]
    fn the_number_is_rate_times_latency_and_a_part_beyond() {
        let mut estimate = estimate();
        // 1000/s at 10 ms are 10 under way.
        assert_eq!(estimate.follow(&window(1000, 1), 10_000.0), (13.0, 0));
        // Slow at the highest rate: a queue, so that less is admitted; the latency without load stays.
        assert_eq!(estimate.follow(&window(1000, 2), 20_000.0), (12.0, 0));
        assert_eq!(estimate.min_latency, Some(10_000.0));
        for now in 3..20 {
            estimate.follow(&window(1000, now), 20_000.0);
        }
        assert_eq!(estimate.follow(&window(1000, 20), 20_000.0), (10.0, 0), "never below the least");
        // Faster calls pull the latency down by a tenth of the difference.
        estimate.follow(&window(1000, 21), 5_000.0);
        assert_eq!(estimate.min_latency, Some(9_500.0));
    }

    #[test]
    fn the_latency_without_load_is_measured_anew() {
        let mut estimate = estimate();
        estimate.follow(&window(1000, 1), 10_000.0);
        let (max, not_before) = estimate.follow(&window(1000, 50_000_000), 10_000.0);
        assert_eq!((max, not_before, estimate.min_latency), (9.0, 50_020_000, None));
        assert!((75_000_000..=100_000_000).contains(&estimate.remeasure_at));
        estimate.follow(&window(1000, 51_000_000), 30_000.0);
        assert_eq!(estimate.min_latency, Some(30_000.0));
    }

    #[test]
    fn errors_above_the_threshold_are_punished_by_their_share() {
        let seen = |failures| Seen { successes: 100 - failures, failures, ..Seen::default() };
        assert_eq!(punishment(&seen(50)), 1.0, "no threshold");
        flags::AUTO_ERROR_THRESHOLD.set(0.2).unwrap();
        let shares = [0, 20, 60].map(|failures| punishment(&seen(failures)));
        flags::AUTO_ERROR_THRESHOLD.set(0.0).unwrap();
        assert_eq!(shares[..2], [0.0, 0.0]);
        assert!((shares[2] - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_method_whose_calls_all_fail_is_halved_and_keeps_the_floor() {
        let limiter = Auto::new();
        let begin = Instant::now();
        let fail = |from: u64| {
            for n in from..from + 200 {
                let at = begin + Duration::from_millis(n);
                limiter.ended(&Ended::new(Some(EINTERNAL), Duration::from_millis(1), at));
            }
        };
        assert_eq!(limiter.max_concurrency(), Some(40));
        fail(1);
        assert_eq!(limiter.max_concurrency(), Some(20));
        (1..10).for_each(|n| fail(1 + 200 * n));
        assert_eq!(limiter.admit(&Entering::new(1, None)), Ok(()));
        let max = limiter.max_concurrency().unwrap();
        assert_eq!(limiter.admit(&Entering::new(max + 1, None)), Err(Exceeded::Concurrency { max }));
    }
}
