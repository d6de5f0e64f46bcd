//! The limiter that only watches another one.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{ConcurrencyLimiter, Ended, Entering, Exceeded};

/// Admits every call, and counts those that the limiter inside would have refused: to see what a limit would do before
/// it does. The count is the method's variable `_would_have_refused`.
#[derive(Debug)]
pub struct Shadow<L> {
    limiter: L,
    refused: AtomicU64,
}

impl<L: ConcurrencyLimiter> Shadow<L> {
    /// Watches `limiter`.
    pub fn new(limiter: L) -> Self {
        Shadow { limiter, refused: AtomicU64::new(0) }
    }
}

impl<L: ConcurrencyLimiter> ConcurrencyLimiter for Shadow<L> {
    fn admit(&self, call: &Entering) -> Result<(), Exceeded> {
        if self.limiter.admit(call).is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed); // a statistic
        }
        Ok(())
    }

    fn ended(&self, call: &Ended) {
        self.limiter.ended(call);
    }

    fn max_concurrency(&self) -> Option<usize> {
        self.limiter.max_concurrency()
    }

    fn set_max_concurrency(&self, max: usize) -> bool {
        self.limiter.set_max_concurrency(max)
    }

    fn would_have_refused(&self) -> Option<u64> {
        Some(self.refused.load(Ordering::Relaxed)) // as in `admit`
    }
}

impl ConcurrencyLimiter for Box<dyn ConcurrencyLimiter> {
    fn admit(&self, call: &Entering) -> Result<(), Exceeded> {
        (**self).admit(call)
    }

    fn ended(&self, call: &Ended) {
        (**self).ended(call);
    }

    fn max_concurrency(&self) -> Option<usize> {
        (**self).max_concurrency()
    }

    fn set_max_concurrency(&self, max: usize) -> bool {
        (**self).set_max_concurrency(max)
    }

    fn would_have_refused(&self) -> Option<u64> {
        (**self).would_have_refused()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Constant;
    use super::*;

    #[test]
    fn what_would_be_refused_is_counted_and_admitted() {
        let limiter = Shadow::new(Constant::new(1));
        for concurrency in 1..4 {
            assert_eq!(limiter.admit(&Entering::new(concurrency, None)), Ok(()));
        }
        assert_eq!(limiter.would_have_refused(), Some(2));
        assert!(limiter.set_max_concurrency(9) && limiter.max_concurrency() == Some(9));
        assert_eq!(Constant::new(1).would_have_refused(), None);
    }
}
