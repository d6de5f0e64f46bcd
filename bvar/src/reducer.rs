//! Sums, maxima and minima: variables whose value is the fold of everything written to them.
//!
//! Owns how a number is kept in an agent's word: its bits, XORed with those of the operation's identity.
//! So an untouched word, 0, is the identity; and for the maximum as for the minimum, the better of two
//! values is the larger of two unsigned words. Must never touch a word other than through the agent.

use crate::agent::{Fold, Word};
use crate::variable::{Value, Variable};
use std::fmt;
use std::marker::PhantomData;

mod sealed {
    /// A number as 64 bits.
    pub trait Bits {
        fn into_bits(self) -> u64;
        fn from_bits(bits: u64) -> Self;
    }

    /// What an operation starts from, and whether it adds (or else takes the larger word).
    pub trait Law<T> {
        const ADDS: bool;
        const IDENTITY: T;
    }
}

/// A number that a [`Reducer`] can hold: `i64` or `u64`.
pub trait Number: sealed::Bits + Copy + Into<Value> + 'static {}

/// An operation by which a [`Reducer`] folds numbers: [`Sum`], [`Max`] or [`Min`].
pub trait Operation<T>: sealed::Law<T> + 'static {}

/// Addition, which wraps around at the ends of the number's range.
#[derive(Debug)]
pub enum Sum {}

/// The larger of two numbers; with none, the smallest of their type.
#[derive(Debug)]
pub enum Max {}

/// The smaller of two numbers; with none, the largest of their type.
#[derive(Debug)]
pub enum Min {}

macro_rules! numbers {
    ($($number:ty),+) => {$(
        impl sealed::Bits for $number {
            #[inline(always)]
            fn into_bits(self) -> u64 {
                self as u64
            }

            #[inline(always)]
            fn from_bits(bits: u64) -> Self {
                bits as $number
            }
        }

        impl Number for $number {}

        impl sealed::Law<$number> for Sum {
            const ADDS: bool = true;
            const IDENTITY: $number = 0;
        }

        impl sealed::Law<$number> for Max {
            const ADDS: bool = false;
            const IDENTITY: $number = <$number>::MIN;
        }

        impl sealed::Law<$number> for Min {
            const ADDS: bool = false;
            const IDENTITY: $number = <$number>::MAX;
        }

        impl Operation<$number> for Sum {}
        impl Operation<$number> for Max {}
        impl Operation<$number> for Min {}
    )+};
}

numbers!(i64, u64);

/// A variable whose value is `Op` over everything written to it, by any thread, since creation.
///
/// Use it by the names [`Adder`], [`Maxer`] and [`Miner`]. What threads that ended have written counts.
pub struct Reducer<T, Op> {
    word: Word,
    of: PhantomData<fn() -> (T, Op)>,
}

/// The sum of what was added: `i64`, or `u64` where the sum only grows.
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
    const FOLD: Fold = if Op::ADDS { Fold::Sum } else { Fold::Max };

    /// A variable that nothing has been written to.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    ///
    /// # Panics
    /// If the process would hold more than 2^28 words of variables.
    pub fn new() -> Self {
        Reducer { word: Word::new(Self::FOLD), of: PhantomData }
    }

    /// The value: the fold over all threads.
    ///
    /// A write that happened before the call is in it; one that runs at the same moment may be.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    pub fn get(&self) -> T {
        T::from_bits(self.word.read() ^ Op::IDENTITY.into_bits())
    }

    #[inline(always)]
    fn write(&self, value: T) {
        self.word.write(Self::FOLD, value.into_bits() ^ Op::IDENTITY.into_bits());
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
            variable.describe(&mut text).unwrap();
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
