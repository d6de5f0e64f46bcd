//! Channels and calls: connect on demand, write the request, wait for the reply, try again where that is safe.
//!
//! [`ChannelBuilder`] decides, [`Channel`] calls. A synchronous call (`waiting`) parks until its end; one that is held
//! ([`Call`], or a callback), or that may be cancelled or sent a second time (`held`), has a timer. Both wait in the
//! table of their connection (`call_table`), where whoever takes a call out ends it: the reply, the deadline, or the
//! connection's failure.
//!
//! A channel's `way` leads to an `entry` of the process-wide `map`, which all channels to
//! which it is the same share: it has the connections, and its `life` says who may use or make one.

mod backup;
mod builder;
mod call;
mod call_table;
mod cancel;
mod channel;
mod connection;
mod ended;
mod entry;
mod flags;
mod generic;
mod greeting;
mod held;
mod life;
#[cfg(test)]
mod life_model;
mod map;
mod options;
mod outcome;
mod pool;
mod report;
mod request;
mod retry;
mod retry_budget;
mod waiting;
mod way;

pub use backup::{BackupRequestPolicy, RateLimitedBackup, RateLimitedBackupOptions, WINDOW_MAX};
pub use builder::{CONNECT_TIMEOUT_DEFAULT, ChannelBuilder, MAX_RETRY_DEFAULT, TIMEOUT_DEFAULT};
pub use call::{Call, ReplyFuture};
pub use cancel::{CallHandle, CancelToken};
pub use channel::Channel;
pub use flags::DELIVER_TIMEOUT_DEFAULT;
pub(crate) use flags::register_flags;
pub use options::{CallOptions, Reply};
pub use report::CallReport;
pub use retry::{Attempt, Backoff, NeverSent, RetryPolicy};
pub(crate) use retry_budget::RETRIES_DENIED;
pub use retry_budget::{RETRY_RATIO_DEFAULT, RETRY_RESERVE_DEFAULT, RetryBudget};

pub(crate) use map::checked;
