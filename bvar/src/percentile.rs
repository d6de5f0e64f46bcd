//! How values are distributed: counts in log-linear buckets, and the percentiles read from them.
//!
//! Owns the bucket boundaries. Values below 128 have a bucket each; above, every power of two is cut into 64
//! buckets of equal width, so a bucket is at most 1/64 of its values wide and its middle at most 1/128
//! (0.79%) away from any of them. All values count: nothing is sampled, and what two threads or two
//! moments recorded adds up exactly. Must never know what the values measure.

use crate::agent::{CHUNK_WORDS, Run, RunSums};
use std::fmt;

/// log2 of the buckets in each power of two.
const PRECISION_BITS: u32 = 6;
const _: () = assert!(CHUNK_WORDS == 1 << PRECISION_BITS, "a chunk holds the buckets of one power of two");

/// Bits of the largest value told apart.
const VALUE_BITS: u32 = 48;

/// Two chunks for the values below 128, one for each power of two from there on.
const CHUNKS: usize = (VALUE_BITS - PRECISION_BITS + 1) as usize;

/// Counts of recorded values, from which percentiles can be read within 1%.
///
/// A thread that records into a power of two for the first time allocates 512 bytes for it.
///
/// ```
/// let sizes = bvar::Histogram::new();
/// (1..=1000).for_each(|size| sizes.record(size));
/// let median = sizes.distribution().percentile(0.5);
/// assert!((495..=505).contains(&median));
/// ```
pub struct Histogram {
    buckets: Run,
}

impl Histogram {
    /// The largest value told apart, 2^48 − 1 (78 hours in nanoseconds); larger ones count as this one.
    pub const MAX_VALUE: u64 = (1 << VALUE_BITS) - 1;

    /// A histogram without values.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    ///
    /// # Panics
    /// If the process would hold more than 2^28 words of variables; a histogram has 2752.
    pub fn new() -> Self {
        Histogram { buckets: Run::new(CHUNKS) }
    }

    /// Counts `value`.
    ///
    /// *Blocking:* no, but see the crate's documentation on first writes.
    #[inline]
    pub fn record(&self, value: u64) {
        self.buckets.add(bucket(value), 1);
    }

    /// Everything recorded since creation.
    ///
    /// *Blocking:* the thread, for the time of an internal lock in which the buckets of all threads are added.
    pub fn distribution(&self) -> Distribution {
        Distribution { buckets: self.buckets.read() }
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram").field("distribution", &self.distribution()).finish()
    }
}

/// The place of the bucket that counts `value`.
#[inline]
fn bucket(value: u64) -> usize {
    let value = value.min(Histogram::MAX_VALUE);
    let top_bit = (value | (1 << PRECISION_BITS)).ilog2();
    let shift = top_bit - PRECISION_BITS;
    ((shift as usize) << PRECISION_BITS) + (value >> shift) as usize
}

/// The smallest and the largest value that the bucket at `place` counts.
fn bounds(place: usize) -> (u64, u64) {
    let shift = (place >> PRECISION_BITS).saturating_sub(1);
    let low = (place - (shift << PRECISION_BITS)) as u64;
    (low << shift, ((low + 1) << shift) - 1)
}

/// The values of a [`Histogram`] at one moment.
#[derive(Clone, PartialEq, Eq)]
pub struct Distribution {
    buckets: RunSums,
}

impl Distribution {
    /// The number of values.
    pub fn count(&self) -> u64 {
        self.buckets().map(|(_, _, count)| count).sum()
    }

    /// The value that at least a share of `ratio` of all values is not above: `percentile(0.99)` is the
    /// 99th percentile. It is within 1/128 of the exact one, the value of rank ⌈ratio × count⌉.
    ///
    /// 0 if there are no values or `ratio` is not above 0; a ratio above 1 counts as 1.
    pub fn percentile(&self, ratio: f64) -> u64 {
        let count = self.count();
        // NaN becomes 0 as well: float to integer conversion saturates.
        let mut rank = ((ratio * count as f64).ceil() as u64).min(count);
        if rank == 0 {
            return 0;
        }
        for (low, high, count) in self.buckets() {
            if rank <= count {
                return low + (high - low) / 2;
            }
            rank -= count;
        }
        unreachable!("the rank is at most the number of values")
    }

    /// The buckets with values in them, in rising order: smallest and largest value counted, and how many.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
        let counts = self.buckets.iter().flat_map(|(chunk, counts)| {
            counts.iter().enumerate().map(move |(i, count)| (chunk * CHUNK_WORDS + i, *count))
        });
        counts.filter(|(_, count)| *count > 0).map(|(place, count)| {
            let (low, high) = bounds(place);
            (low, high, count)
        })
    }
}

impl fmt::Debug for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.buckets()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_touch_and_cover_every_value() {
        let mut next = 0;
        for place in 0..CHUNKS * CHUNK_WORDS {
            let (low, high) = bounds(place);
            assert_eq!(low, next, "a gap before bucket {place}");
            assert!((high - low) * 64 <= low, "bucket {place} is too wide");
            assert_eq!((bucket(low), bucket(high)), (place, place));
            next = high + 1;
        }
        assert_eq!(next - 1, Histogram::MAX_VALUE);
        assert_eq!(bucket(u64::MAX), CHUNKS * CHUNK_WORDS - 1);
    }

    #[test]
    fn no_values_have_no_percentiles() {
        let empty = Histogram::new().distribution();
        assert_eq!((empty.count(), empty.percentile(0.5), empty.percentile(1.0)), (0, 0, 0));
    }

    #[test]
    fn odd_ratios() {
        let histogram = Histogram::new();
        (1..=100).for_each(|value| histogram.record(value));
        let distribution = histogram.distribution();
        let percentiles = [-1.0, 0.0, f64::NAN, 1e-9, 0.5, 1.0, 7.0, f64::INFINITY];
        assert_eq!(percentiles.map(|ratio| distribution.percentile(ratio)), [0, 0, 0, 1, 50, 100, 100, 100]);
    }

    #[test]
    fn buckets_of_a_small_distribution() {
        let histogram = Histogram::new();
        [0, 7, 7, 127, 128, 129, 1000, u64::MAX].iter().for_each(|value| histogram.record(*value));
        let expected = "[(0, 0, 1), (7, 7, 2), (127, 127, 1), (128, 129, 2), (1000, 1007, 1), (279275953455104, 281474976710655, 1)]";
        assert_eq!(format!("{:?}", histogram.distribution()), expected);
    }

    const RATIOS: [f64; 9] = [0.001, 0.1, 0.25, 0.5, 0.8, 0.9, 0.99, 0.999, 1.0];

    /// The error of every percentile is at most 1/128 of the exact value.
    fn assert_close(mut values: Vec<u64>) {
        let histogram = Histogram::new();
        values.iter().for_each(|value| histogram.record(*value));
        values.sort_unstable();
        let distribution = histogram.distribution();
        assert_eq!(distribution.count(), values.len() as u64);
        for ratio in RATIOS {
            let rank = ((ratio * values.len() as f64).ceil() as usize).max(1);
            let (exact, read) = (values[rank - 1], distribution.percentile(ratio));
            assert!(exact.abs_diff(read) <= exact / 128, "p{}: {read}, exactly {exact}", ratio * 100.0);
        }
    }

    #[test]
    fn the_uniform_distribution_of_the_reference() {
        assert_close((1..=10_000).collect());
    }

    proptest! {
        #[test]
        fn percentiles_of_uniform_values(values in prop::collection::vec(0..1_000_000u64, 1..2000)) {
            assert_close(values);
        }

        /// Each value has a magnitude of its own: a tail over twelve decades.
        #[test]
        fn percentiles_of_long_tails(values in prop::collection::vec((0..VALUE_BITS, any::<u64>()), 1..2000)) {
            assert_close(values.into_iter().map(|(bits, noise)| (1 << bits) | (noise & ((1 << bits) - 1))).collect());
        }

        #[test]
        fn percentiles_rise_with_the_ratio(values in prop::collection::vec(any::<u64>(), 1..100)) {
            let histogram = Histogram::new();
            values.iter().for_each(|value| histogram.record(*value));
            let distribution = histogram.distribution();
            prop_assert!(RATIOS.map(|ratio| distribution.percentile(ratio)).is_sorted());
        }
    }
}
