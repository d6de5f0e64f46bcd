//! Profiles as bytes and text, one format per file.
//!
//! Each format is written from a profile and the names of its addresses, and reads nothing else but the process's own
//! mappings. This file holds the entries, which see to it that a bthread's worker is not blocked meanwhile.

mod flame;
mod folded;
mod legacy;
mod pprof;
pub(crate) mod top;

use crate::profile::{Profile, Value};
use crate::symbol::Symbols;
use top::TopRow;

impl Profile {
    /// The profile in the format of `go tool pprof` (`profile.proto`), compressed with gzip, with names: the tool needs
    /// neither the program nor a server. Differences as well, with negative values.
    ///
    /// *Blocking*: parks the calling bthread, or blocks the calling thread: names come from files.
    pub fn to_pprof(&self) -> Vec<u8> {
        bthread::blocking(|| pprof::write(self, &Symbols::of(self)))
    }

    /// A line for each stack: `outermost;inner;innermost 123`, as tools for flame graphs read. Stacks whose names are
    /// equal share a line. *Blocking*: as [`to_pprof`](Self::to_pprof).
    pub fn to_folded(&self, value: Value) -> String {
        bthread::blocking(|| folded::write(self, &Symbols::of(self), value))
    }

    /// The tree of calls as JSON, for a script that draws a flame graph:
    ///
    /// ```json
    /// {"kind":"cpu","unit":"nanoseconds","total":30,"root":{"name":"all","value":30,"self":0,"children":[
    ///   {"name":"main","value":30,"self":10,"children":[]}]}}
    /// ```
    ///
    /// `value` is the sum of a branch, `self` the part of it that ends in the function itself. Children come by falling
    /// weight; those too small to be seen are put together. `<`, `>`, `&` and what ends lines in scripts are escaped, so
    /// the text may stand in an HTML script element. *Blocking*: as [`to_pprof`](Self::to_pprof).
    pub fn to_flame_json(&self, value: Value) -> String {
        bthread::blocking(|| flame::write(self, &Symbols::of(self), value))
    }

    /// A table of the functions that the most goes to, by falling own part (`flat`), at most `rows` of them. `cum`
    /// counts what they have called as well. *Blocking*: as [`to_pprof`](Self::to_pprof).
    pub fn to_top(&self, value: Value, rows: usize) -> String {
        bthread::blocking(|| top::write(self, &Symbols::of(self), value, rows))
    }

    /// The rows of [`to_top`](Self::to_top). *Blocking*: as [`to_pprof`](Self::to_pprof).
    pub fn top(&self, value: Value, rows: usize) -> Vec<TopRow> {
        bthread::blocking(|| top::rows(self, &Symbols::of(self), value, rows))
    }

    /// What brpc's `/pprof` pages answer, addresses without names and the process's mappings: the binary format of
    /// gperftools for processor time, text for locks and the heap. None for other kinds and for differences.
    ///
    /// *Blocking*: reads a file of `/proc`.
    pub fn to_legacy(&self) -> Option<Vec<u8>> {
        legacy::write(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::profile::tests::profile;

    /// Two addresses in functions of this crate that have names.
    fn addresses() -> [usize; 2] {
        [pprof::write as *const () as usize, folded::write as *const () as usize]
    }

    #[test]
    fn stacks_fold_from_the_outermost_function() {
        let [inner, outer] = addresses();
        let profile = profile(Kind::Cpu, &[(&[inner, outer], [3, 30]), (&[outer], [1, 10]), (&[], [0, 0])]);
        let text = profile.to_folded(Value::Amount);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].ends_with(" 10") && lines[0].contains("folded::write"), "{text}");
        let (outer, inner) = lines[1].split_once(';').unwrap();
        assert!(outer.contains("folded::write") && inner.contains("pprof::write 30"), "{text}");
    }

    #[test]
    fn the_tree_has_sums_and_own_parts() {
        let [inner, outer] = addresses();
        let profile = profile(Kind::Cpu, &[(&[inner, outer], [3, 30]), (&[outer], [1, 10])]);
        let text = profile.to_flame_json(Value::Count);
        let expected = "{\"kind\":\"cpu\",\"unit\":\"count\",\"total\":4,\"root\":{\"name\":\"all\",\"value\":4,\"self\":0,\
                        \"children\":[{\"name\":\"profile::format::folded::write\",\"value\":4,\"self\":1,\
                        \"children\":[{\"name\":\"profile::format::pprof::write\",\"value\":3,\"self\":3,\
                        \"children\":[]}]}]}}";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_table_counts_a_function_once_in_a_stack() {
        let [inner, outer] = addresses();
        let profile = profile(Kind::Cpu, &[(&[inner, outer, inner, outer], [3, 30]), (&[outer], [1, 10])]);
        let rows = profile.top(Value::Amount, 10);
        let row = |name| rows.iter().find(|row| row.name.contains(name)).unwrap();
        assert_eq!((row("pprof::write").flat, row("pprof::write").cum), (30, 30));
        assert_eq!((row("folded::write").flat, row("folded::write").cum), (10, 40));
        assert_eq!(profile.top(Value::Amount, 1).len(), 1);
        let text = profile.to_top(Value::Amount, 10);
        assert!(text.contains("75.00%"), "{text}");
    }

    #[test]
    fn a_difference_is_written_with_its_signs() {
        let [one, other] = addresses();
        let before = profile(Kind::Cpu, &[(&[one], [5, 50])]);
        let after = profile(Kind::Cpu, &[(&[other], [1, 10])]);
        let difference = after.minus(&before).unwrap();
        assert!(difference.to_folded(Value::Amount).contains("pprof::write -50"));
        assert!(difference.to_flame_json(Value::Amount).contains("\"total\":-40"));
        assert!(difference.to_top(Value::Amount, 10).contains("-50"));
        assert!(difference.to_legacy().is_none());
        assert!(!difference.to_pprof().is_empty());
    }
}
