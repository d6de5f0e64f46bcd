//! The functions that the most goes to, as rows and as a table of text.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use crate::profile::{Profile, Value};
use crate::symbol::Symbols;
use crate::tree;

/// A function and what goes to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopRow {
    /// The function, or in brackets what was done there.
    pub name: Arc<str>,
    /// Of the samples that end in it.
    pub flat: i64,
    /// Of the samples that it is in, at whatever depth.
    pub cum: i64,
}

pub(super) fn rows(profile: &Profile, symbols: &Symbols, value: Value, rows: usize) -> Vec<TopRow> {
    let mut sums: HashMap<Arc<str>, [i64; 2]> = HashMap::new();
    let mut seen = HashSet::new();
    for sample in profile.samples() {
        let amount = value.of(sample);
        let mut chain = tree::chain(sample, symbols);
        // A label tells what the last function did: it goes there. What has no function stands for itself.
        if sample.label.is_some() && chain.len() > 1 {
            chain.pop();
        }
        if let Some(last) = chain.last() {
            let sums = sums.entry(last.clone()).or_default();
            sums[0] = sums[0].saturating_add(amount);
        }
        seen.clear();
        for name in chain {
            if seen.insert(name.clone()) {
                let sums = sums.entry(name).or_default();
                sums[1] = sums[1].saturating_add(amount);
            }
        }
    }
    let mut table: Vec<TopRow> =
        sums.into_iter().map(|(name, [flat, cum])| TopRow { name, flat, cum }).collect();
    let rank = |row: &TopRow| (row.flat.unsigned_abs(), row.cum.unsigned_abs());
    table.sort_by(|one, other| rank(other).cmp(&rank(one)).then_with(|| one.name.cmp(&other.name)));
    table.truncate(rows);
    table
}

pub(super) fn write(profile: &Profile, symbols: &Symbols, value: Value, count: usize) -> String {
    let unit = profile.value_types()[value.index()];
    let total = profile.totals()[value.index()];
    let weight: u64 = profile.samples().iter().map(|sample| value.of(sample).unsigned_abs()).sum();
    // Of a difference the total may be 0 while much has changed.
    let whole = if profile.is_difference() { weight.max(1) as f64 } else { total.max(1) as f64 };
    let percent = |value: i64| format!("{:.2}%", 100.0 * value as f64 / whole);
    let shown = |value: i64| match unit.unit {
        "nanoseconds" => {
            let sign = if value < 0 { "-" } else { "" };
            format!("{sign}{:.2?}", Duration::from_nanos(value.unsigned_abs()))
        }
        "bytes" => format!("{value}B"),
        _ => value.to_string(),
    };
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ =
        writeln!(text, "{}: {} ({}) in {:.2?}", profile.kind(), shown(total), unit.name, profile.duration());
    if profile.lost() > 0 {
        let _ = writeln!(text, "lost: {} samples found no buffer", profile.lost());
    }
    let _ = writeln!(text, "{:>12} {:>8} {:>8} {:>12} {:>8}  name", "flat", "flat%", "sum%", "cum", "cum%");
    let mut sum = 0i64;
    for TopRow { name, flat, cum } in rows(profile, symbols, value, count) {
        sum = sum.saturating_add(flat);
        let name = name.replace(['\n', '\r'], " ");
        let (flat_share, sum_share, cum_share) = (percent(flat), percent(sum), percent(cum));
        let (flat, cum) = (shown(flat), shown(cum));
        let _ = writeln!(text, "{flat:>12} {flat_share:>8} {sum_share:>8} {cum:>12} {cum_share:>8}  {name}");
    }
    text
}
