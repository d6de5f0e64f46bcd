//! What every variable can do: tell its value and describe itself as text.
//!
//! Owns no state and must never know a concrete type of variable.

use crate::registry::{self, ExposeError, Exposed};
use std::fmt;

/// Something whose value can be read at any time, from any thread.
pub trait Variable: Send + Sync {
    /// The present value.
    ///
    /// *Blocking:* at most the thread, for the time of a short internal lock, unless the variable runs
    /// code of its owner ([`PassiveStatus`](crate::PassiveStatus)), which may do what it likes: it is
    /// called outside every lock of this crate.
    fn value(&self) -> Value;

    /// Writes the present value as the one line of text that the debug pages and the dump show.
    ///
    /// # Errors
    /// What `out` returned.
    ///
    /// *Blocking:* as [`value`](Variable::value), and as `out` does.
    fn describe(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "{}", self.value())
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
    /// Anything else.
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Int(n) => n.fmt(f),
            Value::Uint(n) => n.fmt(f),
            Value::Float(n) => n.fmt(f),
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

#[cfg(test)]
mod tests {
    use super::*;

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
