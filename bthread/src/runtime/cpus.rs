//! The CPUs that the workers of a runtime are bound to (`spec/bthread.md` §3.3).

use std::fmt;
use std::io;
use std::str::FromStr;

/// CPUs have numbers below this.
const CPUS_MAX: usize = 1024;

/// A set of CPUs, written as `0-3,5,7`. Worker k of a runtime is bound to the one at position k modulo their number.
///
/// ```
/// let cpus: bthread::CpuSet = "0-2,5".parse().unwrap();
/// assert_eq!(cpus.to_string(), "0,1,2,5");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuSet(Vec<usize>);

impl CpuSet {
    pub(super) fn of_worker(&self, index: usize) -> usize {
        self.0[index % self.0.len()]
    }

    /// The CPUs, in ascending order; at least one.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().copied()
    }
}

impl FromStr for CpuSet {
    type Err = io::Error;

    /// # Errors
    /// `InvalidInput` for an empty set, a number of 1024 or more, or anything that is not numbers and ranges.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || io::Error::new(io::ErrorKind::InvalidInput, format!("not a set of CPUs: {text:?}"));
        let number = |text: &str| text.trim().parse::<usize>().ok().filter(|cpu| *cpu < CPUS_MAX);
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = number(first).zip(number(last)).ok_or_else(bad)?;
            if first > last {
                return Err(bad());
            }
            cpus.extend(first..=last);
        }
        cpus.sort_unstable();
        cpus.dedup();
        Ok(CpuSet(cpus))
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, cpu) in self.0.iter().enumerate() {
            write!(f, "{}{cpu}", if position == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_merged_and_sorted() {
        let cpus: CpuSet = "5, 0-2,1-3".parse().unwrap();
        assert_eq!(cpus.iter().collect::<Vec<_>>(), [0, 1, 2, 3, 5]);
        assert_eq!((cpus.of_worker(4), cpus.of_worker(5)), (5, 0));
        for bad in ["", "a", "3-1", "1-", "1024", "1,,2", "-1"] {
            assert!(bad.parse::<CpuSet>().is_err(), "{bad:?}");
        }
    }
}
