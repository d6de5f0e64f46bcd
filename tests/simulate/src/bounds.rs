//! How long things may take, in virtual time. What takes longer is a violation.
//!
//! Code takes no time of its own. Time passes while all wait, with each step of a slow node, when a worker is held back
//! ([`sim::HOLD_MAX`] at most before a step), with up to 20 µs for each step in some seeds, and, so that loops without a
//! wait come to an end, when very many steps are made at one moment.

use std::time::Duration;

/// How much later than its deadline a call, or a handler that looks, may end on a node that is neither slow nor paused.
/// What ends it takes some turns of several workers, and each may be held back before each turn.
pub const SLACK: Duration = Duration::from_millis(50);

/// How much of a deadline may be lost on the way: deadlines travel in whole milliseconds.
pub const ROUNDING: Duration = Duration::from_millis(1);

/// How long after the last fault has ended calls succeed again: a look for a server that was away every three seconds
/// (flag `health_check_interval`), a connection that took too long to make, and what the system waits for before it sends
/// lost bytes again.
pub const RECOVERY: Duration = Duration::from_secs(20);

/// How long a caller waits between two tries in that time.
pub const PROBE_PAUSE: Duration = Duration::from_millis(100);

/// How long everything that was used may take to be given back at the end: unused connections of pools are kept for
/// half a minute, and a stopping server waits ten seconds for a peer that does not read.
pub const SETTLING: Duration = Duration::from_secs(90);

/// How long a server that stops waits for a peer to read its last replies and to end its side.
pub const LINGER: Duration = Duration::from_secs(2);

/// How long after its caller has gone, and the network has said so, a server knows.
pub const CANCEL_HEARD: Duration = SLACK;

/// How much clocks differ, at most, in millionths.
pub const DRIFT_MAX: i32 = 300;

/// What a clock may be ahead of another one behind so much time.
pub fn drifted(time: Duration) -> Duration {
    // Both may drift, one forward and the other backward.
    time * (2 * DRIFT_MAX.unsigned_abs()) / 1_000_000
}
