//! Sums, maxima and minima: variables whose value is the fold of everything written to them.
//!
//! Owns how a number is kept in an agent's word: an integer as its bits, XORed with those of the operation's
//! identity. So an untouched word, 0, is the identity; and for the maximum as for the minimum, the better of
//! two values is the larger of two unsigned words. Floats are kept likewise, as bits that sort as they do.
//! Must never touch a word other than through the agent.

use crate::agent::{Fold, Word};
use crate::sampling::{Sampled, Sampling};
use crate::variable::{Kind, Trend, Value, Variable};
use std::fmt;
use std::marker::PhantomData;

/// A number that a [`Reducer`] can hold: `i64`, `u64` or `f64`.
pub trait Number: Arithmetic + Copy + Into<Value> + Send + Sync + 'static {}

/// What a window computes with. Integers wrap around.
pub trait Arithmetic: Sized {
    /// Whether rates and averages are shown rounded.
    const IS_INTEGER: bool;
    /// The neutral value of addition.
    const ZERO: Self;
    /// The sum.
    #[must_use]
    fn plus(self, other: Self) -> Self;
    /// The difference.
    #[must_use]
    fn minus(self, other: Self) -> Self;
    /// The nearest float.
    fn to_f64(self) -> f64;
}

mod sealed {
    use crate::agent::Fold;
    use crate::variable::{Kind, Trend};

    /// How an operation keeps numbers in words, and what it starts from.
    pub trait Law<T> {
        #[allow(private_interfaces)]
        const FOLD: Fold;
        const TREND: Trend;
        const KIND: Kind;
        const IDENTITY: T;
        fn encode(value: T) -> u64;
        fn decode(word: u64) -> T;
        fn fold(a: T, b: T) -> T;
    }
}

/// An operation by which a [`Reducer`] folds numbers: [`Sum`], [`Max`] or [`Min`].
pub trait Operation<T>: sealed::Law<T> + 'static {}

/// Addition. Integers wrap around at the ends of their range.
#[derive(Debug)]
pub enum Sum {}

/// The larger of two numbers; with none, the smallest of their type (−∞ for floats, whose NaN is ignored).
#[derive(Debug)]
pub enum Max {}

/// The smaller of two numbers; with none, the largest of their type (∞ for floats, whose NaN is ignored).
#[derive(Debug)]
pub enum Min {}

macro_rules! integers {
    ($($number:ty: $sum:expr),+) => {$(
        impl Number for $number {}

        impl Arithmetic for $number {
            const IS_INTEGER: bool = true;
            const ZERO: Self = 0;

            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }

            fn to_f64(self) -> f64 {
                self as f64
            }
        }

        integers!($number, Sum, $sum, Fold::Sum, Trend::Average, 0, <$number>::wrapping_add);
        integers!($number, Max, Kind::Gauge, Fold::Max, Trend::Max, <$number>::MIN, <$number>::max);
        integers!($number, Min, Kind::Gauge, Fold::Max, Trend::Min, <$number>::MAX, <$number>::min);
    )+};
    ($number:ty, $op:ty, $kind:expr, $fold:expr, $trend:expr, $identity:expr, $function:expr) => {
        impl sealed::Law<$number> for $op {
            #[allow(private_interfaces)]
            const FOLD: Fold = $fold;
            const TREND: Trend = $trend;
            const KIND: Kind = $kind;
            const IDENTITY: $number = $identity;

            #[inline(always)]
            fn encode(value: $number) -> u64 {
                value as u64 ^ <Self as sealed::Law<$number>>::IDENTITY as u64
            }

            #[inline(always)]
            fn decode(word: u64) -> $number {
                (word ^ <Self as sealed::Law<$number>>::IDENTITY as u64) as $number
            }

            fn fold(a: $number, b: $number) -> $number {
                $function(a, b)
            }
        }

        impl Operation<$number> for $op {}
    };
}

integers!(i64: Kind::Gauge, u64: Kind::Counter);

impl Number for f64 {}

impl Arithmetic for f64 {
    const IS_INTEGER: bool = false;
    const ZERO: Self = 0.0;

    fn plus(self, other: Self) -> Self {
        self + other
    }

    fn minus(self, other: Self) -> Self {
        self - other
    }

    fn to_f64(self) -> f64 {
        self
    }
}

/// The bits of −∞, made to sort as numbers do: the smallest but for NaNs.
const LOWEST: u64 = sortable(f64::NEG_INFINITY);

/// Bits that sort, as unsigned numbers, like the floats that they stand for.
const fn sortable(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn unsorted(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits })
}

macro_rules! floats {
    ($op:ty, $fold:expr, $trend:expr, $identity:expr, $function:expr, $encode:expr, $decode:expr) => {
        impl sealed::Law<f64> for $op {
            #[allow(private_interfaces)]
            const FOLD: Fold = $fold;
            const TREND: Trend = $trend;
            const KIND: Kind = Kind::Gauge;
            const IDENTITY: f64 = $identity;

            #[inline(always)]
            fn encode(value: f64) -> u64 {
                $encode(value)
            }

            #[inline(always)]
            fn decode(word: u64) -> f64 {
                $decode(word)
            }

            fn fold(a: f64, b: f64) -> f64 {
                $function(a, b)
            }
        }

        impl Operation<f64> for $op {}
    };
}

floats!(Sum, Fold::FloatSum, Trend::Average, 0.0, |a, b| a + b, f64::to_bits, f64::from_bits);
floats!(Max, Fold::Max, Trend::Max, f64::NEG_INFINITY, f64::max, encode_float, decode_float);
floats!(Min, Fold::Max, Trend::Min, f64::INFINITY, f64::min, |value: f64| encode_float(-value), |word| {
    -decode_float(word)
});

fn encode_float(value: f64) -> u64 {
    if value.is_nan() { 0 } else { sortable(value) - LOWEST }
}

fn decode_float(word: u64) -> f64 {
    unsorted(word + LOWEST)
}

/// A variable whose value is `Op` over everything written to it, by any thread, since creation.
///
/// Use it by the names [`Adder`], [`Maxer`] and [`Miner`]. What threads that ended have written counts.
pub struct Reducer<T: Number, Op: Operation<T>> {
    word: Word,
    sampling: Sampling<T, Option<T>>,
    of: PhantomData<fn() -> (T, Op)>,
}

/// The sum of what was added: `i64` or `f64`, or `u64` where the sum only grows (which makes it a
/// [`Kind::Counter`]).
///
/// ```
/// let bytes = bvar::Adder::<i64>::new();
/// std::thread::scope(|scope| {
///     scope.spawn(|| bytes.add(100));
///     scope.spawn(|| bytes.add(-30));
/// });
/// assert_eq!(bytes.get(), 70);
/// ```
pub type Adder<T> = Reducer<T, Sum>;

/// The largest value seen; the smallest value of the type before the first.
pub type Maxer<T> = Reducer<T, Max>;

/// The smallest value seen; the largest value of the type before the first.
pub type Miner<T> = Reducer<T, Min>;

impl<T: Number, Op: Operation<T>> Reducer<T, Op> {
    /// A variable that nothing has been written to.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    ///
    /// # Panics
    /// If the process would hold more than 2^28 words of variables.
    pub fn new() -> Self {
        Reducer { word: Word::new(Op::FOLD), sampling: Sampling::new(), of: PhantomData }
    }

    /// The value: the fold over all threads.
    ///
    /// A write that happened before the call is in it; one that runs at the same moment may be.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    pub fn get(&self) -> T {
        Op::decode(self.word.read())
    }

    #[inline(always)]
    fn write(&self, value: T) {
        self.word.write(Op::FOLD, Op::encode(value));
    }
}

impl<T: Number> Reducer<T, Sum>
where
    Sum: Operation<T>,
{
    /// Adds `value`, which may be negative where `T` is signed. The sum wraps around.
    ///
    /// *Blocking:* no, but see the crate's documentation on first writes.
    #[inline]
    pub fn add(&self, value: T) {
        self.write(value);
    }
}

impl<T: Number> Reducer<T, Max>
where
    Max: Operation<T>,
{
    /// Takes note of `value`.
    ///
    /// *Blocking:* no, but see the crate's documentation on first writes.
    #[inline]
    pub fn record(&self, value: T) {
        self.write(value);
    }
}

impl<T: Number> Reducer<T, Min>
where
    Min: Operation<T>,
{
    /// Takes note of `value`.
    ///
    /// *Blocking:* no, but see the crate's documentation on first writes.
    #[inline]
    pub fn record(&self, value: T) {
        self.write(value);
    }
}

impl<T: Number, Op: Operation<T>> Default for Reducer<T, Op> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Number, Op: Operation<T>> Variable for Reducer<T, Op> {
    fn value(&self) -> Value {
        self.get().into()
    }

    fn kind(&self) -> Kind {
        Op::KIND
    }

    /// Sums have one. A largest or smallest value since creation would be a line with a few steps: expose a
    /// [`Window`](crate::Window) of it instead.
    fn trend(&self) -> Trend {
        if Op::TREND == Trend::Average { Trend::Average } else { Trend::None }
    }
}

impl<T: Number, Op: Operation<T>> Sampled for Reducer<T, Op> {
    type Delta = T;
    /// The sum at the last sample.
    type Mark = Option<T>;
    type Output = T;
    const TREND: Trend = Op::TREND;

    fn sampling(&self) -> &Sampling<T, Option<T>> {
        &self.sampling
    }

    fn take(&self, mark: &mut Option<T>) -> Option<T> {
        if Op::FOLD == Fold::Max {
            let max = self.word.take_max();
            return (max > 0).then(|| Op::decode(max));
        }
        let word = self.word.read();
        let now = Op::decode(word);
        let gained = now.minus(mark.replace(now).unwrap_or(T::ZERO));
        (Op::encode(gained) != 0).then_some(gained)
    }

    fn fold<'a>(seconds: impl Iterator<Item = &'a T>) -> T {
        seconds.fold(Op::IDENTITY, |total, second| Op::fold(total, *second))
    }
}

impl<T: Number, Op: Operation<T>> fmt::Debug for Reducer<T, Op> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reducer({} in {:?})", self.value(), self.word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::thread;

    #[test]
    fn untouched_variables_hold_the_identity() {
        assert_eq!((Adder::<i64>::new().get(), Adder::<u64>::new().get()), (0, 0));
        assert_eq!((Maxer::<i64>::new().get(), Maxer::<u64>::new().get()), (i64::MIN, 0));
        assert_eq!((Miner::<i64>::new().get(), Miner::<u64>::new().get()), (i64::MAX, u64::MAX));
    }

    #[test]
    fn the_extremes_of_the_type_are_ordinary_values() {
        let (max, min) = (Maxer::<i64>::new(), Miner::<i64>::new());
        for value in [-1, i64::MIN, 0, i64::MAX] {
            max.record(value);
            min.record(value);
        }
        assert_eq!((max.get(), min.get()), (i64::MAX, i64::MIN));
    }

    #[test]
    fn sums_wrap_around() {
        let sum = Adder::<i64>::new();
        sum.add(i64::MAX);
        sum.add(2);
        assert_eq!(sum.get(), i64::MIN + 1);
    }

    #[test]
    fn descriptions() {
        let (sum, max, min) = (Adder::<i64>::new(), Maxer::<u64>::new(), Miner::<i64>::new());
        sum.add(-12);
        max.record(34);
        min.record(-5);
        let variables: [&dyn Variable; 3] = [&sum, &max, &min];
        let mut text = String::new();
        for variable in variables {
            variable.describe(&mut text, false).unwrap();
            text.push('\n');
        }
        assert_eq!(text, "-12\n34\n-5\n");
    }

    proptest! {
        #[test]
        fn folding_over_threads_is_folding(parts in prop::collection::vec(prop::collection::vec(any::<i64>(), 0..8), 1..4)) {
            let (sum, max, min) = (Adder::<i64>::new(), Maxer::<i64>::new(), Miner::<i64>::new());
            let max_unsigned = Maxer::<u64>::new();
            let min_unsigned = Miner::<u64>::new();
            thread::scope(|scope| {
                for part in &parts {
                    let (sum, max, min) = (&sum, &max, &min);
                    let (max_unsigned, min_unsigned) = (&max_unsigned, &min_unsigned);
                    scope.spawn(move || for &value in part {
                        sum.add(value);
                        max.record(value);
                        min.record(value);
                        max_unsigned.record(value as u64);
                        min_unsigned.record(value as u64);
                    });
                }
            });
            let all: Vec<i64> = parts.concat();
            prop_assert_eq!(sum.get(), all.iter().fold(0i64, |a, b| a.wrapping_add(*b)));
            prop_assert_eq!(max.get(), all.iter().copied().max().unwrap_or(i64::MIN));
            prop_assert_eq!(min.get(), all.iter().copied().min().unwrap_or(i64::MAX));
            prop_assert_eq!(max_unsigned.get(), all.iter().map(|v| *v as u64).max().unwrap_or(0));
            prop_assert_eq!(min_unsigned.get(), all.iter().map(|v| *v as u64).min().unwrap_or(u64::MAX));
        }
    }
}
