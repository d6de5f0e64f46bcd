//! Numbers that nobody needs to guess: what decides by chance in a server or a channel (jitter, who is tried first, ids
//! of traces) draws them here, so that a simulation can repeat a run.
//!
//! Owns a stream for each thread, seeded by the system, and the one stream that stands for all of them once the process
//! has [`replace`]d them. Must never be asked for a secret: who has seen one number knows all that follow.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the state of a stream grows by: SplitMix64's, odd, so that each state comes once in 2^64 numbers.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The state of the one stream, once there is one.
static REPLACED: OnceLock<AtomicU64> = OnceLock::new();

thread_local! {
    /// The state of the thread's stream; 0 before its first number.
    static STREAM: Cell<u64> = const { Cell::new(0) };
}

/// A number that is as likely as any other. Two nanoseconds; never blocks.
///
/// Not for secrets (keys, tokens, cookies): the numbers before and behind follow from it.
///
/// ```
/// let die = bthread::random::random() % 6 + 1;
/// assert!((1..=6).contains(&die));
/// ```
#[must_use]
pub fn random() -> u64 {
    if let Some(stream) = REPLACED.get() {
        // Relaxed: callers only have to get different states.
        return mixed(stream.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP));
    }
    STREAM.with(|stream| {
        let state = match stream.get() {
            0 => seed(),
            state => state,
        };
        let state = state.wrapping_add(STEP);
        stream.set(state);
        mixed(state)
    })
}

/// Has everything in this process draw from one stream, for good: the same numbers in the same order for the same seed.
/// Call it first in the program: what was drawn before was the system's. Whose turn it is to draw is the callers' affair:
/// a run is repeated only where one thread runs everything. Never blocks.
///
/// # Errors
/// There is a replacement already.
pub fn replace(seed: u64) -> Result<(), AlreadyReplaced> {
    // Mixed, so that neighbouring seeds begin far from each other on the one cycle of states.
    REPLACED.set(AtomicU64::new(mixed(seed.wrapping_add(STEP)))).map_err(|_| AlreadyReplaced)
}

/// The random numbers were replaced before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AlreadyReplaced;

impl fmt::Display for AlreadyReplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The random numbers were replaced before")
    }
}

impl std::error::Error for AlreadyReplaced {}

/// Different for each thread, from the keys that the system gave the thread's hashers.
#[cold]
fn seed() -> u64 {
    RandomState::new().hash_one(STEP)
}

/// The finaliser of SplitMix64: no two numbers give the same.
fn mixed(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference's numbers for seed 1234567, so that a run means the same for ever.
    #[test]
    fn the_stream_is_splitmix64() {
        let numbers: Vec<_> =
            (1..=3).map(|n: u64| mixed(n.wrapping_mul(STEP).wrapping_add(1_234_567))).collect();
        assert_eq!(
            numbers,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn threads_draw_different_numbers() {
        let draw = || (0..100).map(|_| random()).collect::<Vec<_>>();
        let mut all: Vec<_> = (0..4).flat_map(|_| std::thread::spawn(draw).join().unwrap()).collect();
        all.extend(draw());
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 500);
    }
}
