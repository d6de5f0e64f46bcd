//! Who waits for locks ([`Mutex`](crate::sync::Mutex), [`RwLock`](crate::sync::RwLock),
//! [`Semaphore`](crate::sync::Semaphore)), in bthreads and OS threads alike.
//!
//! A lock call that has to sleep asks `begin` whether it is watched. While no session runs, that is one relaxed load;
//! a call that need not sleep does not even ask. Of the waits a bounded number per second is looked at: the stack is
//! copied before the wait, and its time told after it (`waiting`). What was seen is scaled up to all waits of the same
//! tenth of a second, whose number is known exactly. A wait that has not ended when the session stops counts with its
//! time so far, so a deadlock shows. One that began before the session is not seen.
//!
//! Waits of a [`Condvar`](crate::sync::Condvar) for its notification are no contention; those for its mutex afterwards
//! are.
//!
//! This file owns the session and what its thread does.
//!
//! ```
//! use bthread::sync::Mutex;
//! let session = bthread::profile::contention::start(1000).unwrap();
//! let lock = Mutex::new(());
//! let guard = lock.lock().unwrap();
//! bthread::scope(|scope| {
//!     scope.spawn(|| drop(lock.lock().unwrap()));
//!     bthread::sleep(std::time::Duration::from_millis(5));
//!     drop(guard);
//! });
//! println!("{} stacks", session.stop().stacks.len());
//! ```

mod waiting;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::single::Single;
use super::{ProfileError, Recording, Stacks};

pub(crate) use waiting::{Lock, begin};

/// Waits looked at per second: the range.
pub const SAMPLES_PER_SECOND_MAX: u32 = 10_000;
/// Waits looked at that have not ended, at a time; those beyond count as lost.
pub const WAITS_MAX: usize = 1 << 14;

/// The budget is for each such part of a second, and scaling is done within it.
const INTERVAL: Duration = Duration::from_millis(100);
const INTERVALS_PER_SECOND: u32 = 10;
/// Between two looks at the buffers.
const TURN: Duration = Duration::from_millis(10);

static PROFILER: Single<Run> = Single::new("bthread:lock-prof", turn);

/// What one session gathers.
struct Run {
    stacks: Stacks,
    /// Waits looked at per interval.
    budget: u32,
    interval_ends: Instant,
    /// Waits of this interval; their weight is not known before its end.
    fresh: Vec<u64>,
    /// Waits under way or ended, whose stack has arrived.
    waits: HashMap<u64, Wait>,
}

struct Wait {
    frames: Arc<[usize]>,
    label: &'static str,
    began: Instant,
    /// Set once it has ended.
    nanos: Option<u64>,
    /// Waits that it stands for; set at the end of its interval.
    weight: Option<f64>,
}

/// A profile under way. Dropped without [`stop`](Self::stop) it is thrown away.
#[derive(Debug)]
#[must_use = "dropping the session ends the profile"]
pub struct Session(());

/// Starts to look at waits for locks, at most `samples_per_second` of them (1 to [`SAMPLES_PER_SECOND_MAX`]; other values
/// are brought into that range).
///
/// *Blocking*: parks the bthread, or blocks the thread, while samples are unwound.
///
/// # Errors
/// `Busy` if a session runs; `System` if there is no thread to be had.
pub fn start(samples_per_second: u32) -> Result<Session, ProfileError> {
    let per_second = samples_per_second.clamp(1, SAMPLES_PER_SECOND_MAX);
    let budget = per_second.div_ceil(INTERVALS_PER_SECOND);
    PROFILER.start(|| {
        waiting::switch_on(budget);
        Run {
            stacks: Stacks::new(),
            budget,
            interval_ends: Instant::now() + INTERVAL,
            fresh: Vec::new(),
            waits: HashMap::new(),
        }
    })?;
    Ok(Session(()))
}

impl Session {
    /// Ends the session; what was seen since the start. *Blocking*: as [`start`].
    pub fn stop(self) -> Recording {
        let mut state = PROFILER.lock();
        waiting::switch_off();
        let mut run = state.run.take().expect("a session's run goes with the session");
        std::mem::forget(self); // the next run is not its own
        run.drain();
        run.end_interval();
        run.settle(true);
        run.stacks.take()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut state = PROFILER.lock();
        if state.run.take().is_some() {
            waiting::switch_off();
        }
    }
}

/// A turn of the collector's thread.
fn turn() -> Option<Duration> {
    PROFILER.turn(|run| {
        run.drain();
        if Instant::now() >= run.interval_ends {
            run.end_interval();
            run.interval_ends = Instant::now() + INTERVAL;
        }
        run.settle(false);
        TURN
    })
}

impl Run {
    /// Takes over what the waiting have told.
    fn drain(&mut self) {
        let Run { fresh, waits, stacks, .. } = self;
        // First the ends: then their beginnings have arrived before the buffers are looked at.
        let ended = waiting::take_ended();
        waiting::drain(|id, frames, label, began| {
            if waits.len() < WAITS_MAX {
                waits.insert(id, Wait { frames: frames.into(), label, began, nanos: None, weight: None });
                fresh.push(id);
            } else {
                stacks.lose(1.0);
            }
        });
        for (id, nanos) in ended {
            // One that was never taken up has no entry, and neither have those of an earlier session.
            if let Some(wait) = waits.get_mut(&id) {
                wait.nanos = Some(nanos);
            }
        }
    }

    /// Gives the waits of this interval their weight, and sets how many of the next ones are looked at.
    fn end_interval(&mut self) {
        if self.fresh.is_empty() {
            return; // those that there were count in the next one
        }
        let all = waiting::take_count();
        let weight = (f64::from(all) / self.fresh.len() as f64).max(1.0);
        for id in self.fresh.drain(..) {
            if let Some(wait) = self.waits.get_mut(&id) {
                wait.weight = Some(weight);
            }
        }
        waiting::set_chance(self.budget, all);
    }

    /// Counts the waits that have ended and have a weight; with `all`, the others as well.
    fn settle(&mut self, all: bool) {
        let Run { stacks, waits, .. } = self;
        waits.retain(|_, wait| {
            let (nanos, weight) = match (wait.nanos, wait.weight) {
                (Some(nanos), Some(weight)) => (nanos, weight),
                (nanos, weight) if all => {
                    (nanos.unwrap_or_else(|| wait.began.elapsed().as_nanos() as u64), weight.unwrap_or(1.0))
                }
                _ => return true,
            };
            stacks.add(&wait.frames, Some(wait.label), weight, weight * nanos as f64);
            false
        });
    }
}
