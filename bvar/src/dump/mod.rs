//! All exposed variables as text: to a function, and to files again and again.
//!
//! Source: `spec/bvar.md` §10. Must never hold a lock of the registry while a variable describes itself.

mod files;
mod flags;
mod thread;

pub use files::{MAX_TABS, app_name, dump_to_files};

pub(crate) use flags::{DUMP_INTERVAL, FLAGS};

use crate::registry;
use crate::variable::{DisplayFilter, Variable};
use crate::wildcard::{ListTooLong, Wildcards};
use std::fmt;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Which variables are dumped, and how.
#[derive(Clone, Debug)]
pub struct DumpOptions {
    /// Text is written within double quotes, escaped as in JSON. Default: true.
    pub quote_string: bool,
    /// The character that stands for any one in the lists. Default: `?`.
    pub question_mark: char,
    /// For which kind of reader. Default: plain text.
    pub display_filter: DisplayFilter,
    /// Names and wildcards of what is dumped; empty: everything. Default: empty.
    pub white_wildcards: String,
    /// Names and wildcards of what is not dumped even so. Default: empty.
    pub black_wildcards: String,
}

impl Default for DumpOptions {
    fn default() -> Self {
        DumpOptions {
            quote_string: true,
            question_mark: '?',
            display_filter: DisplayFilter::Text,
            white_wildcards: String::new(),
            black_wildcards: String::new(),
        }
    }
}

/// Why a dump did not reach its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DumpError {
    /// The dumper broke off.
    Stopped,
    /// A list of wildcards cannot be used.
    Wildcards(ListTooLong),
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DumpError::Stopped => write!(f, "the dump was broken off"),
            DumpError::Wildcards(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DumpError {}

/// Gives name and description of the exposed variables to `dumper`, sorted by name, until it breaks, and
/// returns how many there were.
///
/// A list of plain names is looked up name by name; with a wildcard in it all variables are looked over. A
/// variable that panics or fails when it describes itself is left out. Variables exposed or hidden meanwhile
/// may be in it or not.
///
/// ```
/// use bvar::dump::{DumpOptions, dump_exposed};
/// use bvar::{Adder, Variable};
///
/// let hits = Adder::<i64>::new().expose("dump_example_hits")?;
/// let options = DumpOptions { white_wildcards: "dump_example_*".into(), ..DumpOptions::default() };
/// let mut lines = Vec::new();
/// let count = dump_exposed(&options, |name, text| {
///     lines.push(format!("{name} : {text}"));
///     std::ops::ControlFlow::Continue(())
/// });
/// assert_eq!((count, lines), (Ok(1), vec!["dump_example_hits : 0".to_owned()]));
/// # Ok::<(), bvar::ExposeError>(())
/// ```
///
/// # Errors
/// If `dumper` broke off, or a list is longer than [`MAX_LIST_LEN`](crate::wildcard::MAX_LIST_LEN).
///
/// *Blocking:* as the variables' descriptions and `dumper` do.
pub fn dump_exposed(
    options: &DumpOptions,
    mut dumper: impl FnMut(&str, &str) -> ControlFlow<()>,
) -> Result<usize, DumpError> {
    let list = |list: &str| Wildcards::new(list, options.question_mark).map_err(DumpError::Wildcards);
    let (white, black) = (list(&options.white_wildcards)?, list(&options.black_wildcards)?);
    let mut text = String::new();
    let mut count = 0;
    let mut dump = |name: &str, variable: &dyn Variable| {
        if !described(variable, &mut text, options.quote_string) {
            return ControlFlow::Continue(());
        }
        count += 1;
        dumper(name, &text)
    };
    let flow = if let Some(names) = white.exact_names().filter(|_| !white.is_empty()) {
        let mut names = names.filter(|name| !black.matches(name));
        names.try_for_each(|name| match (registry::find(name), registry::display_of(name)) {
            (Some(variable), Some(shown)) if shown.shows_to(options.display_filter) => dump(name, &*variable),
            _ => ControlFlow::Continue(()),
        })
    } else {
        let wanted = |name: &str| (white.is_empty() || white.matches(name)) && !black.matches(name);
        registry::for_each(options.display_filter, |name, variable| {
            if wanted(name) { dump(name, variable) } else { ControlFlow::Continue(()) }
        })
    };
    if flow.is_break() { Err(DumpError::Stopped) } else { Ok(count) }
}

/// Replaces `text` by the variable's description; false if it panicked or failed.
fn described(variable: &dyn Variable, text: &mut String, quotes: bool) -> bool {
    text.clear();
    // After a panic nothing is used but that it happened.
    matches!(catch_unwind(AssertUnwindSafe(|| variable.describe(text, quotes))), Ok(Ok(())))
}
