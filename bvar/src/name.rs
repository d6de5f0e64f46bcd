//! The names of exposed variables: what is written in code to what is shown.
//!
//! Source: the naming rules and examples of `spec/bvar.md` §9. Pure functions; owns no state.

/// The longest name, in bytes after normalisation, that a variable can be exposed under.
pub const MAX_NAME_LEN: usize = 256;

/// The form in which names are kept: lower-case letters, digits and single underscores.
///
/// Letters are lowered. An upper-case letter that follows anything but an upper-case letter starts a new
/// word. Digits stay. Any run of other characters (of non-ASCII ones too) becomes one `_`.
///
/// ```
/// assert_eq!(bvar::normalize_name("foo::BarBaz-inl.h"), "foo_bar_baz_inl_h");
/// assert_eq!(bvar::normalize_name("RPCTest"), "rpctest");
/// ```
///
/// *Blocking:* no.
pub fn normalize_name(name: &str) -> String {
    let mut normal = String::with_capacity(name.len() + 4);
    let mut after_upper = false;
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            let starts_word = c.is_ascii_uppercase() && !after_upper;
            if starts_word && !normal.is_empty() && !normal.ends_with('_') {
                normal.push('_');
            }
            normal.push(c.to_ascii_lowercase());
        } else if !normal.ends_with('_') {
            normal.push('_');
        }
        after_upper = c.is_ascii_uppercase();
    }
    normal
}

/// The normalised `prefix` and `name` with one `_` between them.
pub(crate) fn join(prefix: &str, name: &str) -> String {
    let between = if prefix.is_empty() || name.is_empty() { "" } else { "_" };
    normalize_name(&format!("{prefix}{between}{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_the_rules() {
        for (name, normal) in [
            ("foo-inl.h", "foo_inl_h"),
            ("foo::bar::Apple", "foo_bar_apple"),
            ("Car_Rot", "car_rot"),
            ("FooBar", "foo_bar"),
            ("RPCTest", "rpctest"),
            ("HELLO", "hello"),
            ("BaNaNa", "ba_na_na"),
            ("p99Latency", "p99_latency"),
            ("a  --  b", "a_b"),
            ("größe", "gr_e"),
            ("", ""),
        ] {
            assert_eq!(normalize_name(name), normal, "{name}");
        }
    }

    #[test]
    fn joined_names_have_one_underscore_between() {
        assert_eq!(join("Foo", "Bar"), "foo_bar");
        assert_eq!(join("foo_", "_bar"), "foo_bar");
        assert_eq!(join("foo::", "bar"), "foo_bar");
        assert_eq!(join("foo", "-bar"), "foo_bar");
        assert_eq!(join("", "bar"), "bar");
        assert_eq!(join("foo", ""), "foo");
    }

    proptest! {
        #[test]
        fn normal_names_are_fixed_points(name in "\\PC{0,40}") {
            let normal = normalize_name(&name);
            prop_assert!(normal.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
            prop_assert!(!normal.contains("__"));
            prop_assert_eq!(normalize_name(&normal), normal.clone());
            prop_assert_eq!(normal.is_empty(), name.is_empty());
        }
    }
}
