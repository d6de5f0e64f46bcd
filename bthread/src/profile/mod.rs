//! Profilers that live in the process: what computes ([`cpu`]), who waits for locks ([`contention`]) and where bthreads
//! wait ([`waits`]).
//!
//! Each is a session that gathers stacks until it is stopped; what it gives is a [`Recording`]: addresses and numbers.
//! Names and formats are made of it in `bobbin-profile`. Nothing here starts a process, and a flow of control that is
//! sampled does no more than copy a piece of its stack: it is unwound on a thread of the session's.
//!
//! This file owns what a recording is. Source: spec/builtin-services.md §10.

mod buffers;
mod collector;
pub mod contention;
pub mod cpu;
mod places;
mod single;
mod stacks;
pub mod waits;

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{error, fmt};

use stacks::Stacks;

/// Different stacks in one recording; those that come later are counted in [`Recording::other`].
pub const STACKS_MAX: usize = 1 << 14;

/// What a session has gathered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recording {
    /// When it began.
    pub started: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// Each stack once, in no order. At most [`STACKS_MAX`].
    pub stacks: Vec<RecordedStack>,
    /// Number and nanoseconds of samples whose stacks found no room among [`STACKS_MAX`].
    pub other: [u64; 2],
    /// Samples that were due and could not be taken, because the buffers were full.
    pub lost: u64,
}

/// One stack and what was seen there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedStack {
    /// As [`StackTrace::frames`](crate::trace::StackTrace::frames): innermost first.
    pub frames: Arc<[usize]>,
    /// What it was doing there, if the profiler tells: the kind of lock, what a bthread waits for.
    pub label: Option<&'static str>,
    /// Samples: periods of processor time, waits, or bthreads seen waiting. Scaled up to all where only some were
    /// looked at.
    pub count: u64,
    /// The time that goes with them, in nanoseconds, scaled alike.
    pub nanos: u64,
}

/// Why a session could not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProfileError {
    /// There are as many sessions as there can be.
    Busy,
    /// The signal for samples was taken over by other code of the program.
    SignalTaken,
    /// The system refuses a timer, a thread, or the list of threads.
    System(io::Error),
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProfileError::Busy => f.write_str("this profiler is running already"),
            ProfileError::SignalTaken => f.write_str("the signal for samples is in other hands"),
            ProfileError::System(error) => write!(f, "the system does not allow it: {error}"),
        }
    }
}

impl error::Error for ProfileError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            ProfileError::System(error) => Some(error),
            ProfileError::Busy | ProfileError::SignalTaken => None,
        }
    }
}

impl From<io::Error> for ProfileError {
    fn from(error: io::Error) -> Self {
        ProfileError::System(error)
    }
}
