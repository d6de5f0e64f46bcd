//! All exposed variables for Prometheus: the text format 0.0.4 and OpenMetrics 1.0.
//!
//! Names are those of the variables, so dashboards made for brpc find them. Numbers are gauges, or counters where
//! the variable only grows. The figures of a [`LatencyRecorder`] `<m>` become a summary
//! `<m>` (quantiles and `<m>_sum`, `<m>_count`) beside the gauges `<m>_latency` (the average), `<m>_max_latency` and
//! `<m>_qps`; of recorders of a server (`rpc_server…`) the percentiles are only in the summary, of others they
//! are gauges too. Quantiles are over the recorder's window, sum and count since creation. A
//! [`Histogram`](crate::Histogram) becomes a histogram, a vector one gauge for each element, text nothing.
//!
//! Source: `spec/bvar.md` §12 and `spec/builtin-services.md` §6, of which two things are not followed because
//! Prometheus refuses or loses them: `quantile="avg"`, and variables swallowed because their names end in
//! `_count`. Formats: the Prometheus exposition formats; OpenMetrics 1.0.0.
//!
//! Must never write two families of one name.

#[cfg(test)]
mod tests;
mod writer;

use crate::latency::{Figure, LatencyFigure, LatencyRecorder};
use crate::multi::{self, Family, FamilyKind, Sample, SampleSink, shown_quantiles, write_series};
use crate::percentile::Distribution;
use crate::registry;
use crate::variable::{DisplayFilter, Kind, Value, Variable};
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use writer::{Type, Writer};

/// The form of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The Prometheus text format 0.0.4.
    #[default]
    Text,
    /// OpenMetrics 1.0: the samples of a counter end in `_total`, the text in `# EOF`.
    OpenMetrics,
}

impl Format {
    /// The `Content-Type` of the text.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What is written, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The form of the text.
    pub format: Format,
    /// Latency recorders give a histogram `<m>_latency_distribution` as well, since creation, in
    /// microseconds. Default: false; it has some 40 lines for each recorder.
    pub latency_histograms: bool,
}

/// Recorders whose names begin so belong to a server.
const SERVER_PREFIX: &str = "rpc_server";

/// Writes all exposed variables to the end of `out`.
///
/// A variable that panics is left out.
///
/// ```
/// use bvar::{Adder, Variable, prometheus};
///
/// let served = Adder::<u64>::new().expose("prometheus_example_served")?;
/// served.add(2);
/// let mut text = String::new();
/// prometheus::write(&mut text, prometheus::Options::default());
/// assert!(text.contains("# TYPE prometheus_example_served counter\nprometheus_example_served 2\n"));
/// # Ok::<(), bvar::ExposeError>(())
/// ```
///
/// *Blocking:* as the variables' values do.
pub fn write(out: &mut String, options: Options) {
    let mut page = Page {
        writer: Writer::new(out, options.format),
        options,
        derived: HashSet::new(),
        recorders: HashMap::new(),
    };
    let all = registry::for_each(DisplayFilter::Text, |name, variable| {
        // After a panic the page has whole lines still: a value is read before anything of it is written.
        let _ = catch_unwind(AssertUnwindSafe(|| page.variable(name, variable)));
        ControlFlow::Continue(())
    });
    debug_assert!(all.is_continue(), "nothing above breaks");
    multi::visit_all(&mut page);
    page.writer.end();
}

struct Page<'a> {
    writer: Writer<'a>,
    options: Options,
    /// Families that have other names than the variables that they are made from, and those with labels.
    derived: HashSet<String>,
    /// The recorders met so far, by prefix, and whether they are shown as a summary.
    recorders: HashMap<String, bool>,
}

impl Page<'_> {
    fn variable(&mut self, name: &str, variable: &dyn Variable) {
        if self.derived.contains(name) {
            return;
        }
        if let Some(figure) = variable.latency_figure() {
            if self.is_in_summary(&figure) {
                return;
            }
        } else if let Some(distribution) = variable.distribution() {
            self.histogram(name, &distribution, 1);
            return;
        }
        match variable.value() {
            Value::Text(_) => {}
            Value::Vector(elements) => {
                let names = variable.element_names();
                self.writer.family(name, Type::Gauge);
                for (i, element) in elements.iter().enumerate().filter(|(_, element)| element.is_number()) {
                    let element_name = names.get(i).map_or_else(|| i.to_string(), String::clone);
                    self.writer.labelled(name, "", "element", &element_name, element);
                }
            }
            number => match variable.kind() {
                Kind::Gauge => self.writer.plain(name, Type::Gauge, &number),
                Kind::Counter => self.counter(name, &number),
            },
        }
    }

    /// In OpenMetrics the family of a counter has a name without `_total` and its sample one with it; if a
    /// variable has the other name already, both stay as they are and are gauges.
    fn counter(&mut self, name: &str, number: &Value) {
        if self.options.format == Format::OpenMetrics {
            let clashes = match name.strip_suffix("_total") {
                Some(family) => family.is_empty() || registry::find(family).is_some(),
                None => registry::find(&format!("{name}_total")).is_some(),
            };
            if clashes {
                return self.writer.plain(name, Type::Gauge, number);
            }
        }
        self.writer.plain(name, Type::Counter, number);
    }

    /// Whether the figure is told by the recorder's summary alone. The first figure met writes the summary.
    fn is_in_summary(&mut self, figure: &LatencyFigure<'_>) -> bool {
        let folds = match self.recorders.get(figure.prefix) {
            Some(folds) => *folds,
            None => {
                let folds = self.summary(figure.prefix, figure.recorder);
                self.recorders.insert(figure.prefix.to_owned(), folds);
                folds
            }
        };
        folds
            && match figure.figure {
                Figure::Count => true,
                Figure::Percentile { .. } => figure.prefix.starts_with(SERVER_PREFIX),
                _ => false,
            }
    }

    /// Writes the summary of a recorder, unless another variable has one of the names it needs.
    fn summary(&mut self, name: &str, recorder: &LatencyRecorder) -> bool {
        let sum = format!("{name}_sum");
        if registry::find(name).is_some() || registry::find(&sum).is_some() {
            return false;
        }
        let per_micro = recorder.unit().per_micro();
        let (window, totals) = (recorder.window(), recorder.totals());
        self.writer.family(name, Type::Summary);
        for quantile in shown_quantiles() {
            let value = (window.percentile(quantile) / per_micro).into();
            self.writer.labelled(name, "", "quantile", &quantile.to_string(), &value);
        }
        self.writer.labelled(name, "", "quantile", "1", &(window.max() / per_micro).into());
        self.writer.sample(name, "_sum", &(totals.sum / per_micro).into());
        self.writer.sample(name, "_count", &totals.count.into());
        self.derived.extend([name.to_owned(), sum]);
        if self.options.latency_histograms {
            let name = format!("{name}_latency_distribution");
            if registry::find(&name).is_none() {
                self.histogram(&name, &recorder.snapshot(), per_micro);
                self.derived.insert(name);
            }
        }
        true
    }

    /// Bounds are powers of two, minus one: those fall together with the ends of buckets, so that every
    /// count is exact. They are always the same, as rates need.
    fn histogram(&mut self, name: &str, distribution: &Distribution, per_unit: u64) {
        /// The largest bound, 2^40 − 1: twelve days in microseconds.
        const LARGEST_BOUND_BITS: u32 = 40;
        self.writer.family(name, Type::Histogram);
        let mut buckets = distribution.buckets().peekable();
        let mut below = 0;
        for bits in 0..=LARGEST_BOUND_BITS {
            let bound = (1u64 << bits) - 1;
            let bound_in_units = bound.saturating_mul(per_unit).saturating_add(per_unit - 1);
            while let Some((_, _, count)) = buckets.next_if(|(_, high, _)| *high <= bound_in_units) {
                below += count;
            }
            self.writer.bucket(name, Some(bound), below);
        }
        self.writer.bucket(name, None, distribution.count());
        self.writer.sample(name, "_sum", &(distribution.sum() / per_unit).into());
        self.writer.sample(name, "_count", &distribution.count().into());
    }
}

/// Variables with labels.
impl SampleSink for Page<'_> {
    fn family(&mut self, name: &str, family: Family) -> bool {
        let family_name = format!("{name}{}", family.suffix);
        let mut names = vec![family_name.clone()];
        if family.kind == FamilyKind::Summary {
            names.extend(["_sum", "_count"].map(|suffix| format!("{family_name}{suffix}")));
        }
        // A plain variable of one of these names was written already.
        if names.iter().any(|name| registry::find(name).is_some() || self.derived.contains(name)) {
            return false;
        }
        self.derived.extend(names);
        let kind = match family.kind {
            FamilyKind::Counter => Type::Counter,
            FamilyKind::Gauge => Type::Gauge,
            FamilyKind::Summary => Type::Summary,
        };
        self.writer.family(&family_name, kind);
        true
    }

    fn sample(&mut self, name: &str, labels: &[String], values: &[Box<str>], sample: &Sample) {
        self.writer.series(&sample.value, |out| write_series(out, name, labels, values, sample));
    }
}
