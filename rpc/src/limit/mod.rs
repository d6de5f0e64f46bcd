//! Limits on the concurrency of one method: the trait, and one file per limiter.
//!
//! A limiter decides; counting and answering are the admission's. None of its methods may wait.

mod constant;

use std::time::Duration;

use crate::error::ErrorCode;

pub use constant::Constant;

/// Says whether one more call of a method may run.
pub trait ConcurrencyLimiter: Send + Sync + 'static {
    /// Whether a call may run that makes `concurrency` of them, itself included. Called for each call, from several
    /// threads at a time; must not block.
    fn admits(&self, concurrency: usize) -> bool;

    /// An admitted call has ended, with this error if it failed. Called for each call, from several threads at a time;
    /// must not block.
    fn ended(&self, error: Option<ErrorCode>, latency: Duration) {
        let _ = (error, latency);
    }

    /// The most calls that it admits at present, for people to see; `None` if it does not go by a number.
    fn max_concurrency(&self) -> Option<usize> {
        None
    }
}
