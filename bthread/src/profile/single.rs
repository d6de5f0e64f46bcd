//! A profiler of which one session runs at a time, served by a [`Collector`]'s thread.
//!
//! Owns what the session gathers, and knows whether the thread runs: both under one lock, so that a session which starts
//! while the thread goes away gets another one. Must never know what is gathered.

use std::sync::PoisonError;
use std::time::Duration;

use super::ProfileError;
use super::collector::Collector;
use crate::sync::{Mutex, MutexGuard};

pub(super) struct Single<R> {
    collector: Collector,
    state: Mutex<State<R>>,
}

pub(super) struct State<R> {
    /// What the session under way has gathered, if there is one.
    pub(super) run: Option<R>,
    /// The collector's thread runs, and will see what is done now.
    has_thread: bool,
}

impl<R> Single<R> {
    /// One whose thread has this name and calls `turn`, which is to call [`turn`](Self::turn).
    pub(super) const fn new(name: &'static str, turn: fn() -> Option<Duration>) -> Single<R> {
        Single {
            collector: Collector::new(name, turn),
            state: Mutex::new(State { run: None, has_thread: false }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a session, which gathers in what `run` makes, under the lock.
    ///
    /// # Errors
    /// `Busy` if a session runs; `System` if there is no thread to be had.
    pub(super) fn start(&'static self, run: impl FnOnce() -> R) -> Result<(), ProfileError> {
        let mut state = self.lock();
        if state.run.is_some() {
            return Err(ProfileError::Busy);
        }
        if !state.has_thread {
            self.collector.start()?;
            state.has_thread = true;
        }
        state.run = Some(run());
        Ok(())
    }

    /// A turn of the collector's thread: what `work` returns, or none, which ends the thread, without a session.
    pub(super) fn turn(&self, work: impl FnOnce(&mut R) -> Duration) -> Option<Duration> {
        let mut state = self.lock();
        let pause = state.run.as_mut().map(work);
        if pause.is_none() {
            state.has_thread = false;
        }
        pause
    }
}
