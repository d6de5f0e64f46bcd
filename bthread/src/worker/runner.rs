//! The runner: the loop of a worker, and the switches between it and the bthreads that wait.
//!
//! It stands on a pooled stack and calls a task that has not started like a function. If the task waits, it keeps the
//! stack, and the worker goes on looping on another one; if it ends, its stack is the runner's again. So a task that
//! never waits costs no switch and no stack.
//!
//! A bthread that may move (`Builder::movable`) can go on on another worker. So it must not be found before it has
//! left its stack: whoever runs next on the worker **lands** it, that is, parks or queues it on its behalf. After each
//! wait such a bthread asks anew which worker it is on.
//!
//! Holds unsafe. The argument, once:
//! (1) A `Local` belongs to one OS thread for ever and is reached through a thread-local only. A started bthread that
//!     may not move stays on its worker, so a `&'static Local` that it got before a wait is still its own thread's
//!     after it; one that may move drops it with the wait.
//! (2) A stack is written to by one context at a time: `stack` is the one the thread stands on, a waiting task holds
//!     its own in `Run`, and the rest are in `stacks` with nothing on them. A runner that resumes a task puts its
//!     own stack into `stacks` and never returns to it; it has nothing on it that would need dropping.
//! (3) While a bthread runs, `stacks` holds at least one, so that it can wait.

#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::ptr;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::work::STACK_RETRY;
use super::{LOCAL, Place, Worker, count, recycle};
use crate::context::{self, Context};
use crate::random::random;
use crate::simulation;
use crate::stack::{Stack, StackClass};
use crate::stack_overflow::AltStack;
use crate::sys::{self, WaitMask};
use crate::task::{PHASE_STARTED, TaskRef};

/// Stacks that a worker keeps for itself, if that is a small part of all.
const LOCAL_STACKS_MAX: usize = 32;
/// Of so many new tasks, one has its time in the queue measured: asking the clock for each would cost a third of a
/// spawn.
const STAMP_EVERY: u32 = 64;
/// The part of all stacks that all workers together may keep for themselves, as a divisor.
const LOCAL_STACKS_PART: usize = 4;

/// How a bthread leaves its stack.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// It is parked or queued already, where only this worker takes it from.
    Findable,
    /// It may move, and has to be parked once it has left.
    Park,
    /// It may move, and has to be queued once it has left.
    Yield,
}

/// What the last context left to be done once its stack is not stood on any more.
enum Departed {
    Nobody,
    Task(TaskRef, Leave),
    /// The stack of a task that ended, of a class that the runner does not use.
    Stack(Stack),
}

/// What a worker's own thread alone may touch.
pub(super) struct Local {
    pub(super) worker: &'static Worker,
    pub(super) deque: crossbeam_deque::Worker<TaskRef>,
    /// Started tasks of this worker that can go on.
    pub(super) ready: RefCell<VecDeque<TaskRef>>,
    pub(super) next_runs: Cell<u32>,
    /// The task that a waiting bthread found for the runner it switches to.
    pub(super) handoff: Cell<Option<TaskRef>>,
    departed: Cell<Departed>,
    pub(super) stack: Cell<Option<Stack>>,
    pub(super) stacks: RefCell<Vec<Stack>>,
    /// Spare stacks kept here; at least 1.
    pub(super) stacks_max: usize,
    pub(super) tasks: RefCell<Vec<TaskRef>>,
    pub(super) deferred_since: Cell<Option<Instant>>,
    pub(super) deferred_tasks: Cell<u32>,
    pub(super) tick: Cell<u32>,
    /// The coarse time of the last look.
    pub(super) looked_at: Cell<u64>,
    /// Whose turn it is when both `ready` and the deque have something.
    pub(super) turn: Cell<u32>,
    pub(super) searching: Cell<bool>,
    /// Events are being handed to their handlers: what they spawn is announced once, at the end.
    pub(super) delivering: Cell<bool>,
    /// No stack was to be had for a new task: only started ones are run.
    pub(super) starved: Cell<bool>,
    /// Only its own started tasks are run here (`Worker::set_dormant`).
    pub(super) dormant: Cell<bool>,
    /// New tasks until the next one whose time in the queue is measured.
    until_stamp: Cell<u32>,
    pub(super) random: Cell<u64>,
    pub(super) mask: WaitMask,
}

/// What a thread needs to be a worker.
pub(crate) struct Prepared {
    mask: WaitMask,
    _alt_stack: AltStack,
}

/// Makes a worker of the calling thread, as far as the system has to agree.
pub(crate) fn prepare() -> io::Result<Prepared> {
    Ok(Prepared {
        mask: sys::prepare_waiter()?,
        _alt_stack: crate::stack_overflow::alt_stack_for_this_thread()?,
    })
}

/// Runs the worker on the calling thread for ever.
pub(crate) fn main(
    worker: &'static Worker,
    deque: crossbeam_deque::Worker<TaskRef>,
    prepared: Prepared,
) -> ! {
    let local = Local::new(worker, deque, &prepared);
    LOCAL.set(local);
    crate::monitor::worker_woke(); // it begins awake
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

/// Where a worker's xorshift begins, never 0: thieves only have to differ, but in a simulation they differ from run to run.
fn random_seed(index: usize) -> u64 {
    if simulation::is_simulated() { random() | 1 } else { 0x9e37_79b9_7f4a_7c15 ^ (index as u64 + 1) }
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
    /// The calling thread's part of a worker that is to run on it.
    pub(super) fn new(
        worker: &'static Worker,
        deque: crossbeam_deque::Worker<TaskRef>,
        prepared: &Prepared,
    ) -> &'static Self {
        worker.thread.store(sys::thread_id(), Ordering::Relaxed); // published by the first announce
        Box::leak(Box::new(Local {
            worker,
            deque,
            ready: RefCell::default(),
            next_runs: Cell::new(0),
            handoff: Cell::new(None),
            departed: Cell::new(Departed::Nobody),
            stack: Cell::new(None),
            stacks: RefCell::default(),
            stacks_max: local_stacks_max(
                worker.scheduler.stacks().stats(StackClass::Normal).max,
                worker.scheduler.created().max(worker.index + 1),
            ),
            tasks: RefCell::default(),
            deferred_since: Cell::new(None),
            deferred_tasks: Cell::new(0),
            tick: Cell::new(0),
            looked_at: Cell::new(0),
            turn: Cell::new(0),
            searching: Cell::new(false),
            delivering: Cell::new(false),
            starved: Cell::new(false),
            dormant: Cell::new(false),
            until_stamp: Cell::new(0),
            random: Cell::new(random_seed(worker.index)),
            mask: prepared.mask,
        }))
    }

    fn run(&'static self) -> ! {
        let mut this = self;
        this.land();
        loop {
            let task = match this.handoff.take() {
                Some(task) => task,
                None => this.find_work(),
            };
            if task.get().has_started() {
                this.leave_for(task);
            }
            if this.has_spare_stack() {
                if task.get().comes_with.load(Ordering::Relaxed) {
                    this.unpack(task);
                }
                this = this.start(task);
                this.look_at_deferred();
                this.leave_class_stack();
            } else {
                this.deque.push(task);
                // Another worker may have stacks.
                this.worker.scheduler.notify();
            }
        }
    }

    /// Runs a new task to its end, and returns what is the calling thread's own part then: the task may have moved,
    /// and this runner's stack with it.
    fn start(&'static self, task: TaskRef) -> &'static Local {
        count(&self.worker.counters.tasks);
        task.get().set_home(self.worker);
        task.get().set_phase(PHASE_STARTED);
        self.worker.set_current(Some(task));
        // SAFETY: taken from a queue, not started before.
        unsafe { task.call() };
        let movable = task.get().is_movable(); // no more ours once it is complete
        // SAFETY: once, after `call`, where it ended.
        let unused = unsafe { task.complete() };
        let here = if movable { super::local().expect("on a worker") } else { self };
        here.worker.set_current(None);
        if unused {
            recycle(task);
        }
        here
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

    /// Sees to what a new task comes with.
    #[cold]
    fn unpack(&'static self, task: TaskRef) {
        task.get().comes_with.store(false, Ordering::Relaxed); // the task is ours
        // SAFETY: (1): taken from a queue, so it is ours.
        let run = unsafe { task.run() };
        if let Some(queued) = run.queued.take() {
            let waited = queued.elapsed();
            self.worker.counters.queue_wait.record(waited);
            crate::variables::note_creation(waited);
        }
        if let Some(stack) = run.stack.take() {
            self.leave_to_start(task, stack);
        }
    }

    /// Has a new task run on the stack of another class that it came with: the runner goes on there.
    fn leave_to_start(&'static self, task: TaskRef, stack: Stack) -> ! {
        let own = self.stack.take().expect("a runner stands on a stack");
        self.keep(own);
        self.handoff.set(Some(task));
        let target = self.fresh_runner(stack);
        // SAFETY: (2): as in `leave_for`; nothing else stands on the task's stack.
        unsafe { context::leave(target) }
    }

    /// Goes back to a stack of the runner's own class after a task that came with another one.
    fn leave_class_stack(&'static self) {
        let own = self.stack.take().expect("a runner stands on a stack");
        if own.class() == StackClass::Normal {
            return self.stack.set(Some(own));
        }
        self.departed.set(Departed::Stack(own));
        let spare = self.stacks.borrow_mut().pop().expect("a spare stack while a bthread runs");
        let target = self.fresh_runner(spare);
        // SAFETY: (2): our stack goes to its pool once it is left (`land`).
        unsafe { context::leave(target) }
    }

    /// Leaves the stack of the calling bthread until somebody switches back to it, for `to` or for what is next. A
    /// task that may move is possibly on another worker afterwards: `self` is not to be used then.
    pub(super) fn suspend(&'static self, task: TaskRef, leave: Leave, to: Option<TaskRef>) {
        count(&self.worker.counters.switches);
        // Before any code of a user: were that to wait, it must not do so as the task, which is about to.
        self.worker.set_current(None);
        self.look_at_deferred();
        let tick = self.tick.get().wrapping_add(1);
        let look = self.is_time_to_look(tick);
        let next = match to {
            Some(to) => Some(to),
            None if look => None, // the look is the runner's, and so is its tick
            None => {
                self.tick.set(tick);
                self.pick()
            }
        };
        if next == Some(task) || (next.is_none() && leave == Leave::Yield && !look) {
            self.worker.set_current(Some(task));
            return;
        }
        let next_started = next.is_some_and(|next| next.get().has_started());
        // SAFETY: (1): the task is ours until it is landed.
        unsafe { task.run() }.stack = self.stack.take();
        if leave != Leave::Findable {
            self.departed.set(Departed::Task(task, leave));
        }
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
        let here = if leave == Leave::Findable { self } else { super::local().expect("on a worker") };
        here.land();
    }

    /// Does for the context before what it could not do while it stood on its stack. First thing on each stack.
    fn land(&'static self) {
        match self.departed.replace(Departed::Nobody) {
            Departed::Nobody => {}
            Departed::Task(task, Leave::Park) => {
                // From here on others may run it. False: it was woken on the way.
                if !task.get().parker().announce() {
                    self.enqueue(task, Place::Next);
                }
            }
            Departed::Task(task, _) => {
                self.deque.push(task);
                self.worker.scheduler.notify();
            }
            Departed::Stack(stack) => self.worker.scheduler.stacks().put_all([stack]),
        }
    }

    /// Makes `task` the running one; the caller switches to the context.
    fn enter(&self, task: TaskRef) -> Context {
        // SAFETY: (1): it is ours.
        let run = unsafe { task.run() };
        self.stack.set(run.stack.take());
        task.get().set_home(self.worker);
        self.worker.set_current(Some(task));
        std::mem::replace(&mut run.context, Context::null())
    }

    /// Notes for one new task in a few when it was queued.
    pub(super) fn stamp(&self, task: TaskRef) {
        let left = self.until_stamp.get();
        if left != 0 {
            return self.until_stamp.set(left - 1);
        }
        self.until_stamp.set(STAMP_EVERY - 1);
        // SAFETY: (1): not queued yet, so it is ours.
        unsafe { task.run() }.queued = Some(Instant::now());
        task.get().comes_with.store(true, Ordering::Relaxed); // published with the task
    }

    /// Whether only started tasks are run here.
    pub(super) fn is_limited(&self) -> bool {
        self.starved.get() || self.dormant.get()
    }

    pub(super) fn fresh_runner(&self, stack: Stack) -> Context {
        // SAFETY: (2): the stack has nothing on it.
        let context = unsafe {
            context::prepare(stack.limit(), stack.top(), runner, ptr::from_ref(self).cast_mut().cast())
        };
        self.stack.set(Some(stack));
        context
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
        self.worker.scheduler.parking().set_limited(self.worker.index, self.is_limited());
    }

    /// Goes to rest, or back to work, if it was told to.
    pub(super) fn follow_orders(&self) {
        let dormant = self.worker.is_dormant();
        if dormant != self.dormant.replace(dormant) {
            self.worker.scheduler.parking().set_limited(self.worker.index, self.is_limited());
        }
    }
}
