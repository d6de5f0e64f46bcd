//! The runner: the loop of a worker, and the switches between it and the bthreads that wait.
//!
//! It stands on a pooled stack and calls a task that has not started like a function. If the task waits, it keeps the
//! stack, and the worker goes on looping on another one; if it ends, its stack is the runner's again. So a task that
//! never waits costs no switch and no stack.
//!
//! Holds unsafe. The argument, once:
//! (1) A `Local` belongs to one OS thread for ever and is reached through a thread-local only. A started bthread stays
//!     on its worker, so a `&'static Local` that it got before a wait is still its own thread's after it.
//! (2) A stack is written to by one context at a time: `stack` is the one the thread stands on, a waiting task holds
//!     its own in `Run`, and the rest are in `stacks` with nothing on them. A runner that resumes a task puts its
//!     own stack into `stacks` and never returns to it; it has nothing on it that would need dropping.
//! (3) While a bthread runs, `stacks` holds at least one, so that it can wait.

#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::work::{LOOK_EVERY, STACK_RETRY};
use super::{LOCAL, Worker, count, recycle};
use crate::context::{self, Context};
use crate::defer::Deferred;
use crate::stack::{Stack, StackClass};
use crate::sys::{self, WaitMask};
use crate::task::TaskRef;
use crate::timer::{Key, Timers};

/// Stacks that a worker keeps for itself, if that is a small part of all.
const LOCAL_STACKS_MAX: usize = 32;
/// The part of all stacks that all workers together may keep for themselves, as a divisor.
const LOCAL_STACKS_PART: usize = 4;

/// What a worker's own thread alone may touch.
pub(super) struct Local {
    pub(super) worker: &'static Worker,
    pub(super) deque: crossbeam_deque::Worker<TaskRef>,
    /// Started tasks of this worker that can go on.
    pub(super) ready: RefCell<VecDeque<TaskRef>>,
    /// The task to run before all others.
    pub(super) next: Cell<Option<TaskRef>>,
    pub(super) next_runs: Cell<u32>,
    /// The bthread that runs; none while the runner does.
    pub(super) current: Cell<Option<TaskRef>>,
    /// The task that a waiting bthread found for the runner it switches to.
    pub(super) handoff: Cell<Option<TaskRef>>,
    pub(super) stack: Cell<Option<Stack>>,
    pub(super) stacks: RefCell<Vec<Stack>>,
    /// Spare stacks kept here; at least 1.
    pub(super) stacks_max: usize,
    pub(super) tasks: RefCell<Vec<TaskRef>>,
    pub(super) timers: RefCell<Timers>,
    pub(super) deferred: RefCell<Vec<Arc<dyn Deferred>>>,
    pub(super) deferred_since: Cell<Option<Instant>>,
    pub(super) deferred_tasks: Cell<u32>,
    pub(super) tick: Cell<u32>,
    /// Whose turn it is when both `ready` and the deque have something.
    pub(super) deque_turn: Cell<bool>,
    pub(super) searching: Cell<bool>,
    /// Events are being handed to their handlers: what they spawn is announced once, at the end.
    pub(super) delivering: Cell<bool>,
    /// No stack was to be had for a new task: only started ones are run.
    pub(super) starved: Cell<bool>,
    pub(super) random: Cell<u64>,
    pub(super) mask: WaitMask,
}

/// Runs the worker on the calling thread for ever.
pub(crate) fn main(worker: &'static Worker, deque: crossbeam_deque::Worker<TaskRef>) -> ! {
    let mask = sys::prepare_waiter().expect("setting up the wake-up signal of a worker");
    let _alt_stack =
        crate::stack_overflow::alt_stack_for_this_thread().expect("memory for a worker's signal stack");
    worker.thread.store(sys::thread_id(), Ordering::Relaxed); // published by the first announce
    let local: &'static Local = Box::leak(Box::new(Local {
        worker,
        deque,
        ready: RefCell::default(),
        next: Cell::new(None),
        next_runs: Cell::new(0),
        current: Cell::new(None),
        handoff: Cell::new(None),
        stack: Cell::new(None),
        stacks: RefCell::default(),
        stacks_max: local_stacks_max(
            worker.scheduler.stacks().stats(StackClass::Normal).max,
            worker.scheduler.workers().len(),
        ),
        tasks: RefCell::default(),
        timers: RefCell::new(Timers::new(worker.tombstones.clone())),
        deferred: RefCell::default(),
        deferred_since: Cell::new(None),
        deferred_tasks: Cell::new(0),
        tick: Cell::new(0),
        deque_turn: Cell::new(false),
        searching: Cell::new(false),
        delivering: Cell::new(false),
        starved: Cell::new(false),
        random: Cell::new(0x9e37_79b9_7f4a_7c15 ^ (worker.index as u64 + 1)),
        mask,
    }));
    LOCAL.set(local);
    let stack = loop {
        match worker.scheduler.stacks().get(StackClass::Normal) {
            Ok(stack) => break stack,
            Err(_) => std::thread::sleep(STACK_RETRY),
        }
    };
    let runner = local.fresh_runner(stack);
    // SAFETY: (2): nothing else stands on that stack. The native stack is never returned to.
    unsafe { context::leave(runner) }
}

/// What one idle worker keeps must not be what another one starves for.
fn local_stacks_max(capacity: usize, workers: usize) -> usize {
    (capacity / (LOCAL_STACKS_PART * workers)).clamp(1, LOCAL_STACKS_MAX)
}

extern "C" fn runner(local: *mut ()) -> ! {
    // SAFETY: (1): `fresh_runner` passed the leaked Local of this very thread.
    unsafe { &*local.cast::<Local>() }.run()
}

impl Local {
    fn run(&'static self) -> ! {
        loop {
            let task = match self.handoff.take() {
                Some(task) => task,
                None => self.find_work(),
            };
            // SAFETY: taken from a queue of this worker: started means at home here (1), else it is nobody's yet.
            if unsafe { task.run() }.started {
                self.leave_for(task);
            }
            if self.has_spare_stack() {
                self.start(task);
                self.look_at_deferred();
            } else {
                self.deque.push(task);
                // Another worker may have stacks.
                self.worker.scheduler.notify();
            }
        }
    }

    fn start(&self, task: TaskRef) {
        count(&self.worker.counters.tasks);
        task.get().set_home(self.worker);
        // SAFETY: (1): we are its home now.
        unsafe { task.run() }.started = true;
        self.current.set(Some(task));
        // SAFETY: taken from a queue, not started before.
        unsafe { task.call() };
        // SAFETY: once, after `call`; the task may have waited and is on the same worker and stack again.
        let unused = unsafe { task.complete() };
        self.current.set(None);
        if unused {
            recycle(task);
        }
    }

    /// Goes on with a task that waited. The runner's stack is free from here on, and nothing on it is returned to.
    fn leave_for(&self, task: TaskRef) -> ! {
        let own = self.stack.take().expect("a runner stands on a stack");
        self.keep(own);
        let target = self.enter(task);
        // SAFETY: (2): `target` is where the task waits; our stack stays untouched until the switch is done, as only
        // this thread takes from `stacks`.
        unsafe { context::leave(target) }
    }

    /// Leaves the stack of the calling bthread until somebody switches back to it. The task must be findable: in
    /// `ready`, or parked.
    pub(super) fn suspend(&'static self, task: TaskRef) {
        count(&self.worker.counters.switches);
        // Before any code of a user: were that to wait, it must not do so as the task, which is about to.
        self.current.set(None);
        self.look_at_deferred();
        let tick = self.tick.get().wrapping_add(1);
        let next = if tick.is_multiple_of(LOOK_EVERY) {
            None // the look is the runner's, and so is its tick
        } else {
            self.tick.set(tick);
            self.pick()
        };
        // SAFETY: (1): a task from our own queues is at home here or has not started.
        let next_started = next.is_some_and(|next| unsafe { next.run() }.started);
        if next == Some(task) {
            self.current.set(Some(task));
            return;
        }
        // SAFETY: (1): we are the task's home.
        unsafe { task.run() }.stack = self.stack.take();
        let target = match next {
            Some(next) if next_started => self.enter(next),
            next => {
                self.handoff.set(next);
                let stack = self.stacks.borrow_mut().pop().expect("a spare stack while a bthread runs");
                self.fresh_runner(stack)
            }
        };
        // SAFETY: (1), (2): the context is saved in the task, which is ours; `target` is not running.
        unsafe { context::switch(&mut task.run().context, target) };
    }

    /// Makes `task` the running one; the caller switches to the context.
    fn enter(&self, task: TaskRef) -> Context {
        // SAFETY: (1): it is at home here.
        let run = unsafe { task.run() };
        self.stack.set(run.stack.take());
        self.current.set(Some(task));
        std::mem::replace(&mut run.context, Context::null())
    }

    fn fresh_runner(&self, stack: Stack) -> Context {
        // SAFETY: (2): the stack has nothing on it.
        let context = unsafe {
            context::prepare(stack.limit(), stack.top(), runner, ptr::from_ref(self).cast_mut().cast())
        };
        self.stack.set(Some(stack));
        context
    }

    /// The timer that was to end the task's wait has fired.
    pub(super) fn forget_timer(&self, task: TaskRef, key: Key) {
        // SAFETY: (1): a timer of this kind is set by a task of this worker for itself.
        let timer = unsafe { task.run() }.timer.take();
        debug_assert!(timer == Some(key));
    }

    /// Puts a stack into the worker's own store. If there are too many, older ones go to the pool: never this one,
    /// which may still be stood on.
    fn keep(&self, stack: Stack) {
        let mut stacks = self.stacks.borrow_mut();
        if stacks.len() >= self.stacks_max {
            self.worker.scheduler.stacks().put_all(stacks.drain(..self.stacks_max.div_ceil(2)));
        }
        stacks.push(stack);
    }

    /// Sees that a task that is about to start could wait (3).
    pub(super) fn has_spare_stack(&self) -> bool {
        let mut stacks = self.stacks.borrow_mut();
        if stacks.is_empty() {
            match self.worker.scheduler.stacks().get(StackClass::Normal) {
                Ok(stack) => stacks.push(stack),
                Err(_) => {
                    self.set_starved(true);
                    return false;
                }
            }
        }
        if self.starved.get() {
            self.set_starved(false);
        }
        true
    }

    fn set_starved(&self, starved: bool) {
        self.starved.set(starved);
        self.worker.scheduler.set_exhausted(starved);
        self.worker.scheduler.parking().set_limited(self.worker.index, starved);
    }
}
