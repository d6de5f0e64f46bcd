//! Flags: named settings of the whole process, read in a load, changed by the command line, by the program
//! and, where a flag allows it, while the program runs.
//!
//! A flag is a `static`. It can be read and set as it is; [`register`] makes it visible to [`find`], to the
//! command line ([`parse_args`]) and to the page of flags. Nothing registers itself before `main`.
//!
//! ```
//! use bvar::flag::{self, Flag};
//!
//! static MAX_ITEMS: Flag<i64> =
//!     Flag::new("example_max_items", 100, "Items in one answer, at most").validated(|items| *items > 0);
//!
//! flag::register(&[&MAX_ITEMS]);
//! let rest = flag::parse_args(["-example_max_items=50", "input.txt"])?;
//! assert_eq!((MAX_ITEMS.get(), rest), (50, vec!["input.txt".to_owned()]));
//! assert!(flag::set("example_max_items", "-3").is_err());
//! # Ok::<(), flag::ArgsError>(())
//! ```
//!
//! Source: `spec/builtin-services.md` §7 and §16; the forms of values and arguments are those of gflags.
//!
//! Must never run a flag's check or its `on_change` under a lock.

mod args;
pub(crate) mod own;
mod registry;
mod text;
mod value;
mod variable;

pub use args::{ArgsError, MAX_FLAG_FILE_BYTES, MAX_FLAG_FILE_DEPTH, parse_args};
pub use registry::{MAX_FLAGS, all, find, register, set};
pub use text::MAX_TEXT_LEN;
pub use value::FlagValue;
pub use variable::FlagVariable;

use crate::variable::Value;
use std::fmt;
use std::panic::Location;

/// A setting of the process, with a name, a default and a description.
pub struct Flag<T: FlagValue> {
    name: &'static str,
    description: &'static str,
    default: T::Const,
    cell: T::Cell,
    reload: Reload<T>,
    is_for_start: bool,
    on_change: Option<fn()>,
    defined_at: &'static Location<'static>,
}

/// Which values a flag takes while the process runs.
enum Reload<T> {
    None,
    Any,
    Checked(fn(&T) -> bool),
}

impl<T: FlagValue> Flag<T> {
    /// A flag that can be set at the start of the process only: by the command line and by
    /// [`set`](Flag::set), not by [`AnyFlag::set_text`].
    #[track_caller]
    pub const fn new(name: &'static str, default: T::Const, description: &'static str) -> Self {
        Flag {
            name,
            description,
            default,
            cell: T::UNTOUCHED,
            reload: Reload::None,
            is_for_start: false,
            on_change: None,
            defined_at: Location::caller(),
        }
    }

    /// The flag may be set while the process runs, to any value of its type.
    pub const fn reloadable(mut self) -> Self {
        self.reload = Reload::Any;
        self
    }

    /// The flag may be set while the process runs, and never to a value that `check` does not accept.
    ///
    /// `check` runs in the thread that sets the flag, outside every lock.
    pub const fn validated(mut self, check: fn(&T) -> bool) -> Self {
        self.reload = Reload::Checked(check);
        self
    }

    /// The flag can be set at the start of the process and by the program only, whatever was said of it before: for what
    /// nobody should decide who can merely reach a debug page, such as where files are written. Its check stays.
    pub const fn only_at_start(mut self) -> Self {
        self.is_for_start = true;
        self
    }

    /// `changed` is called after each change of the flag, in the thread that set it, outside every lock: for
    /// what must be told of a new value because it does not read the flag by itself.
    pub const fn on_change(mut self, changed: fn()) -> Self {
        self.on_change = Some(changed);
        self
    }

    /// The present value.
    ///
    /// *Blocking:* no; for a text flag the thread, for the time of a short internal lock.
    #[inline]
    pub fn get(&self) -> T {
        T::load(&self.cell, self.default)
    }

    /// Sets the flag, also one that is not reloadable.
    ///
    /// # Errors
    /// [`SetError::Invalid`] if the flag's check refuses the value or a text is longer than
    /// [`MAX_TEXT_LEN`]; the flag keeps its value then.
    ///
    /// *Blocking:* as the flag's check and `on_change` do; else as [`get`](Flag::get).
    pub fn set(&self, value: T) -> Result<(), SetError> {
        self.check(&value)?;
        T::store(&self.cell, self.default, value);
        if let Some(changed) = self.on_change {
            changed();
        }
        Ok(())
    }

    /// The flag's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    fn check(&self, value: &T) -> Result<(), SetError> {
        if !value.fits() {
            return Err(SetError::Invalid { name: self.name, why: text::TOO_LONG });
        }
        match self.reload {
            Reload::Checked(check) if !check(value) => {
                Err(SetError::Invalid { name: self.name, why: "the flag does not accept this value" })
            }
            _ => Ok(()),
        }
    }

    fn parse(&self, text: &str) -> Result<T, SetError> {
        let value = T::parse(text).map_err(|why| SetError::Invalid { name: self.name, why })?;
        self.check(&value).map(|()| value)
    }
}

impl<T: FlagValue> fmt::Debug for Flag<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flag({} = {:?})", self.name, self.value_text())
    }
}

/// A [`Flag`] of any type, as the command line and the page of flags see it.
pub trait AnyFlag: Send + Sync {
    /// The flag's name.
    fn name(&self) -> &'static str;
    /// What the flag is for, in a sentence.
    fn description(&self) -> &'static str;
    /// `bool`, `int32`, `int64`, `uint64`, `double` or `string`.
    fn type_name(&self) -> &'static str;
    /// The default, as it would be written on a command line.
    fn default_text(&self) -> String;
    /// The present value, as it would be written on a command line. *Blocking:* as [`Flag::get`].
    fn value_text(&self) -> String;
    /// The present value; a `bool` is 0 or 1. *Blocking:* as [`Flag::get`].
    fn value(&self) -> Value;
    /// Whether the value is the default. *Blocking:* as [`Flag::get`].
    fn is_default(&self) -> bool;
    /// Whether the flag may be set while the process runs.
    fn is_reloadable(&self) -> bool;
    /// The source file that defines the flag.
    fn defined_at(&self) -> &'static str;

    /// Sets the flag of a running process.
    ///
    /// # Errors
    /// [`SetError::NotReloadable`], and [`SetError::Invalid`] if `text` is not a value of the flag's type or
    /// the flag does not accept it.
    ///
    /// *Blocking:* as [`Flag::set`].
    fn set_text(&self, text: &str) -> Result<(), SetError>;

    /// Sets the flag at the start of the process, also one that is not reloadable.
    ///
    /// # Errors
    /// [`SetError::Invalid`] as [`set_text`](AnyFlag::set_text).
    ///
    /// *Blocking:* as [`Flag::set`].
    fn set_text_at_start(&self, text: &str) -> Result<(), SetError>;

    /// Whether [`set_text_at_start`](AnyFlag::set_text_at_start) would take `text`; changes nothing.
    ///
    /// # Errors
    /// As [`set_text_at_start`](AnyFlag::set_text_at_start).
    ///
    /// *Blocking:* as the flag's check does.
    fn check_text(&self, text: &str) -> Result<(), SetError>;
}

impl<T: FlagValue> AnyFlag for Flag<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn description(&self) -> &'static str {
        self.description
    }

    fn type_name(&self) -> &'static str {
        T::TYPE_NAME
    }

    fn default_text(&self) -> String {
        T::owned(self.default).text()
    }

    fn value_text(&self) -> String {
        self.get().text()
    }

    fn value(&self) -> Value {
        self.get().into()
    }

    fn is_default(&self) -> bool {
        T::is_default(&self.cell, self.default)
    }

    fn is_reloadable(&self) -> bool {
        !self.is_for_start && !matches!(self.reload, Reload::None)
    }

    fn defined_at(&self) -> &'static str {
        self.defined_at.file()
    }

    fn set_text(&self, text: &str) -> Result<(), SetError> {
        if !self.is_reloadable() {
            return Err(SetError::NotReloadable(self.name));
        }
        self.set_text_at_start(text)
    }

    fn set_text_at_start(&self, text: &str) -> Result<(), SetError> {
        // `set` checks again, so that one door alone leads to the cell.
        T::parse(text)
            .map_err(|why| SetError::Invalid { name: self.name, why })
            .and_then(|value| self.set(value))
    }

    fn check_text(&self, text: &str) -> Result<(), SetError> {
        self.parse(text).map(drop)
    }
}

/// Why a flag was not set. It keeps its value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetError {
    /// No flag of this name is registered.
    Unknown(String),
    /// This flag cannot be set while the process runs.
    NotReloadable(&'static str),
    /// The value is not one of the flag's type, or the flag does not accept it.
    Invalid {
        /// The flag's name.
        name: &'static str,
        /// What is wrong.
        why: &'static str,
    },
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetError::Unknown(name) => write!(f, "there is no flag named {name}"),
            SetError::NotReloadable(name) => {
                write!(f, "{name} cannot be set while the process runs")
            }
            SetError::Invalid { name, why } => write!(f, "cannot set {name}: {why}"),
        }
    }
}

impl std::error::Error for SetError {}
