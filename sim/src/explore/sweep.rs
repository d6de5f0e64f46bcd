//! Many runs at a time: seeds in ascending order until enough have failed.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::frame::{Request, Trace};
use super::launch::{Ended, Launcher, Output};
use super::{Omit, Seeds};

/// How often a progress line is written.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// What is run.
#[derive(Debug)]
pub(super) struct Sweep<'a> {
    pub(super) launcher: &'a Launcher,
    pub(super) seeds: Seeds,
    pub(super) omit: &'a Omit,
    /// How many processes at a time.
    pub(super) jobs: usize,
    /// No further seed is started once so many have failed.
    pub(super) stop_after: u64,
    /// Each seed that is a multiple of it is run twice, and must end alike; 0: none is.
    pub(super) verify_every: u64,
    /// Says now and then on the standard error how far it has come.
    pub(super) progress: bool,
}

/// What has come out, over all runs.
#[derive(Debug, Default)]
pub(super) struct Swept {
    pub(super) seeds: u64,
    pub(super) virtual_time: Duration,
    pub(super) steps: u64,
    /// The sum of what [`mix`] makes of each seed and its trace's hash: the order does not matter.
    pub(super) digest: u64,
    /// By seed, ascending.
    pub(super) failures: Vec<Failed>,
}

/// A seed that did not go well.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) seed: u64,
    pub(super) ended: Ended,
    /// How the second run ended, of a seed whose first was well but that is not the same twice.
    pub(super) differently: Option<Ended>,
}

impl Sweep<'_> {
    /// # Errors
    /// The system's, if a process cannot be started.
    pub(super) fn run(&self) -> io::Result<Swept> {
        let state = Mutex::new(State {
            left: self.seeds,
            swept: Swept::default(),
            error: None,
            progress_at: Instant::now() + PROGRESS_INTERVAL,
        });
        thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(|| {
                    while let Some(seed) = self.next(&state) {
                        let result = self.one(seed);
                        self.add(&state, seed, result);
                    }
                });
            }
        });
        let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut swept = state.swept;
        swept.failures.sort_by_key(|failed| failed.seed);
        state.error.map_or(Ok(swept), Err)
    }

    fn next(&self, state: &Mutex<State>) -> Option<u64> {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = state.swept.failures.len() as u64 >= self.stop_after;
        if enough || state.error.is_some() { None } else { state.left.take_first() }
    }

    fn one(&self, seed: u64) -> io::Result<(Ended, Option<Ended>)> {
        let request = Request { seed, omit: self.omit.to_string(), trace: Trace::Hash };
        let ended = self.launcher.run(&request, Output::Kept)?;
        let verified = self.verify_every != 0 && seed.is_multiple_of(self.verify_every);
        if !verified || fails(&ended) {
            return Ok((ended, None));
        }
        let again = self.launcher.run(&request, Output::Kept)?;
        let differently = (again != ended).then_some(again);
        Ok((ended, differently))
    }

    fn add(&self, state: &Mutex<State>, seed: u64, result: io::Result<(Ended, Option<Ended>)>) {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let (ended, differently) = match result {
            Ok(ended) => ended,
            Err(error) => {
                state.error.get_or_insert(error);
                return;
            }
        };
        state.swept.seeds += 1;
        if let Ended::Reported(reply) = &ended {
            state.swept.virtual_time += reply.virtual_time;
            state.swept.steps += reply.steps;
            state.swept.digest = state.swept.digest.wrapping_add(mix(seed, reply.trace_hash));
        }
        if fails(&ended) || differently.is_some() {
            state.swept.failures.push(Failed { seed, ended, differently });
        }
        if self.progress && Instant::now() >= state.progress_at {
            state.progress_at = Instant::now() + PROGRESS_INTERVAL;
            let (done, failed) = (state.swept.seeds, state.swept.failures.len());
            eprintln!("{done} of {} seeds, {failed} failed", self.seeds.count());
        }
    }
}

struct State {
    left: Seeds,
    swept: Swept,
    /// The first; it ends the sweep.
    error: Option<io::Error>,
    progress_at: Instant,
}

/// Whether the run is not as it should be.
pub(super) fn fails(ended: &Ended) -> bool {
    !matches!(ended, Ended::Reported(reply) if reply.violations.is_empty())
}

/// Spreads a seed and a hash over all bits.
pub(super) fn mix(seed: u64, hash: u64) -> u64 {
    let mut bits = hash ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    bits ^ (bits >> 32)
}
