//! What prost calls a thing of a `.proto` in Rust. The rules are prost's; generated code must agree with
//! it on every name, and this file is the only place that repeats them.

use heck::{ToSnakeCase, ToUpperCamelCase};

/// Words that Rust keeps for itself but accepts as `r#word` (editions up to 2024).
const RAW: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else",
    "enum", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait", "true", "try",
    "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Words that Rust does not even accept raw; they get a trailing `_`.
const NEVER: &[&str] = &["_", "super", "self", "Self", "extern", "crate"];

/// Writes `word` so that Rust takes it as an identifier.
pub(crate) fn identifier(word: &str) -> String {
    if RAW.contains(&word) {
        format!("r#{word}")
    } else if NEVER.contains(&word) {
        format!("{word}_")
    } else if word.starts_with(|first: char| first.is_numeric()) {
        format!("_{word}")
    } else {
        word.to_owned()
    }
}

/// The Rust type of a message, an enum or a service called `name`.
pub(crate) fn type_name(name: &str) -> String {
    identifier(&name.to_upper_camel_case())
}

/// The Rust module of the part `name` of a package, or of what is nested in message `name`.
pub(crate) fn module_name(name: &str) -> String {
    identifier(&name.to_snake_case())
}

/// The path from the module of package `from` to the message `full_name` (with its leading dot).
pub(crate) fn path_to_message(from: &str, full_name: &str) -> String {
    let mut climb = from.split('.').filter(|part| !part.is_empty()).peekable();
    let mut parts = full_name.trim_start_matches('.').split('.');
    let message = parts.next_back().unwrap_or_default();
    let mut descend = parts.peekable();
    while climb.peek().is_some() && climb.peek() == descend.peek() {
        climb.next();
        descend.next();
    }
    let mut path = "super::".repeat(climb.count());
    for part in descend {
        path.push_str(&module_name(part));
        path.push_str("::");
    }
    path.push_str(&type_name(message));
    path
}

/// Proto packages and messages whose Rust types exist elsewhere and are not generated.
#[derive(Debug)]
pub(crate) struct ExternPaths {
    /// Proto path with its leading dot, Rust path.
    paths: Vec<(String, String)>,
}

/// Where prost finds the messages of `google/protobuf/*.proto` unless they are generated.
const WELL_KNOWN: &str = ".google.protobuf";

impl ExternPaths {
    /// `paths`, and the well-known types at `prost_types`.
    pub(crate) fn new(paths: &[(String, String)], prost_types: &str) -> Self {
        let well_known = (WELL_KNOWN.to_owned(), prost_types.to_owned());
        Self { paths: paths.iter().cloned().chain([well_known]).collect() }
    }

    /// Whether everything in `package` exists elsewhere.
    pub(crate) fn covers_package(&self, package: &str) -> bool {
        !package.is_empty() && self.covers(&format!(".{package}"))
    }

    /// Whether the message `full_name` (with its leading dot) exists elsewhere.
    pub(crate) fn covers(&self, full_name: &str) -> bool {
        self.longest_match(full_name).is_some()
    }

    /// The path to `full_name` as written in the module of package `from`.
    pub(crate) fn path_to_message(&self, from: &str, full_name: &str) -> String {
        let Some((rust_path, rest)) = self.longest_match(full_name) else {
            return path_to_message(from, full_name);
        };
        match rest.strip_prefix('.') {
            None => rust_path.to_owned(),
            Some(rest) => format!("{rust_path}::{}", path_to_message("", rest)),
        }
    }

    /// The most special Rust path for `full_name`, and what of the name it leaves.
    fn longest_match<'a>(&'a self, full_name: &'a str) -> Option<(&'a str, &'a str)> {
        let matches = self.paths.iter().filter_map(|(proto_path, rust_path)| {
            let rest = full_name.strip_prefix(proto_path.as_str())?;
            (rest.is_empty() || rest.starts_with('.')).then_some((rust_path.as_str(), rest))
        });
        matches.min_by_key(|(_, rest)| rest.len())
    }
}

/// Whether messages of this name belong to protobuf itself.
pub(crate) fn is_well_known(full_name: &str) -> bool {
    full_name.strip_prefix(WELL_KNOWN).is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::{ExternPaths, RAW, module_name, path_to_message, type_name};

    #[test]
    fn paths_climb_to_the_common_package_and_descend_from_there() {
        assert_eq!(path_to_message("a.b", ".a.b.Msg"), "Msg");
        assert_eq!(path_to_message("a.b", ".a.b.Outer.inner_msg"), "outer::InnerMsg");
        assert_eq!(path_to_message("a.b", ".a.Msg"), "super::Msg");
        assert_eq!(path_to_message("a.b", ".a.c.Msg"), "super::c::Msg");
        assert_eq!(path_to_message("a", ".a.b.Msg"), "b::Msg");
        assert_eq!(path_to_message("", ".Msg"), "Msg");
        assert_eq!(path_to_message("a", ".Msg"), "super::Msg");
        assert_eq!(path_to_message("", ".a.Msg"), "a::Msg");
    }

    #[test]
    fn keywords_are_escaped() {
        assert_eq!(path_to_message("x", ".x.type.Self"), "r#type::Self_");
        assert_eq!(module_name("Super"), "super_");
        assert_eq!(type_name("2d"), "_2d");
    }

    #[test]
    fn the_keyword_list_is_sorted() {
        assert!(RAW.is_sorted());
    }

    #[test]
    fn the_longest_extern_path_counts() {
        let paths =
            [(".a", "::first"), (".a.b.Msg", "::second::M")].map(|(p, r)| (p.to_owned(), r.to_owned()));
        let externs = ExternPaths::new(&paths, "::rt::prost_types");
        assert_eq!(externs.path_to_message("x", ".a.c.Outer.Msg"), "::first::c::outer::Msg");
        assert_eq!(externs.path_to_message("x", ".a.b.Msg"), "::second::M");
        assert_eq!(externs.path_to_message("x", ".ab.Msg"), "super::ab::Msg");
        assert_eq!(externs.path_to_message("", ".google.protobuf.Any"), "::rt::prost_types::Any");
        assert!(
            externs.covers_package("a.c") && !externs.covers_package("ab") && !externs.covers_package("")
        );
    }
}
