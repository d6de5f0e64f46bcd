//! The Rust functions that one rpc method becomes, and who yields when two want the same name.

use std::collections::HashSet;

use heck::ToSnakeCase;

use crate::rust_path::identifier;

/// Functions of a stub that no method may take.
const RESERVED: &[&str] = &["new"];

/// All functions made from one method. `call` is also the name of its handler.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MethodNames {
    pub(crate) call: String,
    pub(crate) call_with: String,
    pub(crate) start: String,
    pub(crate) start_with: String,
    pub(crate) then: String,
    pub(crate) then_with: String,
}

/// Names for the methods of a service, given as the `.proto` spells them.
///
/// Plain names are handed out before derived ones, earlier methods before later ones; a name that is
/// taken gets underscores until it is free.
pub(crate) fn for_service<'a>(methods: impl IntoIterator<Item = &'a str>) -> Vec<MethodNames> {
    let mut taken: HashSet<String> = RESERVED.iter().map(|&name| name.to_owned()).collect();
    let mut take = |wanted: String| {
        let mut name = wanted;
        while !taken.insert(name.clone()) {
            name.push('_');
        }
        identifier(&name)
    };
    let words: Vec<String> = methods.into_iter().map(|method| method.to_snake_case()).collect();
    let calls: Vec<String> = words.iter().map(|word| take(word.clone())).collect();
    let names = words.iter().zip(calls).map(|(word, call)| MethodNames {
        call,
        call_with: take(format!("{word}_with")),
        start: take(format!("start_{word}")),
        start_with: take(format!("start_{word}_with")),
        then: take(format!("{word}_then")),
        then_with: take(format!("{word}_then_with")),
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::for_service;

    fn all(methods: &[&str]) -> Vec<[String; 6]> {
        let names = for_service(methods.iter().copied());
        names.into_iter().map(|n| [n.call, n.call_with, n.start, n.start_with, n.then, n.then_with]).collect()
    }

    #[test]
    fn one_method_becomes_six_functions() {
        let echo = ["echo", "echo_with", "start_echo", "start_echo_with", "echo_then", "echo_then_with"];
        assert_eq!(all(&["Echo"]), [echo.map(String::from)]);
    }

    #[test]
    fn keywords_are_raw_only_where_they_stand_alone() {
        let names = all(&["Type"]);
        assert_eq!(names[0][0], "r#type");
        assert_eq!(names[0][1], "type_with");
        assert_eq!(names[0][2], "start_type");
        let names = all(&["Self"]);
        assert_eq!([&names[0][0], &names[0][1]], ["self_", "self_with"]);
    }

    #[test]
    fn the_constructor_wins_over_methods_and_methods_over_derived_names() {
        assert_eq!(all(&["New"])[0][0], "new_");
        let names = all(&["Echo", "StartEcho"]);
        assert_eq!(names[1][0], "start_echo");
        assert_eq!(names[0][2], "start_echo_");
    }

    #[test]
    fn of_two_methods_that_differ_in_case_the_first_wins() {
        let names = all(&["GetURL", "GetUrl"]);
        assert_eq!([&names[0][0], &names[1][0]], ["get_url", "get_url_"]);
        assert_eq!([&names[0][2], &names[1][2]], ["start_get_url", "start_get_url_"]);
    }
}
