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

#[test]
fn all_variables_are_gone_through_in_order_even_if_they_go_meanwhile() {
    const MANY: usize = 3 * BATCH + 7;
    let mut all: Vec<_> =
        (0..MANY).map(|i| Some(Status::new(i).expose(&format!("registry_each_{i:05}")).unwrap())).collect();
    let mut seen = Vec::new();
    let ended = for_each(DisplayFilter::All, |name, variable| {
        if let Some(number) = name.strip_prefix("registry_each_") {
            let i: usize = number.parse().unwrap();
            assert_eq!(variable.value(), i.into());
            // It hides itself: no lock is held, and the next is found all the same.
            all[i] = None;
            seen.push(i);
        }
        ControlFlow::Continue(())
    });
    assert_eq!((ended, seen), (ControlFlow::Continue(()), (0..MANY).collect()));
    assert!(names().iter().all(|name| !name.starts_with("registry_each_")));
    let _two = [1, 2].map(|i| Status::new(i).expose(&format!("registry_each_{i}")).unwrap());
    let mut calls = 0;
    let ended = for_each(DisplayFilter::All, |_, _| {
        calls += 1;
        ControlFlow::Break(())
    });
    assert_eq!((ended, calls), (ControlFlow::Break(()), 1));
}

#[test]
fn filters_decide_who_sees_a_variable() {
    use DisplayFilter::{All, Html, Text};
    let _exposed = [("html", Html), ("text", Text), ("all", All)].map(|(name, filter)| {
        let name = format!("registry_filter_{name}");
        expose_filtered(&name, Arc::new(Status::new(1i64)), filter).unwrap()
    });
    let shown = |wanted| {
        let mut shown = Vec::new();
        let _ = for_each(wanted, |name, _| {
            shown.extend(name.strip_prefix("registry_filter_").map(str::to_owned));
            ControlFlow::Continue(())
        });
        shown
    };
    assert_eq!(
        (shown(Html), shown(Text)),
        (vec!["all".into(), "html".into()], vec!["all".into(), "text".into()])
    );
    assert_eq!(shown(All), ["all", "html", "text"]);
    assert_eq!((display_of("registry_filter_html"), display_of("registry_filter_none")), (Some(Html), None));
}

#[test]
fn histories_are_kept_of_exposed_numbers() {
    assert_eq!(series("registry_series_none"), Err(SeriesError::Unknown));
    let number = Status::new(41i64).expose("registry_series_number").unwrap();
    let _text = Status::new("text").expose("registry_series_text").unwrap();
    let _max = crate::Maxer::<i64>::new().expose("registry_series_max").unwrap();
    append_to_series();
    number.set(42);
    append_to_series();
    let json = series("registry_series_number").unwrap();
    // The sampler of the process may have added a value of its own.
    assert!(
        json.starts_with(r#"{"label":"trend","data":[[0,0],[1,0],"#) && json.ends_with("[173,42]]}"),
        "{json}"
    );
    assert!(json.contains(",41]"), "{json}");
    for name in ["registry_series_text", "registry_series_max"] {
        assert_eq!(series(name), Err(SeriesError::NoSeries), "{name}");
    }
    number.hide();
    assert_eq!(series("registry_series_number"), Err(SeriesError::Unknown));
}
