//! Virtual time. The conductor moves it between the steps of workers; each node sees it through a clock of its own, that
//! may be fast or slow.
//!
//! Within a step it stands still, so that looking at it costs a load. One who looks very often in one step waits for it
//! to move: then each look moves it a little, so that such a loop ends.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Looks at the clock within one step for which it stands still.
const LOOKS_FREE: u64 = 2_000;
/// How much each look moves it after those: nanoseconds.
const LOOK_COSTS: u64 = 1_000;
/// The most that a node's clock can go too fast or too slow: parts per million.
pub const DRIFT_MAX: i32 = 500_000;

// One thread writes these. Others may look from outside; what they see pairs with nothing, so all is Relaxed.
/// Nanoseconds since the run began.
static WORLD: AtomicU64 = AtomicU64::new(0);
/// The same by the clock of the node that runs.
static READING: AtomicU64 = AtomicU64::new(0);
/// How much the wall clock of that node is ahead: nanoseconds.
static WALL_AHEAD: AtomicI64 = AtomicI64::new(0);
/// Looks within this step.
static LOOKS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this thread lives in virtual time.
    static VIRTUAL: Cell<bool> = const { Cell::new(false) };
}

/// From here on, this thread lives in virtual time.
pub(crate) fn become_virtual() {
    VIRTUAL.set(true);
}

/// Whether the calling thread lives in virtual time.
pub(crate) fn is_virtual() -> bool {
    VIRTUAL.get()
}

/// The virtual time since the run began.
pub(crate) fn world() -> Duration {
    Duration::from_nanos(world_nanos())
}

pub(crate) fn world_nanos() -> u64 {
    WORLD.load(Ordering::Relaxed) + looked()
}

/// What the looks of this step have moved the clock by.
fn looked() -> u64 {
    LOOKS.load(Ordering::Relaxed).saturating_sub(LOOKS_FREE) * LOOK_COSTS
}

/// What the running node's clock shows: nanoseconds since the run began, and by how much its wall clock is ahead of that.
/// Counts as a look.
pub(crate) fn look() -> (u64, i64) {
    if is_virtual() {
        LOOKS.store(LOOKS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
    (READING.load(Ordering::Relaxed) + looked(), WALL_AHEAD.load(Ordering::Relaxed))
}

/// Begins a step of a node whose clock shows `reading`.
pub(crate) fn enter(reading: u64, wall_ahead: i64) {
    READING.store(reading, Ordering::Relaxed);
    WALL_AHEAD.store(wall_ahead, Ordering::Relaxed);
    LOOKS.store(0, Ordering::Relaxed);
}

/// Ends a step: what looks have cost has passed for all. Returns what the node's clock has shown last.
pub(crate) fn leave() -> u64 {
    let (now, shown) = (world_nanos(), READING.load(Ordering::Relaxed) + looked());
    LOOKS.store(0, Ordering::Relaxed);
    advance(now);
    shown
}

/// Moves the time to `nanos` since the run began; never back.
pub(crate) fn advance(nanos: u64) {
    debug_assert!(nanos >= WORLD.load(Ordering::Relaxed));
    WORLD.store(nanos, Ordering::Relaxed);
    READING.store(nanos, Ordering::Relaxed);
}

/// How the clock of a node goes, against the world's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeClock {
    /// A moment of the world, and what this clock showed then.
    since: u64,
    shown: u64,
    parts_per_million: i32,
    /// It never shows less.
    floor: u64,
    pub(crate) wall_ahead: i64,
}

impl NodeClock {
    /// One that goes with the world's.
    pub(crate) fn new() -> Self {
        NodeClock { since: 0, shown: 0, parts_per_million: 0, floor: 0, wall_ahead: 0 }
    }

    /// From the moment `now` of the world on, it goes too fast by so much: [`DRIFT_MAX`] at most.
    pub(crate) fn set_drift(&mut self, now: u64, parts_per_million: i32) {
        *self = NodeClock { since: now, shown: self.reading(now), parts_per_million, ..*self };
    }

    /// It has shown this, at the end of a step: looks that move it let it go with the world's for that time.
    pub(crate) fn has_shown(&mut self, reading: u64) {
        self.floor = self.floor.max(reading);
    }

    /// What it shows at the moment `now` of the world, not earlier than the last change of the drift.
    pub(crate) fn reading(&self, now: u64) -> u64 {
        self.gone(now).max(self.floor)
    }

    fn gone(&self, now: u64) -> u64 {
        let passed = i128::from(now.saturating_sub(self.since));
        let gained = passed * i128::from(self.parts_per_million) / 1_000_000;
        u64::try_from(i128::from(self.shown) + passed + gained).unwrap_or(u64::MAX)
    }

    /// The first moment of the world at which it shows `reading` or more.
    pub(crate) fn world_at(&self, reading: u64) -> u64 {
        if self.parts_per_million == 0 {
            return self.since.saturating_add(reading.saturating_sub(self.shown));
        }
        let missing = u128::from(reading.saturating_sub(self.shown));
        let rate = (1_000_000 + i64::from(self.parts_per_million)) as u128;
        let passed = (missing * 1_000_000).div_ceil(rate);
        let mut moment = self.since.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX));
        // The gain is rounded towards zero in `gone`, which may put it a nanosecond to either side.
        while moment > self.since && self.gone(moment - 1) >= reading {
            moment -= 1;
        }
        while self.gone(moment) < reading && moment < u64::MAX {
            moment += 1;
        }
        moment
    }
}

/// What bthread asks for the time.
pub(crate) struct VirtualClock {
    base: Instant,
}

impl VirtualClock {
    pub(crate) fn new() -> Self {
        VirtualClock { base: Instant::now() - Duration::from_nanos(look().0) }
    }
}

impl bthread::clock::Clock for VirtualClock {
    fn now(&self) -> Instant {
        self.base + Duration::from_nanos(look().0)
    }

    fn patience(&self, until: Instant) -> Duration {
        until.saturating_duration_since(self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_drifts_shows_it_and_never_goes_back() {
        let mut clock = NodeClock::new();
        assert_eq!((clock.reading(5), clock.world_at(5)), (5, 5));
        clock.set_drift(1_000_000, 1_000);
        assert_eq!((clock.reading(1_000_000), clock.reading(2_000_000)), (1_000_000, 2_001_000));
        clock.set_drift(2_000_000, -500_000);
        assert_eq!((clock.reading(2_000_000), clock.reading(4_000_000)), (2_001_000, 3_001_000));
        clock.set_drift(4_000_000, 0);
        assert_eq!(clock.reading(4_000_001), 3_001_001);
        clock.has_shown(3_001_005);
        assert_eq!((clock.reading(4_000_001), clock.reading(4_000_007)), (3_001_005, 3_001_007));
    }

    #[test]
    fn the_moment_of_a_reading_is_the_first_that_shows_it() {
        for drift in [-500_000, -333_333, -1, 0, 1, 7, 333_333, 500_000] {
            let mut clock = NodeClock::new();
            clock.set_drift(1_000, drift);
            for reading in (1_001..3_000).chain([3_600_000_000_000, 3_600_000_000_001]) {
                let moment = clock.world_at(reading);
                assert!(clock.reading(moment) >= reading, "{drift} {reading}");
                assert!(moment == 1_000 || clock.reading(moment - 1) < reading, "{drift} {reading}");
            }
        }
        assert_eq!(NodeClock::new().world_at(u64::MAX), u64::MAX);
    }
}
