//! Latencies: how many, how long on average, at most, and for each share of them, in the last seconds.
//!
//! Must never read a clock: the caller measures, and the sampler says when a second is over.

mod exposed;

pub(crate) use exposed::shown_percentiles;
pub use exposed::{ExposedLatencyRecorder, Figure, LatencyFigure};

use crate::percentile::{Distribution, Histogram};
use crate::registry::ExposeError;
use crate::sampler::Sampler;
use crate::sampling;
use crate::window::{self, Window, per_second};
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The unit in which a [`LatencyRecorder`] is told latencies and gives them back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatencyUnit {
    /// Microseconds, the convention of brpc.
    Micros,
    /// Nanoseconds, for what is faster than a microsecond.
    Nanos,
}

impl LatencyUnit {
    fn of(self, duration: Duration) -> u64 {
        let units = match self {
            LatencyUnit::Micros => duration.as_micros(),
            LatencyUnit::Nanos => duration.as_nanos(),
        };
        u64::try_from(units).unwrap_or(u64::MAX)
    }

    pub(crate) fn per_micro(self) -> u64 {
        match self {
            LatencyUnit::Micros => 1,
            LatencyUnit::Nanos => 1000,
        }
    }
}

/// What a [`LatencyRecorder`] had seen at one moment, in its unit.
pub type LatencySnapshot = Distribution;

/// Count, average, maximum, rate and percentiles of latencies: over the last seconds, and since creation.
///
/// ```
/// use bvar::{LatencyRecorder, LatencyUnit, Sampler};
/// use std::time::Duration;
///
/// let sampler = Sampler::new(Duration::ZERO);
/// let latency = LatencyRecorder::with_sampler(&sampler, LatencyUnit::Micros, 10);
/// for micros in 1..=100 {
///     latency.record(micros);
/// }
/// sampler.tick(Duration::from_secs(2)); // the process's own sampler ticks by itself, once a second
/// let recent = latency.window();
/// assert_eq!((recent.count(), recent.average(), recent.max(), recent.qps()), (100, 50.5, 100, 50.0));
/// assert_eq!(recent.percentile(0.99), 99);
/// ```
///
/// **Memory.** A recorder that nothing is recorded in has less than 400 bytes, wherever its names are not counted
/// (an exposed one has eleven). A thread that records has 384 bytes, and 512 for each power of two that its
/// latencies fall in, until it ends or the recorder is dropped. Each second of the window in which latencies came has
/// 72 bytes, and 8 for each different bucket that they fell in: a few hundred at most for usual distributions,
/// 2752 at worst. A process can have 2^20 recorders.
pub struct LatencyRecorder {
    unit: LatencyUnit,
    window: Window<Histogram>,
    /// What was last computed, by tick: the variables of a recorder are read one after another.
    computed: Mutex<Computed>,
}

/// Windows with something in them. Idle recorders, of which there may be very many, keep nothing.
#[derive(Default)]
struct Computed {
    tick: u32,
    whole: Option<Arc<LatencyWindow>>,
    last_second: Option<Arc<LatencyWindow>>,
}

impl LatencyRecorder {
    /// A recorder without latencies, with a window as long as dumps are apart: 10 s.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    ///
    /// # Panics
    /// If the process would hold more than 2^20 histograms and latency recorders.
    pub fn new(unit: LatencyUnit) -> Self {
        Self::with_window(unit, 0)
    }

    /// One with a window of so many seconds, at most [`MAX_WINDOW_SECONDS`](crate::MAX_WINDOW_SECONDS); 0 is as in
    /// [`new`](LatencyRecorder::new).
    ///
    /// *Blocking:* as [`new`](LatencyRecorder::new).
    ///
    /// # Panics
    /// As [`new`](LatencyRecorder::new).
    pub fn with_window(unit: LatencyUnit, seconds: u32) -> Self {
        Self::with_sampler(Sampler::global(), unit, seconds)
    }

    /// One whose seconds end when `sampler` ticks.
    ///
    /// *Blocking:* as [`new`](LatencyRecorder::new).
    ///
    /// # Panics
    /// As [`new`](LatencyRecorder::new).
    pub fn with_sampler(sampler: &Sampler, unit: LatencyUnit, seconds: u32) -> Self {
        let window = Window::with_sampler(sampler, Arc::new(Histogram::new()), window::length(seconds));
        LatencyRecorder { unit, window, computed: Mutex::default() }
    }

    /// Records a latency, in the recorder's unit. One above [`Histogram::MAX_VALUE`] counts as that.
    ///
    /// *Blocking:* no, but see the crate's documentation on first writes.
    #[inline]
    pub fn record(&self, latency: u64) {
        self.window.variable().record(latency);
    }

    /// Records a latency measured as a [`Duration`].
    ///
    /// *Blocking:* no, but see the crate's documentation on first writes.
    #[inline]
    pub fn record_duration(&self, latency: Duration) {
        self.record(self.unit.of(latency));
    }

    /// The recorder's unit.
    pub fn unit(&self) -> LatencyUnit {
        self.unit
    }

    /// Everything recorded since creation, merged once for any number of questions.
    ///
    /// Latencies recorded at the same moment may be in some of its figures and not yet in others.
    ///
    /// *Blocking:* the thread, for the time of an internal lock in which the buckets of all threads are added.
    pub fn snapshot(&self) -> LatencySnapshot {
        self.window.variable().distribution()
    }

    /// Count, sum and maximum since creation: much cheaper than [`snapshot`](LatencyRecorder::snapshot).
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    pub fn totals(&self) -> LatencyTotals {
        let totals = self.window.variable().totals();
        LatencyTotals { count: totals.count, sum: totals.sum, max: totals.max }
    }

    /// How many latencies were recorded since creation.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    pub fn count(&self) -> u64 {
        self.totals().count
    }

    /// What was recorded in the window, which ends at most a second ago. Computed once a second, however often it is
    /// asked for.
    ///
    /// *Blocking:* the thread, for the time of a lock in which the seconds are added.
    pub fn window(&self) -> Arc<LatencyWindow> {
        self.over(self.window.seconds(), |computed| &mut computed.whole)
    }

    /// What was recorded in the last second: what the histories of charts get.
    fn last_second(&self) -> Arc<LatencyWindow> {
        self.over(1, |computed| &mut computed.last_second)
    }

    fn over(
        &self,
        seconds: u32,
        place: fn(&mut Computed) -> &mut Option<Arc<LatencyWindow>>,
    ) -> Arc<LatencyWindow> {
        let newest = sampling::newest(&**self.window.variable());
        let mut computed = self.computed.lock().unwrap_or_else(PoisonError::into_inner);
        if computed.tick == newest
            && let Some(window) = place(&mut computed)
        {
            return window.clone();
        }
        let (distribution, span, tick) = self.window.read(seconds);
        let window = Arc::new(LatencyWindow { distribution, span });
        if computed.tick != tick {
            *computed = Computed { tick, ..Computed::default() };
        }
        *place(&mut computed) = (window.count() > 0).then(|| window.clone());
        window
    }

    /// The length of the window in seconds.
    pub fn window_seconds(&self) -> u32 {
        self.window.seconds()
    }

    /// Makes the recorder's figures visible, until what is returned is dropped, as the variables of brpc, in
    /// microseconds (whatever the recorder's unit): over the window `<prefix>_latency` (average), `_max_latency`, `_qps`,
    /// the percentiles `_latency_80`, `_latency_90`, `_latency_99`, `_latency_999` and `_latency_9999` (in plain text)
    /// or `_latency_percentiles` and `_latency_cdf` (for browsers); since creation `_count`.
    /// `latency` or `Latency` at the end of `prefix` is dropped. `prefix` is normalised like any name.
    ///
    /// # Errors
    /// As [`expose`](crate::expose), and if nothing is left of `prefix`; then none of the names is taken.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    pub fn expose(self, prefix: &str) -> Result<ExposedLatencyRecorder, ExposeError> {
        ExposedLatencyRecorder::new(prefix, Arc::new(self))
    }
}

/// `{latency=… max…=… qps=… count=…}`: average, maximum and rate over the window, which `max` names the seconds of, and
/// the count since creation.
impl fmt::Display for LatencyRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recent = self.window();
        let (seconds, average, count) = (self.window.seconds(), recent.average(), self.count());
        write!(
            f,
            "{{latency={average:.0} max{seconds}={} qps={:.0} count={count}}}",
            recent.max(),
            recent.qps()
        )
    }
}

impl fmt::Debug for LatencyRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatencyRecorder").field("unit", &self.unit).field("seen", &self.to_string()).finish()
    }
}

/// What a [`LatencyRecorder`] has counted since creation, in its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyTotals {
    /// The number of latencies.
    pub count: u64,
    /// Their sum; wraps around at 2^64.
    pub sum: u64,
    /// The longest, 0 if there are none.
    pub max: u64,
}

/// What a [`LatencyRecorder`] saw in its window, in its unit; dereferences to the latencies.
#[derive(Clone, Debug)]
pub struct LatencyWindow {
    distribution: Distribution,
    span: Duration,
}

impl LatencyWindow {
    /// How long the window really is: 0 before the recorder's first second is over.
    pub fn span(&self) -> Duration {
        self.span
    }

    /// How many latencies were recorded each second, on average.
    pub fn qps(&self) -> f64 {
        per_second(self.distribution.count() as f64, self.span)
    }
}

impl Deref for LatencyWindow {
    type Target = Distribution;

    fn deref(&self) -> &Distribution {
        &self.distribution
    }
}

#[cfg(test)]
mod tests;
