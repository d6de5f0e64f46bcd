//! The limiter that goes by what callers can wait for (`spec/rpc-core.md` §16.2).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::sampling::{Sampler, Sampling, Seen};
use super::{ConcurrencyLimiter, Ended, Entering, Exceeded, flags};

/// Admits a call while calls take less, on average, than its caller waits, and not more than a number of them at a time.
/// One at a time is always admitted, so that the average follows when calls become faster again.
pub struct Timeout {
    options: TimeoutOptions,
    sampler: Sampler,
    /// Microseconds.
    average: AtomicU64,
}

/// What a [`Timeout`] is to be like. The default reads the flags `timeout_cl_…` at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimeoutOptions {
    /// How long callers wait that do not say so. Default: the flag `timeout_cl_default_timeout_ms`, 500 ms.
    pub timeout: Duration,
    /// The most calls at a time; 0 counts as 1. Default: the flag `timeout_cl_max_concurrency`, 100.
    pub max_concurrency: usize,
}

impl Default for TimeoutOptions {
    fn default() -> Self {
        TimeoutOptions {
            timeout: Duration::from_millis(flags::TIMEOUT_DEFAULT_MS.get().unsigned_abs()),
            max_concurrency: usize::try_from(flags::TIMEOUT_MAX.get()).unwrap_or(1),
        }
    }
}

impl Timeout {
    /// With the default options.
    pub fn new() -> Self {
        Self::with(TimeoutOptions::default())
    }

    /// With these options.
    pub fn with(options: TimeoutOptions) -> Self {
        Timeout {
            options: TimeoutOptions { max_concurrency: options.max_concurrency.max(1), ..options },
            sampler: Sampler::new(bthread::clock::origin()),
            average: AtomicU64::new(flags::TIMEOUT_INITIAL_US.get().unsigned_abs()),
        }
    }

    fn conclude(&self, seen: &Seen) {
        let average = match seen.average(flags::TIMEOUT_FAIL_RATIO.get()) {
            Some(average) => average as u64,
            None => self.average.load(Ordering::Relaxed).saturating_mul(2), // one at a time concludes
        };
        self.average.store(average.max(1), Ordering::Relaxed); // an estimate
    }
}

impl Default for Timeout {
    fn default() -> Self {
        Self::new()
    }
}

impl ConcurrencyLimiter for Timeout {
    fn admit(&self, call: &Entering) -> Result<(), Exceeded> {
        if call.concurrency <= 1 {
            return Ok(());
        }
        let max = self.options.max_concurrency;
        if call.concurrency > max {
            return Err(Exceeded::Concurrency { max });
        }
        let timeout = call.timeout.unwrap_or(self.options.timeout);
        let average = Duration::from_micros(self.average.load(Ordering::Relaxed)); // an estimate
        if average < timeout { Ok(()) } else { Err(Exceeded::Latency { average, timeout }) }
    }

    fn ended(&self, call: &Ended) {
        let sampling = Sampling {
            interval: flags::TIMEOUT_INTERVAL_MS.get() * 1000.0,
            window: flags::TIMEOUT_WINDOW_MS.get().unsigned_abs() * 1000,
            min_samples: flags::TIMEOUT_MIN_SAMPLES.get().unsigned_abs(),
            max_samples: flags::TIMEOUT_MAX_SAMPLES.get().unsigned_abs(),
            failures: flags::TIMEOUT_PUNISH.get(),
        };
        self.sampler.note(call, &sampling, |seen| {
            self.conclude(&seen);
            0
        });
    }

    fn max_concurrency(&self) -> Option<usize> {
        Some(self.options.max_concurrency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::EINTERNAL;
    use std::time::Instant;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn run(limiter: &Timeout, begin: Instant, latency: Duration, fail: bool) {
        for n in 1..=200 {
            limiter.ended(&Ended::new(fail.then_some(EINTERNAL), latency, begin + n * ms(1)));
        }
    }

    #[test]
    fn calls_that_would_be_late_are_refused_and_one_never_is() {
        let limiter = Timeout::new();
        let admit = |concurrency, timeout| limiter.admit(&Entering::new(concurrency, timeout));
        assert_eq!(admit(100, None), Ok(()));
        assert_eq!(admit(101, None), Err(Exceeded::Concurrency { max: 100 }));
        let begin = Instant::now();
        run(&limiter, begin, ms(30), false);
        assert_eq!(admit(2, Some(ms(31))), Ok(()));
        let late = Exceeded::Latency { average: ms(30), timeout: ms(30) };
        assert_eq!(admit(2, Some(ms(30))), Err(late));
        assert_eq!(late.to_string(), "average_latency=30000us, timeout=30000us");
        assert_eq!(admit(1, Some(ms(1))), Ok(()));
        run(&limiter, begin + ms(1000), ms(1), true);
        assert_eq!(admit(2, Some(ms(60))), Err(Exceeded::Latency { average: ms(60), timeout: ms(60) }));
    }
}
