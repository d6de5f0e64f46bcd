//! Moments as numbers, small enough to be kept in atomics.

use std::sync::LazyLock;
use std::time::Instant;

static START: LazyLock<Instant> = LazyLock::new(bthread::clock::now);

/// Milliseconds since the first moment that was asked for; at least 1.
pub(super) fn millis(moment: Instant) -> u64 {
    moment.saturating_duration_since(*START).as_millis() as u64 + 1
}
