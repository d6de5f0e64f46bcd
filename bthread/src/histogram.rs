//! A histogram of durations with one bucket for each power of two, written by one thread and read by any.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets: the last one takes all from 2^39 ns (9 minutes) on.
const BUCKETS: usize = 40;

pub(crate) struct Buckets([AtomicU64; BUCKETS]);

impl Default for Buckets {
    fn default() -> Self {
        Buckets([const { AtomicU64::new(0) }; BUCKETS])
    }
}

impl Buckets {
    /// Counts one duration. By the one writer.
    pub(crate) fn record(&self, duration: Duration) {
        let nanos = duration.as_nanos().min(u128::from(u64::MAX)) as u64;
        let bucket = &self.0[((64 - nanos.leading_zeros()) as usize).min(BUCKETS - 1)];
        // One writer; readers want a rough figure.
        bucket.store(bucket.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

/// How long things took, by powers of two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Histogram([u64; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Histogram([0; BUCKETS])
    }
}

impl Histogram {
    pub(crate) fn add(&mut self, buckets: &Buckets) {
        for (sum, bucket) in self.0.iter_mut().zip(&buckets.0) {
            *sum += bucket.load(Ordering::Relaxed); // a snapshot
        }
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The duration that a part `quantile` (0 to 1) of all does not exceed, rounded up to the next power of two
    /// nanoseconds; zero if nothing was counted.
    pub fn quantile(&self, quantile: f64) -> Duration {
        let goal = (self.count() as f64 * quantile.clamp(0.0, 1.0)).ceil() as u64;
        let mut seen = 0;
        for (exponent, count) in self.0.iter().enumerate() {
            seen += count;
            if *count != 0 && seen >= goal {
                return Duration::from_nanos(1 << exponent);
            }
        }
        Duration::ZERO
    }

    /// The buckets that are not empty: the upper bound of each, excluded, and how many are in it.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let bounds = self.0.into_iter().enumerate().filter(|(_, count)| *count != 0);
        bounds.map(|(exponent, count)| (Duration::from_nanos(1 << exponent), count))
    }
}

/// How many, half of them within what, 99 of 100 within what.
impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count())
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_upper_bounds() {
        let buckets = Buckets::default();
        for nanos in [0, 1, 100, 100, 100, 1_000_000] {
            buckets.record(Duration::from_nanos(nanos));
        }
        buckets.record(Duration::MAX);
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), Duration::ZERO);
        histogram.add(&buckets);
        assert_eq!(histogram.count(), 7);
        assert_eq!(histogram.quantile(0.5), Duration::from_nanos(128));
        assert_eq!(histogram.quantile(0.8), Duration::from_nanos(1 << 20));
        assert_eq!(histogram.quantile(1.0), Duration::from_nanos(1 << 39));
        assert_eq!(histogram.buckets().map(|(_, count)| count).collect::<Vec<_>>(), [1, 1, 3, 1, 1]);
        assert_eq!(format!("{histogram:?}"), "Histogram { count: 7, p50: 128ns, p99: 549.755813888s }");
    }
}
