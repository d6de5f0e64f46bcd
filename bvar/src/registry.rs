//! The variables that can be found by name.
//!
//! Owns the process-wide map from names to variables. Must never call a variable while its lock is held:
//! a description may run code of the user, which may expose, hide or describe variables itself.

use crate::name::{self, MAX_NAME_LEN};
use crate::variable::Variable;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::ops::Deref;
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
    /// [`MAX_EXPOSED`] variables are exposed already.
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
            ExposeError::TooMany => write!(f, "{MAX_EXPOSED} variables are exposed already"),
        }
    }
}

impl std::error::Error for ExposeError {}

type Names = BTreeMap<String, Arc<dyn Variable>>;

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
        let hidden = write().remove(&self.name);
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
    insert(name::normalize_name(name), variable)
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
    insert(name::join(prefix, name), variable)
}

fn insert<V: Variable + 'static>(name: String, variable: Arc<V>) -> Result<Exposed<V>, ExposeError> {
    match name.len() {
        0 => return Err(ExposeError::EmptyName),
        1..=MAX_NAME_LEN => {}
        _ => return Err(ExposeError::NameTooLong),
    }
    let mut names = write();
    let full = names.len() >= MAX_EXPOSED;
    match names.entry(name.clone()) {
        Entry::Occupied(_) => return Err(ExposeError::Duplicate(name)),
        Entry::Vacant(_) if full => return Err(ExposeError::TooMany),
        Entry::Vacant(place) => place.insert(variable.clone()),
    };
    Ok(Exposed { variable, name })
}

/// The variable exposed under exactly this (normalised) name.
///
/// *Blocking:* the thread, for the time of a short internal lock.
pub fn find(name: &str) -> Option<Arc<dyn Variable>> {
    read().get(name).cloned()
}

/// The description of the variable exposed under exactly this (normalised) name, or `None` if there is none
/// or it failed to describe itself.
///
/// *Blocking:* as [`Variable::describe`].
pub fn describe(name: &str) -> Option<String> {
    let variable = find(name)?;
    let mut text = String::new();
    variable.describe(&mut text).ok().map(|()| text)
}

/// The names of all exposed variables, sorted.
///
/// *Blocking:* the thread, for the time of a lock in which the names are copied.
pub fn names() -> Vec<String> {
    read().keys().cloned().collect()
}

/// How many variables are exposed.
///
/// *Blocking:* the thread, for the time of a short internal lock.
pub fn count() -> usize {
    read().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Adder, PassiveStatus, Status};

    #[test]
    fn a_variable_is_visible_until_its_exposure_is_dropped() {
        let hits = Adder::<i64>::new().expose("RegistryTest::Hits").unwrap();
        hits.add(5);
        assert_eq!(hits.name(), "registry_test_hits");
        assert_eq!(describe("registry_test_hits").as_deref(), Some("5"));
        assert!(find("RegistryTest::Hits").is_none(), "only the normalised name finds it");
        assert!(names().contains(&"registry_test_hits".to_owned()));
        drop(hits);
        assert_eq!(describe("registry_test_hits"), None);
    }

    #[test]
    fn a_taken_name_is_an_error_and_stays_with_its_owner() {
        let first = Status::new(1i64).expose("registry_test_taken").unwrap();
        let second = Arc::new(Status::new(2i64));
        let error = expose("RegistryTest-Taken", second.clone()).unwrap_err();
        assert_eq!(error, ExposeError::Duplicate("registry_test_taken".into()));
        assert_eq!(error.to_string(), "a variable named registry_test_taken is exposed already");
        assert_eq!(describe("registry_test_taken").as_deref(), Some("1"));
        let first = first.hide();
        let second = expose("registry_test_taken", second).unwrap();
        assert_eq!(describe("registry_test_taken").as_deref(), Some("2"));
        drop(second);
        let again = expose("registry_test_again", first).unwrap();
        assert_eq!(describe("registry_test_again").as_deref(), Some("1"));
        assert_eq!(again.get(), 1);
    }

    #[test]
    fn empty_and_overlong_names_are_errors() {
        assert_eq!(Status::new(1i64).expose("").unwrap_err(), ExposeError::EmptyName);
        assert_eq!(Status::new(1i64).expose_as("", "").unwrap_err(), ExposeError::EmptyName);
        let longest = "x".repeat(MAX_NAME_LEN);
        assert!(Status::new(1i64).expose(&longest).is_ok());
        assert_eq!(Status::new(1i64).expose(&(longest + "x")).unwrap_err(), ExposeError::NameTooLong);
    }

    #[test]
    fn names_are_sorted_and_prefixes_joined() {
        let _b = Status::new(1i64).expose_as("RegistryOrder", "b").unwrap();
        let _c = Status::new(1i64).expose_as("registry_order_", "_c").unwrap();
        let _a = Status::new(1i64).expose_as("registry::order", "A").unwrap();
        let mut names = names();
        names.retain(|name| name.starts_with("registry_order"));
        assert_eq!(names, ["registry_order_a", "registry_order_b", "registry_order_c"]);
        assert!(count() >= 3);
    }

    #[test]
    fn a_description_may_use_the_registry() {
        let inner = Adder::<i64>::new().expose("registry_test_inner").unwrap();
        inner.add(3);
        let nested = PassiveStatus::new(|| {
            let own = Status::new("new".to_owned()).expose("registry_test_nested_new").unwrap();
            format!("{} {}", own.get(), describe("registry_test_inner").unwrap())
        });
        let nested = nested.expose("registry_test_nested").unwrap();
        assert_eq!(describe(nested.name()).as_deref(), Some("new 3"));
        assert!(find("registry_test_nested_new").is_none());
    }
}
