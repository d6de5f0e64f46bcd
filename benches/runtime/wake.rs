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

/// Medians of the times from a wake-up to the stamp that the sleeper sets, nanoseconds, each of `n` times: with all
/// threads on the waker's CPU, where the sleeper runs once the waker sleeps, and with the others on another CPU, which is
/// idle (NaN if there is none). `wake` gets 1, 2, 3 and so on up to 2 `n`. Before each, all threads of the process but the
/// caller sleep.
pub(crate) fn one_way(n: usize, stamp: &Stamp, wake: impl Fn(u32)) -> Vec<f64> {
    let cpus = process::cpus();
    let mut round = 0;
    let mut next = || {
        round += 1;
        once(round, stamp, &wake)
    };
    let places = [Some(&cpus[0]), cpus.get(1)];
    let figures = places.map(|place| {
        process::bind(cpus[0], *place.unwrap_or(&cpus[0]));
        let median = median((0..n).map(|_| next()).collect());
        place.and(median).unwrap_or(f64::NAN)
    });
    figures.into()
}

fn once(round: u32, stamp: &Stamp, wake: &impl Fn(u32)) -> f64 {
    process::until_others_sleep();
    let start = stamp.base.elapsed().as_nanos() as u64;
    wake(round);
    loop {
        // Sleeps in between, so that the sleeper has the CPU if it shares it.
        process::until_others_sleep();
        match stamp.at.swap(0, Ordering::Acquire) {
            0 => {}
            at => break at.saturating_sub(start) as f64,
        }
    }
}
