//! How much a channel's retries may add to the load of its server.
//!
//! Retries help against a short failure and make a long one worse. So they are paid for: calls put aside a part of a
//! retry each, up to a reserve, and a retry takes a whole one. Attempts of which no byte has left cost the server
//! nothing, and are free.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::error::{EINVAL, RpcError};

/// Retries for a call, in the long run, by default.
pub const RETRY_RATIO_DEFAULT: f64 = 0.1;
/// Retries that a channel may make at once, by default.
pub const RETRY_RESERVE_DEFAULT: u32 = 100;

/// Retries of all channels that were not made for want of budget.
pub(crate) static RETRIES_DENIED: AtomicU64 = AtomicU64::new(0);

/// What a channel may spend on retries, see [`retry_budget`](super::ChannelBuilder::retry_budget).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    /// Retries for a call, in the long run.
    ratio: f64,
    /// Retries at once.
    reserve: u32,
    is_limited: bool,
}

impl RetryBudget {
    /// At most `ratio` retries for a call in the long run, and `reserve` of them at once. A channel begins with its
    /// whole reserve. (0, 0): no retries but of what was never sent.
    pub const fn new(ratio: f64, reserve: u32) -> Self {
        RetryBudget { ratio, reserve, is_limited: true }
    }

    /// As many retries as `max_retry` allows for each call: brpc's way.
    pub const fn unlimited() -> Self {
        RetryBudget { ratio: 0.0, reserve: 0, is_limited: false }
    }
}

/// [`RETRY_RATIO_DEFAULT`] and [`RETRY_RESERVE_DEFAULT`].
impl Default for RetryBudget {
    fn default() -> Self {
        Self::new(RETRY_RATIO_DEFAULT, RETRY_RESERVE_DEFAULT)
    }
}

/// Parts that a retry is divided into.
const RETRY: i64 = 1000;

/// What a channel has put aside.
pub(super) struct Purse {
    parts: AtomicI64,
    /// Put aside for each call.
    share: i64,
    /// All that there is room for.
    full: i64,
}

impl Purse {
    /// `None`: there is no limit.
    ///
    /// # Errors
    /// [`EINVAL`] for a ratio that is none.
    pub(super) fn new(budget: RetryBudget) -> Result<Option<Self>, RpcError> {
        if !(0.0..=f64::from(u32::MAX)).contains(&budget.ratio) {
            return Err(RpcError::new(EINVAL, format!("A retry budget with ratio={}", budget.ratio)));
        }
        let full = i64::from(budget.reserve) * RETRY;
        let share = (budget.ratio * RETRY as f64) as i64;
        Ok(budget.is_limited.then(|| Purse { parts: AtomicI64::new(full), share, full }))
    }

    /// A call begins.
    #[inline]
    pub(super) fn put_aside(&self) {
        // Relaxed, here and below: a sum that publishes nothing. It is only read as long as nothing is spent, so that
        // threads do not meet at it.
        if self.parts.load(Ordering::Relaxed) < self.full {
            self.fill();
        }
    }

    #[cold]
    fn fill(&self) {
        let fill = |parts: i64| (parts < self.full).then(|| self.full.min(parts.saturating_add(self.share)));
        let _ = self.parts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fill); // an error: it is full
    }

    /// Pays for a retry, if that is possible.
    pub(super) fn pay(&self) -> bool {
        let pay = |parts| (parts >= RETRY).then(|| parts - RETRY);
        let paid = self.parts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok();
        if !paid {
            RETRIES_DENIED.fetch_add(1, Ordering::Relaxed); // a statistic
        }
        paid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_paid_for_by_calls() {
        let purse = Purse::new(RetryBudget::new(0.25, 2)).unwrap().unwrap();
        assert!(purse.pay() && purse.pay() && !purse.pay());
        (0..3).for_each(|_| purse.put_aside());
        assert!(!purse.pay());
        purse.put_aside();
        assert!(purse.pay() && !purse.pay());
        (0..100).for_each(|_| purse.put_aside());
        assert!(purse.pay() && purse.pay() && !purse.pay(), "no more than the reserve");
    }

    #[test]
    fn budgets_that_make_no_sense_are_refused() {
        for ratio in [-0.1, f64::NAN, f64::INFINITY] {
            let error = Purse::new(RetryBudget::new(ratio, 1)).err().unwrap();
            assert_eq!(error.code(), EINVAL);
        }
        assert!(Purse::new(RetryBudget::unlimited()).unwrap().is_none());
        let none = Purse::new(RetryBudget::new(0.0, 0)).unwrap().unwrap();
        none.put_aside();
        assert!(!none.pay());
    }
}
