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

/// The families of a recorder under the names of `spec/bvar.md` §11, and a summary of all under the plain name.
const LATENCY_FAMILIES: [Family; 4] = [
    Family { suffix: "", kind: FamilyKind::Summary },
    Family { suffix: "_latency", kind: FamilyKind::Gauge },
    Family { suffix: "_max_latency", kind: FamilyKind::Gauge },
    Family { suffix: "_qps", kind: FamilyKind::Gauge },
];

/// The quantiles shown of a recorder: three chosen by flags, and two for the tail.
pub(crate) fn shown_quantiles() -> [f64; 5] {
    let [p1, p2, p3] = shown_percentiles().map(|percent| f64::from(percent) / 100.0);
    [p1, p2, p3, 0.999, 0.9999]
}

impl Stat for LatencyRecorder {
    fn families(&self) -> Vec<Family> {
        LATENCY_FAMILIES.to_vec()
    }

    fn samples(&self, family: usize, sink: &mut dyn FnMut(Sample)) {
        let per_micro = self.unit().per_micro();
        let mut plain = |suffix, value: Value| sink(Sample { suffix, quantile: None, value });
        match LATENCY_FAMILIES[family].suffix {
            "_max_latency" => plain("_max_latency", (self.window().max() / per_micro).into()),
            "_qps" => plain("_qps", (self.window().qps().round() as u64).into()),
            suffix => {
                if suffix.is_empty() {
                    let totals = self.totals();
                    plain("_sum", (totals.sum / per_micro).into());
                    plain("_count", totals.count.into());
                } else {
                    let average = self.window().average() / per_micro as f64;
                    plain(suffix, (average.round() as u64).into());
                }
                let window = self.window();
                for quantile in shown_quantiles() {
                    let value = (window.percentile(quantile) / per_micro).into();
                    sink(Sample { suffix, quantile: Some(quantile), value });
                }
            }
        }
    }
}
