//! The life of one use of a task slot: the function that runs, and the one who holds the join handle, who may wait for
//! its end, give up, hand the handle on, or drop it.
//!
//! Exactly one of the two ends up with the result: the handle's holder if the function ended first, the worker if the
//! handle was gone first.
//!
//! Holds unsafe: the way to the joiner's parker, which lives for ever.

#![allow(unsafe_code)]

use std::time::Instant;

use crate::atomic::{AtomicPtr, AtomicU32, Ordering};
use crate::parker::Parker;
use crate::wait::{self, Reason};

/// The function has returned (or panicked) and the result is in its place.
pub(crate) const DONE: u32 = 1;
/// Nobody holds the join handle any more.
const DETACHED: u32 = 2;
/// The holder of the join handle waits; `joiner` is set.
const JOINER: u32 = 4;

pub(crate) struct Life {
    state: AtomicU32,
    /// Whose park the end ends. Parkers live for ever.
    joiner: AtomicPtr<Parker>,
}

impl Life {
    #[cfg(not(loom))]
    pub(crate) const STATE_OFFSET: usize = std::mem::offset_of!(Life, state);

    pub(crate) fn new() -> Self {
        Life { state: AtomicU32::new(0), joiner: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// A new life, of a task that nobody else knows yet.
    pub(crate) fn begin(&self, detached: bool) {
        // Relaxed: the queue through which the task goes to its worker publishes it.
        self.state.store(if detached { DETACHED } else { 0 }, Ordering::Relaxed);
    }

    /// The function has returned. False: the handle is gone, so the result is the caller's. Otherwise the slot is the
    /// holder's from here on, and `told` is called before he is woken.
    pub(crate) fn end(&self, told: impl FnOnce()) -> bool {
        let mut life = self.state.load(Ordering::Acquire); // pairs with the AcqRel in `detach`
        loop {
            if life & DETACHED != 0 {
                return false;
            }
            // Release pairs with the Acquire in `is_done`: the joiner sees the result; Acquire with the Release of the
            // joiner's mark. SeqCst pairs with `Task::set_watched`: either `told` sees its mark, or it sees that we are done.
            match self.state.compare_exchange(life, life | DONE, Ordering::SeqCst, Ordering::Acquire) {
                Ok(_) => break,
                Err(now) => life = now,
            }
        }
        told();
        if life & JOINER != 0 {
            // Read only now: the joiner of a moment ago may have given up for another one. Who comes later sees that
            // we are done, and is woken for nothing at worst. Relaxed: ordered by the mark.
            let joiner = self.joiner.load(Ordering::Relaxed);
            // SAFETY: only parkers, which live for ever, are stored, and the mark says that one was.
            unsafe { &*joiner }.unpark();
        }
        true
    }

    /// The handle is gone. True: the function had returned before, so the result is the caller's.
    pub(crate) fn detach(&self) -> bool {
        self.state.fetch_or(DETACHED, Ordering::AcqRel) & DONE != 0 // pairs with the exchange in `end`
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state.load(Ordering::Acquire) & DONE != 0 // pairs with the exchange in `end`
    }

    /// As [`is_done`](Self::is_done), for who has left a mark that `told` looks for.
    pub(crate) fn is_done_after_mark(&self) -> bool {
        self.state.load(Ordering::SeqCst) & DONE != 0 // as in `end`
    }

    pub(crate) fn is_detached(&self) -> bool {
        self.state.load(Ordering::Relaxed) & DETACHED != 0 // a snapshot
    }

    /// Waits for the end; false if the deadline came first. By the holder of the handle. *Blocking*: parks the bthread
    /// or blocks the thread.
    pub(crate) fn wait(&self, deadline: Option<Instant>, reason: Reason) -> bool {
        if self.is_done() {
            return true;
        }
        let parker = wait::current_parker();
        // Relaxed: published by the Release below.
        self.joiner.store(std::ptr::from_ref(parker).cast_mut(), Ordering::Relaxed);
        // Release pairs with the Acquire in `end`, Acquire with its Release.
        if self.state.fetch_or(JOINER, Ordering::AcqRel) & DONE != 0 {
            return true;
        }
        while !self.is_done() {
            if wait::is_over(deadline) {
                // The next wait may be somebody else's. AcqRel as above.
                return self.state.fetch_and(!JOINER, Ordering::AcqRel) & DONE != 0;
            }
            wait::park_for(parker, deadline, reason);
        }
        true
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::cell::UnsafeCell as Tracked;
    use loom::sync::Arc;

    /// A life and its result, which loom sees to it that only its owner touches.
    struct Task {
        life: Life,
        result: Tracked<u32>,
    }

    // SAFETY: who may touch the result is what the models are about.
    unsafe impl Send for Task {}
    // SAFETY: as above.
    unsafe impl Sync for Task {}

    fn start() -> (Arc<Task>, loom::thread::JoinHandle<()>) {
        let task = Arc::new(Task { life: Life::new(), result: Tracked::new(0) });
        task.life.begin(false);
        let runs = task.clone();
        let worker = loom::thread::spawn(move || {
            // SAFETY: the worker's until the end.
            runs.result.with_mut(|result| unsafe { *result = 7 });
            if !runs.life.end(|| ()) {
                // SAFETY: nobody holds the handle.
                runs.result.with_mut(|result| unsafe { *result = 0 });
            }
        });
        (task, worker)
    }

    fn take(task: &Task) {
        // SAFETY: the handle's holder's, after the end.
        assert_eq!(task.result.with_mut(|result| unsafe { *result }), 7);
    }

    #[test]
    fn loom_a_joiner_is_woken_and_gets_the_result() {
        crate::atomic::model(|| {
            let (task, worker) = start();
            assert!(task.life.wait(None, Reason::Channel));
            take(&task);
            worker.join().unwrap();
        });
    }

    #[test]
    fn loom_a_joiner_takes_over_from_one_that_gave_up() {
        crate::atomic::model(|| {
            let (task, worker) = start();
            let first = loom::thread::spawn({
                let task = task.clone();
                move || task.life.wait(Some(Instant::now()), Reason::Channel)
            });
            if !first.join().unwrap() {
                assert!(task.life.wait(None, Reason::Channel));
            }
            take(&task);
            worker.join().unwrap();
        });
    }

    #[test]
    fn loom_the_result_has_one_owner() {
        crate::atomic::model(|| {
            let (task, worker) = start();
            if task.life.detach() {
                take(&task);
            }
            worker.join().unwrap();
        });
    }
}
