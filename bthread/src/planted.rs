//! Faults that are in the code on purpose: the simulator has to find each of them.
//!
//! Owns their list and which one of them a process has. Exists with `RUSTFLAGS="--cfg bobbin_planted"` alone; a build
//! without it has nothing of them. Each is in one place of the real code, which asks by the macro `planted!`, a plain
//! `false` without the cfg; what has to show it is in `docs/planted-bugs.md`. Must never be on where nobody asked for it
//! by name.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};

/// No bug is chosen.
const NONE: u8 = u8::MAX;

static CHOSEN: AtomicU8 = AtomicU8::new(NONE);

/// Makes the list with its names, each written once.
macro_rules! bugs {
    ($($(#[$doc:meta])* $bug:ident = $name:literal,)*) => {
        /// A planted bug. [`Display`](fmt::Display) and [`FromStr`] speak of it by its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Bug {
            $($(#[$doc])* $bug,)*
        }

        impl Bug {
            /// All of them, in the order of `docs/planted-bugs.md`.
            pub const ALL: &[Bug] = &[$(Bug::$bug),*];

            /// Its name on the command line.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Bug::$bug => $name,)*
                }
            }
        }
    };
}

bugs! {
    /// A bthread of another worker that the delivery of events makes ready is queued there, and the worker, which
    /// sleeps, is not woken: the lost wake-up of schedulers.
    LostWakeUp = "lost-wake-up",
    /// A waiter of a semaphore that a wake-up and its own timeout reach at the same moment gives up, and the wake-up
    /// is not passed on: the waiter behind it sleeps beside a free permit.
    EatenWakeUp = "eaten-wake-up",
    /// Timers for functions are kept by the millisecond and rounded down: they fire up to 1 ms early.
    EarlyTimer = "early-timer",
    /// The loser of a call with a backup request is not called off, and its reply ends the call once more.
    DoubleCompletion = "double-completion",
    /// A connection that its peer has closed counts as one on which nothing was sent: a request that was written is
    /// sent again, and its method runs twice.
    RetryAfterWrite = "retry-after-write",
    /// A call whose request is not written, as too much is queued, stays in the table of calls.
    LeakedPendingCall = "leaked-pending-call",
    /// A place in the table of calls keeps its version when it is used again: the late reply to a call that was not
    /// waited for any more goes to another call.
    ReusedCallId = "reused-call-id",
    /// When the kernel is full in the middle of what is queued, a byte behind what it took is lost: the rest of a
    /// short write is sent from the wrong place.
    ShortWrite = "short-write",
    /// A read that brings less than was asked for is taken for the last one there is, and no event comes for the rest:
    /// what edge-triggered readers get wrong.
    ShortRead = "short-read",
    /// Bytes that come together with the end of the stream are dropped: the last reply is lost.
    LostLastBytes = "lost-last-bytes",
    /// Who takes over a socket whose kernel is full waits for the next event before it tries: one that came before it
    /// ran is lost, and with it all that is queued.
    LostWritable = "lost-writable",
    /// A try to reach a server that is away, made after connecting had timed out once, is never counted as over: the
    /// server is not taken again when it is back.
    NeverRevived = "never-revived",
    /// A writer that waits for room when its stream is closed still writes its message: data behind the close.
    FrameAfterClose = "frame-after-close",
    /// The window of a stream does not count what was written before it was connected: more than its bound is on the
    /// way.
    WindowNotCounted = "window-not-counted",
    /// What was consumed is not told while the own window is full, and is forgotten: two sides that write to each
    /// other stall, as where control frames wait for the window of data.
    LostFeedback = "lost-feedback",
    /// A server that stops takes the first wake-up of its wait for the end of it: a connection is closed while an
    /// accepted request still runs.
    HastyStop = "hasty-stop",
    /// A request that the limiter of its method rejects stays counted: the limit shrinks until nothing runs.
    LeakedAdmission = "leaked-admission",
    /// Another attempt of a call tells the server the whole timeout, not what is left of it: it works, and calls on,
    /// when nobody waits any more.
    DeadlineNotShrunk = "deadline-not-shrunk",
    /// A handler that asks to be told of a cancel when its connection has failed already is never told.
    UnheardCancel = "unheard-cancel",
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No bug has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownBug(String);

impl fmt::Display for UnknownBug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no planted bug is named {:?}; there are:", self.0)?;
        Bug::ALL.iter().try_for_each(|bug| write!(f, " {bug}"))
    }
}

impl std::error::Error for UnknownBug {}

impl FromStr for Bug {
    type Err = UnknownBug;

    fn from_str(name: &str) -> Result<Self, UnknownBug> {
        let found = Bug::ALL.iter().copied().find(|bug| bug.name() == name);
        found.ok_or_else(|| UnknownBug(name.to_owned()))
    }
}

/// Breaks the code of this process in one way, from now on. To be called before anything runs.
///
/// *Blocking*: no.
///
/// # Panics
/// If another bug was chosen before: what is found would be of both.
pub fn choose(bug: Bug) {
    // Relaxed, as in `is`: it is chosen before there is anybody to be told.
    let before = CHOSEN.compare_exchange(NONE, bug as u8, Ordering::Relaxed, Ordering::Relaxed);
    if let Err(other) = before {
        assert_eq!(other, bug as u8, "a process has one planted bug at most");
    }
}

/// The bug of this process.
pub fn chosen() -> Option<Bug> {
    Bug::ALL.iter().copied().find(|bug| is(*bug))
}

/// Whether this process has this bug.
#[inline]
pub fn is(bug: Bug) -> bool {
    CHOSEN.load(Ordering::Relaxed) == bug as u8
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_bug_is_found_by_its_name() {
        let names: HashSet<_> = Bug::ALL.iter().map(|bug| bug.name()).collect();
        assert_eq!(names.len(), Bug::ALL.len());
        for bug in Bug::ALL {
            assert_eq!(bug.to_string().parse(), Ok(*bug));
        }
        let error = "lost".parse::<Bug>().unwrap_err();
        assert!(error.to_string().contains("\"lost\"") && error.to_string().contains("lost-wake-up"));
    }

    #[test]
    fn the_table_has_them_in_their_order() {
        let table = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/planted-bugs.md");
        let table = std::fs::read_to_string(table).unwrap();
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        assert_eq!(rows.collect::<Vec<_>>(), Bug::ALL.iter().map(|bug| bug.name()).collect::<Vec<_>>());
    }
}
