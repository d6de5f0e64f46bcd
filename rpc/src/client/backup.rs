//! Backup requests: whether a call that is slow to be answered is sent a second time (`spec/rpc-core.md` §10).

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::report::CallReport;
use crate::error::{EINVAL, RpcError};
use crate::service::MethodDescriptor;
use crate::socket::lock;

/// Decides about backup requests, for a [channel](super::ChannelBuilder::backup_request_policy) or a
/// [call](super::CallOptions::backup_request_policy) (brpc: `BackupRequestPolicy`). No method may block.
pub trait BackupRequestPolicy: Send + Sync + 'static {
    /// How long a call waits for its reply before it is sent again. `None`: as long as call and channel say, which is
    /// the default (brpc: `GetBackupRequestMs`).
    fn backup_request_after(&self, method: &'static MethodDescriptor) -> Option<Duration> {
        let _ = method;
        None
    }

    /// Whether a call that has waited so long is sent again. Asked once for a call, when that time has come (brpc:
    /// `DoBackup`).
    fn do_backup(&self, method: &'static MethodDescriptor) -> bool;

    /// A call has ended, `error`: with that. Told once for each call that the policy was there for, sent again or not
    /// (brpc: `OnRPCEnd`).
    fn on_rpc_end(&self, method: &'static MethodDescriptor, report: &CallReport, error: Option<&RpcError>) {
        let _ = (method, report, error);
    }
}

impl<P: BackupRequestPolicy + ?Sized> BackupRequestPolicy for Arc<P> {
    fn backup_request_after(&self, method: &'static MethodDescriptor) -> Option<Duration> {
        (**self).backup_request_after(method)
    }

    fn do_backup(&self, method: &'static MethodDescriptor) -> bool {
        (**self).do_backup(method)
    }

    fn on_rpc_end(&self, method: &'static MethodDescriptor, report: &CallReport, error: Option<&RpcError>) {
        (**self).on_rpc_end(method, report, error);
    }
}

/// Backup requests as a part of all calls, at most: when everything is slow, sending it twice makes it slower.
///
/// The part is that of the last [`window_size`](RateLimitedBackupOptions::window_size), and counted anew every
/// [`update_interval`](RateLimitedBackupOptions::update_interval). Before it is first counted all backup requests are
/// allowed; while none of the calls ends, none is.
pub struct RateLimitedBackup {
    options: RateLimitedBackupOptions,
    /// Since the last count.
    now: Counts,
    past: Mutex<Past>,
    /// The part at the last count, the bits of an `f64`.
    ratio: AtomicU64,
}

/// What a [`RateLimitedBackup`] allows. The defaults are brpc's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimitedBackupOptions {
    /// How long a call waits for its reply before it is sent again. Default: `None`, as call and channel say.
    pub backup_request_after: Option<Duration>,
    /// The part of backup requests that is allowed: more than 0, at most 1. Default: 0.1.
    pub max_backup_ratio: f64,
    /// How far back calls count: from 1 to [`WINDOW_MAX`]. Default: 10 s.
    pub window_size: Duration,
    /// How often they are counted: 1 s at least. Default: 5 s.
    pub update_interval: Duration,
}

/// How far back calls count, at most.
pub const WINDOW_MAX: Duration = Duration::from_secs(3600);

const SECOND: Duration = Duration::from_secs(1);

impl Default for RateLimitedBackupOptions {
    fn default() -> Self {
        RateLimitedBackupOptions {
            backup_request_after: None,
            max_backup_ratio: 0.1,
            window_size: Duration::from_secs(10),
            update_interval: Duration::from_secs(5),
        }
    }
}

#[derive(Default)]
struct Counts {
    ended: AtomicU64,
    backups: AtomicU64,
}

struct Past {
    counted: Instant,
    /// When each was counted, and calls ended and backup requests since the one before it; the latest last.
    counts: VecDeque<(Instant, u64, u64)>,
}

impl RateLimitedBackup {
    /// A policy with these options.
    ///
    /// # Errors
    /// [`EINVAL`] for options outside of their ranges.
    pub fn new(options: RateLimitedBackupOptions) -> Result<Self, RpcError> {
        let is_ratio = options.max_backup_ratio > 0.0 && options.max_backup_ratio <= 1.0;
        let is_window = (SECOND..=WINDOW_MAX).contains(&options.window_size);
        if !is_ratio || !is_window || options.update_interval < SECOND {
            return Err(RpcError::new(EINVAL, format!("Invalid {options:?}")));
        }
        let past = Past { counted: bthread::clock::now(), counts: VecDeque::new() };
        Ok(RateLimitedBackup {
            options,
            now: Counts::default(),
            past: Mutex::new(past),
            ratio: AtomicU64::new(0_f64.to_bits()),
        })
    }

    fn allows(&self, now: Instant) -> bool {
        self.count(now);
        // Relaxed, here and below: numbers that publish nothing.
        let allowed = f64::from_bits(self.ratio.load(Ordering::Relaxed)) < self.options.max_backup_ratio;
        if allowed {
            self.now.backups.fetch_add(1, Ordering::Relaxed);
        }
        allowed
    }

    fn ended(&self) {
        self.now.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts anew if it is time.
    fn count(&self, now: Instant) {
        let mut past = lock(&self.past);
        if now.saturating_duration_since(past.counted) < self.options.update_interval {
            return;
        }
        past.counted = now;
        let since = [&self.now.ended, &self.now.backups].map(|count| count.swap(0, Ordering::Relaxed));
        past.counts.push_back((now, since[0], since[1]));
        // As many as there are intervals in a window, at most.
        while past.counts.front().is_some_and(|(when, ..)| {
            now.saturating_duration_since(*when) >= self.options.window_size && *when != now
        }) {
            past.counts.pop_front();
        }
        let (ended, backups) =
            past.counts.iter().fold((0, 0), |sum, count| (sum.0 + count.1, sum.1 + count.2));
        let ratio = match (ended, backups) {
            (0, 0) => 0.0,
            (0, _) => 1.0,
            (ended, backups) => (backups as f64 / ended as f64).min(1.0),
        };
        self.ratio.store(ratio.to_bits(), Ordering::Relaxed);
    }
}

impl BackupRequestPolicy for RateLimitedBackup {
    fn backup_request_after(&self, _: &'static MethodDescriptor) -> Option<Duration> {
        self.options.backup_request_after
    }

    fn do_backup(&self, _: &'static MethodDescriptor) -> bool {
        self.allows(bthread::clock::now())
    }

    fn on_rpc_end(&self, _: &'static MethodDescriptor, _: &CallReport, _: Option<&RpcError>) {
        self.ended();
    }
}

impl fmt::Debug for RateLimitedBackup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitedBackup")
            .field("options", &self.options)
            .field("ratio", &f64::from_bits(self.ratio.load(Ordering::Relaxed))) // a snapshot
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_outside_of_their_ranges_are_refused() {
        let good = RateLimitedBackupOptions::default();
        assert!(RateLimitedBackup::new(good).is_ok());
        let all = RateLimitedBackupOptions { max_backup_ratio: 1.0, window_size: WINDOW_MAX, ..good };
        assert!(RateLimitedBackup::new(all).is_ok());
        for max_backup_ratio in [0.0, -0.1, 1.1, f64::NAN] {
            let bad = RateLimitedBackupOptions { max_backup_ratio, ..good };
            assert_eq!(RateLimitedBackup::new(bad).unwrap_err().code(), EINVAL);
        }
        for seconds in [0, 3601] {
            let bad = RateLimitedBackupOptions { window_size: Duration::from_secs(seconds), ..good };
            assert_eq!(RateLimitedBackup::new(bad).unwrap_err().code(), EINVAL);
        }
        let bad = RateLimitedBackupOptions { update_interval: Duration::ZERO, ..good };
        assert_eq!(RateLimitedBackup::new(bad).unwrap_err().code(), EINVAL);
    }

    #[test]
    fn backups_are_a_part_of_the_calls() {
        let policy = RateLimitedBackup::new(RateLimitedBackupOptions::default()).unwrap();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!((0..1000).all(|_| policy.allows(at(0))), "as long as nothing is counted");
        assert!(!policy.allows(at(6)), "no call has ended");
        (0..10_001).for_each(|_| policy.ended());
        assert!(!policy.allows(at(8)), "not counted yet");
        assert!(policy.allows(at(12)), "1000 of 10001, and this one counts from the next on");
        (0..9).for_each(|_| policy.ended());
        assert!(!policy.allows(at(23)), "1 of 9; what was long ago does not count");
        (0..11).for_each(|_| policy.ended());
        assert!(policy.allows(at(28)), "1 of 20");
        assert!(policy.past.lock().unwrap().counts.len() <= 3);
    }
}
