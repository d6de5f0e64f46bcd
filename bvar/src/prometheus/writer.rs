//! The lines of the two formats. Knows no variable.

use super::Format;
use crate::multi::{write_label_value, write_number};
use crate::variable::Value;
use std::fmt::Write;

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Counter,
    Gauge,
    Summary,
    Histogram,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Summary => "summary",
            Type::Histogram => "histogram",
        }
    }
}

pub(super) struct Writer<'a> {
    out: &'a mut String,
    format: Format,
    /// The type of the family that is being written.
    current: Type,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut String, format: Format) -> Self {
        Writer { out, format, current: Type::Gauge }
    }

    /// A name as both formats want it: that of a variable, with a `_` before a digit.
    fn name(&mut self, name: &str) {
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            self.out.push('_');
        }
        self.out.push_str(name);
    }

    /// What samples of a counter end in, where the format asks for it.
    fn is_total(&self) -> bool {
        self.format == Format::OpenMetrics && self.current == Type::Counter
    }

    /// The lines that introduce a family.
    pub(super) fn family(&mut self, name: &str, kind: Type) {
        self.current = kind;
        let family = if self.is_total() { name.strip_suffix("_total").unwrap_or(name) } else { name };
        self.out.push_str("# HELP ");
        self.name(family);
        // Names are without anything to escape.
        self.out.push_str(" The variable ");
        self.out.push_str(name);
        self.out.push_str("\n# TYPE ");
        self.name(family);
        self.out.push(' ');
        self.out.push_str(kind.name());
        self.out.push('\n');
    }

    /// A family of one sample.
    pub(super) fn plain(&mut self, name: &str, kind: Type, number: &Value) {
        self.family(name, kind);
        self.sample(name, "", number);
    }

    /// A sample without labels.
    pub(super) fn sample(&mut self, name: &str, suffix: &str, number: &Value) {
        self.sample_name(name, suffix);
        self.number(number);
    }

    /// A sample with one label.
    pub(super) fn labelled(&mut self, name: &str, suffix: &str, label: &str, text: &str, number: &Value) {
        self.sample_name(name, suffix);
        self.out.push('{');
        self.out.push_str(label);
        self.out.push_str("=\"");
        write_label_value(self.out, text);
        self.out.push_str("\"}");
        self.number(number);
    }

    /// A sample whose name and labels `write` writes.
    pub(super) fn series(&mut self, number: &Value, write: impl FnOnce(&mut String)) {
        let start = self.out.len();
        write(self.out);
        if self.is_total() {
            let name_end = self.out[start..].find('{').map_or(self.out.len(), |at| start + at);
            if !self.out[start..name_end].ends_with("_total") {
                self.out.insert_str(name_end, "_total");
            }
        }
        if self.out[start..].starts_with(|c: char| c.is_ascii_digit()) {
            self.out.insert(start, '_');
        }
        self.number(number);
    }

    /// The values of a histogram up to `bound`, or all of them.
    pub(super) fn bucket(&mut self, name: &str, bound: Option<u64>, count: u64) {
        self.sample_name(name, "_bucket");
        // Writing to a `String` does not fail.
        let _ = match (bound, self.format) {
            (None, _) => write!(self.out, "{{le=\"+Inf\"}}"),
            (Some(bound), Format::Text) => write!(self.out, "{{le=\"{bound}\"}}"),
            (Some(bound), Format::OpenMetrics) => write!(self.out, "{{le=\"{bound}.0\"}}"),
        };
        self.number(&count.into());
    }

    pub(super) fn end(&mut self) {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
    }

    fn sample_name(&mut self, name: &str, suffix: &str) {
        self.name(name);
        self.out.push_str(suffix);
        if self.is_total() && !name.ends_with("_total") {
            self.out.push_str("_total");
        }
    }

    fn number(&mut self, number: &Value) {
        self.out.push(' ');
        write_number(self.out, number);
        self.out.push('\n');
    }
}
