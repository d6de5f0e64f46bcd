//! What one combination of a variable with labels shows: one number, or the figures of a recorder.

use crate::latency::{LatencyRecorder, shown_percentiles};
use crate::variable::{Kind, Value, Variable};

/// A number of one combination, under a name of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What follows the name of the variable.
    pub suffix: &'static str,
    /// For a quantile: the share of values that are not above this one.
    pub quantile: Option<f64>,
    /// The number. Text is shown nowhere.
    pub value: Value,
}

/// What may be concluded from the samples of a [`Family`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// They only grow.
    Counter,
    /// They go up and down.
    Gauge,
    /// Quantiles, with a sum and a count.
    Summary,
}

/// Samples that belong together: those of all combinations are shown one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// What follows the name of the variable.
    pub suffix: &'static str,
    /// What the samples are.
    pub kind: FamilyKind,
}

/// What a [`MultiDimension`](super::MultiDimension) can hold and show: any [`Variable`] that is a number, and
/// a [`LatencyRecorder`].
pub trait Stat: Send + Sync + 'static {
    /// The families, the same for all values of a type.
    fn families(&self) -> Vec<Family>;

    /// Gives the samples of one family, by its place in [`families`](Stat::families).
    ///
    /// *Blocking:* as the variable's [`value`](Variable::value).
    fn samples(&self, family: usize, sink: &mut dyn FnMut(Sample));
}

impl<V: Variable + 'static> Stat for V {
    fn families(&self) -> Vec<Family> {
        let kind = match self.kind() {
            Kind::Counter => FamilyKind::Counter,
            Kind::Gauge => FamilyKind::Gauge,
        };
        vec![Family { suffix: "", kind }]
    }

    fn samples(&self, _family: usize, sink: &mut dyn FnMut(Sample)) {
        sink(Sample { suffix: "", quantile: None, value: self.value() });
    }
}

/// The families of a recorder, under the names of `spec/bvar.md` §11. The average has a name of its own: beside the
/// quantiles, where it is there, a summary must not have it.
const LATENCY_FAMILIES: [Family; 5] = [
    Family { suffix: "_latency", kind: FamilyKind::Summary },
    Family { suffix: "_avg_latency", kind: FamilyKind::Gauge },
    Family { suffix: "_max_latency", kind: FamilyKind::Gauge },
    Family { suffix: "_qps", kind: FamilyKind::Gauge },
    Family { suffix: "_count", kind: FamilyKind::Counter },
];

/// The quantiles shown of a recorder, each once and rising: three chosen by flags, and two for the tail.
pub(crate) fn shown_quantiles() -> Vec<f64> {
    let mut percents = shown_percentiles().to_vec();
    percents.sort_unstable();
    percents.dedup();
    percents.into_iter().map(|percent| f64::from(percent) / 100.0).chain([0.999, 0.9999]).collect()
}

impl Stat for LatencyRecorder {
    fn families(&self) -> Vec<Family> {
        LATENCY_FAMILIES.to_vec()
    }

    fn samples(&self, family: usize, sink: &mut dyn FnMut(Sample)) {
        let per_micro = self.unit().per_micro();
        let suffix = LATENCY_FAMILIES[family].suffix;
        let mut plain = |suffix, value: Value| sink(Sample { suffix, quantile: None, value });
        match suffix {
            "_avg_latency" => {
                plain(suffix, ((self.window().average() / per_micro as f64).round() as u64).into());
            }
            "_max_latency" => plain(suffix, (self.window().max() / per_micro).into()),
            "_qps" => plain(suffix, (self.window().qps().round() as u64).into()),
            "_count" => plain(suffix, self.count().into()),
            _ => {
                let totals = self.totals();
                plain("_latency_sum", (totals.sum / per_micro).into());
                plain("_latency_count", totals.count.into());
                let window = self.window();
                for quantile in shown_quantiles() {
                    let value = (window.percentile(quantile) / per_micro).into();
                    sink(Sample { suffix, quantile: Some(quantile), value });
                }
            }
        }
    }
}
