//! Whether requests queue up faster than they are run.
//!
//! Where requests wait for their turn, first come first served makes all of them wait for as long as their callers do,
//! so that under lasting overload nearly every answer comes too late. So while the queue does not run empty, what has
//! waited for long is refused at once, and what came just now is run: the idea of CoDel (RFC 8289).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A queue that was never empty for so long is one that does not go away by itself.
const INTERVAL: Duration = Duration::from_millis(100);
/// A request that has waited no longer than this found the queue empty.
const EMPTY: Duration = Duration::from_micros(500);
/// What a request may wait while there is congestion, at the least.
const WAIT_MAX: Duration = Duration::from_millis(5);

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
            self.is_congested.store(!was_idle && shortest > nanos(EMPTY), Ordering::Relaxed);
        }
    }

    /// What a request may wait now, whose caller waits for `timeout` and which takes `run`; `None`: there is no congestion.
    pub(super) fn wait_max(&self, run: Duration, timeout: Option<Duration>) -> Option<Duration> {
        if !self.is_congested.load(Ordering::Relaxed) {
            return None;
        }
        // For slow methods a fixed time would be less than what one call before it takes.
        let max = WAIT_MAX.max(2 * run);
        Some(timeout.map_or(max, |timeout| max.min(timeout / 4)))
    }

    /// For people.
    pub(super) fn is_congested(&self) -> bool {
        self.is_congested.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Notes waits, one each millisecond, and says what a request of this timeout may wait then.
    fn after(
        waits: impl IntoIterator<Item = Duration>,
        run: Duration,
        timeout: Duration,
    ) -> Option<Duration> {
        let base = Instant::now();
        let congestion = Congestion::new(base);
        for (n, waited) in (1..).zip(waits) {
            congestion.note(waited, base + n * MS);
        }
        congestion.wait_max(run, Some(timeout))
    }

    #[test]
    fn a_queue_that_does_not_run_empty_is_congestion() {
        let waits = |count| std::iter::repeat_n(20 * MS, count);
        assert_eq!(after(waits(99), MS, 1000 * MS), None, "a burst");
        assert_eq!(after(waits(100), MS, 1000 * MS), Some(WAIT_MAX));
        assert_eq!(after(waits(100), MS, 8 * MS), Some(2 * MS), "a part of what its caller has");
        assert_eq!(after(waits(100), 10 * MS, 1000 * MS), Some(20 * MS), "a slow method");
        let emptied = waits(50).chain([EMPTY]).chain(waits(49));
        assert_eq!(after(emptied, MS, 1000 * MS), None);
    }

    #[test]
    fn it_ends_when_the_queue_has_run_empty_or_nothing_came() {
        let relieved = std::iter::repeat_n(20 * MS, 150).chain([EMPTY; 50]);
        assert_eq!(after(relieved, MS, 1000 * MS), None);
        let base = Instant::now();
        let congestion = Congestion::new(base);
        (1..=150).for_each(|n| congestion.note(20 * MS, base + n * MS));
        congestion.note(20 * MS, base + 1000 * MS);
        assert_eq!(congestion.wait_max(MS, None), None, "the first after a pause");
    }
}
