//! Where bthreads wait: their stacks, looked at from time to time, added up over a while ("off-CPU").
//!
//! A snapshot goes through all bthreads that wait, takes some of them at random, and copies and unwinds their stacks on
//! a thread of its own; nobody is stopped. Those taken stand for all: counts are scaled up. Each counts with the time
//! since the snapshot before, so that the sums are the time that bthreads have spent waiting.
//!
//! ```
//! let session = bthread::profile::waits::start(std::time::Duration::from_millis(1), 100).unwrap();
//! bthread::spawn(|| bthread::sleep(std::time::Duration::from_millis(20))).join().unwrap();
//! let recording = session.stop();
//! assert!(recording.lost == 0);
//! ```

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

use super::single::Single;
use super::{ProfileError, Recording, Stacks};
use crate::inspect;
use crate::task::{self, TaskId};
use crate::wait::Reason;

/// Bthreads looked at in one snapshot: the range.
pub const BTHREADS_MAX: usize = 1 << 12;
/// The shortest time between two snapshots; the longest is a minute.
pub const INTERVAL_MIN: Duration = Duration::from_millis(1);
const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// A snapshot takes at most this part of the time, as a divisor; where many bthreads wait there are fewer of them.
const SHARE: u32 = 20;
/// How soon the thread notices the end of its session.
const NOTICE: Duration = Duration::from_millis(20);

static PROFILER: Single<Run> = Single::new("bthread:wait-prof", turn);

struct Run {
    stacks: Stacks,
    interval: Duration,
    bthreads_max: usize,
    began: Instant,
    /// When the last snapshot was made, or the session began.
    last: Instant,
    next: Instant,
    random: u64,
}

/// A profile under way. Dropped without [`stop`](Self::stop) it is thrown away.
#[derive(Debug)]
#[must_use = "dropping the session ends the profile"]
pub struct Session(());

/// Starts to look at waiting bthreads each `interval` (from [`INTERVAL_MIN`] to a minute), at `bthreads_max` of them at
/// most (1 to [`BTHREADS_MAX`]); other values are brought into range.
///
/// *Blocking*: parks the bthread, or blocks the thread, while a snapshot is made.
///
/// # Errors
/// `Busy` if a session runs; `System` if there is no thread to be had.
pub fn start(interval: Duration, bthreads_max: usize) -> Result<Session, ProfileError> {
    let interval = interval.clamp(INTERVAL_MIN, INTERVAL_MAX);
    PROFILER.start(|| {
        let now = Instant::now();
        Run {
            stacks: Stacks::new(),
            interval,
            bthreads_max: bthreads_max.clamp(1, BTHREADS_MAX),
            began: now,
            last: now,
            next: now + interval,
            random: RandomState::new().build_hasher().finish() | 1,
        }
    })?;
    Ok(Session(()))
}

impl Session {
    /// Ends the session; what was seen since the start, with a last snapshot. *Blocking*: as [`start`].
    pub fn stop(self) -> Recording {
        let mut run = PROFILER.lock().run.take().expect("a session's run goes with the session");
        std::mem::forget(self); // the next run, which may begin now, is not its own
        run.snapshot();
        // Without the time that the last one took.
        Recording { duration: run.last.duration_since(run.began), ..run.stacks.take() }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        PROFILER.lock().run = None;
    }
}

/// A turn of the collector's thread.
fn turn() -> Option<Duration> {
    PROFILER.turn(|run| {
        if Instant::now() >= run.next {
            run.snapshot();
        }
        run.next.saturating_duration_since(Instant::now()).min(NOTICE)
    })
}

impl Run {
    fn snapshot(&mut self) {
        let now = Instant::now();
        let since = now.duration_since(self.last);
        self.last = now;
        let (chosen, all) = self.choose();
        let scale = all as f64 / chosen.len().max(1) as f64;
        for (id, reason) in chosen {
            // None: it goes on just now.
            if let Some(trace) = inspect::stack_trace(id) {
                self.stacks.add(trace.frames(), Some(label(reason)), scale, scale * since.as_nanos() as f64);
            }
        }
        self.next = Instant::now() + self.interval.max(now.elapsed() * SHARE);
    }

    /// Bthreads that wait, each as likely as the other, and how many there are.
    fn choose(&mut self) -> (Vec<(TaskId, Reason)>, usize) {
        let mut chosen = Vec::new();
        let mut all = 0;
        for waiter in task::all_slots().filter_map(|slot| inspect::waiter(slot.get())) {
            all += 1;
            if chosen.len() < self.bthreads_max {
                chosen.push(waiter);
                continue;
            }
            // One that comes as the n-th takes a place with the right chance (reservoir sampling, algorithm R).
            let place = (self.random() % all as u64) as usize;
            if let Some(place) = chosen.get_mut(place) {
                *place = waiter;
            }
        }
        (chosen, all)
    }

    /// The next number of a generator (xorshift64, Marsaglia) that never comes to 0.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

fn label(reason: Reason) -> &'static str {
    match reason {
        Reason::Butex(_) => "butex",
        Reason::Sleep => "sleep",
        Reason::Join(_) => "join",
        Reason::Channel => "channel",
        Reason::Future => "future",
        Reason::Blocking => "blocking call",
        Reason::Io => "descriptor",
    }
}
