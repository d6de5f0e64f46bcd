//! How values are distributed: counts in log-linear buckets, and the percentiles read from them.
//!
//! Owns the bucket boundaries. Values below 128 have a bucket each; above, every power of two is cut into 64
//! buckets of equal width, so a bucket is at most 1/64 of its values wide and its middle at most 1/128
//! (0.79%) away from any of them. All values count: nothing is sampled, and what two threads or two
//! moments recorded adds up exactly, so a window is the sum of what each of its seconds added. Must never
//! know what the values measure.

use crate::agent::{CHUNK_WORDS, LEAVES, Tally, Totals};
use crate::sampling::{Sampled, Sampling};
use crate::variable::{Kind, Value, Variable};
use std::fmt;

/// log2 of the buckets in each power of two.
const PRECISION_BITS: u32 = 6;
const _: () = assert!(CHUNK_WORDS == 1 << PRECISION_BITS, "a chunk holds the buckets of one power of two");

/// Bits of the largest value told apart.
const VALUE_BITS: u32 = 48;

/// Two chunks for the values below 128, one for each power of two from there on.
const CHUNKS: usize = (VALUE_BITS - PRECISION_BITS + 1) as usize;
const _: () = assert!(CHUNKS == LEAVES, "a tally has room for every power of two");

/// Counts of recorded values, from which percentiles can be read within 1%; and their count, sum and maximum.
///
/// A thread that records for the first time allocates 384 bytes, and 512 bytes for each power of two that its
/// values fall in. An idle histogram has 48 bytes.
///
/// ```
/// let sizes = bvar::Histogram::new();
/// (1..=1000).for_each(|size| sizes.record(size));
/// let median = sizes.distribution().percentile(0.5);
/// assert!((495..=505).contains(&median));
/// ```
pub struct Histogram {
    tally: Tally,
    sampling: Sampling<Second, Mark>,
}

impl Histogram {
    /// The largest value told apart, 2^48 − 1 (78 hours in nanoseconds); larger ones count as this one.
    pub const MAX_VALUE: u64 = (1 << VALUE_BITS) - 1;

    /// A histogram without values.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    ///
    /// # Panics
    /// If the process would hold more than 2^20 histograms and latency recorders.
    pub fn new() -> Self {
        Histogram { tally: Tally::new(), sampling: Sampling::new() }
    }

    /// Counts `value`.
    ///
    /// *Blocking:* no, but see the crate's documentation on first writes.
    #[inline]
    pub fn record(&self, value: u64) {
        let value = value.min(Self::MAX_VALUE);
        let place = bucket(value);
        self.tally.record(place / CHUNK_WORDS, place % CHUNK_WORDS, value);
    }

    /// Everything recorded since creation.
    ///
    /// *Blocking:* the thread, for the time of an internal lock in which the buckets of all threads are added.
    pub fn distribution(&self) -> Distribution {
        let (totals, leaves) = self.tally.read();
        Distribution::of(sparse(leaves), totals)
    }

    /// Count, sum and maximum since creation: much cheaper than [`distribution`](Histogram::distribution).
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    pub(crate) fn totals(&self) -> Totals {
        self.tally.totals()
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

/// As text, count, average, maximum and some percentiles; for exporters, the [`Distribution`].
impl Variable for Histogram {
    fn value(&self) -> Value {
        self.distribution().into()
    }

    fn kind(&self) -> Kind {
        Kind::Counter
    }

    fn distribution(&self) -> Option<Distribution> {
        Some(Histogram::distribution(self))
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram").field("distribution", &self.distribution()).finish()
    }
}

/// Counts by the place of their bucket, in rising order, without zeros.
type Sparse<Count> = Vec<(u16, Count)>;

fn sparse(leaves: Vec<(usize, [u64; CHUNK_WORDS])>) -> Sparse<u64> {
    let counts = leaves.iter().flat_map(|(leaf, counts)| {
        counts.iter().enumerate().map(move |(i, count)| ((leaf * CHUNK_WORDS + i) as u16, *count))
    });
    counts.filter(|(_, count)| *count > 0).collect()
}

/// What a histogram got between two samples.
pub struct Second {
    totals: Totals,
    /// A count that does not fit is cut into several.
    buckets: Box<[(u16, u32)]>,
}

/// What a histogram had at its last sample.
#[derive(Default)]
pub struct Mark {
    count: u64,
    sum: u64,
    buckets: Sparse<u64>,
}

impl Sampled for Histogram {
    type Delta = Second;
    type Mark = Mark;
    type Output = Distribution;

    fn sampling(&self) -> &Sampling<Second, Mark> {
        &self.sampling
    }

    fn take(&self, mark: &mut Mark) -> Option<Second> {
        if self.tally.totals().count == mark.count {
            return None;
        }
        let (now, leaves) = self.tally.read();
        let buckets = sparse(leaves);
        let mut before = mark.buckets.iter().peekable();
        let mut gained = Vec::new();
        for &(place, count) in &buckets {
            // Counts never fall, so whatever was there before is there now.
            let old = before.next_if(|(old, _)| *old == place).map_or(0, |(_, count)| *count);
            let mut rest = count - old;
            while rest > 0 {
                let part = u32::try_from(rest).unwrap_or(u32::MAX);
                gained.push((place, part));
                rest -= u64::from(part);
            }
        }
        // A value may be counted in the second after the one that its maximum was taken in: its bucket tells.
        let top = gained.last().map_or(0, |(place, _)| bounds(usize::from(*place)).0);
        let max = self.tally.take_max().max(top);
        let totals =
            Totals { count: now.count.wrapping_sub(mark.count), sum: now.sum.wrapping_sub(mark.sum), max };
        *mark = Mark { count: now.count, sum: now.sum, buckets };
        Some(Second { totals, buckets: gained.into() })
    }

    fn fold<'a>(seconds: impl Iterator<Item = &'a Second>) -> Distribution {
        let mut dense = Vec::new();
        let mut totals = Totals::default();
        for second in seconds {
            dense.resize(CHUNKS * CHUNK_WORDS, 0);
            for &(place, count) in &second.buckets {
                dense[usize::from(place)] += u64::from(count);
            }
            totals.count = totals.count.wrapping_add(second.totals.count);
            totals.sum = totals.sum.wrapping_add(second.totals.sum);
            totals.max = totals.max.max(second.totals.max);
        }
        let counts = dense.iter().enumerate().map(|(place, count)| (place as u16, *count));
        Distribution::of(counts.filter(|(_, count)| *count > 0).collect(), totals)
    }
}

/// The place of the bucket that counts `value`, which is at most [`Histogram::MAX_VALUE`].
#[inline]
fn bucket(value: u64) -> usize {
    debug_assert!(value <= Histogram::MAX_VALUE);
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

/// The values of a [`Histogram`], since its creation or in a window.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Distribution {
    counts: Sparse<u64>,
    /// Of the buckets, so that ranks and counts agree.
    count: u64,
    sum: u64,
    max: u64,
}

impl Distribution {
    fn of(counts: Sparse<u64>, totals: Totals) -> Self {
        let count = counts.iter().map(|(_, count)| count).sum();
        Distribution { counts, count, sum: totals.sum, max: totals.max }
    }

    /// The number of values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of all values, those above [`Histogram::MAX_VALUE`] counted as that; wraps around at 2^64.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The average, 0 if there are no values.
    pub fn average(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }

    /// The largest value, 0 if there are none.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The value that at least a share of `ratio` of all values is not above: `percentile(0.99)` is the
    /// 99th percentile. It is within 1/128 of the exact one, the value of rank ⌈ratio × count⌉, and never above
    /// [`max`](Distribution::max).
    ///
    /// 0 if there are no values or `ratio` is not above 0; a ratio above 1 counts as 1.
    pub fn percentile(&self, ratio: f64) -> u64 {
        // NaN becomes 0 as well: float to integer conversion saturates.
        let mut rank = ((ratio * self.count as f64).ceil() as u64).min(self.count);
        if rank == 0 {
            return 0;
        }
        for (low, high, count) in self.buckets() {
            if rank <= count {
                return (low + (high - low) / 2).min(self.max.max(low));
            }
            rank -= count;
        }
        unreachable!("the rank is at most the number of values")
    }

    /// The buckets with values in them, in rising order: smallest and largest value counted, and how many.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
        self.counts.iter().map(|(place, count)| {
            let (low, high) = bounds(usize::from(*place));
            (low, high, *count)
        })
    }
}

/// `count=… avg=… max=… p50=… p90=… p99=… p999=…`, for a log or a terminal.
impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "count={} avg={:.1} max={}", self.count, self.average(), self.max)?;
        for (name, ratio) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)] {
            write!(f, " {name}={}", self.percentile(ratio))?;
        }
        Ok(())
    }
}

impl From<Distribution> for Value {
    fn from(distribution: Distribution) -> Value {
        Value::Text(distribution.to_string())
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
        assert_eq!(bucket(Histogram::MAX_VALUE), CHUNKS * CHUNK_WORDS - 1);
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
