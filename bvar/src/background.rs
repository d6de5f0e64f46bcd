//! Who does what this crate does beside its callers' work, once a second and less often: threads of its own, or the
//! program by hand, as a simulation must.
//!
//! Owns that decision, which is made once. Everything in this crate that starts a thread asks here before.

use crate::collector::Collector;
use crate::registry;
use crate::sampler::Sampler;
use std::fmt;
// SeqCst: decided once in a process; nobody is in a hurry.
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const UNDECIDED: u8 = 0;
const THREADS: u8 = 1;
const BY_HAND: u8 = 2;

static DECISION: AtomicU8 = AtomicU8::new(UNDECIDED);

/// The time of the last [`tick`].
static LAST: Mutex<Duration> = Mutex::new(Duration::ZERO);

/// From now on, and for good, this crate starts no thread and looks at no clock: windows and histories stand still but for
/// [`tick`]; [`Collector::global`] keeps [`MAX_PENDING_SAMPLES`](crate::MAX_PENDING_SAMPLES) samples until then and drops
/// and counts the others; and nothing is dumped to files. Call it first in the program. Calling it again changes nothing.
///
/// *Blocking:* no.
///
/// # Errors
/// [`ThreadsRun`] if a thread was started before.
pub fn by_hand() -> Result<(), ThreadsRun> {
    match DECISION.compare_exchange(UNDECIDED, BY_HAND, SeqCst, SeqCst) {
        Err(THREADS) => Err(ThreadsRun),
        _ => Ok(()),
    }
}

/// What the threads of this crate would do when a second is over, `now` being the time since some beginning: samples
/// what windows look at, continues histories, and dumps the samples of the collector. Does nothing unless the process has
/// said [`by_hand`].
///
/// *Blocking:* as [`Sampler::tick`] and [`Collected::dump`](crate::Collected::dump): it runs code of others here.
pub fn tick(now: Duration) {
    if DECISION.load(SeqCst) != BY_HAND {
        return;
    }
    let elapsed = {
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        now.saturating_sub(std::mem::replace(&mut *last, now))
    };
    Sampler::global().tick(now);
    registry::append_to_series();
    Collector::work_by_hand(elapsed);
}

/// Whether threads may be started; from then on it is so.
pub(crate) fn has_threads() -> bool {
    !matches!(DECISION.compare_exchange(UNDECIDED, THREADS, SeqCst, SeqCst), Err(BY_HAND))
}

/// A thread of this crate runs already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadsRun;

impl fmt::Display for ThreadsRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Threads of bvar run already")
    }
}

impl std::error::Error for ThreadsRun {}
