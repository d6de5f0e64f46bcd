//! Samples of the calls of a method, gathered in windows. A window ends after its time or with its last sample; what it
//! says is handed to the limiter.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::Ended;
use crate::error::ELIMIT;
use crate::socket::lock;

/// How samples are taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sampling {
    /// Microseconds between two samples.
    pub(super) interval: f64,
    /// Microseconds that a window lasts.
    pub(super) window: u64,
    pub(super) min_samples: u64,
    pub(super) max_samples: u64,
    /// Whether failed calls are sampled.
    pub(super) failures: bool,
}

/// What a window has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) successes: u64,
    pub(super) success_micros: u64,
    pub(super) failures: u64,
    pub(super) failure_micros: u64,
    /// Successes, sampled or not.
    pub(super) all_successes: u64,
    /// Microseconds from the window's first sample to its last one.
    pub(super) span: u64,
    /// Microseconds at its end, of a clock of the sampler's own.
    pub(super) now: u64,
}

impl Seen {
    /// The mean latency of a success in microseconds, with the time of failures, `punishment` times, on top.
    pub(super) fn average(&self, punishment: f64) -> Option<f64> {
        let total = self.failure_micros as f64 * punishment + self.success_micros as f64;
        (self.successes > 0).then(|| (total / self.successes as f64).ceil())
    }
}

pub(super) struct Sampler {
    base: Instant,
    /// When the last sample was taken.
    sampled_at: AtomicU64,
    all_successes: AtomicU64,
    window: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    began: Option<u64>,
    /// Nothing before this moment is sampled.
    not_before: u64,
    seen: Seen,
}

impl Sampler {
    /// Its clock counts from `base`, which no call ends before.
    pub(super) fn new(base: Instant) -> Self {
        Sampler {
            base,
            sampled_at: AtomicU64::new(0),
            all_successes: AtomicU64::new(0),
            window: Mutex::default(),
        }
    }

    /// Microseconds of the sampler's clock.
    pub(super) fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.base).as_micros()).unwrap_or(u64::MAX)
    }

    /// Takes note of a call. If that ends a window, `conclude` is told of it, and says up to when nothing is sampled.
    pub(super) fn note(&self, call: &Ended, sampling: &Sampling, conclude: impl FnOnce(Seen) -> u64) {
        if call.error.is_none() {
            self.all_successes.fetch_add(1, Ordering::Relaxed); // a statistic
        }
        if call.error == Some(ELIMIT) || (call.error.is_some() && !sampling.failures) {
            return;
        }
        let now = self.micros(call.at);
        let before = self.sampled_at.load(Ordering::Relaxed);
        let is_due = before == 0 || now.saturating_sub(before) as f64 >= sampling.interval;
        // Relaxed: picks one of several; the window has a lock.
        let exchange =
            || self.sampled_at.compare_exchange(before, now.max(1), Ordering::Relaxed, Ordering::Relaxed);
        if !is_due || exchange().is_err() {
            return;
        }
        let mut window = lock(&self.window);
        if now < window.not_before {
            return;
        }
        let began = *window.began.get_or_insert_with(|| {
            self.all_successes.store(u64::from(call.error.is_none()), Ordering::Relaxed); // as above
            now
        });
        let latency = u64::try_from(call.latency.as_micros()).unwrap_or(u64::MAX);
        let seen = &mut window.seen;
        let (count, micros) = match call.error {
            None => (&mut seen.successes, &mut seen.success_micros),
            Some(_) => (&mut seen.failures, &mut seen.failure_micros),
        };
        *count += 1;
        *micros = micros.saturating_add(latency);
        let samples = seen.successes + seen.failures;
        let span = now.saturating_sub(began);
        if span < sampling.window && samples < sampling.max_samples {
            return;
        }
        let seen = std::mem::take(seen);
        window.began = None;
        if samples < sampling.min_samples {
            return;
        }
        let all_successes = self.all_successes.load(Ordering::Relaxed); // as above
        window.not_before = conclude(Seen { all_successes, span: span.max(1), now, ..seen });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::EINTERNAL;
    use std::time::Duration;

    const SAMPLING: Sampling =
        Sampling { interval: 100.0, window: 1_000_000, min_samples: 3, max_samples: 5, failures: true };

    fn windows(calls: &[(u64, Option<crate::error::ErrorCode>)], sampling: &Sampling) -> Vec<Seen> {
        let base = Instant::now();
        let (sampler, mut windows) = (Sampler::new(base), Vec::new());
        for (at, error) in calls {
            let call = Ended::new(*error, Duration::from_micros(10), base + Duration::from_micros(*at));
            sampler.note(&call, sampling, |seen| {
                windows.push(seen);
                0
            });
        }
        windows
    }

    #[test]
    fn a_window_ends_with_its_last_sample() {
        let calls: Vec<_> = (1..=5).map(|n| (n * 100, None)).collect();
        let [seen] = windows(&calls, &SAMPLING)[..] else { panic!("one window") };
        assert_eq!((seen.successes, seen.success_micros, seen.span, seen.all_successes), (5, 50, 400, 5));
        assert_eq!(seen.average(1.0), Some(10.0));
    }

    #[test]
    fn samples_are_so_far_apart_and_all_successes_are_counted() {
        let calls: Vec<_> = (10..60).map(|n| (n * 10, None)).collect();
        let [seen] = windows(&calls, &SAMPLING)[..] else { panic!("one window") };
        assert_eq!((seen.successes, seen.all_successes), (5, 41));
    }

    #[test]
    fn a_window_of_few_samples_says_nothing() {
        assert_eq!(windows(&[(100, None), (2_000_000, None), (2_000_100, None)], &SAMPLING), []);
        let calls = [(100, None), (200, None), (1_000_200, None)];
        assert_eq!(windows(&calls, &SAMPLING).len(), 1, "time was up, and there were enough");
    }

    #[test]
    fn refusals_are_no_samples_and_failures_where_they_are_wanted() {
        let calls: Vec<_> = (1..=20).map(|n| (n * 100, Some(ELIMIT))).collect();
        assert_eq!(windows(&calls, &SAMPLING), []);
        let calls: Vec<_> = (1..=5).map(|n| (n * 100, Some(EINTERNAL))).collect();
        assert_eq!(windows(&calls, &Sampling { failures: false, ..SAMPLING }), []);
        let [seen] = windows(&calls, &SAMPLING)[..] else { panic!("one window") };
        assert_eq!((seen.failures, seen.average(1.0)), (5, None));
    }
}
