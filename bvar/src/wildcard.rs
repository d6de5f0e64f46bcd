//! Lists of names in which some characters stand for others: what is shown, dumped, left out.
//!
//! `*` stands for any run of characters, one more character (`?` in files and flags, `$` in the address of a
//! page, where `?` means something else) for any one. Names are separated by `,` or `;`.
//!
//! Source: `spec/bvar.md` §10. Must never need more than the product of the lengths of pattern and name.

use std::collections::BTreeSet;
use std::fmt;

/// The longest list, in bytes.
pub const MAX_LIST_LEN: usize = 16 << 10;

/// A list of names and wildcards.
///
/// ```
/// use bvar::wildcard::Wildcards;
///
/// let list = Wildcards::new("process_*, rpc_server_$0; pid", '$')?;
/// assert!(list.matches("process_uptime") && list.matches("rpc_server_80") && list.matches("pid"));
/// assert!(!list.matches("ppid"));
/// # Ok::<(), bvar::wildcard::ListTooLong>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wildcards {
    exact: BTreeSet<String>,
    patterns: Vec<Box<[Mark]>>,
}

/// One character of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// This one.
    Char(char),
    /// Any one.
    One,
    /// Any run, the empty one too. Two never follow each other.
    Run,
}

/// A list of wildcards is longer than [`MAX_LIST_LEN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListTooLong;

impl fmt::Display for ListTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of wildcards is longer than {MAX_LIST_LEN} bytes")
    }
}

impl std::error::Error for ListTooLong {}

impl Wildcards {
    /// Reads a list. Spaces around a name and empty names are skipped; an empty list matches nothing.
    ///
    /// # Errors
    /// If the list is longer than [`MAX_LIST_LEN`].
    ///
    /// *Blocking:* no.
    pub fn new(list: &str, question_mark: char) -> Result<Self, ListTooLong> {
        if list.len() > MAX_LIST_LEN {
            return Err(ListTooLong);
        }
        let mut wildcards = Wildcards::default();
        for name in list.split([',', ';']).map(str::trim).filter(|name| !name.is_empty()) {
            if name.contains('*') || name.contains(question_mark) {
                let marks = name.chars().map(|c| match c {
                    '*' => Mark::Run,
                    c if c == question_mark => Mark::One,
                    c => Mark::Char(c),
                });
                let mut pattern: Vec<Mark> = marks.collect();
                pattern.dedup_by(|a, b| *a == Mark::Run && *b == Mark::Run);
                wildcards.patterns.push(pattern.into());
            } else {
                wildcards.exact.insert(name.to_owned());
            }
        }
        Ok(wildcards)
    }

    /// Whether a name of the list is `name` or stands for it.
    ///
    /// *Blocking:* no.
    pub fn matches(&self, name: &str) -> bool {
        self.exact.contains(name) || self.patterns.iter().any(|pattern| matches(pattern, name))
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.patterns.is_empty()
    }

    /// The names of the list, sorted, if none of them stands for others: who has them need not look at
    /// all names.
    pub fn exact_names(&self) -> Option<impl Iterator<Item = &str> + '_> {
        self.patterns.is_empty().then(|| self.exact.iter().map(String::as_str))
    }
}

/// Whether `pattern` stands for `name`: goes back to the last run only, which is enough, because an earlier
/// run that took more could not help what follows the last one.
fn matches(pattern: &[Mark], name: &str) -> bool {
    let mut at = 0;
    let mut rest = name.chars();
    // Behind the last run met, and the name where that run ends.
    let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
        if let Some(Mark::Run) = pattern.get(at) {
            at += 1;
            retry = Some((at, rest.clone()));
            continue;
        }
        let fits = match (pattern.get(at), rest.next()) {
            (None, None) => return true,
            (Some(_), None) => return false,
            (None, Some(_)) => false,
            (Some(Mark::Char(wanted)), Some(c)) => *wanted == c,
            (Some(Mark::One | Mark::Run), Some(_)) => true,
        };
        if fits {
            at += 1;
            continue;
        }
        let Some((behind, end)) = &mut retry else { return false };
        // The run takes one more character.
        if end.next().is_none() {
            return false;
        }
        (at, rest) = (*behind, end.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(text: &str) -> Wildcards {
        Wildcards::new(text, '?').unwrap()
    }

    #[test]
    fn names_runs_and_single_characters() {
        let cases = [
            ("pid", "pid", true),
            ("pid", "ppid", false),
            ("*", "", true),
            ("*", "anything", true),
            ("?", "", false),
            ("?", "a", true),
            ("?", "ab", false),
            ("a*", "a", true),
            ("*a", "bca", true),
            ("a*b*c", "a1b2c3c", true),
            ("a*b*c", "a1c2b", false),
            ("*_latency*", "echo_latency_99", true),
            ("*_latency", "echo_latency_99", false),
            ("**a??", "xxabc", true),
            ("a?c", "aßc", true),
            ("x, *b ;; c?", "ab", true),
            ("x, *b ;; c?", "cd", true),
            ("x, *b ;; c?", "x", true),
            ("x, *b ;; c?", "c", false),
            ("", "", false),
            (" , ;", "", false),
        ];
        for (text, name, expected) in cases {
            assert_eq!(list(text).matches(name), expected, "{text:?} and {name:?}");
        }
    }

    #[test]
    fn the_mark_for_one_character_is_chosen() {
        let dollar = Wildcards::new("a$c;what?", '$').unwrap();
        assert!(dollar.matches("abc") && dollar.matches("what?"));
        assert!(!dollar.matches("whats") && !dollar.matches("a$c2"));
        assert!(dollar.exact_names().is_none());
        assert_eq!(list("b,a;a").exact_names().unwrap().collect::<Vec<_>>(), ["a", "b"]);
        assert!(list(";").is_empty() && !list("a").is_empty() && !list("*").is_empty());
    }

    #[test]
    fn lists_are_bounded() {
        assert!(Wildcards::new(&"a".repeat(MAX_LIST_LEN), '?').is_ok());
        assert_eq!(Wildcards::new(&"a".repeat(MAX_LIST_LEN + 1), '?'), Err(ListTooLong));
    }

    #[test]
    fn many_runs_do_not_take_for_ever() {
        let pattern = list(&"*a".repeat(1000));
        assert!(!pattern.matches(&format!("{}b", "a".repeat(10_000))));
    }

    /// The definition, tried in every way.
    fn by_definition(pattern: &[char], name: &[char]) -> bool {
        match (pattern.first(), name.first()) {
            (None, _) => name.is_empty(),
            (Some('*'), _) => (0..=name.len()).any(|skip| by_definition(&pattern[1..], &name[skip..])),
            (Some('?'), Some(_)) => by_definition(&pattern[1..], &name[1..]),
            (Some(wanted), Some(c)) => wanted == c && by_definition(&pattern[1..], &name[1..]),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn matching_follows_the_definition(pattern in "[ab?*]{1,8}", name in "[abc]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(list(&pattern).matches(&name), by_definition(&chars(&pattern), &chars(&name)));
        }

        #[test]
        fn any_list_is_read(text in "\\PC{0,60}", name in "\\PC{0,60}") {
            list(&text).matches(&name);
        }
    }
}
