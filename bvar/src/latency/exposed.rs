//! The eleven variables of an exposed latency recorder.
//!
//! Owns their names and how each is shown (`spec/bvar.md` §8). Must never compute a figure: the recorder does.

use super::{LatencyRecorder, LatencyWindow};
use crate::flag::own::{LATENCY_P1, LATENCY_P2, LATENCY_P3};
use crate::name;
use crate::recorder::shown_average;
use crate::registry::{self, ExposeError, Exposed};
use crate::variable::{DisplayFilter, Kind, Trend, Value, Variable};
use std::fmt::{self, Write};
use std::ops::Deref;
use std::sync::Arc;
// Relaxed: a random number orders nothing.
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The three percentiles, in percent, that have a name of their own besides 99.9% and 99.99%. A change counts for
/// recorders exposed from then on.
pub(crate) fn shown_percentiles() -> [u32; 3] {
    [&LATENCY_P1, &LATENCY_P2, &LATENCY_P3].map(|percent| percent.get().clamp(1, 99) as u32)
}

/// The shares of the points of the cumulative distribution, in percent, and where they stand in its chart.
const CDF_POINTS: [(u32, f64); 20] = [
    (10, 0.1),
    (20, 0.2),
    (30, 0.3),
    (40, 0.4),
    (50, 0.5),
    (60, 0.6),
    (70, 0.7),
    (80, 0.8),
    (90, 0.9),
    (91, 0.91),
    (92, 0.92),
    (93, 0.93),
    (94, 0.94),
    (95, 0.95),
    (96, 0.96),
    (97, 0.97),
    (98, 0.98),
    (99, 0.99),
    (100, 0.999),
    (101, 0.9999),
];

/// One of the variables of an exposed [`LatencyRecorder`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// `_latency`: the average over the window.
    Latency,
    /// `_max_latency`: the longest in the window.
    MaxLatency,
    /// `_count`: how many since creation.
    Count,
    /// `_qps`: how many a second, over the window.
    Qps,
    /// `_latency_80` to `_latency_9999`: what this share of the latencies in the window did not exceed.
    Percentile {
        /// The share, between 0 and 1.
        ratio: f64,
    },
    /// `_latency_cdf`: the cumulative distribution over the window, as a chart.
    Cdf,
    /// `_latency_percentiles`: some percentiles over the window, as a vector.
    Percentiles,
}

/// What a variable that belongs to an exposed [`LatencyRecorder`] is there.
#[derive(Clone, Copy, Debug)]
pub struct LatencyFigure<'a> {
    /// What the names of the recorder's variables begin with; normalised, without the `_` behind it.
    pub prefix: &'a str,
    /// Which of them it is.
    pub figure: Figure,
    /// The recorder.
    pub recorder: &'a LatencyRecorder,
}

/// A figure as a variable.
struct FigureVariable {
    recorder: Arc<LatencyRecorder>,
    prefix: Arc<str>,
    figure: Figure,
    /// In percent.
    percentiles: [u32; 3],
}

impl FigureVariable {
    fn micros(&self, latency: u64) -> u64 {
        latency / self.recorder.unit().per_micro()
    }

    fn of(&self, window: &LatencyWindow) -> Value {
        match self.figure {
            Figure::Latency => shown_average(window.average() / self.recorder.unit().per_micro() as f64),
            Figure::MaxLatency => self.micros(window.max()).into(),
            Figure::Count => self.recorder.count().into(),
            Figure::Qps => round_randomly(window.qps()).into(),
            Figure::Percentile { ratio } => self.micros(window.percentile(ratio)).into(),
            Figure::Cdf => "click to view".into(),
            Figure::Percentiles => {
                let [a, b, c] = self.percentiles.map(|percent| f64::from(percent) / 100.0);
                [a, b, c, 0.999].map(|ratio| self.micros(window.percentile(ratio))).into()
            }
        }
    }
}

/// Up or down, so that the expected value is exact: 2.25 is 3 in one of four cases.
fn round_randomly(value: f64) -> u64 {
    static STATE: AtomicU64 = AtomicU64::new(0);
    // A Weyl sequence through the finaliser of SplitMix64.
    let mut bits = STATE.fetch_add(0x9E37_79B9_7F4A_7C15, Relaxed);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let random = (bits ^ (bits >> 31)) >> 11;
    (value + random as f64 / (1u64 << 53) as f64) as u64
}

impl Variable for FigureVariable {
    fn value(&self) -> Value {
        match self.figure {
            Figure::Count => self.recorder.count().into(),
            _ => self.of(&self.recorder.window()),
        }
    }

    fn kind(&self) -> Kind {
        if self.figure == Figure::Count { Kind::Counter } else { Kind::Gauge }
    }

    fn display(&self) -> DisplayFilter {
        match self.figure {
            Figure::Latency | Figure::MaxLatency | Figure::Count | Figure::Qps => DisplayFilter::All,
            Figure::Percentile { .. } => DisplayFilter::Text,
            Figure::Cdf | Figure::Percentiles => DisplayFilter::Html,
        }
    }

    fn trend(&self) -> Trend {
        match self.figure {
            Figure::Cdf => Trend::None,
            Figure::MaxLatency => Trend::Max,
            _ => Trend::Average,
        }
    }

    fn trend_value(&self) -> Value {
        match self.figure {
            Figure::Count => self.value(),
            _ => self.of(&self.recorder.last_second()),
        }
    }

    fn element_names(&self) -> Vec<String> {
        match self.figure {
            Figure::Percentiles => {
                let percents = self.percentiles.iter().map(|percent| format!("{percent}%"));
                percents.chain(["99.9%".to_owned()]).collect()
            }
            _ => Vec::new(),
        }
    }

    fn plot(&self) -> Option<String> {
        if self.figure != Figure::Cdf {
            return None;
        }
        let window = self.recorder.window();
        let mut json = String::from("{\"label\":\"cdf\",\"data\":[");
        for (i, (x, ratio)) in CDF_POINTS.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(json, "{comma}[{x},{}]", self.micros(window.percentile(*ratio)))
                .expect("a string takes it");
        }
        json.push_str("]}");
        Some(json)
    }

    fn latency_figure(&self) -> Option<LatencyFigure<'_>> {
        Some(LatencyFigure { prefix: &self.prefix, figure: self.figure, recorder: &self.recorder })
    }
}

/// A [`LatencyRecorder`] whose figures can be found by name as long as this lives; dereferences to the
/// recorder. Dropping it hides them all.
pub struct ExposedLatencyRecorder {
    recorder: Arc<LatencyRecorder>,
    figures: Vec<Exposed<FigureVariable>>,
}

impl ExposedLatencyRecorder {
    /// As [`LatencyRecorder::expose`], for a recorder that others hold as well.
    ///
    /// # Errors
    /// As [`LatencyRecorder::expose`]; the recorder stays with its other holders.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    pub fn new(prefix: &str, recorder: Arc<LatencyRecorder>) -> Result<Self, ExposeError> {
        let prefix = prefix.strip_suffix("latency").or(prefix.strip_suffix("Latency")).unwrap_or(prefix);
        let prefix = name::normalize_name(prefix);
        let prefix: Arc<str> = prefix.trim_end_matches('_').into();
        if prefix.is_empty() {
            return Err(ExposeError::EmptyName);
        }
        let percentiles = shown_percentiles();
        let named = [
            ("latency", Figure::Latency),
            ("max_latency", Figure::MaxLatency),
            ("count", Figure::Count),
            ("qps", Figure::Qps),
            ("latency_cdf", Figure::Cdf),
            ("latency_percentiles", Figure::Percentiles),
            ("latency_999", Figure::Percentile { ratio: 0.999 }),
            ("latency_9999", Figure::Percentile { ratio: 0.9999 }),
        ];
        let mut names: Vec<(String, Figure)> =
            named.into_iter().map(|(name, figure)| (name.to_owned(), figure)).collect();
        for percent in percentiles {
            let name = format!("latency_{percent}");
            // Two of the three may have been set to the same.
            if names.iter().all(|(taken, _)| *taken != name) {
                names.push((name, Figure::Percentile { ratio: f64::from(percent) / 100.0 }));
            }
        }
        let mut figures = Vec::with_capacity(names.len());
        for (name, figure) in names {
            let variable =
                FigureVariable { recorder: recorder.clone(), prefix: prefix.clone(), figure, percentiles };
            figures.push(registry::expose_as(&prefix, &name, Arc::new(variable))?);
        }
        Ok(ExposedLatencyRecorder { recorder, figures })
    }

    /// The names under which the recorder's figures are visible.
    pub fn names(&self) -> impl Iterator<Item = &str> + '_ {
        self.figures.iter().map(Exposed::name)
    }

    /// The recorder.
    pub fn recorder(&self) -> &Arc<LatencyRecorder> {
        &self.recorder
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
