//! Averages.
//!
//! Owns the pair of a sum and a count. Must never be read as two numbers that belong together to the last
//! value: a writer may be between them.

use crate::agent::{Fold, Word};
use crate::sampling::{Sampled, Sampling};
use crate::variable::{Trend, Value, Variable};
use std::fmt;

/// The average of what was recorded, since creation; over the last seconds with a [`Window`](crate::Window).
///
/// Values are not clamped: the sum wraps around at the ends of `i64`.
///
/// ```
/// let sizes = bvar::IntRecorder::new();
/// [10, 20, 45].iter().for_each(|size| sizes.record(*size));
/// assert_eq!((sizes.get().average(), sizes.get().count()), (25.0, 3));
/// ```
pub struct IntRecorder {
    sum: Word,
    count: Word,
    sampling: Sampling<Average, Average>,
}

/// How many values there were, and their sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Average {
    sum: i64,
    count: u64,
}

impl Average {
    /// The number of values.
    pub fn count(self) -> u64 {
        self.count
    }

    /// Their sum.
    pub fn sum(self) -> i64 {
        self.sum
    }

    /// Their average, 0 if there are none.
    pub fn average(self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }

    fn minus(self, before: Average) -> Average {
        Average { sum: self.sum.wrapping_sub(before.sum), count: self.count.wrapping_sub(before.count) }
    }
}

/// The average cut to an integer, or as it is where nothing would be left of it.
impl From<Average> for Value {
    fn from(average: Average) -> Value {
        shown_average(average.average())
    }
}

/// How averages are shown: as integers, but for those between −1 and 1.
pub(crate) fn shown_average(average: f64) -> Value {
    match average.trunc() as i64 {
        0 if average != 0.0 => average.into(),
        whole => whole.into(),
    }
}

impl IntRecorder {
    /// A recorder without values.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    ///
    /// # Panics
    /// If the process would hold more than 2^28 words of variables; a recorder has two.
    pub fn new() -> Self {
        IntRecorder { sum: Word::new(Fold::Sum), count: Word::new(Fold::Sum), sampling: Sampling::new() }
    }

    /// Takes note of `value`.
    ///
    /// *Blocking:* no, but see the crate's documentation on first writes.
    #[inline]
    pub fn record(&self, value: i64) {
        self.sum.write(Fold::Sum, value as u64);
        self.count.write(Fold::Sum, 1);
    }

    /// Count and sum since creation.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    pub fn get(&self) -> Average {
        Average { sum: self.sum.read() as i64, count: self.count.read() }
    }
}

impl Default for IntRecorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Variable for IntRecorder {
    fn value(&self) -> Value {
        self.get().into()
    }
}

impl Sampled for IntRecorder {
    type Delta = Average;
    type Mark = Average;
    type Output = Average;
    const TREND: Trend = Trend::Average;

    fn sampling(&self) -> &Sampling<Average, Average> {
        &self.sampling
    }

    fn take(&self, mark: &mut Average) -> Option<Average> {
        let now = self.get();
        let gained = now.minus(std::mem::replace(mark, now));
        (gained != Average::default()).then_some(gained)
    }

    fn fold<'a>(seconds: impl Iterator<Item = &'a Average>) -> Average {
        seconds.fold(Average::default(), |total, second| Average {
            sum: total.sum.wrapping_add(second.sum),
            count: total.count.wrapping_add(second.count),
        })
    }
}

impl fmt::Debug for IntRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IntRecorder").field(&self.get()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn recorded(values: &[i64]) -> IntRecorder {
        let recorder = IntRecorder::new();
        values.iter().for_each(|value| recorder.record(*value));
        recorder
    }

    #[test]
    fn averages_are_shown_as_integers_unless_nothing_is_left() {
        let shown = |values: &[i64]| recorded(values).value().to_string();
        assert_eq!(shown(&[]), "0");
        assert_eq!(shown(&[1, 2, 3, 2]), "2");
        assert_eq!(shown(&[1, 2]), "1");
        assert_eq!(shown(&[0, 1]), "0.5");
        assert_eq!(shown(&[-1, 0, 0, 0]), "-0.25");
        assert_eq!(shown(&[-3, -4]), "-3");
        assert_eq!(shown(&[0, 0]), "0");
    }

    #[test]
    fn values_at_the_ends_of_32_bits_are_whole() {
        for end in [i32::MIN, i32::MAX, 0, -1] {
            assert_eq!(recorded(&[i64::from(end); 100]).get().average(), f64::from(end));
        }
    }

    proptest! {
        #[test]
        fn the_average_of_what_was_recorded(values in prop::collection::vec(-1_000_000i64..1_000_000, 1..100)) {
            let seen = recorded(&values).get();
            prop_assert_eq!((seen.sum(), seen.count()), (values.iter().sum::<i64>(), values.len() as u64));
        }
    }
}
