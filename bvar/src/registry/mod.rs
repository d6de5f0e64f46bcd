//! The variables that can be found by name.
//!
//! Owns the process-wide map from names to variables. Must never call a variable while its lock is held:
//! a description may run code of the user, which may expose, hide or describe variables itself.

use crate::name::{self, MAX_NAME_LEN};
use crate::sampler::Sampler;
use crate::series::{self, History};
use crate::variable::{DisplayFilter, Trend, Variable};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;
use std::fmt;
use std::ops::{Bound, ControlFlow, Deref};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The most variables that can be exposed at one time.
pub const MAX_EXPOSED: usize = 1 << 20;

/// Why a variable could not be exposed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExposeError {
    /// Nothing is left of the name once it is normalised.
    EmptyName,
    /// The normalised name is longer than [`MAX_NAME_LEN`].
    NameTooLong,
    /// Another variable has this (normalised) name; it keeps it.
    Duplicate(String),
    /// [`MAX_EXPOSED`] variables are exposed already, or as many variables with labels as the flag
    /// `bvar_max_multi_dimension_metric_number` says.
    TooMany,
}

impl fmt::Display for ExposeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExposeError::EmptyName => write!(f, "the name of a variable is empty"),
            ExposeError::NameTooLong => {
                write!(f, "the name of a variable is longer than {MAX_NAME_LEN} bytes")
            }
            ExposeError::Duplicate(name) => write!(f, "a variable named {name} is exposed already"),
            ExposeError::TooMany => write!(f, "too many variables are exposed already"),
        }
    }
}

impl std::error::Error for ExposeError {}

/// An exposed variable.
struct Entry {
    name: Box<str>,
    variable: Arc<dyn Variable>,
    display: DisplayFilter,
    history: History,
}

type Names = BTreeMap<Box<str>, Arc<Entry>>;

/// Names that are looked up under one lock when all are gone through.
const BATCH: usize = 256;

static NAMES: RwLock<Names> = RwLock::new(BTreeMap::new());

/// Nothing that can panic runs under the lock, so a poisoned map is a whole one.
fn read() -> RwLockReadGuard<'static, Names> {
    NAMES.read().unwrap_or_else(PoisonError::into_inner)
}

fn write() -> RwLockWriteGuard<'static, Names> {
    NAMES.write().unwrap_or_else(PoisonError::into_inner)
}

/// A variable that can be found by name as long as this lives; dereferences to the variable.
///
/// Dropping it hides the variable. A description that another thread began before may still end after.
pub struct Exposed<V> {
    variable: Arc<V>,
    name: String,
}

impl<V> Exposed<V> {
    /// The normalised name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The variable.
    pub fn variable(&self) -> &Arc<V> {
        &self.variable
    }

    /// Hides the variable and returns it.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    pub fn hide(self) -> Arc<V> {
        self.variable.clone()
    }
}

impl<V> Deref for Exposed<V> {
    type Target = V;

    #[inline]
    fn deref(&self) -> &V {
        &self.variable
    }
}

impl<V> Drop for Exposed<V> {
    fn drop(&mut self) {
        // The map's reference goes first and outside the lock; the last one runs the variable's own drop.
        let hidden = write().remove(&*self.name);
        drop(hidden);
    }
}

impl<V: fmt::Debug> fmt::Debug for Exposed<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exposed").field("name", &self.name).field("variable", &self.variable).finish()
    }
}

/// Makes `variable` visible under `name`, normalised by [`normalize_name`](crate::normalize_name), until
/// the returned [`Exposed`] is dropped. See also [`Variable::expose`], which takes the variable itself.
///
/// # Errors
/// If nothing is left of the name, if it is longer than [`MAX_NAME_LEN`], if another variable has it, or if
/// [`MAX_EXPOSED`] variables are exposed.
///
/// *Blocking:* the thread, for the time of a short internal lock.
pub fn expose<V: Variable + 'static>(name: &str, variable: Arc<V>) -> Result<Exposed<V>, ExposeError> {
    let display = variable.display();
    insert(name::normalize_name(name), variable, display)
}

/// Like [`expose`], shown where `display` says instead of where the variable does.
///
/// # Errors
/// As [`expose`].
///
/// *Blocking:* the thread, for the time of a short internal lock.
pub fn expose_filtered<V: Variable + 'static>(
    name: &str,
    variable: Arc<V>,
    display: DisplayFilter,
) -> Result<Exposed<V>, ExposeError> {
    insert(name::normalize_name(name), variable, display)
}

/// Like [`expose`] under `prefix` and `name`, joined by one `_`.
///
/// # Errors
/// As [`expose`].
///
/// *Blocking:* the thread, for the time of a short internal lock.
pub fn expose_as<V: Variable + 'static>(
    prefix: &str,
    name: &str,
    variable: Arc<V>,
) -> Result<Exposed<V>, ExposeError> {
    let display = variable.display();
    insert(name::join(prefix, name), variable, display)
}

fn insert<V: Variable + 'static>(
    name: String,
    variable: Arc<V>,
    display: DisplayFilter,
) -> Result<Exposed<V>, ExposeError> {
    match name.len() {
        0 => return Err(ExposeError::EmptyName),
        1..=MAX_NAME_LEN => {}
        _ => return Err(ExposeError::NameTooLong),
    }
    let history = History::new(variable.trend());
    if variable.trend() != Trend::None {
        Sampler::global();
    }
    let key: Box<str> = name.as_str().into();
    let entry = Arc::new(Entry { name: key.clone(), variable: variable.clone(), display, history });
    let mut names = write();
    let full = names.len() >= MAX_EXPOSED;
    match names.entry(key) {
        Place::Occupied(_) => return Err(ExposeError::Duplicate(name)),
        Place::Vacant(_) if full => return Err(ExposeError::TooMany),
        Place::Vacant(place) => place.insert(entry),
    };
    Ok(Exposed { variable, name })
}

fn entry(name: &str) -> Option<Arc<Entry>> {
    read().get(name).cloned()
}

/// The variable exposed under exactly this (normalised) name.
///
/// *Blocking:* the thread, for the time of a short internal lock.
pub fn find(name: &str) -> Option<Arc<dyn Variable>> {
    entry(name).map(|entry| entry.variable.clone())
}

/// The description of the variable exposed under exactly this (normalised) name, or `None` if there is none
/// or it failed to describe itself.
///
/// *Blocking:* as [`Variable::describe`].
pub fn describe(name: &str) -> Option<String> {
    let variable = find(name)?;
    let mut text = String::new();
    variable.describe(&mut text, false).ok().map(|()| text)
}

/// Where the variable exposed under exactly this (normalised) name is shown.
///
/// *Blocking:* the thread, for the time of a short internal lock.
pub fn display_of(name: &str) -> Option<DisplayFilter> {
    entry(name).map(|entry| entry.display)
}

/// Calls `f` with each exposed variable that is shown to a reader who wants `wanted`, sorted by name, until it breaks;
/// returns what it returned last.
///
/// No lock is held while `f` runs, so it may expose and hide variables; one that is exposed or hidden meanwhile may
/// be gone through or not.
///
/// *Blocking:* the thread, for the time of short internal locks, and as `f` does.
pub fn for_each(
    wanted: DisplayFilter,
    mut f: impl FnMut(&str, &dyn Variable) -> ControlFlow<()>,
) -> ControlFlow<()> {
    each(|entry| {
        if entry.display.shows_to(wanted) {
            f(&entry.name, &*entry.variable)
        } else {
            ControlFlow::Continue(())
        }
    })
}

/// Goes through all entries, a batch at a time.
fn each(mut f: impl FnMut(&Entry) -> ControlFlow<()>) -> ControlFlow<()> {
    let mut batch: Vec<Arc<Entry>> = Vec::with_capacity(BATCH);
    loop {
        let last = batch.pop();
        batch.clear();
        let after = last.as_ref().map_or(Bound::Unbounded, |last| Bound::Excluded(&*last.name));
        batch.extend(
            read().range::<str, _>((after, Bound::Unbounded)).take(BATCH).map(|(_, entry)| entry.clone()),
        );
        if batch.is_empty() {
            return ControlFlow::Continue(());
        }
        batch.iter().try_for_each(|entry| f(entry))?;
    }
}

/// Adds the present values to the histories of all exposed variables that have one. Called once a second.
pub(crate) fn append_to_series() {
    if series::is_enabled() {
        // It never breaks.
        let _ = each(|entry| {
            entry.history.append(&*entry.variable);
            ControlFlow::Continue(())
        });
    }
}

/// The history of an exposed variable as JSON: `{"label":"trend","data":[[0,v],…,[173,v]]}`, of the last 30 days, then
/// 24 hours, 60 minutes and 60 seconds, oldest first. A vector has an array of such objects, a label for each element; a
/// variable with a chart of its own ([`Variable::plot`]) has that.
///
/// # Errors
/// If no variable is exposed under exactly this (normalised) name, or it has no history.
///
/// *Blocking:* the thread, for the time of a short internal lock, or as [`Variable::plot`].
pub fn series(name: &str) -> Result<String, SeriesError> {
    let entry = entry(name).ok_or(SeriesError::Unknown)?;
    let plot = entry.variable.plot();
    plot.or_else(|| entry.history.to_json(&*entry.variable)).ok_or(SeriesError::NoSeries)
}

/// Why there is no history of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SeriesError {
    /// No variable is exposed under this name.
    Unknown,
    /// It is text, keeps no history, or nothing has been kept yet.
    NoSeries,
}

impl fmt::Display for SeriesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SeriesError::Unknown => "no variable has this name",
            SeriesError::NoSeries => "the variable has no history",
        })
    }
}

impl std::error::Error for SeriesError {}

/// The names of all exposed variables, sorted.
///
/// *Blocking:* the thread, for the time of a lock in which the names are copied.
pub fn names() -> Vec<String> {
    read().keys().map(|name| name.to_string()).collect()
}

/// How many variables are exposed.
///
/// *Blocking:* the thread, for the time of a short internal lock.
pub fn count() -> usize {
    read().len()
}

#[cfg(test)]
mod tests;
