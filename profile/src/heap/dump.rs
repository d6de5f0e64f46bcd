//! Reads the text that jemalloc writes of its account (`heap_v2`), and scales its samples up.
//!
//! ```text
//! heap_v2/524288
//!   t*: 3: 1234 [0: 0]          all together: objects and bytes in use [and ever asked for]
//! @ 0x5555 0x6666                a stack, innermost first: addresses that calls return to
//!   t*: 1: 640 [0: 0]
//!   t1: 1: 640 [0: 0]            the same by threads
//! MAPPED_LIBRARIES:
//! ```
//!
//! Anything else is left out: the text comes from this process, but from code that is not ours.

use std::sync::Arc;

use crate::Sample;

/// Stacks taken from a dump.
const STACKS_MAX: usize = 1 << 16;
/// Frames of a stack; outer ones beyond are left out.
const FRAMES_MAX: usize = 128;

/// What a dump says: each the period in bytes, and samples.
pub(super) struct Account {
    pub(super) in_use: (i64, Vec<Sample>),
    pub(super) accumulated: (i64, Vec<Sample>),
    /// Not one stack was in it.
    pub(super) is_empty: bool,
}

/// None if it is no such text.
pub(super) fn read(text: &str) -> Option<Account> {
    let mut lines = text.lines();
    let period: u64 = lines.next()?.strip_prefix("heap_v2/")?.parse().ok()?;
    let whole = i64::try_from(period).ok()?;
    let mut account =
        Account { in_use: (whole, Vec::new()), accumulated: (whole, Vec::new()), is_empty: true };
    let mut stack: Option<Arc<[usize]>> = None;
    for line in lines.take_while(|line| !line.starts_with("MAPPED_LIBRARIES")) {
        if let Some(addresses) = line.strip_prefix('@') {
            stack = Some(frames(addresses));
        } else if let Some(counts) = line.trim_start().strip_prefix("t*:")
            && let Some(frames) = stack.take()
            && let Some([objects, bytes, all_objects, all_bytes]) = numbers(counts)
        {
            account.is_empty = false;
            for (samples, values) in [
                (&mut account.in_use.1, [objects, bytes]),
                (&mut account.accumulated.1, [all_objects, all_bytes]),
            ] {
                let values = scaled(values, period);
                if values != [0; 2] && samples.len() < STACKS_MAX {
                    samples.push(Sample { frames: frames.clone(), label: None, values });
                }
            }
        }
    }
    Some(account)
}

/// Inside the calls: a return address may be the next function's.
fn frames(addresses: &str) -> Arc<[usize]> {
    let address = |word: &str| usize::from_str_radix(word.strip_prefix("0x")?, 16).ok();
    let addresses = addresses.split_ascii_whitespace().filter_map(address);
    addresses.take(FRAMES_MAX).map(|address| address.saturating_sub(1)).collect()
}

/// `1: 2 [3: 4]`.
fn numbers(text: &str) -> Option<[u64; 4]> {
    let mut numbers = text.split([':', '[', ']']).map(|word| word.trim().parse());
    let mut next = || numbers.next()?.ok();
    Some([next()?, next()?, next()?, next()?])
}

/// A block is in the account with a chance that grows with its size: once in `period` bytes (a Poisson process). What
/// was seen is divided by that chance for the average size.
fn scaled([objects, bytes]: [u64; 2], period: u64) -> [i64; 2] {
    if objects == 0 {
        return [0; 2];
    }
    let average = bytes as f64 / objects as f64;
    let chance = -f64::exp_m1(-average / period.max(1) as f64);
    let factor = if chance > 0.0 { 1.0 / chance } else { 1.0 };
    [objects, bytes].map(|value| (value as f64 * factor).round() as i64) // saturates
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_dump_is_read_and_scaled() {
        let text = "heap_v2/1000\n  t*: 3: 30000 [5: 50000]\n  t0: 3: 30000 [5: 50000]\n@ 0x10 0x20\n  \
                    t*: 2: 20000 [4: 40000]\n  t0: 2: 20000 [4: 40000]\n@ 0x30\n  t*: 10: 1000 [0: 0]\n\
                    \nMAPPED_LIBRARIES:\n@ 0x40\n  t*: 1: 1 [1: 1]\n";
        let account = read(text).unwrap();
        let (period, samples) = account.in_use;
        assert_eq!((period, samples.len()), (1000, 2));
        // Blocks of ten periods are nearly always seen.
        assert_eq!((&*samples[0].frames, samples[0].values), (&[0xf, 0x1f][..], [2, 20001]));
        // Blocks of a tenth of a period rarely: 1 / (1 - e^-0.1) = 10.508.
        assert_eq!((&*samples[1].frames, samples[1].values), (&[0x2f][..], [105, 10508]));
        assert_eq!(account.accumulated.1.len(), 1);
        assert_eq!(account.accumulated.1[0].values, [4, 40002]);
        assert!(!account.is_empty);
        assert!(read("heap_v2/1000\n  t*: 0: 0 [0: 0]\n").unwrap().is_empty);
        assert!(read("heap profile: 1").is_none() && read("").is_none());
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_some_end(lines in prop::collection::vec("[@t*: x0-9\\[\\]a-f]{0,40}", 0..40)) {
            let _ = read(&format!("heap_v2/524288\n{}", lines.join("\n")));
        }
    }
}
