//! The variables with labels that can be found by name, and all of them as lines.
//!
//! Owns the process-wide map of them, apart from that of plain variables. Must never ask a value while its
//! lock is held.

use super::stat::{Family, Sample, Stat};
use super::{MultiDimension, flags};
use crate::name::{MAX_NAME_LEN, normalize_name};
use crate::registry::{self, ExposeError};
use crate::variable::{Value, write_json_string};
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Who is told the samples of a variable with labels, family by family.
pub(crate) trait SampleSink {
    /// What follows belongs to this family; false: leave it out.
    fn family(&mut self, name: &str, family: Family) -> bool;
    fn sample(&mut self, name: &str, labels: &[String], values: &[Box<str>], sample: &Sample);
}

/// A variable with labels, whatever it holds.
pub(crate) trait AnyMultiDimension: Send + Sync {
    fn describe(&self, name: &str) -> String;
    fn visit(&self, name: &str, sink: &mut dyn SampleSink);
    fn evicted(&self) -> u64;
}

impl<V: Stat> AnyMultiDimension for MultiDimension<V> {
    fn describe(&self, name: &str) -> String {
        let mut json = String::from("{\"name\":");
        // Writing to a `String` does not fail.
        let _ = write_json_string(&mut json, name);
        json.push_str(",\"labels\":[");
        for (i, label) in self.labels().iter().enumerate() {
            json.push_str(if i > 0 { "," } else { "" });
            let _ = write_json_string(&mut json, label);
        }
        let _ = write!(json, "],\"stats_count\":{},\"evicted\":{}}}", self.count(), self.evicted());
        json
    }

    fn visit(&self, name: &str, sink: &mut dyn SampleSink) {
        let entries = self.table.entries();
        let Some((_, first)) = entries.first() else { return };
        for (place, family) in first.families().into_iter().enumerate() {
            if !sink.family(name, family) {
                continue;
            }
            for (values, stat) in &entries {
                let mut tell = |sample: Sample| {
                    if sample.value.is_number() {
                        sink.sample(name, self.labels(), &values.0, &sample);
                    }
                };
                // A value of the user that panics is left out, like a plain variable that does.
                let _ = catch_unwind(AssertUnwindSafe(|| stat.samples(place, &mut tell)));
            }
        }
    }

    fn evicted(&self) -> u64 {
        self.table.evicted()
    }
}

type Metrics = BTreeMap<String, Arc<dyn AnyMultiDimension>>;

static METRICS: RwLock<Metrics> = RwLock::new(BTreeMap::new());

/// Nothing that can panic runs under the lock.
fn read() -> RwLockReadGuard<'static, Metrics> {
    METRICS.read().unwrap_or_else(PoisonError::into_inner)
}

fn write() -> RwLockWriteGuard<'static, Metrics> {
    METRICS.write().unwrap_or_else(PoisonError::into_inner)
}

/// A variable with labels that can be found by name as long as this lives; dereferences to the variable.
/// Dropping it hides the variable.
pub struct ExposedMultiDimension<V> {
    variable: Arc<MultiDimension<V>>,
    name: String,
}

impl<V> ExposedMultiDimension<V> {
    /// The normalised name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Hides the variable and returns it.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    pub fn hide(self) -> Arc<MultiDimension<V>> {
        self.variable.clone()
    }
}

impl<V> Deref for ExposedMultiDimension<V> {
    type Target = MultiDimension<V>;

    #[inline]
    fn deref(&self) -> &MultiDimension<V> {
        &self.variable
    }
}

impl<V> Drop for ExposedMultiDimension<V> {
    fn drop(&mut self) {
        let hidden = write().remove(&self.name);
        drop(hidden);
    }
}

impl<V> fmt::Debug for ExposedMultiDimension<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExposedMultiDimension").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<V: Stat> MultiDimension<V> {
    /// Makes the variable visible to the dump and the metrics page under `name`, normalised by
    /// [`normalize_name`], until what is returned is dropped.
    ///
    /// # Errors
    /// If nothing is left of the name or it is longer than [`MAX_NAME_LEN`], if another
    /// variable has it, with labels or without, or if as many variables with labels are exposed as the flag
    /// `bvar_max_multi_dimension_metric_number` says. The variable is dropped then; call
    /// [`expose`](expose()) with an `Arc` of it to keep it.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    pub fn expose(self, name: &str) -> Result<ExposedMultiDimension<V>, ExposeError> {
        expose(name, Arc::new(self))
    }

    /// Like [`expose`](MultiDimension::expose) under `prefix` and `name`, joined by one `_`.
    ///
    /// # Errors
    /// As [`expose`](MultiDimension::expose).
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    pub fn expose_as(self, prefix: &str, name: &str) -> Result<ExposedMultiDimension<V>, ExposeError> {
        insert(crate::name::join(prefix, name), Arc::new(self))
    }
}

/// Makes `variable` visible, like [`MultiDimension::expose`].
///
/// # Errors
/// As [`MultiDimension::expose`].
///
/// *Blocking:* the thread, for the time of a short internal lock.
pub fn expose<V: Stat>(
    name: &str,
    variable: Arc<MultiDimension<V>>,
) -> Result<ExposedMultiDimension<V>, ExposeError> {
    insert(normalize_name(name), variable)
}

fn insert<V: Stat>(
    name: String,
    variable: Arc<MultiDimension<V>>,
) -> Result<ExposedMultiDimension<V>, ExposeError> {
    match name.len() {
        0 => return Err(ExposeError::EmptyName),
        1..=MAX_NAME_LEN => {}
        _ => return Err(ExposeError::NameTooLong),
    }
    let limit = flags::MAX_METRIC_NUMBER.get().max(1) as usize;
    let is_plain = registry::find(&name).is_some();
    let mut metrics = write();
    if is_plain || metrics.contains_key(&name) {
        return Err(ExposeError::Duplicate(name));
    }
    if metrics.len() >= limit {
        return Err(ExposeError::TooMany);
    }
    metrics.insert(name.clone(), variable.clone());
    drop(metrics);
    Ok(ExposedMultiDimension { variable, name })
}

/// The variable with labels of this (normalised) name, as
/// `{"name":"…","labels":["…"],"stats_count":…,"evicted":…}`, or `None` if there is none.
///
/// *Blocking:* the thread, for the time of short internal locks.
pub fn describe(name: &str) -> Option<String> {
    let metric = read().get(name).cloned()?;
    Some(metric.describe(name))
}

/// The names of the exposed variables with labels, sorted.
///
/// *Blocking:* the thread, for the time of a short internal lock.
pub fn names() -> Vec<String> {
    read().keys().cloned().collect()
}

/// How many variables with labels are exposed.
///
/// *Blocking:* the thread, for the time of a short internal lock.
pub fn count() -> usize {
    read().len()
}

/// How many combinations of the variables exposed now were dropped to make room for others.
///
/// *Blocking:* the thread, for the time of a short internal lock.
pub fn evicted() -> u64 {
    read().values().map(|metric| metric.evicted()).sum()
}

/// Gives all samples of all variables with labels to `sink`, sorted by name, until it has got as many lines as
/// the flag `bvar_max_dump_multi_dimension_metric_number` says (looked at between variables).
pub(crate) fn visit_all(sink: &mut dyn SampleSink) {
    struct Counting<'a> {
        sink: &'a mut dyn SampleSink,
        lines: usize,
    }
    impl SampleSink for Counting<'_> {
        fn family(&mut self, name: &str, family: Family) -> bool {
            self.sink.family(name, family)
        }
        fn sample(&mut self, name: &str, labels: &[String], values: &[Box<str>], sample: &Sample) {
            self.lines += 1;
            self.sink.sample(name, labels, values, sample);
        }
    }
    let limit = flags::MAX_DUMP_NUMBER.get().max(0) as usize;
    let metrics: Vec<_> = read().iter().map(|(name, metric)| (name.clone(), metric.clone())).collect();
    let mut counting = Counting { sink, lines: 0 };
    for (name, metric) in metrics {
        if counting.lines >= limit {
            return;
        }
        metric.visit(&name, &mut counting);
    }
}

/// Appends `<prefix><name>{<label>="<value>",…}<between><number><end>` for every sample of every variable.
pub(crate) fn write_lines(out: &mut String, prefix: &str, between: &str, end: &str) {
    struct Lines<'a> {
        out: &'a mut String,
        prefix: &'a str,
        between: &'a str,
        end: &'a str,
    }
    impl SampleSink for Lines<'_> {
        fn family(&mut self, _name: &str, _family: Family) -> bool {
            true
        }
        fn sample(&mut self, name: &str, labels: &[String], values: &[Box<str>], sample: &Sample) {
            self.out.push_str(self.prefix);
            write_series(self.out, name, labels, values, sample);
            self.out.push_str(self.between);
            write_number(self.out, &sample.value);
            self.out.push_str(self.end);
        }
    }
    visit_all(&mut Lines { out, prefix, between, end });
}

/// Appends `<name><suffix>{<label>="<value>",…}`.
pub(crate) fn write_series(
    out: &mut String,
    name: &str,
    labels: &[String],
    values: &[Box<str>],
    sample: &Sample,
) {
    out.push_str(name);
    out.push_str(sample.suffix);
    let mut before = '{';
    for (label, value) in labels.iter().zip(values) {
        out.push(before);
        out.push_str(label);
        out.push_str("=\"");
        write_label_value(out, value);
        out.push('"');
        before = ',';
    }
    if let Some(quantile) = sample.quantile {
        let _ = write!(out, "{before}quantile=\"{quantile}\"");
    }
    out.push('}');
}

/// Appends the value of a label: `\`, `"` and line feeds escaped, as the Prometheus text format wants it.
pub(crate) fn write_label_value(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

/// Appends a number as the Prometheus text format wants it; nothing for text.
pub(crate) fn write_number(out: &mut String, value: &Value) {
    // Writing to a `String` does not fail.
    let _ = match value {
        Value::Float(number) if number.is_nan() => out.write_str("NaN"),
        Value::Float(number) if number.is_infinite() => {
            out.write_str(if *number > 0.0 { "+Inf" } else { "-Inf" })
        }
        number if number.is_number() => write!(out, "{number}"),
        _ => Ok(()),
    };
}
