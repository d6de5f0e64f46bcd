//! What time it is, for everything that decides by it: deadlines, timers, timeouts, limits. The system's monotonic clock,
//! unless the process has [`replace`]d it before, as a simulation does.
//!
//! What only measures for people still asks the system: profilers, the monitor that looks for held workers, and the age
//! of deferred work. Beside it stands a coarse clock that costs one load and is a few milliseconds behind, for ages on
//! debug pages: the monitor advances it while any worker is awake; a worker that wakes up advances it too.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock that stands for the system's.
///
/// Workers and threads look at it again when they have slept for as long as [`patience`](Self::patience) says, so a clock
/// that somebody moves forward says how soon that is noticed; one that moves by itself when all others sleep does so in
/// there, and says zero.
pub trait Clock: Send + Sync + 'static {
    /// What time it is; never earlier than it was. Begin with [`Instant::now`], as there is no other way to make one.
    ///
    /// *Blocking*: must not. Called very often, by all threads, and under locks: it calls nothing of this crate.
    fn now(&self) -> Instant;

    /// For how long of the system's time a thread that has nothing to do until `until` sleeps before it looks again;
    /// zero once that time has come.
    ///
    /// *Blocking*: must not; it calls nothing of this crate.
    fn patience(&self, until: Instant) -> Duration;
}

static REPLACED: OnceLock<Box<dyn Clock>> = OnceLock::new();

/// What time it is for what decides by it. Never blocks.
pub fn now() -> Instant {
    REPLACED.get().map_or_else(Instant::now, |clock| clock.now())
}

/// What [`origin`] is earlier by than the first look at the clock: more than the clocks of a simulation's nodes differ by.
const ORIGIN_BEFORE: Duration = Duration::from_secs(24 * 60 * 60);

/// A moment that is before whatever happens in this process, always the same: what keeps moments as numbers counts from
/// here. Where clocks differ, those that are behind the one that was looked at first still count on. Never blocks.
#[inline]
pub fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(|| {
        let first = now();
        first.checked_sub(ORIGIN_BEFORE).unwrap_or(first) // where moments begin with the machine's start
    })
}

/// When wall clocks begin that go by a replaced clock: in September 2020.
const WALL_BEGIN: Duration = Duration::from_secs(1_600_000_000);

/// The date and time, for people and for the wire; nothing may decide by it. The system's, or, where the clock is
/// [`replace`]d, one that began at a fixed date and goes by that clock, so that a run that is repeated says the same. Never
/// blocks.
pub fn wall() -> SystemTime {
    match REPLACED.get() {
        None => SystemTime::now(),
        Some(clock) => UNIX_EPOCH + WALL_BEGIN + clock.now().saturating_duration_since(origin()),
    }
}

/// How long to sleep for a moment.
pub(crate) fn patience(until: Instant) -> Duration {
    match REPLACED.get() {
        None => until.saturating_duration_since(Instant::now()),
        Some(clock) => clock.patience(until),
    }
}

/// Has everything in this process go by another clock, for good. Call it first in the program: what has begun before
/// keeps its deadlines, which may be meant for the other clock. Never blocks.
///
/// # Errors
/// There is a replacement already.
pub fn replace(clock: impl Clock) -> Result<(), AlreadyReplaced> {
    REPLACED.set(Box::new(clock)).map_err(|_| AlreadyReplaced)
}

/// The clock was replaced before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AlreadyReplaced;

impl fmt::Display for AlreadyReplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The clock was replaced before")
    }
}

impl std::error::Error for AlreadyReplaced {}

static COARSE: AtomicU64 = AtomicU64::new(0);

fn base() -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    *BASE.get_or_init(Instant::now)
}

/// Nanoseconds since some moment of this process; up to a few milliseconds behind.
pub(crate) fn coarse() -> u64 {
    COARSE.load(Ordering::Relaxed) // a hint; pairs with nothing
}

/// In a simulation it counts how often workers are to look for events.
pub(crate) fn set_coarse(count: u64) {
    COARSE.store(count, Ordering::Relaxed); // as above
}

/// Brings the coarse clock up to `now`.
pub(crate) fn advance(now: Instant) {
    let nanos = u64::try_from(now.saturating_duration_since(base()).as_nanos()).unwrap_or(u64::MAX);
    COARSE.store(nanos, Ordering::Relaxed); // as above; of two that meet the older one may stay
}
