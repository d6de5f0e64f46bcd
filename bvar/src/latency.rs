//! Latencies: how many, how long on average, at most, and for each share of them.
//!
//! Owns the derived names of an exposed recorder (`spec/bvar.md` §8). Must never read a clock: the caller
//! measures.

use crate::name;
use crate::percentile::{Distribution, Histogram};
use crate::reducer::{Adder, Maxer};
use crate::registry::{ExposeError, Exposed};
use crate::status::PassiveStatus;
use crate::variable::Variable;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
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

    fn per_micro(self) -> u64 {
        match self {
            LatencyUnit::Micros => 1,
            LatencyUnit::Nanos => 1000,
        }
    }
}

/// Count, sum, average, maximum and percentiles of latencies, since creation.
///
/// ```
/// use bvar::{LatencyRecorder, LatencyUnit};
///
/// let latency = LatencyRecorder::new(LatencyUnit::Micros);
/// for micros in 1..=100 {
///     latency.record(micros);
/// }
/// let seen = latency.snapshot();
/// assert_eq!((seen.count(), seen.sum(), seen.average(), seen.max()), (100, 5050, 50.5, 100));
/// assert_eq!(seen.percentile(0.99), 99);
/// ```
pub struct LatencyRecorder {
    unit: LatencyUnit,
    sum: Adder<u64>,
    max: Maxer<u64>,
    histogram: Histogram,
}

impl LatencyRecorder {
    /// A recorder without latencies.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    ///
    /// # Panics
    /// If the process would hold more than 2^28 words of variables; a recorder has 2754.
    pub fn new(unit: LatencyUnit) -> Self {
        LatencyRecorder { unit, sum: Adder::new(), max: Maxer::new(), histogram: Histogram::new() }
    }

    /// Records a latency, in the recorder's unit. One above [`Histogram::MAX_VALUE`] counts as that.
    ///
    /// *Blocking:* no, but see the crate's documentation on first writes.
    #[inline]
    pub fn record(&self, latency: u64) {
        let latency = latency.min(Histogram::MAX_VALUE);
        self.sum.add(latency);
        self.max.record(latency);
        self.histogram.record(latency);
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
        let distribution = self.histogram.distribution();
        LatencySnapshot {
            count: distribution.count(),
            sum: self.sum.get(),
            max: self.max.get(),
            distribution,
        }
    }

    /// Makes the recorder's figures visible, until what is returned is dropped, as variables in
    /// microseconds (whatever the recorder's unit): `<prefix>_latency` (average), `_max_latency`, `_count`,
    /// and the percentiles `_latency_80`, `_latency_90`, `_latency_99`, `_latency_999` and `_latency_9999`.
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

impl fmt::Debug for LatencyRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatencyRecorder").field("unit", &self.unit).field("seen", &self.snapshot()).finish()
    }
}

/// What a [`LatencyRecorder`] had seen at one moment, in its unit.
#[derive(Clone)]
pub struct LatencySnapshot {
    count: u64,
    sum: u64,
    max: u64,
    distribution: Distribution,
}

impl LatencySnapshot {
    /// The number of latencies.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of all latencies; wraps around at 2^64.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The average latency, 0 if there are none.
    pub fn average(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }

    /// The longest latency, 0 if there are none.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The latency that a share of `ratio` of all latencies is not above, within 1% and never above
    /// [`max`](LatencySnapshot::max). See [`Distribution::percentile`] for odd ratios.
    pub fn percentile(&self, ratio: f64) -> u64 {
        self.distribution.percentile(ratio).min(self.max)
    }

    /// All latencies, by bucket.
    pub fn distribution(&self) -> &Distribution {
        &self.distribution
    }
}

/// `count=… avg=… max=… p50=… p90=… p99=… p999=…`, in the recorder's unit, for a log or a terminal.
impl fmt::Display for LatencySnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "count={} avg={:.1} max={}", self.count, self.average(), self.max)?;
        for (name, ratio) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)] {
            write!(f, " {name}={}", self.percentile(ratio))?;
        }
        Ok(())
    }
}

impl fmt::Debug for LatencySnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

type Figure = (&'static str, fn(&LatencySnapshot) -> u64);

/// The variables of an exposed recorder, before conversion to microseconds.
const FIGURES: [Figure; 7] = [
    ("latency", |seen| seen.average().round() as u64),
    ("max_latency", |seen| seen.max()),
    ("latency_80", |seen| seen.percentile(0.8)),
    ("latency_90", |seen| seen.percentile(0.9)),
    ("latency_99", |seen| seen.percentile(0.99)),
    ("latency_999", |seen| seen.percentile(0.999)),
    ("latency_9999", |seen| seen.percentile(0.9999)),
];

/// A [`LatencyRecorder`] whose figures can be found by name as long as this lives; dereferences to the
/// recorder. Dropping it hides them all.
pub struct ExposedLatencyRecorder {
    recorder: Arc<LatencyRecorder>,
    figures: Vec<Exposed<PassiveStatus<u64>>>,
}

impl ExposedLatencyRecorder {
    fn new(prefix: &str, recorder: Arc<LatencyRecorder>) -> Result<Self, ExposeError> {
        let prefix = prefix.strip_suffix("latency").or(prefix.strip_suffix("Latency")).unwrap_or(prefix);
        let prefix = name::normalize_name(prefix);
        if prefix.is_empty() {
            return Err(ExposeError::EmptyName);
        }
        let mut figures = Vec::with_capacity(FIGURES.len() + 1);
        for (name, figure) in FIGURES {
            let recorder = recorder.clone();
            let micros = move || figure(&recorder.snapshot()) / recorder.unit.per_micro();
            figures.push(PassiveStatus::new(micros).expose_as(&prefix, name)?);
        }
        let counted = recorder.clone();
        let count = move || counted.histogram.distribution().count();
        figures.push(PassiveStatus::new(count).expose_as(&prefix, "count")?);
        Ok(ExposedLatencyRecorder { recorder, figures })
    }

    /// The names under which the recorder's figures are visible.
    pub fn names(&self) -> impl Iterator<Item = &str> + '_ {
        self.figures.iter().map(Exposed::name)
    }
}

impl Deref for ExposedLatencyRecorder {
    type Target = LatencyRecorder;

    #[inline]
    fn deref(&self) -> &LatencyRecorder {
        &self.recorder
    }
}

impl fmt::Debug for ExposedLatencyRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.names().collect();
        f.debug_struct("ExposedLatencyRecorder")
            .field("names", &names)
            .field("recorder", &self.recorder)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;
    use crate::status::Status;

    fn listing(prefix: &str) -> Vec<String> {
        let names = registry::names().into_iter().filter(|name| name.starts_with(prefix));
        names.map(|name| format!("{name} : {}", registry::describe(&name).unwrap())).collect()
    }

    #[test]
    fn an_untouched_recorder_is_all_zero() {
        let seen = LatencyRecorder::new(LatencyUnit::Micros).snapshot();
        assert_eq!(seen.to_string(), "count=0 avg=0.0 max=0 p50=0 p90=0 p99=0 p999=0");
    }

    #[test]
    fn durations_are_recorded_in_the_unit() {
        let (micros, nanos) =
            (LatencyRecorder::new(LatencyUnit::Micros), LatencyRecorder::new(LatencyUnit::Nanos));
        for duration in [Duration::from_nanos(2500), Duration::from_micros(4), Duration::MAX] {
            micros.record_duration(duration);
            nanos.record_duration(duration);
        }
        assert_eq!((micros.snapshot().percentile(0.3), micros.snapshot().percentile(0.6)), (2, 4));
        assert_eq!(nanos.snapshot().sum(), 2500 + 4000 + Histogram::MAX_VALUE);
        assert_eq!(nanos.snapshot().max(), Histogram::MAX_VALUE);
    }

    #[test]
    fn percentiles_stay_below_the_maximum() {
        let recorder = LatencyRecorder::new(LatencyUnit::Nanos);
        recorder.record(1_000_000);
        let seen = recorder.snapshot();
        assert_eq!(
            (seen.percentile(0.5), seen.percentile(1.0), seen.max()),
            (1_000_000, 1_000_000, 1_000_000)
        );
    }

    #[test]
    fn the_variables_of_an_exposed_recorder() {
        let recorder = LatencyRecorder::new(LatencyUnit::Nanos).expose("LatencyTest::Echo_Latency").unwrap();
        (1..=10_000).for_each(|micros| recorder.record(micros * 1000));
        assert_eq!(recorder.names().count(), 8);
        let expected = [
            "latency_test_echo_count : 10000",
            "latency_test_echo_latency : 5000",
            "latency_test_echo_latency_80 : 8028",
            "latency_test_echo_latency_90 : 8978",
            "latency_test_echo_latency_99 : 9895",
            "latency_test_echo_latency_999 : 10000",
            "latency_test_echo_latency_9999 : 10000",
            "latency_test_echo_max_latency : 10000",
        ];
        assert_eq!(listing("latency_test_echo_"), expected);
        drop(recorder);
        assert_eq!(listing("latency_test_echo_"), [""; 0]);
    }

    #[test]
    fn a_taken_name_takes_none() {
        let _taken = Status::new("mine").expose("latency_test_taken_latency_999").unwrap();
        let error = LatencyRecorder::new(LatencyUnit::Micros).expose("latency_test_taken").unwrap_err();
        assert_eq!(error, ExposeError::Duplicate("latency_test_taken_latency_999".into()));
        assert_eq!(listing("latency_test_taken"), ["latency_test_taken_latency_999 : mine"]);
    }

    #[test]
    fn a_prefix_of_nothing_but_latency_is_an_error() {
        for prefix in ["latency", "Latency", ""] {
            let error = LatencyRecorder::new(LatencyUnit::Micros).expose(prefix).unwrap_err();
            assert_eq!(error, ExposeError::EmptyName, "{prefix}");
        }
    }
}
