//! Times of scopes.
//!
//! The one place of this crate that reads a clock for the user. Must never record before the scope's end.

use crate::latency::LatencyRecorder;
use crate::recorder::IntRecorder;
use crate::reducer::{Adder, Maxer, Miner};
use std::time::{Duration, Instant};

/// What can be told how long something took: an [`Adder`], [`Maxer`] or [`Miner`] of integers and an [`IntRecorder`] in
/// microseconds, a [`LatencyRecorder`] in its unit.
pub trait TimeSink {
    /// Records that something took `elapsed`.
    ///
    /// *Blocking:* no, but see the crate's documentation on first writes.
    fn record_elapsed(&self, elapsed: Duration);
}

macro_rules! sinks {
    ($($sink:ty: $record:ident($number:ty)),+ $(,)?) => {$(
        impl TimeSink for $sink {
            fn record_elapsed(&self, elapsed: Duration) {
                self.$record(<$number>::try_from(elapsed.as_micros()).unwrap_or(<$number>::MAX));
            }
        }
    )+};
}

sinks! {
    Adder<i64>: add(i64), Adder<u64>: add(u64), Maxer<i64>: record(i64), Maxer<u64>: record(u64),
    Miner<i64>: record(i64), Miner<u64>: record(u64), IntRecorder: record(i64),
}

impl TimeSink for LatencyRecorder {
    fn record_elapsed(&self, elapsed: Duration) {
        self.record_duration(elapsed);
    }
}

/// Tells a variable, at the end of its scope, how long that took.
///
/// ```
/// let busy = bvar::Adder::<u64>::new();
/// {
///     let _timer = bvar::ScopedTimer::new(&busy);
///     // what is to be measured
/// }
/// let _micros = busy.get();
/// ```
#[derive(Debug)]
#[must_use = "it measures until it is dropped"]
pub struct ScopedTimer<'a, S: TimeSink + ?Sized> {
    sink: &'a S,
    begun: Instant,
}

impl<'a, S: TimeSink + ?Sized> ScopedTimer<'a, S> {
    /// Begins now.
    ///
    /// *Blocking:* no.
    pub fn new(sink: &'a S) -> Self {
        ScopedTimer { sink, begun: Instant::now() }
    }

    /// Begins anew: what was until now is not recorded.
    ///
    /// *Blocking:* no.
    pub fn restart(&mut self) {
        self.begun = Instant::now();
    }
}

impl<S: TimeSink + ?Sized> Drop for ScopedTimer<'_, S> {
    fn drop(&mut self) {
        self.sink.record_elapsed(self.begun.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_scope_is_recorded_once_when_it_ends() {
        struct Seen(Cell<u32>);
        impl TimeSink for Seen {
            fn record_elapsed(&self, _elapsed: Duration) {
                self.0.set(self.0.get() + 1);
            }
        }
        let seen = Seen(Cell::new(0));
        {
            let mut timer = ScopedTimer::new(&seen);
            timer.restart();
            assert_eq!(seen.0.get(), 0);
        }
        assert_eq!(seen.0.get(), 1);
    }

    #[test]
    fn sinks_take_microseconds() {
        let (sum, max, min, average) =
            (Adder::<i64>::new(), Maxer::<u64>::new(), Miner::<i64>::new(), IntRecorder::new());
        for micros in [7, 5] {
            let elapsed = Duration::from_nanos(micros * 1000 + 999);
            let sinks: [&dyn TimeSink; 4] = [&sum, &max, &min, &average];
            sinks.iter().for_each(|sink| sink.record_elapsed(elapsed));
        }
        assert_eq!((sum.get(), max.get(), min.get(), average.get().average()), (12, 7, 5, 6.0));
        sum.record_elapsed(Duration::MAX);
        assert_eq!(sum.get(), i64::MIN + 11);
    }
}
