//! The types of flags, and how each is kept.
//!
//! A number is kept as its bits XORed with those of the default: an untouched cell, 0, is the default, which
//! makes a flag a constant expression for every type, and reading it one load.

use super::text;
use crate::variable::Value;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

pub(super) mod sealed {
    /// How a value is kept, read and written.
    pub trait Stored: Sized {
        /// The type of the default in the flag's definition.
        type Const: Copy + Send + Sync + 'static;
        /// Where the present value is kept.
        type Cell: Send + Sync + 'static;
        const UNTOUCHED: Self::Cell;
        const TYPE_NAME: &'static str;
        fn owned(default: Self::Const) -> Self;
        fn load(cell: &Self::Cell, default: Self::Const) -> Self;
        fn store(cell: &Self::Cell, default: Self::Const, value: Self);
        fn is_default(cell: &Self::Cell, default: Self::Const) -> bool;
        fn parse(text: &str) -> Result<Self, &'static str>;
        fn text(&self) -> String;
        /// Whether the value is within the bounds that hold for all flags of its type.
        fn fits(&self) -> bool;
    }
}

/// The type of a [`Flag`](super::Flag): `bool`, `i32`, `i64`, `u64`, `f64` or `String`.
pub trait FlagValue: sealed::Stored + Into<Value> + Send + Sync + 'static {}

/// Words that fit in 64 bits.
macro_rules! word_flags {
    ($($word:ty, $name:literal, $parse:path, |$value:ident| $into:expr, |$bits:ident| $from:expr, $fits:expr;)+) => {$(
        impl FlagValue for $word {}

        impl sealed::Stored for $word {
            type Const = $word;
            type Cell = AtomicU64;
            #[allow(clippy::declare_interior_mutable_const, reason = "the first value of each cell")]
            const UNTOUCHED: AtomicU64 = AtomicU64::new(0);
            const TYPE_NAME: &'static str = $name;

            fn owned(default: $word) -> $word {
                default
            }

            #[inline(always)]
            fn load(cell: &AtomicU64, default: $word) -> $word {
                let $value = default;
                // Relaxed: a flag is a value of its own and publishes nothing else.
                let $bits = cell.load(Relaxed) ^ $into;
                $from
            }

            fn store(cell: &AtomicU64, default: $word, value: $word) {
                let into = |$value: $word| -> u64 { $into };
                // Relaxed: as in `load`.
                cell.store(into(value) ^ into(default), Relaxed);
            }

            fn is_default(cell: &AtomicU64, _default: $word) -> bool {
                // Relaxed: as in `load`.
                cell.load(Relaxed) == 0
            }

            fn parse(text: &str) -> Result<$word, &'static str> {
                $parse(text)
            }

            fn text(&self) -> String {
                self.to_string()
            }

            fn fits(&self) -> bool {
                let fits: fn(&$word) -> bool = $fits;
                fits(self)
            }
        }
    )+};
}

word_flags! {
    bool, "bool", text::parse_bool, |value| u64::from(value), |bits| bits != 0, |_| true;
    i32, "int32", text::parse_i32, |value| value as u64, |bits| bits as i32, |_| true;
    i64, "int64", text::parse_i64, |value| value as u64, |bits| bits as i64, |_| true;
    u64, "uint64", text::parse_u64, |value| value, |bits| bits, |_| true;
    f64, "double", text::parse_f64, |value| value.to_bits(), |bits| f64::from_bits(bits), |value| value.is_finite();
}

impl FlagValue for String {}

impl sealed::Stored for String {
    type Const = &'static str;
    type Cell = RwLock<Option<Arc<str>>>;
    #[allow(clippy::declare_interior_mutable_const, reason = "the first value of each cell")]
    const UNTOUCHED: Self::Cell = RwLock::new(None);
    const TYPE_NAME: &'static str = "string";

    fn owned(default: &'static str) -> String {
        default.to_owned()
    }

    fn load(cell: &Self::Cell, default: &'static str) -> String {
        let set = cell.read().unwrap_or_else(PoisonError::into_inner).clone();
        set.as_deref().unwrap_or(default).to_owned()
    }

    fn store(cell: &Self::Cell, _default: &'static str, value: String) {
        let new = Some(value.into());
        let old = std::mem::replace(&mut *cell.write().unwrap_or_else(PoisonError::into_inner), new);
        drop(old);
    }

    fn is_default(cell: &Self::Cell, default: &'static str) -> bool {
        cell.read().unwrap_or_else(PoisonError::into_inner).as_deref().is_none_or(|set| set == default)
    }

    fn parse(text: &str) -> Result<String, &'static str> {
        text::parse_string(text)
    }

    fn text(&self) -> String {
        self.clone()
    }

    fn fits(&self) -> bool {
        self.len() <= text::MAX_TEXT_LEN
    }
}
