//! How long a wake-up from an OS thread takes while everything sleeps.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::process;
use crate::table::median;

/// When the sleeper ran again; shared between it and the waker.
pub(crate) struct Stamp {
    base: Instant,
    /// Nanoseconds since `base`; 0 is none.
    at: AtomicU64,
}

impl Stamp {
    pub(crate) fn new() -> Self {
        Stamp { base: Instant::now(), at: AtomicU64::new(0) }
    }

    /// The sleeper runs.
    pub(crate) fn set(&self) {
        self.at.store(self.base.elapsed().as_nanos() as u64, Ordering::Release); // pairs with the swap in `one_way`
    }
}

/// The median of `n` times from a wake-up to the stamp that the sleeper sets, nanoseconds. `wake` gets 1, 2, 3 and so
/// on. Before each, all threads of the process but the caller sleep.
pub(crate) fn one_way(n: usize, stamp: &Stamp, wake: impl Fn(u32)) -> f64 {
    let figures = (0..n).map(|round| {
        process::until_others_sleep();
        let start = stamp.base.elapsed().as_nanos() as u64;
        wake(round as u32 + 1);
        loop {
            // Sleeps in between, so that the sleeper has a CPU even if it was woken on ours.
            process::until_others_sleep();
            match stamp.at.swap(0, Ordering::Acquire) {
                0 => {}
                at => break at.saturating_sub(start) as f64,
            }
        }
    });
    median(figures.collect()).unwrap_or(f64::NAN)
}
