//! A flag as a variable: its value among the others, on the page and in the dump.

use super::{AnyFlag, registry};
use crate::variable::{Value, Variable};
use std::fmt;

/// A [`Variable`] whose value is that of a flag. A `bool` is written `true` or `false` and counts as 1 or 0
/// where numbers are wanted.
///
/// ```
/// use bvar::Variable;
/// use bvar::flag::{Flag, FlagVariable};
///
/// static BATCH: Flag<i64> = Flag::new("example_batch", 32, "Items written at once");
/// let shown = FlagVariable::new(&BATCH).expose("example_batch")?;
/// assert_eq!(bvar::describe("example_batch").as_deref(), Some("32"));
/// # Ok::<(), bvar::ExposeError>(())
/// ```
pub struct FlagVariable {
    flag: &'static dyn AnyFlag,
}

impl FlagVariable {
    /// The variable of this flag.
    pub fn new(flag: &'static dyn AnyFlag) -> Self {
        FlagVariable { flag }
    }

    /// The variable of the registered flag of this name.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    pub fn find(name: &str) -> Option<Self> {
        registry::find(name).map(Self::new)
    }
}

impl Variable for FlagVariable {
    fn value(&self) -> Value {
        self.flag.value()
    }

    fn describe(&self, out: &mut dyn fmt::Write, quotes: bool) -> fmt::Result {
        match self.flag.value() {
            text @ Value::Text(_) if quotes => write!(out, "{}", text.quoted()),
            _ => out.write_str(&self.flag.value_text()),
        }
    }
}

impl fmt::Debug for FlagVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FlagVariable({})", self.flag.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flag::{Flag, register};

    #[test]
    fn a_flag_shows_as_a_variable() {
        static QUIET: Flag<bool> = Flag::new("flag_variable_test_quiet", false, "");
        register(&[&QUIET]);
        assert!(FlagVariable::find("flag_variable_test_other").is_none());
        let quiet = FlagVariable::find("flag_variable_test_quiet").unwrap();
        let shown = quiet.expose("flag_variable_test_quiet").unwrap();
        assert_eq!(crate::describe(shown.name()).as_deref(), Some("false"));
        QUIET.set(true).unwrap();
        assert_eq!((crate::describe(shown.name()).as_deref(), shown.value()), (Some("true"), Value::Int(1)));
    }
}
