//! Stacks as lines of text: names joined by `;`, a space, a number.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::profile::{Profile, Value};
use crate::symbol::Symbols;
use crate::tree;

pub(super) fn write(profile: &Profile, symbols: &Symbols, value: Value) -> String {
    let mut lines: BTreeMap<String, i64> = BTreeMap::new();
    for sample in profile.samples() {
        let names: Vec<String> = tree::chain(sample, symbols).iter().map(|name| plain(name)).collect();
        let sum = lines.entry(names.join(";")).or_default();
        *sum = sum.saturating_add(value.of(sample));
    }
    let mut text = String::new();
    for (stack, value) in lines {
        if value != 0 {
            let _ = writeln!(text, "{stack} {value}"); // a string takes it
        }
    }
    text
}

/// Without what has a meaning in the format.
fn plain(name: &str) -> String {
    name.replace([';', '\n', '\r'], ":")
}
