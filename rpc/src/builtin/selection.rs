//! Which names a page is asked for: the part of the path behind `/vars` and `/flags` (`spec/builtin-services.md` §1.3).

use bvar::wildcard::Wildcards;

/// Bytes of a list of wildcards that a page takes; with all variables there may be, a longer one would keep a worker busy
/// for seconds.
const LIST_BYTES_MAX: usize = 1024;

/// The names that are wanted.
pub(crate) enum Selection {
    All,
    Of(Wildcards),
}

impl Selection {
    /// Reads names and wildcards: `*` for any run of characters, `$` for any one, `,` or `;` between them. None for a list
    /// that is too long. Nothing stands for all.
    pub(crate) fn parse(list: &str) -> Option<Selection> {
        if list.is_empty() {
            return Some(Selection::All);
        }
        if list.len() > LIST_BYTES_MAX {
            return None;
        }
        Wildcards::new(list, '$').ok().map(Selection::Of)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Selection::All => true,
            Selection::Of(wildcards) => wildcards.matches(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_bounded() {
        assert!(Selection::parse("").unwrap().has("a"));
        assert!(Selection::parse("b;a$").unwrap().has("ax"));
        assert!(Selection::parse(&"*a".repeat(1000)).is_none());
    }
}
