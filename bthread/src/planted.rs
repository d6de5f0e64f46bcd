//! Faults that are in the code on purpose: the simulator has to find each of them.
//!
//! Owns their list and which one of them a process has. Exists with `RUSTFLAGS="--cfg bobbin_planted"` alone; a build
//! without it has nothing of them. What each breaks is in one place of the real code, which asks [`is`]; what has to
//! show it is in `docs/planted-bugs.md`. Must never be on where somebody did not ask for it by name.

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
    /// A bthread made ready from outside of its worker is queued there without a look whether the worker sleeps:
    /// the lost wake-up of schedulers.
    LostWakeUp = "lost-wake-up",
    /// A waiter that a wake-up and its own timeout reach at once says that it timed out: the wake-up is used up by
    /// one who gives up, and nobody else gets it.
    EatenWakeUp = "eaten-wake-up",
    /// Who joins the waiters of a butex does not look at its value again under the lock: a change in between is
    /// missed.
    StaleWait = "stale-wait",
    /// A timer that is added while the timers run fires up to a millisecond early: rounding down to slots.
    EarlyTimer = "early-timer",
    /// A held call whose deadline and whose reply come at the same time ends twice: its callback sees two ends.
    DoubleCompletion = "double-completion",
    /// A request that was written is sent again when its connection is lost, whatever the policy says: its method
    /// runs twice.
    RetryAfterWrite = "retry-after-write",
    /// A call that times out while its connection is being made stays in the table of calls.
    LeakedPendingCall = "leaked-pending-call",
    /// A slot of the table of calls keeps its version when a call leaves without a reply: a late reply goes to
    /// whoever has the slot next.
    ReusedCallId = "reused-call-id",
    /// The loser of a call with a backup request is not taken out of its table: it is counted, and its reply heard,
    /// after the end of the call.
    LeakedBackup = "leaked-backup",
    /// After a short write what is left is sent from the wrong place: a byte of it is lost.
    ShortWrite = "short-write",
    /// Bytes that come together with the end of the connection are dropped: the last reply is lost.
    LostLastBytes = "lost-last-bytes",
    /// The bthread that waits for room in the kernel does not look once more before it sleeps: the edge that came
    /// in between is lost, and with it all that is queued.
    LostWritable = "lost-writable",
    /// A server that refuses a second try in a row is never looked for again.
    NeverRevived = "never-revived",
    /// Data that a writer has in hand is sent behind the close of its stream.
    FrameAfterClose = "frame-after-close",
    /// The window of a stream does not count messages that were written before it was connected: more than the
    /// bound is on its way.
    WindowNotCounted = "window-not-counted",
    /// A feedback that finds the one before it still under way is forgotten: the writer waits for ever.
    LostFeedback = "lost-feedback",
    /// A graceful stop does not count a request that began while it was looking: its connection is closed under it.
    HastyStop = "hasty-stop",
    /// A request that is rejected by the limit of its method stays counted: the limit shrinks until nothing runs.
    LeakedAdmission = "leaked-admission",
    /// Calls made by a retry, within a handler, have the whole time of the handler's caller, not what is left.
    DeadlineNotShrunk = "deadline-not-shrunk",
    /// A handler that begins to watch while its connection fails is never told that its caller has gone.
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

#[cfg(test)]
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
}
