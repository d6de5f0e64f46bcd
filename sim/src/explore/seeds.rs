//! Which seeds are run: a range, as code gives it and as people write it (`200`, `40-60`, `40..60`).

use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;

/// A range of seeds, run in ascending order.
///
/// ```
/// use sim::Seeds;
///
/// assert_eq!(Seeds::from(200), Seeds::from(0..200)); // a count is that many from 0 on
/// assert_eq!("40-59".parse::<Seeds>()?, Seeds::from(40..60)); // with its end, as people write it
/// assert_eq!("40..60".parse::<Seeds>()?, Seeds::from(40..60)); // without its end, as Rust writes it
/// # Ok::<(), sim::InvalidSeeds>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seeds {
    first: u64,
    /// One past the last.
    end: u64,
}

impl Seeds {
    /// The lowest, which is run first.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.end.saturating_sub(self.first)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// Takes the lowest one out.
    pub(super) fn take_first(&mut self) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        self.first += 1;
        Some(self.first - 1)
    }
}

/// That many from 0 on.
impl From<u64> for Seeds {
    fn from(count: u64) -> Self {
        Self { first: 0, end: count }
    }
}

impl From<Range<u64>> for Seeds {
    fn from(range: Range<u64>) -> Self {
        Self { first: range.start, end: range.end.max(range.start) }
    }
}

/// `u64::MAX` as the end is left out: a range of seeds ends before it.
impl From<RangeInclusive<u64>> for Seeds {
    fn from(range: RangeInclusive<u64>) -> Self {
        Self::from(*range.start()..range.end().saturating_add(1))
    }
}

/// What is no range of seeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSeeds {
    text: String,
}

impl fmt::Display for InvalidSeeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no range of seeds: 200 are those from 0 to 199, 40-59 and 40..60 are twenty",
            self.text
        )
    }
}

impl std::error::Error for InvalidSeeds {}

impl FromStr for Seeds {
    type Err = InvalidSeeds;

    fn from_str(text: &str) -> Result<Self, InvalidSeeds> {
        let invalid = || InvalidSeeds { text: text.to_owned() };
        let number = |digits: &str| digits.trim().parse::<u64>().map_err(|_| invalid());
        let seeds = if let Some((first, last)) = text.split_once("..=").or_else(|| text.split_once('-')) {
            let (first, last) = (number(first)?, number(last)?);
            if last < first || last == u64::MAX {
                return Err(invalid());
            }
            Self::from(first..=last)
        } else if let Some((first, end)) = text.split_once("..") {
            let (first, end) = (number(first)?, number(end)?);
            if end <= first {
                return Err(invalid());
            }
            Self::from(first..end)
        } else {
            Self::from(number(text)?)
        };
        if seeds.is_empty() { Err(invalid()) } else { Ok(seeds) }
    }
}

/// As [`FromStr`] reads it.
impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.first, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_ranges_in_three_forms() {
        assert_eq!("200".parse(), Ok(Seeds::from(0..200)));
        assert_eq!("40-59".parse(), Ok(Seeds::from(40..60)));
        assert_eq!("40..=59".parse(), Ok(Seeds::from(40..60)));
        assert_eq!(" 40 .. 60 ".parse(), Ok(Seeds::from(40..60)));
        assert_eq!(Seeds::from(40..60).to_string().parse(), Ok(Seeds::from(40..60)));
        for text in ["", "0", "x", "5-4", "5..5", "-3", "3-", "1-18446744073709551615", "1..2..3"] {
            assert!(text.parse::<Seeds>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_lowest_comes_first_and_each_once() {
        let mut seeds = Seeds::from(3..=5);
        assert_eq!(seeds.count(), 3);
        assert_eq!(std::iter::from_fn(|| seeds.take_first()).collect::<Vec<_>>(), [3, 4, 5]);
        assert!(seeds.is_empty());
    }
}
