//! The limiter that is a number.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{ConcurrencyLimiter, Entering, Exceeded};

/// Admits so many calls at a time, at least one.
#[derive(Debug)]
pub struct Constant(AtomicUsize);

impl Constant {
    /// Admits `max` calls at a time; 0 counts as 1, since a method that admits none could never recover.
    pub fn new(max: usize) -> Self {
        Constant(AtomicUsize::new(max.max(1)))
    }
}

impl ConcurrencyLimiter for Constant {
    fn admit(&self, call: &Entering) -> Result<(), Exceeded> {
        let max = self.0.load(Ordering::Relaxed); // a setting, nothing is published with it
        if call.concurrency <= max { Ok(()) } else { Err(Exceeded::Concurrency { max }) }
    }

    fn max_concurrency(&self) -> Option<usize> {
        Some(self.0.load(Ordering::Relaxed)) // as above
    }

    fn set_max_concurrency(&self, max: usize) -> bool {
        self.0.store(max.max(1), Ordering::Relaxed); // as above
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_itself_is_admitted_and_never_less_than_one() {
        let admits = |limiter: &Constant, concurrency| limiter.admit(&Entering::new(concurrency, None));
        let limiter = Constant::new(2);
        assert_eq!(admits(&limiter, 2), Ok(()));
        assert_eq!(admits(&limiter, 3), Err(Exceeded::Concurrency { max: 2 }));
        assert!(limiter.set_max_concurrency(0) && admits(&limiter, 1).is_ok());
        assert_eq!(admits(&limiter, 2).unwrap_err().to_string(), "max_concurrency=1");
        assert!(admits(&Constant::new(0), 1).is_ok());
    }
}
