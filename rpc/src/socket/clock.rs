//! Moments as numbers, small enough to be kept in atomics, and the time as it was when a thread last looked.

use std::cell::Cell;
use std::time::Instant;

/// Milliseconds since [`bthread::clock::origin`]; at least 1.
pub(super) fn millis(moment: Instant) -> u64 {
    moment.saturating_duration_since(bthread::clock::origin()).as_millis() as u64 + 1
}

thread_local! {
    static NOTED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The time, which the thread remembers for those who need it less precisely.
#[inline]
pub(crate) fn note_now() -> Instant {
    let now = bthread::clock::now();
    NOTED.set(Some(now));
    now
}

/// What [`note_now`] has said on this thread last: a look that costs nothing. Not in a simulation, whose nodes have one
/// thread and clocks that differ.
#[inline]
pub(super) fn noted() -> Option<Instant> {
    if bthread::simulation::is_simulated() { None } else { NOTED.get() }
}
