//! What happened in the run, as lines of text and as one number: what two runs of a seed must have in common.
//!
//! A line holds the virtual time, the node and what it did there. Nothing goes into it that another run of the seed, on
//! another machine, would not have: no address, no real time, no order of a hash map. The number covers every line and
//! every choice of the conductor, whether lines are kept or not.

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

/// Adds a line about a node, or whatever else `who` names.
pub(crate) fn line(who: &str, what: impl fmt::Display) {
    let now = clock::world();
    let mut text = String::with_capacity(96);
    // Writing to a string fails only if `what` says so; the line ends there then.
    let _ = write!(text, "{}.{:09} {who} {what}", now.as_secs(), now.subsec_nanos());
    if text.contains('\n') {
        text = text.trim_end().replace('\n', "\\n");
    }
    let mut trace = trace();
    trace.absorb(text.as_bytes());
    let Trace { kept: Some(kept), dropped, .. } = &mut *trace else { return };
    if kept.len() < LINES_MAX {
        kept.push(text);
    } else {
        *dropped += 1;
    }
}

/// Adds a choice that has no line.
pub(crate) fn choice(number: u64) {
    trace().absorb(&number.to_le_bytes());
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
    /// FNV-1a, with an end mark so that the borders between lines count.
    fn absorb(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&[0xff]) {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}
