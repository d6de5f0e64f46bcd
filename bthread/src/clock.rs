//! A clock that costs one load and is a few milliseconds behind: for ages on debug pages, nothing depends on it.
//!
//! The monitor advances it while any worker is awake; a worker that wakes up advances it too.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

static COARSE: AtomicU64 = AtomicU64::new(0);

fn base() -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    *BASE.get_or_init(Instant::now)
}

/// Nanoseconds since some moment of this process; up to a few milliseconds behind.
pub(crate) fn coarse() -> u64 {
    COARSE.load(Ordering::Relaxed) // a hint; pairs with nothing
}

/// Brings the coarse clock up to `now`.
pub(crate) fn advance(now: Instant) {
    let nanos = u64::try_from(now.saturating_duration_since(base()).as_nanos()).unwrap_or(u64::MAX);
    COARSE.store(nanos, Ordering::Relaxed); // as above; of two that meet the older one may stay
}
