//! Something that happens once.

use std::fmt;
use std::time::{Duration, Instant};

use super::TimedOut;
use super::raw::{Begin, RawOnce};

/// Calls a function once, however many ask for it; the others wait until it is done. The function may wait: no worker
/// is held up by it, or by those who wait for it.
///
/// It is [poisoned](super#poisoning) when the function panics. A function that calls the same `Once` waits for ever.
///
/// ```
/// static START: bthread::sync::Once = bthread::sync::Once::new();
/// START.call_once(|| println!("once"));
/// START.call_once(|| unreachable!());
/// assert!(START.is_completed());
/// ```
pub struct Once {
    raw: RawOnce,
}

/// What the function of [`Once::call_once_force`] can know.
#[derive(Debug)]
pub struct OnceState {
    poisoned: bool,
}

impl OnceState {
    /// Whether the last attempt has panicked.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }
}

impl Once {
    /// One that has not happened.
    pub const fn new() -> Self {
        Once { raw: RawOnce::new() }
    }

    /// Calls `f` unless that has been done, or waits for whoever is doing it. What it did is seen by all afterwards.
    /// *Blocking*: parks the calling bthread, or blocks the calling thread, while another one is at it.
    ///
    /// # Panics
    /// When an earlier attempt has panicked, or `f` does.
    #[inline]
    pub fn call_once(&self, f: impl FnOnce()) {
        if !self.raw.is_complete() {
            self.call(false, |_| f());
        }
    }

    /// As [`call_once`](Self::call_once), but calls `f` also when earlier attempts have panicked. *Blocking*: as that.
    ///
    /// # Panics
    /// When `f` does.
    #[inline]
    pub fn call_once_force(&self, f: impl FnOnce(&OnceState)) {
        if !self.raw.is_complete() {
            self.call(true, f);
        }
    }

    /// Whether it has happened. Never blocks.
    #[inline]
    pub fn is_completed(&self) -> bool {
        self.raw.is_complete()
    }

    /// Waits until somebody has done it. *Blocking*: parks the calling bthread, or blocks the calling thread.
    ///
    /// # Panics
    /// When an attempt has panicked; [`wait_force`](Self::wait_force) waits for the next one.
    pub fn wait(&self) {
        assert!(self.raw.wait_until(None, false), "{POISONED}");
    }

    /// As [`wait`](Self::wait), whether attempts have panicked or not.
    pub fn wait_force(&self) {
        self.raw.wait_until(None, true);
    }

    /// As [`wait`](Self::wait), until the deadline at most.
    ///
    /// # Errors
    /// [`TimedOut`] when the deadline has passed first.
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    pub fn wait_until(&self, deadline: Instant) -> Result<(), TimedOut> {
        self.wait_at_most(Some(deadline))
    }

    /// As [`wait`](Self::wait), for at most `timeout`.
    ///
    /// # Errors
    /// [`TimedOut`] when the time was up first.
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), TimedOut> {
        self.wait_at_most(super::after(timeout))
    }

    /// As [`wait_force`](Self::wait_force), until the deadline at most.
    pub(super) fn wait_force_until(&self, deadline: Option<Instant>) {
        self.raw.wait_until(deadline, true);
    }

    fn wait_at_most(&self, deadline: Option<Instant>) -> Result<(), TimedOut> {
        if self.raw.wait_until(deadline, false) {
            return Ok(());
        }
        assert!(!self.raw.is_poisoned(), "{POISONED}");
        Err(TimedOut)
    }

    #[cold]
    fn call(&self, force: bool, f: impl FnOnce(&OnceState)) {
        match self.raw.begin(force) {
            Begin::Complete => {}
            Begin::Poisoned => panic!("{POISONED}"),
            Begin::Run { poisoned } => {
                let mut end = End { raw: &self.raw, complete: false };
                f(&OnceState { poisoned });
                end.complete = true;
            }
        }
    }
}

const POISONED: &str = "the function of this Once has panicked";

/// Ends an attempt, also when it panics.
struct End<'a> {
    raw: &'a RawOnce,
    complete: bool,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.raw.finish(self.complete);
    }
}

impl Default for Once {
    fn default() -> Self {
        Self::new()
    }
}

impl std::panic::UnwindSafe for Once {}
impl std::panic::RefUnwindSafe for Once {}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").field("completed", &self.is_completed()).finish()
    }
}
