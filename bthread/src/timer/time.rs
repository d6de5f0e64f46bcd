//! Points in time as one number, which fits an atomic and compares in one instruction.

use std::time::{Duration, Instant};

use crate::clock::origin;

/// Nanoseconds since [`origin`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Time(u64);

impl Time {
    /// What was before all others.
    pub(crate) const MIN: Time = Time(0);
    /// After every point in time that a timer can have.
    pub(crate) const NEVER: Time = Time(u64::MAX);

    pub(crate) fn now() -> Time {
        Time::of(crate::clock::now())
    }

    /// Exact, but for what is before the process ([`MIN`](Self::MIN)) and 584 years after it (the last before `NEVER`).
    pub(crate) fn of(instant: Instant) -> Time {
        let since = instant.saturating_duration_since(origin());
        let nanos = since.as_secs().checked_mul(1_000_000_000);
        let nanos = nanos.and_then(|nanos| nanos.checked_add(since.subsec_nanos().into()));
        Time(nanos.map_or(u64::MAX - 1, |nanos| nanos.min(u64::MAX - 1)))
    }

    pub(crate) fn from_nanos(nanos: u64) -> Time {
        Time(nanos)
    }

    pub(crate) fn as_nanos(self) -> u64 {
        self.0
    }

    /// The next point in time; never `NEVER`.
    pub(crate) fn next(self) -> Time {
        Time((self.0 + 1).min(u64::MAX - 1))
    }

    /// How long to sleep for it; zero if it has passed, none for `NEVER`.
    pub(crate) fn left(self) -> Option<Duration> {
        (self != Time::NEVER).then(|| crate::clock::patience(origin() + Duration::from_nanos(self.0)))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_exact_to_the_nanosecond() {
        let _ = Time::now(); // the base is not later than what follows
        let now = Instant::now();
        let then = Time::of(now);
        for nanos in [1, 999_999_999, 1_000_000_000, 3_600_000_000_001] {
            assert_eq!(Time::of(now + Duration::from_nanos(nanos)).as_nanos(), then.as_nanos() + nanos);
        }
        assert!(Time::now() >= then);
    }

    #[test]
    fn what_no_clock_reaches_is_still_a_time() {
        let far = Time::of(Instant::now() + Duration::from_secs(1 << 36));
        assert!(far < Time::NEVER && far.next() < Time::NEVER && far.left().is_some());
        assert_eq!(Time::NEVER.left(), None);
        if let Some(past) = Instant::now().checked_sub(Duration::from_secs(1 << 20)) {
            assert_eq!((Time::of(past), Time::of(past).left()), (Time::MIN, Some(Duration::ZERO)));
        }
    }
}
