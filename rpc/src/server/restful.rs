//! Paths that lead to methods by a mapping of the user's (`spec/protocols-http.md` §3): `"/v1/echo => Echo, /files/* =>
//! Get"`.
//!
//! Owns the syntax of mappings and their precedence. Knows no method but by its index, and nothing of services.

use std::collections::BTreeMap;

use crate::error::{EINVAL, RpcError};

/// One line of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) path: String,
    pub(super) method: String,
}

/// Reads `"PATH => Method, PATH2 => Method2"`. A comma at the end does no harm.
pub(super) fn parse(text: &str) -> Result<Vec<Mapping>, RpcError> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(parse_item).collect()
}

fn parse_item(item: &str) -> Result<Mapping, RpcError> {
    let invalid = |why: &str| RpcError::new(EINVAL, format!("restful mapping `{item}': {why}"));
    let (path, method) = item.split_once('=').ok_or_else(|| invalid("no => in it"))?;
    let method = method.trim_start_matches('=').strip_prefix('>').ok_or_else(|| invalid("no => in it"))?;
    let (path, method) = (path.trim(), method.trim());
    if path.is_empty() || method.is_empty() {
        return Err(invalid("a path and a method are needed"));
    }
    if !path.bytes().all(is_path_byte) {
        return Err(invalid("not a path"));
    }
    if !method.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(invalid("not a method"));
    }
    match path.bytes().filter(|byte| *byte == b'*').count() {
        0 => {}
        1 if path.starts_with('*') || path.contains("/*") => {}
        1 => return Err(invalid("a * stands at the start or behind a /")),
        _ => return Err(invalid("more than one *")),
    }
    Ok(Mapping { path: path.to_owned(), method: method.to_owned() })
}

fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=:@%/".contains(&byte)
}

/// The first component of a mapping's path; `None` if that is a wildcard.
pub(super) fn first_component(path: &str) -> Option<&str> {
    components(path).next().filter(|first| !first.contains('*'))
}

/// What is between the slashes of a path.
pub(super) fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// `/A/B/` of `A//B`.
fn normalized(path: &str) -> String {
    components(path).fold(String::from("/"), |mut whole, part| {
        whole.push_str(part);
        whole.push('/');
        whole
    })
}

/// Patterns and the methods that they lead to.
#[derive(Debug, Default)]
pub(super) struct PathMap {
    /// By what is in front of the wildcard, or the whole path, normalised.
    prefixes: BTreeMap<String, Patterns>,
}

#[derive(Debug, Default)]
struct Patterns {
    exact: Option<usize>,
    /// What follows the wildcard, the longest first.
    wildcards: Vec<(String, usize)>,
}

impl PathMap {
    /// Adds a pattern. Fails if it is there already.
    pub(super) fn add(&mut self, path: &str, method: usize) -> Result<(), RpcError> {
        let taken = || RpcError::new(EINVAL, format!("restful path={path} was mapped twice"));
        let Some((prefix, suffix)) = path.split_once('*') else {
            let patterns = self.prefixes.entry(normalized(path)).or_default();
            return match patterns.exact.replace(method) {
                None => Ok(()),
                Some(_) => Err(taken()),
            };
        };
        // A slash stands for the end of the path, so that `/b` fits no `/ab`.
        let suffix =
            if suffix.is_empty() { String::new() } else { format!("{}/", suffix.trim_end_matches('/')) };
        let patterns = self.prefixes.entry(normalized(prefix)).or_default();
        if patterns.wildcards.iter().any(|(known, _)| *known == suffix) {
            return Err(taken());
        }
        let place = patterns.wildcards.partition_point(|(known, _)| known.len() >= suffix.len());
        patterns.wildcards.insert(place, (suffix, method));
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// The method for a path, and what the wildcard stands for, without slashes around it or doubled in it.
    pub(super) fn find(&self, path: &str) -> Option<(usize, String)> {
        let path = normalized(path);
        let mut prefix = path.as_str();
        loop {
            if let Some(patterns) = self.prefixes.get(prefix) {
                if let Some(method) = patterns.exact.filter(|_| prefix.len() == path.len()) {
                    return Some((method, String::new()));
                }
                // With the slash of the prefix, as a suffix may begin with one.
                let rest = &path[prefix.len() - 1..];
                for (suffix, method) in &patterns.wildcards {
                    if let Some(wild) = rest.strip_suffix(suffix.as_str())
                        && (!wild.is_empty() || suffix.starts_with('/'))
                    {
                        return Some((*method, wild.trim_matches('/').to_owned()));
                    }
                }
            }
            let end = prefix[..prefix.len() - 1].rfind('/')?;
            prefix = &prefix[..=end];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_read_as_in_brpc() {
        let read = |text| {
            parse(text).map(|all| {
                all.into_iter()
                    .map(|one| format!("{}>{}", one.path, one.method))
                    .collect::<Vec<_>>()
                    .join(" ")
            })
        };
        assert_eq!(read("/v1/a => A, b==>B ,"), Ok("/v1/a>A b>B".into()));
        assert_eq!(read("*=>All,*.flv=>F,/a/*/b=>C"), Ok("*>All *.flv>F /a/*/b>C".into()));
        assert_eq!(read(""), Ok(String::new()));
        for wrong in
            ["/a", "/a = A", "=> A", "/a =>", "A* => A", "/A/B* => A", "*/* => A", "/a b => A", "/a => A-B"]
        {
            assert_eq!(read(wrong).unwrap_err().code(), EINVAL, "{wrong}");
        }
    }

    #[test]
    fn the_longest_prefix_then_the_longest_suffix_wins() {
        let mut map = PathMap::default();
        let paths = ["/a/*", "/a/b", "/a/b/*", "/a/*.flv", "/a/*/x.flv", "*.js", "*", "/a"];
        for (index, path) in paths.iter().enumerate() {
            map.add(path, index).unwrap();
        }
        let find = |path| map.find(path).map(|(index, wild)| (paths[index], wild));
        let expected = |pattern, wild: &str| Some((pattern, wild.to_owned()));
        assert_eq!(find("/a"), expected("/a", ""));
        assert_eq!(find("//a/"), expected("/a", ""));
        assert_eq!(find("/a/b"), expected("/a/b", ""));
        assert_eq!(find("/a/b/c//d"), expected("/a/b/*", "c/d"));
        assert_eq!(find("/a/c"), expected("/a/*", "c"));
        assert_eq!(find("/a/c/d.flv"), expected("/a/*.flv", "c/d"));
        assert_eq!(find("/a/c/x.flv"), expected("/a/*/x.flv", "c"));
        assert_eq!(find("/a/x.flv"), expected("/a/*/x.flv", ""));
        assert_eq!(find("/b/c.js"), expected("*.js", "b/c"));
        assert_eq!(find("/ab"), expected("*", "ab"));
        assert_eq!(find("/"), expected("*", ""));
    }

    #[test]
    fn a_pattern_is_taken_once() {
        let mut map = PathMap::default();
        assert!(map.is_empty());
        map.add("/a", 0).unwrap();
        map.add("/a/*", 1).unwrap();
        map.add("/a/*/", 1).unwrap();
        assert_eq!(map.add("//a/", 2).unwrap_err().code(), EINVAL);
        assert_eq!(map.add("/a/*", 2).unwrap_err().code(), EINVAL);
        assert_eq!(map.find("/b"), None);
    }

    #[test]
    fn the_first_component_is_a_virtual_service() {
        assert_eq!(first_component("/v1/a/*"), Some("v1"));
        assert_eq!(first_component("*.flv"), None);
        assert_eq!(first_component("/*"), None);
        assert_eq!(first_component("v1"), Some("v1"));
    }
}
