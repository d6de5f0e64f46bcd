//! Where processor time goes: each thread of the process is interrupted after each so many microseconds of processor
//! time that it has used, and its stack is taken, that of the bthread it runs if it does.
//!
//! Threads that sleep are not disturbed. A thread gets its timer within 100 ms of its start; one that lives shorter is
//! not seen. System calls that do not go on after a signal (signal(7)) may end with `EINTR` on a thread that uses the
//! processor, even when it handles no signals itself; this crate and std are ready for that.
//!
//! This file owns the sessions and the thread that serves them; `timers` owns the timers and the handler.
//!
//! ```
//! let session = bthread::profile::cpu::start(100).unwrap();
//! let sum: u64 = (0..1_000_000).sum();
//! let recording = session.stop();
//! assert!(recording.duration > std::time::Duration::ZERO && sum > 0);
//! ```

mod timers;

use std::sync::LazyLock;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::collector::Collector;
use super::{ProfileError, Recording, Stacks};
use crate::sync::{Mutex, MutexGuard};
use timers::Timers;

/// Samples per second of processor time: the range.
pub const FREQUENCY_MAX: u32 = 1000;
/// Sessions at a time. All see the samples of all; timers run at the highest frequency asked for.
pub const SESSIONS_MAX: usize = 4;

/// Between two looks at the buffers: the range.
const TURN_MIN: Duration = Duration::from_millis(5);
const TURN_MAX: Duration = Duration::from_millis(100);
/// A look for new threads takes at most this part of the time, as a divisor.
const SCAN_SHARE: u32 = 50;

static COLLECTOR: Collector = Collector::new("bthread:cpu-prof", turn);
static SAMPLER: LazyLock<Mutex<Sampler>> = LazyLock::new(|| Mutex::new(Sampler::new()));

struct Sampler {
    consumers: Vec<Consumer>,
    next_id: u64,
    /// The collector's thread runs, and will see what is done now.
    has_thread: bool,
    timers: Timers,
    scan_at: Instant,
}

struct Consumer {
    id: u64,
    frequency: u32,
    stacks: Stacks,
}

/// A profile under way. Dropped without [`stop`](Self::stop) it is thrown away.
#[derive(Debug)]
#[must_use = "dropping the session ends the profile"]
pub struct Session {
    id: u64,
}

/// Starts to take samples, `frequency` of them (1 to [`FREQUENCY_MAX`]; other values are brought into that range) in
/// each second of processor time of each thread.
///
/// *Blocking*: parks the bthread, or blocks the thread, while samples are unwound; makes a few system calls for each
/// thread of the process.
///
/// # Errors
/// `Busy` if there are [`SESSIONS_MAX`] already; `SignalTaken` if other code of the program has displaced the handler of
/// `SIGRTMAX - 4`; `System` if the process cannot have timers, a thread, or see its threads.
pub fn start(frequency: u32) -> Result<Session, ProfileError> {
    let mut sampler = sampler();
    if sampler.consumers.len() == SESSIONS_MAX {
        return Err(ProfileError::Busy);
    }
    timers::prepare()?;
    sampler.drain(); // what came before is not ours
    let id = sampler.next_id;
    sampler.next_id += 1;
    let frequency = frequency.clamp(1, FREQUENCY_MAX);
    sampler.consumers.push(Consumer { id, frequency, stacks: Stacks::new() });
    let started = sampler.tune().and_then(|()| match sampler.has_thread {
        true => Ok(()),
        false => COLLECTOR.start(),
    });
    match started {
        Ok(()) => sampler.has_thread = true,
        Err(error) => {
            sampler.leave(id);
            return Err(error.into());
        }
    }
    Ok(Session { id })
}

impl Session {
    /// What was seen since the start or the last `take`. The session goes on. *Blocking*: as [`start`].
    pub fn take(&self) -> Recording {
        let mut sampler = sampler();
        sampler.drain();
        let consumer = sampler.consumers.iter_mut().find(|consumer| consumer.id == self.id);
        consumer.expect("a session's consumer goes with the session").stacks.take()
    }

    /// Ends the session; what was seen since the start or the last [`take`](Self::take). *Blocking*: as [`start`].
    pub fn stop(self) -> Recording {
        self.take()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        sampler().leave(self.id);
    }
}

fn sampler() -> MutexGuard<'static, Sampler> {
    SAMPLER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A turn of the collector's thread.
fn turn() -> Option<Duration> {
    let mut sampler = sampler();
    sampler.drain();
    if sampler.consumers.is_empty() {
        sampler.has_thread = false;
        return None;
    }
    // A thread that cannot get a timer now may get one at the next look.
    let _ = sampler.scan();
    Some(sampler.pause())
}

impl Sampler {
    fn new() -> Sampler {
        Sampler {
            consumers: Vec::new(),
            next_id: 0,
            has_thread: false,
            timers: Timers::new(),
            scan_at: Instant::now(),
        }
    }

    /// Gives the samples that have come to all sessions.
    fn drain(&mut self) {
        let consumers = &mut self.consumers;
        timers::drain(|frames, count, nanos| {
            for consumer in &mut *consumers {
                consumer.stacks.add(frames, None, count as f64, nanos as f64);
            }
        });
        let lost = timers::take_lost();
        for consumer in &mut self.consumers {
            consumer.stacks.lose(lost as f64);
        }
    }

    /// Sets the timers for the sessions there are.
    fn tune(&mut self) -> Result<(), std::io::Error> {
        let frequency = self.consumers.iter().map(|consumer| consumer.frequency).max();
        self.timers.set_frequency(frequency);
        match frequency {
            Some(_) => {
                self.scan_at = Instant::now();
                self.scan()
            }
            None => Ok(()),
        }
    }

    fn leave(&mut self, id: u64) {
        self.consumers.retain(|consumer| consumer.id != id);
        // It fails only when the list of threads cannot be read; then the next turn tries again.
        let _ = self.tune();
    }

    /// Looks for new and ended threads, if it is time.
    fn scan(&mut self) -> Result<(), std::io::Error> {
        let before = Instant::now();
        if before < self.scan_at {
            return Ok(());
        }
        let result = self.timers.scan(COLLECTOR.thread());
        self.scan_at = Instant::now() + (before.elapsed() * SCAN_SHARE).max(TURN_MIN);
        result
    }

    /// Until the buffers may be half full, if all processors are busy.
    fn pause(&self) -> Duration {
        let frequency = self.consumers.iter().map(|consumer| consumer.frequency).max().unwrap_or(1);
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32);
        let half = super::buffers::BUFFERS as u32 / 2;
        (Duration::from_secs(1) * half / (frequency * cpus)).clamp(TURN_MIN, TURN_MAX)
    }
}
