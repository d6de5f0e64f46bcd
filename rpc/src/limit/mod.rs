//! Limits on the concurrency of one method: the trait, and one file per limiter (`spec/rpc-core.md` §16).
//!
//! A limiter decides; counting and answering are the admission's. None of its methods may wait.

mod auto;
mod constant;
mod flags;
mod sampling;
mod shadow;
mod specification;
mod timeout;

use std::fmt;
use std::time::{Duration, Instant};

use crate::error::ErrorCode;

pub use auto::Auto;
pub use constant::Constant;
pub(crate) use flags::register as register_flags;
pub use shadow::Shadow;
pub use specification::from_specification;
pub use timeout::{Timeout, TimeoutOptions};

/// Says whether one more call of a method may run.
pub trait ConcurrencyLimiter: Send + Sync + 'static {
    /// Whether this call may run. Called for each call, from several threads at a time; must not block.
    ///
    /// # Errors
    /// The number that it would exceed. The caller is told.
    fn admit(&self, call: &Entering) -> Result<(), Exceeded>;

    /// An admitted call has ended. Called for each call, from several threads at a time; must not block.
    fn ended(&self, call: &Ended) {
        let _ = call;
    }

    /// The most calls that it admits at present, for people to see; `None` if it does not go by a number.
    fn max_concurrency(&self) -> Option<usize> {
        None
    }

    /// Puts another number in the place of the one that it goes by: false if it does not go by one that was given.
    fn set_max_concurrency(&self, max: usize) -> bool {
        let _ = max;
        false
    }

    /// How many calls it would have refused if it were not only watching; `None` if it refuses.
    fn would_have_refused(&self) -> Option<u64> {
        None
    }
}

/// A call that wants to run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Entering {
    /// How many calls of the method there are with it that are not answered.
    pub concurrency: usize,
    /// How long its caller waits, where it says so.
    pub timeout: Option<Duration>,
}

impl Entering {
    /// A call that makes `concurrency` of them.
    pub fn new(concurrency: usize, timeout: Option<Duration>) -> Self {
        Entering { concurrency, timeout }
    }
}

/// A call that has run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Ended {
    /// What it failed with, if it did.
    pub error: Option<ErrorCode>,
    /// From the read that brought the request.
    pub latency: Duration,
    /// When.
    pub at: Instant,
}

impl Ended {
    /// A call that ended at `at`, `latency` after it was received.
    pub fn new(error: Option<ErrorCode>, latency: Duration, at: Instant) -> Self {
        Ended { error, latency, at }
    }
}

/// Why a limiter refuses a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exceeded {
    /// So many calls may run at a time.
    Concurrency {
        /// The number.
        max: usize,
    },
    /// Calls take longer, on average, than this one's caller waits.
    Latency {
        /// What they take.
        average: Duration,
        /// What this one has.
        timeout: Duration,
    },
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exceeded::Concurrency { max } => write!(f, "max_concurrency={max}"),
            Exceeded::Latency { average, timeout } => {
                write!(f, "average_latency={}us, timeout={}us", average.as_micros(), timeout.as_micros())
            }
        }
    }
}
