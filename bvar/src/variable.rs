//! What every variable can do: tell its value, describe itself as text, and say how it wants to be shown.
//!
//! Owns no state. Knows no concrete type of variable but the latency recorder, whose eleven variables
//! exporters must be able to put together again.

use crate::latency::LatencyFigure;
use crate::percentile::Distribution;
use crate::registry::{self, ExposeError, Exposed};
use std::fmt;

/// Something whose value can be read at any time, from any thread.
///
/// Only [`value`](Variable::value) has to be written; the rest says how the debug pages, the dump and the
/// metrics page treat it.
pub trait Variable: Send + Sync {
    /// The present value.
    ///
    /// *Blocking:* at most the thread, for the time of a short internal lock, unless the variable runs
    /// code of its owner ([`PassiveStatus`](crate::PassiveStatus)), which may do what it likes: it is
    /// called outside every lock of this crate.
    fn value(&self) -> Value;

    /// Writes the present value as the one line of text that the debug pages and the dump show. With
    /// `quotes`, text and vectors are written within double quotes, with `"`, `\` and control characters
    /// in them escaped as in JSON, so that a line of a dump can be told apart from a number.
    ///
    /// # Errors
    /// What `out` returned.
    ///
    /// *Blocking:* as [`value`](Variable::value), and as `out` does.
    fn describe(&self, out: &mut dyn fmt::Write, quotes: bool) -> fmt::Result {
        let value = self.value();
        if quotes { write!(out, "{}", value.quoted()) } else { write!(out, "{value}") }
    }

    /// Whether a number only grows ([`Kind::Counter`]) or goes up and down. Of no meaning for text.
    ///
    /// *Blocking:* no.
    fn kind(&self) -> Kind {
        Kind::Gauge
    }

    /// Where the variable is shown, unless [`expose_filtered`](crate::expose_filtered) says otherwise.
    ///
    /// *Blocking:* no.
    fn display(&self) -> DisplayFilter {
        DisplayFilter::All
    }

    /// Whether the history of an exposed variable is kept for charts, and how values of many seconds become
    /// one of a minute. Text is never kept, whatever this returns.
    ///
    /// *Blocking:* no.
    fn trend(&self) -> Trend {
        Trend::None
    }

    /// What the history gets once a second; for a value over a window that is the value of the last second,
    /// so that peaks stay.
    ///
    /// *Blocking:* as [`value`](Variable::value).
    fn trend_value(&self) -> Value {
        self.value()
    }

    /// Names of the elements of a vector, for the legends of charts; empty if they have none.
    ///
    /// *Blocking:* no.
    fn element_names(&self) -> Vec<String> {
        Vec::new()
    }

    /// A chart that is not a history, as a JSON object `{"label":…,"data":[[x,y],…]}`, made when asked for.
    /// [`series`](crate::series) returns it instead of a history.
    ///
    /// *Blocking:* as [`value`](Variable::value).
    fn plot(&self) -> Option<String> {
        None
    }

    /// How the values that the variable has counted are distributed, if that is what it counts: an exporter
    /// makes a histogram of it.
    ///
    /// *Blocking:* as [`value`](Variable::value).
    fn distribution(&self) -> Option<Distribution> {
        None
    }

    /// The recorder that this variable is one figure of: an exporter makes one summary of them all.
    ///
    /// *Blocking:* no.
    fn latency_figure(&self) -> Option<LatencyFigure<'_>> {
        None
    }

    /// Makes the variable visible under `name`, normalised by [`normalize_name`](crate::normalize_name),
    /// until the returned [`Exposed`] is dropped.
    ///
    /// # Errors
    /// As [`expose`](crate::expose). The variable is dropped; call [`expose`](crate::expose) with an
    /// `Arc` of it to keep it.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    fn expose(self, name: &str) -> Result<Exposed<Self>, ExposeError>
    where
        Self: Sized + 'static,
    {
        registry::expose(name, self.into())
    }

    /// Like [`expose`](Variable::expose) under `prefix` and `name`, joined by one `_`.
    ///
    /// # Errors
    /// As [`expose`](Variable::expose).
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    fn expose_as(self, prefix: &str, name: &str) -> Result<Exposed<Self>, ExposeError>
    where
        Self: Sized + 'static,
    {
        registry::expose_as(prefix, name, self.into())
    }
}

/// What may be concluded from two values of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, from 0: a rate can be computed from any two values.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// Where an exposed variable is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisplayFilter {
    /// On pages for browsers only.
    Html,
    /// In plain text only: dumps, metrics pages, `curl`.
    Text,
    /// Everywhere.
    All,
}

impl DisplayFilter {
    /// Whether a variable with this filter is shown to a reader who wants `wanted` ([`All`]: everything).
    ///
    /// *Blocking:* no.
    ///
    /// [`All`]: DisplayFilter::All
    pub fn shows_to(self, wanted: DisplayFilter) -> bool {
        self == DisplayFilter::All || wanted == DisplayFilter::All || self == wanted
    }
}

/// How the values of the history of a variable become one value of a longer time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trend {
    /// No history is kept.
    None,
    /// Their average.
    Average,
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

/// The value of a [`Variable`]: numbers stay numbers, so that a metrics page can tell them from text.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// A floating-point number.
    Float(f64),
    /// Numbers that belong together, shown as `[a,b]`.
    Vector(Vec<Value>),
    /// Anything else.
    Text(String),
}

impl Value {
    /// The value as a number, if it is one. Integers beyond 2^53 are rounded.
    ///
    /// *Blocking:* no.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Int(n) => Some(*n as f64),
            Value::Uint(n) => Some(*n as f64),
            Value::Float(n) => Some(*n),
            Value::Vector(_) | Value::Text(_) => None,
        }
    }

    /// Whether it is one number.
    ///
    /// *Blocking:* no.
    pub fn is_number(&self) -> bool {
        self.as_f64().is_some()
    }

    /// The value as text in which anything but a number is within double quotes, escaped as in JSON.
    ///
    /// ```
    /// use bvar::Value;
    /// assert_eq!(Value::from("a \"b\"").quoted().to_string(), r#""a \"b\"""#);
    /// assert_eq!(Value::from([1i64, 2]).quoted().to_string(), r#""[1,2]""#);
    /// assert_eq!(Value::from(7i64).quoted().to_string(), "7");
    /// ```
    ///
    /// *Blocking:* no.
    pub fn quoted(&self) -> impl fmt::Display + '_ {
        Quoted(self)
    }
}

struct Quoted<'a>(&'a Value);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Text(text) => write_json_string(f, text),
            Value::Vector(_) => write!(f, "\"{}\"", self.0),
            number => number.fmt(f),
        }
    }
}

/// Writes `text` as a JSON string.
pub(crate) fn write_json_string(out: &mut dyn fmt::Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            c if c < ' ' => write!(out, "\\u{:04x}", c as u32)?,
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Int(n) => n.fmt(f),
            Value::Uint(n) => n.fmt(f),
            Value::Float(n) => n.fmt(f),
            Value::Vector(elements) => {
                f.write_str("[")?;
                for (i, element) in elements.iter().enumerate() {
                    if i > 0 {
                        f.write_str(",")?;
                    }
                    element.fmt(f)?;
                }
                f.write_str("]")
            }
            Value::Text(text) => text.fmt(f),
        }
    }
}

macro_rules! value_from {
    ($($from:ty => $variant:ident($into:ty)),+ $(,)?) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Value::$variant(<$into>::from(value))
            }
        }
    )+};
}

value_from! {
    i32 => Int(i64), i64 => Int(i64), bool => Int(i64), u32 => Uint(u64), u64 => Uint(u64),
    f64 => Float(f64), &str => Text(String), String => Text(String),
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Value::Uint(value as u64)
    }
}

impl<T: Into<Value>, const N: usize> From<[T; N]> for Value {
    fn from(elements: [T; N]) -> Self {
        Value::Vector(elements.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(elements: Vec<T>) -> Self {
        Value::Vector(elements.into_iter().map(Into::into).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_and_quotes() {
        let vector = Value::from([1.5, 2.0]);
        assert_eq!(
            (vector.to_string(), vector.quoted().to_string()),
            ("[1.5,2]".into(), "\"[1.5,2]\"".into())
        );
        assert_eq!(Value::from(Vec::<i64>::new()).to_string(), "[]");
        assert_eq!(Value::from("a\"\\\n\x01").quoted().to_string(), r#""a\"\\\n\u0001""#);
        assert_eq!(Value::from(-1i64).quoted().to_string(), "-1");
        assert_eq!((vector.as_f64(), Value::from(3u64).as_f64()), (None, Some(3.0)));
    }

    #[test]
    fn filters() {
        use DisplayFilter::{All, Html, Text};
        let shown = |filter: DisplayFilter| [Html, Text, All].map(|wanted| filter.shows_to(wanted));
        assert_eq!([Html, Text, All].map(shown), [[true, false, true], [false, true, true], [true; 3]]);
    }

    #[test]
    fn values_print_as_plain_text() {
        let values: [Value; 7] = [
            (-3i64).into(),
            u64::MAX.into(),
            0.25.into(),
            2.0.into(),
            true.into(),
            "a b".into(),
            7usize.into(),
        ];
        let text: Vec<String> = values.iter().map(Value::to_string).collect();
        assert_eq!(text, ["-3", "18446744073709551615", "0.25", "2", "1", "a b", "7"]);
    }
}
