//! What happened in the run, as lines of text and as one number: what two runs of a seed must have in common.
//!
//! A line holds the virtual time, the node and what it did there. Nothing goes into it that another run of the seed, on
//! another machine, would not have: no address, no real time, no order of a hash map. The number covers every line and
//! every choice of the conductor, whether lines are kept or not.

use std::cell::Cell;
use std::fmt::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock;

/// Lines that are kept; later ones still count for the number.
pub(crate) const LINES_MAX: usize = 1_000_000;

static TRACE: Mutex<Trace> = Mutex::new(Trace { kept: None, dropped: 0, hash: HASH_START });

const HASH_START: u64 = 0xcbf2_9ce4_8422_2325;

struct Trace {
    kept: Option<Vec<String>>,
    dropped: u64,
    hash: u64,
}

fn trace() -> MutexGuard<'static, Trace> {
    TRACE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps lines from here on.
pub(crate) fn keep() {
    trace().kept = Some(Vec::new());
}

thread_local! {
    /// Memory for the next line; taken while one is written, as what is written may write another.
    static BUFFER: Cell<String> = const { Cell::new(String::new()) };
}

/// Adds a line about a node, or whatever else `who` names.
pub(crate) fn line(who: &str, what: impl fmt::Display) {
    with_text(who, what, |trace, text| {
        trace.absorb(text.as_bytes());
        trace.keep(text);
    });
}

/// As [`line`], but it does not count for the number: for what not every run of a seed is asked to write.
pub(crate) fn aside(who: &str, what: impl fmt::Display) {
    with_text(who, what, |trace, text| trace.keep(text));
}

fn with_text(who: &str, what: impl fmt::Display, add: impl FnOnce(&mut Trace, &str)) {
    let now = clock::world();
    let mut text = BUFFER.take();
    text.clear();
    // Writing to a string fails only if `what` says so; the line ends there then.
    let _ = write!(text, "{}.{:09} {who} {what}", now.as_secs(), now.subsec_nanos());
    if text.contains('\n') {
        text = text.trim_end().replace('\n', "\\n");
    }
    add(&mut trace(), &text);
    BUFFER.set(text);
}

/// Adds a choice that has no line.
pub(crate) fn choice(number: u64) {
    trace().mix(number);
}

/// The number so far, and the lines that were kept.
pub(crate) fn take() -> (u64, Vec<String>) {
    let mut trace = trace();
    let mut lines = trace.kept.take().unwrap_or_default();
    if trace.dropped != 0 {
        lines.push(format!("({} more lines)", trace.dropped));
    }
    (trace.hash, lines)
}

impl Trace {
    fn keep(&mut self, text: &str) {
        match &mut self.kept {
            None => {}
            Some(kept) if kept.len() < LINES_MAX => kept.push(text.to_owned()),
            Some(_) => self.dropped += 1,
        }
    }

    /// The length counts, so that the borders between lines do.
    fn absorb(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
        self.mix(bytes.len() as u64);
    }

    /// Whatever was mixed in before, different words give different numbers.
    fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.hash ^= self.hash >> 29;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_tells_lines_and_their_borders_apart() {
        let number = |lines: &[&str]| {
            let mut trace = Trace { kept: None, dropped: 0, hash: HASH_START };
            lines.iter().for_each(|line| trace.absorb(line.as_bytes()));
            trace.hash
        };
        let all = [
            number(&[]),
            number(&[""]),
            number(&["\0"]),
            number(&["a line of text"]),
            number(&["a line ", "of text"]),
            number(&["a line o", "f text"]),
            number(&["b line of text"]),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(!all[..i].contains(one), "{i}");
        }
    }
}
