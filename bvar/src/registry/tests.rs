//! Exposing, hiding and looking up.

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
