//! The limiter that is a number.

use super::ConcurrencyLimiter;

/// Admits so many calls at a time, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constant(usize);

impl Constant {
    /// Admits `max` calls at a time; 0 counts as 1, since a method that admits none could never recover.
    pub fn new(max: usize) -> Self {
        Constant(max.max(1))
    }
}

impl ConcurrencyLimiter for Constant {
    fn admits(&self, concurrency: usize) -> bool {
        concurrency <= self.0
    }

    fn max_concurrency(&self) -> Option<usize> {
        Some(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_itself_is_admitted_and_never_less_than_one() {
        assert!(Constant::new(2).admits(2));
        assert!(!Constant::new(2).admits(3));
        assert!(Constant::new(0).admits(1));
    }
}
