//! Where a call leaves its result, and where the one who wants it waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;

use crate::atomic::lock;
use crate::parker::Parker;
use crate::wait;

/// Filled once, taken once.
pub(super) struct Slot<T>(Mutex<State<T>>);

struct State<T> {
    result: Option<std::thread::Result<T>>,
    taker: Option<&'static Parker>,
}

impl<T> Slot<T> {
    pub(super) fn new() -> Self {
        Slot(Mutex::new(State { result: None, taker: None }))
    }

    /// Calls `f` and puts in what it gives, or the payload of its panic. Does not unwind.
    pub(super) fn fill(&self, f: impl FnOnce() -> T) {
        let result = catch_unwind(AssertUnwindSafe(f));
        let taker = {
            let mut state = lock(&self.0);
            state.result = Some(result);
            state.taker.take()
        };
        if let Some(taker) = taker {
            taker.unpark();
        }
    }

    /// Waits for the result. Does not unwind. *Blocking*: parks the bthread or blocks the thread.
    pub(super) fn take(&self) -> std::thread::Result<T> {
        self.take_before(None).expect("waits without a deadline")
    }

    /// As [`take`](Self::take), until the deadline at most; none if it came first.
    pub(super) fn take_before(&self, deadline: Option<Instant>) -> Option<std::thread::Result<T>> {
        let parker = wait::current_parker();
        loop {
            {
                let mut state = lock(&self.0);
                if let Some(result) = state.result.take() {
                    return Some(result);
                }
                if wait::is_over(deadline) {
                    state.taker = None;
                    return None;
                }
                state.taker = Some(parker);
            }
            wait::park_for(parker, deadline, wait::Reason::Blocking);
        }
    }

    pub(super) fn is_filled(&self) -> bool {
        lock(&self.0).result.is_some()
    }
}
