//! Whether requests queue up faster than they are run.
//!
//! Where requests wait for their turn, first come first served makes all of them wait for as long as their callers do,
//! so that under lasting overload nearly every answer comes too late. So while the queue does not run empty, what has
//! waited for long is refused at once, and what came just now is run: the idea of CoDel (RFC 8289).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A queue that was never short for so long is one that does not go away by itself.
const INTERVAL: Duration = Duration::from_millis(100);
/// There is congestion when all requests of an interval have waited for longer,
const TARGET: Duration = Duration::from_millis(5);
/// until one has waited no longer than this: it found the queue empty.
const EMPTY: Duration = Duration::from_micros(500);
/// What a request may wait while there is congestion, as a part of the time that its caller waits,
const WAIT_PART: u32 = 4;
/// or, where the caller does not say so, at the least.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// What is known of the queue of a server.
#[derive(Debug)]
pub(crate) struct Congestion {
    base: Instant,
    /// Nanoseconds from `base` to the beginning of the interval.
    began: AtomicU64,
    /// The shortest wait in the interval, in nanoseconds.
    shortest: AtomicU64,
    /// The one before was congested.
    is_congested: AtomicBool,
}

impl Congestion {
    pub(super) fn new(base: Instant) -> Self {
        Congestion {
            base,
            began: AtomicU64::new(0),
            shortest: AtomicU64::new(u64::MAX),
            is_congested: AtomicBool::new(false),
        }
    }

    /// A request begins to run, or would, after it has waited for so long.
    pub(super) fn note(&self, waited: Duration, now: Instant) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (waited, now) = (nanos(waited), nanos(now.saturating_duration_since(self.base)));
        // Relaxed throughout: estimates; of several that meet, any order will do.
        if waited < self.shortest.load(Ordering::Relaxed) {
            self.shortest.fetch_min(waited, Ordering::Relaxed);
        }
        let began = self.began.load(Ordering::Relaxed);
        if now.saturating_sub(began) >= nanos(INTERVAL)
            && self.began.compare_exchange(began, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            let shortest = self.shortest.swap(u64::MAX, Ordering::Relaxed);
            // Nothing had come for an interval before this request: there is no queue.
            let was_idle = now.saturating_sub(began) >= 2 * nanos(INTERVAL);
            let short = if self.is_congested() { EMPTY } else { TARGET };
            self.is_congested.store(!was_idle && shortest > nanos(short), Ordering::Relaxed);
        }
    }

    /// What a request may wait now, whose caller waits for `timeout` and which takes `run`; `None`: there is no congestion.
    pub(super) fn wait_max(&self, run: Duration, timeout: Option<Duration>) -> Option<Duration> {
        if !self.is_congested() {
            return None;
        }
        // For slow methods a fixed time would be less than what one call before it takes.
        Some(timeout.map_or(WAIT_MAX.max(2 * run), |timeout| timeout / WAIT_PART))
    }

    /// Whether there is congestion.
    pub(super) fn is_congested(&self) -> bool {
        self.is_congested.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Notes waits, one each millisecond, and says what a request of this timeout may wait then.
    fn after(waits: impl IntoIterator<Item = Duration>, timeout: Option<Duration>) -> Option<Duration> {
        let base = Instant::now();
        let congestion = Congestion::new(base);
        for (n, waited) in (1..).zip(waits) {
            congestion.note(waited, base + n * MS);
        }
        congestion.wait_max(60 * MS, timeout)
    }

    #[test]
    fn a_queue_that_does_not_run_empty_is_congestion() {
        let waits = |count| std::iter::repeat_n(20 * MS, count);
        assert_eq!(after(waits(99), None), None, "a burst");
        assert_eq!(
            after(waits(100), None),
            Some(120 * MS),
            "a slow method, and nobody says how long he waits"
        );
        assert_eq!(after(waits(100), Some(1000 * MS)), Some(250 * MS), "a part of what its caller has");
        assert_eq!(after(waits(50).chain([TARGET]).chain(waits(49)), None), None);
    }

    #[test]
    fn it_ends_when_the_queue_has_run_empty_or_nothing_came() {
        let congested = || std::iter::repeat_n(20 * MS, 150);
        assert!(after(congested().chain([TARGET; 50]), None).is_some(), "shorter, but not gone");
        assert_eq!(after(congested().chain([EMPTY; 50]), None), None);
        let base = Instant::now();
        let congestion = Congestion::new(base);
        (1..=150).for_each(|n| congestion.note(20 * MS, base + n * MS));
        congestion.note(20 * MS, base + 1000 * MS);
        assert_eq!(congestion.wait_max(MS, None), None, "the first after a pause");
    }
}
