//! A worker: an OS thread that runs bthreads one after another.
//!
//! Its loop, the **runner**, stands on a pooled stack and calls a task that has not started like a function. If the
//! task waits, it keeps the stack, and the worker goes on looping on another one; if it ends, its stack is the
//! runner's again. So a task that never waits costs no switch and no stack.
//!
//! Holds unsafe. The argument, once:
//! (1) A `Local` belongs to one OS thread for ever and is reached through a thread-local only. A started bthread stays
//!     on its worker, so a `&'static Local` that it got before a wait is still its own thread's after it.
//! (2) A stack is written to by one context at a time: `stack` is the one the thread stands on, a waiting task holds
//!     its own in `Run`, and the rest are in `stacks` with nothing on them. A runner that resumes a task puts its
//!     own stack into `stacks` and never returns to it; it has nothing on it that would need dropping.
//! (3) While a bthread runs, `stacks` holds at least one, so that it can wait.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_deque::{Steal, Stealer};
use crossbeam_utils::CachePadded;

use crate::atomic::lock;
use crate::context::{self, Context};
use crate::defer::Deferred;
use crate::inbox::Inbox;
use crate::runtime::Scheduler;
use crate::stack::Stack;
use crate::sys::{self, EVENTS_MAX, Event, WaitMask};
use crate::task::{self, Owned, TaskId, TaskRef};
use crate::timer::{Action, Callback, Timers};

/// Tasks between two looks of a busy worker at the poller, its timers and the injector.
const LOOK_EVERY: u32 = 61;
/// Times in a row that the next-slot may overtake the queues.
const NEXT_RUNS_MAX: u32 = 16;
/// Stacks that a worker keeps for itself.
const LOCAL_STACKS_MAX: usize = 32;
/// Task slots that a worker keeps for itself; it trades them with the pool by halves.
const LOCAL_TASKS_MAX: usize = 512;
/// Tasks after which deferred work is looked at again, and how old it may be then.
const DEFER_LOOK_TASKS: u32 = 4;
const DEFER_AGE_MAX: Duration = Duration::from_micros(50);
/// Tasks after which deferred work is done in any case.
pub(crate) const DEFER_TASKS_MAX: u32 = 64;
/// How long a worker that finds no stack for a new task waits before it tries again.
const STACK_RETRY: Duration = Duration::from_millis(1);

/// What others may touch of a worker; lives for ever.
pub(crate) struct Worker {
    scheduler: &'static Scheduler,
    index: usize,
    inbox: Inbox,
    stealer: Stealer<TaskRef>,
    thread: AtomicI32,
    remote_timers: Mutex<Vec<(Instant, Arc<Callback>)>>,
    has_remote_timers: AtomicBool,
    tombstones: Arc<AtomicUsize>,
    pub(crate) counters: CachePadded<Counters>,
}

/// Counts of one worker, written by it alone (but `wakeups`).
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) tasks: AtomicU64,
    pub(crate) switches: AtomicU64,
    pub(crate) steals: AtomicU64,
    pub(crate) looks: AtomicU64,
    pub(crate) sleeps: AtomicU64,
    pub(crate) spurious_wakeups: AtomicU64,
    /// Times that somebody woke this worker by a system call.
    pub(crate) wakeups: AtomicU64,
}

fn count(counter: &AtomicU64) {
    // One writer, so no read-modify-write is needed; readers want a rough figure.
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// What a worker's own thread alone may touch.
pub(crate) struct Local {
    worker: &'static Worker,
    deque: crossbeam_deque::Worker<TaskRef>,
    /// Started tasks of this worker that can go on.
    ready: RefCell<VecDeque<TaskRef>>,
    /// The task to run before all others.
    next: Cell<Option<TaskRef>>,
    next_runs: Cell<u32>,
    /// The bthread that runs; none while the runner does.
    current: Cell<Option<TaskRef>>,
    /// The task that a waiting bthread found for the runner it switches to.
    handoff: Cell<Option<TaskRef>>,
    stack: Cell<Option<Stack>>,
    stacks: RefCell<Vec<Stack>>,
    tasks: RefCell<Vec<TaskRef>>,
    timers: RefCell<Timers>,
    deferred: RefCell<Vec<Arc<dyn Deferred>>>,
    deferred_since: Cell<Option<Instant>>,
    deferred_tasks: Cell<u32>,
    tick: Cell<u32>,
    searching: Cell<bool>,
    /// Events are being handed to their handlers: what they spawn is announced once, at the end.
    delivering: Cell<bool>,
    /// No stack was to be had for a new task: only started ones are run.
    starved: Cell<bool>,
    random: Cell<u64>,
    mask: WaitMask,
}

thread_local!(static LOCAL: Cell<*const Local> = const { Cell::new(ptr::null()) });

/// The calling worker's own part. Never inlined, so that no compiler keeps the thread-local's address across a wait.
#[inline(never)]
fn local() -> Option<&'static Local> {
    // SAFETY: (1): set once by the worker's thread to a leaked `Local`.
    LOCAL.try_with(|local| unsafe { local.get().as_ref() }).ok().flatten()
}

/// The bthread that calls, if one does.
pub(crate) fn current_task() -> Option<TaskRef> {
    local()?.current.get()
}

/// The scheduler of the calling worker.
pub(crate) fn current_scheduler() -> Option<&'static Scheduler> {
    Some(local()?.worker.scheduler)
}

/// Parks the calling bthread until its parker is notified or the deadline has passed; may return early.
pub(crate) fn park(task: TaskRef, deadline: Option<Instant>) {
    let parker = task.get().parker();
    if parker.consume() {
        return;
    }
    let local = local().expect("a bthread runs on a worker");
    debug_assert!(local.current.get() == Some(task));
    if let Some(deadline) = deadline {
        let key = local.timers.borrow_mut().add(deadline, Action::Unpark(task));
        // SAFETY: (1): we are at home.
        unsafe { task.run() }.timer = Some(key);
    }
    if parker.announce() {
        local.suspend(task);
        parker.consume();
    }
    if deadline.is_some() {
        // SAFETY: (1), as above.
        if let Some(key) = unsafe { task.run() }.timer.take() {
            local.timers.borrow_mut().remove(key);
        }
    }
}

/// Lets a parked bthread go on, on its worker. Called by the one waker that ended its park.
pub(crate) fn resume(task: TaskRef) {
    let home = task.get().home().expect("a bthread that parks has started");
    match local() {
        Some(local) if ptr::eq(local.worker, home) => local.ready.borrow_mut().push_back(task),
        _ => {
            home.inbox.push(task);
            home.wake();
        }
    }
}

/// Lets every other runnable bthread of this worker go first. False: the caller is no bthread.
pub(crate) fn yield_now() -> bool {
    let Some(local) = local() else { return false };
    let Some(task) = local.current.get() else {
        return false;
    };
    if std::thread::panicking() {
        return false;
    }
    local.ready.borrow_mut().push_back(task);
    local.suspend(task);
    true
}

/// How a new task is queued.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the next-slot, where it displaces the one that was there.
    Next,
    /// Behind the others, without waking anybody.
    Quiet,
}

/// Starts a task; `None` when all slots are in use. The handle comes back unless the task is detached.
pub(crate) fn start<F, T>(
    scheduler: &'static Scheduler,
    f: F,
    name: Option<Box<str>>,
    detached: bool,
    place: Place,
) -> Option<Option<(Owned<T>, TaskId)>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let local = local();
    let task = allocate(local)?;
    // SAFETY: just allocated, queued once below.
    let owned = unsafe { task.prepare(f, name, detached) };
    let id = task.get().id();
    match local {
        Some(local) if ptr::eq(local.worker.scheduler, scheduler) => local.enqueue(task, place),
        _ => {
            scheduler.injector().push(task);
            if place != Place::Quiet {
                scheduler.notify();
            }
        }
    }
    Some(owned.map(|owned| (owned, id)))
}

fn allocate(local: Option<&Local>) -> Option<TaskRef> {
    let pool = task::Pool::global();
    let Some(local) = local else {
        let mut one = Vec::with_capacity(1);
        pool.take(1, &mut one);
        return one.pop();
    };
    let mut tasks = local.tasks.borrow_mut();
    if tasks.is_empty() {
        pool.take(LOCAL_TASKS_MAX / 2, &mut tasks);
    }
    tasks.pop()
}

/// Takes a slot back that nobody uses any more.
pub(crate) fn recycle(task: TaskRef) {
    task::recycle(task);
    match local() {
        Some(local) => {
            let mut tasks = local.tasks.borrow_mut();
            tasks.push(task);
            if tasks.len() > LOCAL_TASKS_MAX {
                task::Pool::global().give(tasks.drain(LOCAL_TASKS_MAX / 2..));
            }
        }
        None => task::Pool::global().give([task]),
    }
}

/// Keeps work for the end of the batch; false if the caller is no worker.
pub(crate) fn defer(target: Arc<dyn Deferred>) -> bool {
    let Some(local) = local() else { return false };
    let mut deferred = local.deferred.borrow_mut();
    match deferred.last() {
        None => {
            local.deferred_since.set(None);
            local.deferred_tasks.set(0);
        }
        Some(last) if Arc::ptr_eq(last, &target) => return true,
        Some(_) => {}
    }
    deferred.push(target);
    true
}

/// The calling worker, or another one to leave something with.
pub(crate) fn this_or_some() -> &'static Worker {
    match local() {
        Some(local) => local.worker,
        None => crate::runtime::current().some_worker(),
    }
}

/// Sets a timer on a worker that [`this_or_some`] gave.
pub(crate) fn add_timer(worker: &'static Worker, deadline: Instant, callback: Arc<Callback>) {
    match local() {
        Some(local) if ptr::eq(local.worker, worker) => {
            local.timers.borrow_mut().add(deadline, Action::Call(callback));
        }
        _ => {
            lock(&worker.remote_timers).push((deadline, callback));
            worker.has_remote_timers.store(true, Ordering::Release); // pairs with the swap in `accept_timers`
            worker.wake();
        }
    }
}

/// Writes a label of the bthread that runs on this thread into `buffer`, for the report of a stack overflow.
/// Async-signal-safe: takes no lock and allocates nothing.
pub(crate) fn describe_current(buffer: &mut [u8]) -> usize {
    use std::io::Write;
    let Some(task) = current_task() else { return 0 };
    let room = buffer.len();
    let mut rest = buffer;
    // SAFETY: the signal handler runs on top of the task itself.
    let _ = match unsafe { task.get().name() } {
        Some(name) => write!(rest, "'{name}' (id {})", task.get().id()),
        None => write!(rest, "{}", task.get().id()),
    };
    room - rest.len()
}

impl Worker {
    pub(crate) fn new(scheduler: &'static Scheduler, index: usize, stealer: Stealer<TaskRef>) -> Self {
        Worker {
            scheduler,
            index,
            inbox: Inbox::new(),
            stealer,
            thread: AtomicI32::new(0),
            remote_timers: Mutex::new(Vec::new()),
            has_remote_timers: AtomicBool::new(false),
            tombstones: Arc::default(),
            counters: CachePadded::default(),
        }
    }

    pub(crate) fn tombstones(&self) -> &Arc<AtomicUsize> {
        &self.tombstones
    }

    /// After queueing something for this worker alone: sees that it will look.
    pub(crate) fn wake(&self) {
        if let Some(index) = self.scheduler.parking().claim(self.index) {
            self.scheduler.workers()[index].interrupt();
        }
    }

    /// Ends the worker's sleep. Only by whoever has claimed it.
    pub(crate) fn interrupt(&self) {
        self.counters.wakeups.fetch_add(1, Ordering::Relaxed); // a count for people
        // Relaxed: stored before the worker first announced itself, whose bit we have cleared.
        sys::wake(self.thread.load(Ordering::Relaxed));
    }
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
        tasks: RefCell::default(),
        timers: RefCell::new(Timers::new(worker.tombstones.clone())),
        deferred: RefCell::default(),
        deferred_since: Cell::new(None),
        deferred_tasks: Cell::new(0),
        tick: Cell::new(0),
        searching: Cell::new(false),
        delivering: Cell::new(false),
        starved: Cell::new(false),
        random: Cell::new(0x9e37_79b9_7f4a_7c15 ^ (worker.index as u64 + 1)),
        mask,
    }));
    LOCAL.set(local);
    let stack = loop {
        match worker.scheduler.stacks().get() {
            Ok(stack) => break stack,
            Err(_) => std::thread::sleep(STACK_RETRY),
        }
    };
    let mut native = Context::null();
    let runner = local.fresh_runner(stack);
    // SAFETY: (2): nothing else stands on that stack. The native stack is never returned to.
    unsafe { context::switch(&mut native, runner) };
    unreachable!("the native stack of a worker is left for ever")
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
        let mut abandoned = Context::null();
        // SAFETY: (2): `target` is where the task waits; our stack stays untouched until the switch is done, as only
        // this thread takes from `stacks`.
        unsafe { context::switch(&mut abandoned, target) };
        unreachable!("a runner that left is not returned to")
    }

    /// Leaves the stack of the calling bthread until somebody switches back to it. The task must be findable: in
    /// `ready`, or parked.
    fn suspend(&'static self, task: TaskRef) {
        count(&self.worker.counters.switches);
        self.look_at_deferred();
        self.current.set(None);
        let tick = self.tick.get().wrapping_add(1);
        self.tick.set(tick);
        // The periodic look is the runner's.
        let next = if tick.is_multiple_of(LOOK_EVERY) { None } else { self.pick() };
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
        let context = unsafe { context::prepare(stack.top(), runner, ptr::from_ref(self).cast_mut().cast()) };
        self.stack.set(Some(stack));
        context
    }

    /// Puts a stack into the worker's own store. If there are too many, older ones go to the pool: never this one,
    /// which may still be stood on.
    fn keep(&self, stack: Stack) {
        let mut stacks = self.stacks.borrow_mut();
        if stacks.len() >= LOCAL_STACKS_MAX {
            let pool = self.worker.scheduler.stacks();
            stacks.drain(..LOCAL_STACKS_MAX / 2).for_each(|stack| pool.put(stack));
        }
        stacks.push(stack);
    }

    /// Sees that a task that is about to start could wait (3).
    fn has_spare_stack(&self) -> bool {
        let mut stacks = self.stacks.borrow_mut();
        if stacks.is_empty() {
            match self.worker.scheduler.stacks().get() {
                Ok(stack) => stacks.push(stack),
                Err(_) => {
                    self.starved.set(true);
                    self.worker.scheduler.set_exhausted(true);
                    return false;
                }
            }
        }
        if self.starved.replace(false) {
            self.worker.scheduler.set_exhausted(false);
        }
        true
    }

    /// The next task from this worker's own queues.
    fn pick(&self) -> Option<TaskRef> {
        self.worker.inbox.take_all(|task| self.ready.borrow_mut().push_back(task));
        if self.starved.get() {
            return self.ready.borrow_mut().pop_front();
        }
        if let Some(task) = self.next.take() {
            let runs = self.next_runs.get() + 1;
            if runs < NEXT_RUNS_MAX {
                self.next_runs.set(runs);
                return Some(task);
            }
            self.deque.push(task);
        }
        self.next_runs.set(0);
        let ready = || self.ready.borrow_mut().pop_front();
        if self.tick.get().is_multiple_of(2) {
            ready().or_else(|| self.deque.pop())
        } else {
            self.deque.pop().or_else(ready)
        }
    }

    /// The next task; sleeps until there is one.
    fn find_work(&self) -> TaskRef {
        loop {
            let tick = self.tick.get().wrapping_add(1);
            self.tick.set(tick);
            if tick.is_multiple_of(LOOK_EVERY) {
                self.look();
                if let Some(task) = self.take_injected() {
                    return self.found(task);
                }
            }
            if let Some(task) = self.pick() {
                return self.found(task);
            }
            self.run_deferred();
            if let Some(task) = self.pick() {
                return self.found(task);
            }
            if let Some(task) = self.search() {
                return self.found(task);
            }
            self.sleep();
        }
    }

    fn found(&self, task: TaskRef) -> TaskRef {
        let scheduler = self.worker.scheduler;
        if self.searching.replace(false)
            && scheduler.parking().end_search()
            && (!self.deque.is_empty() || !scheduler.injector().is_empty())
        {
            scheduler.notify();
        }
        task
    }

    fn take_injected(&self) -> Option<TaskRef> {
        if self.starved.get() {
            return None;
        }
        let injector = self.worker.scheduler.injector();
        loop {
            match injector.steal_batch_and_pop(&self.deque) {
                Steal::Success(task) => return Some(task),
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
    }

    /// Work of others.
    fn search(&self) -> Option<TaskRef> {
        if let Some(task) = self.take_injected() {
            return Some(task);
        }
        let workers = self.worker.scheduler.workers();
        if self.starved.get() || workers.len() == 1 {
            return None;
        }
        if !self.searching.get() {
            if !self.worker.scheduler.parking().begin_search(workers.len()) {
                return None;
            }
            self.searching.set(true);
        }
        let start = self.random() as usize % workers.len();
        for step in 0..workers.len() {
            let victim = workers[(start + step) % workers.len()];
            if victim.index == self.worker.index {
                continue;
            }
            loop {
                match victim.stealer.steal_batch_and_pop(&self.deque) {
                    Steal::Success(task) => {
                        count(&self.worker.counters.steals);
                        return Some(task);
                    }
                    Steal::Empty => break,
                    Steal::Retry => {}
                }
            }
        }
        None
    }

    fn sleep(&self) {
        let scheduler = self.worker.scheduler;
        let parking = scheduler.parking();
        parking.announce(self.worker.index, self.searching.replace(false));
        if self.could_take_something() {
            self.searching.set(!parking.retract(self.worker.index));
            return;
        }
        let mut timeout =
            self.timers.borrow().next().map(|next| next.saturating_duration_since(Instant::now()));
        if self.starved.get() {
            timeout = Some(timeout.map_or(STACK_RETRY, |timeout| timeout.min(STACK_RETRY)));
        }
        count(&self.worker.counters.sleeps);
        let mut events = [Event::NONE; EVENTS_MAX];
        let found = scheduler.poller().wait(&mut events, timeout, Some(&self.mask));
        let claimed = !parking.retract(self.worker.index);
        self.searching.set(claimed);
        if self.starved.get() {
            self.has_spare_stack();
        }
        if found == 0 && !claimed && timeout.is_none() {
            count(&self.worker.counters.spurious_wakeups);
        }
        self.deliver(&events[..found]);
        self.fire_timers();
    }

    /// The last look before the sleep, at all that others can have queued; see `parking`.
    fn could_take_something(&self) -> bool {
        let worker = self.worker;
        if !worker.inbox.is_empty() || worker.has_remote_timers.load(Ordering::Relaxed) {
            return true;
        }
        // A starved worker could not start them.
        !self.starved.get()
            && (!worker.scheduler.injector().is_empty()
                || worker
                    .scheduler
                    .workers()
                    .iter()
                    .any(|other| other.index != worker.index && !other.stealer.is_empty()))
    }

    /// What a busy worker does now and then.
    fn look(&self) {
        count(&self.worker.counters.looks);
        let poller = self.worker.scheduler.poller();
        if poller.is_watching() {
            let mut events = [Event::NONE; EVENTS_MAX];
            let found = poller.wait(&mut events, Some(Duration::ZERO), None);
            self.deliver(&events[..found]);
        }
        self.fire_timers();
    }

    fn deliver(&self, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        self.delivering.set(true);
        for event in events {
            // The panic hook has reported it; the worker must go on.
            let _ = catch_unwind(AssertUnwindSafe(|| self.worker.scheduler.poller().deliver(*event)));
        }
        self.delivering.set(false);
        if !self.deque.is_empty() {
            self.worker.scheduler.notify();
        }
    }

    fn fire_timers(&self) {
        if self.worker.has_remote_timers.load(Ordering::Relaxed) {
            self.accept_timers();
        }
        if self.timers.borrow().next().is_none() {
            return;
        }
        let now = Instant::now();
        loop {
            let due = self.timers.borrow_mut().pop_due(now);
            match due {
                None => return,
                Some((key, Action::Unpark(task))) => {
                    // SAFETY: (1): a timer of this kind is set by a task of this worker for itself.
                    let run = unsafe { task.run() };
                    debug_assert!(run.timer == Some(key));
                    run.timer = None;
                    task.get().parker().unpark();
                }
                Some((_, Action::Call(callback))) => {
                    // As in `deliver`.
                    let _ = catch_unwind(AssertUnwindSafe(|| callback.fire()));
                }
            }
        }
    }

    fn accept_timers(&self) {
        // Acquire pairs with the Release in `add_timer`; a timer added after this sets the flag again.
        self.worker.has_remote_timers.swap(false, Ordering::Acquire);
        let arrived = std::mem::take(&mut *lock(&self.worker.remote_timers));
        let mut timers = self.timers.borrow_mut();
        for (deadline, callback) in arrived {
            timers.add(deadline, Action::Call(callback));
        }
    }

    fn enqueue(&self, task: TaskRef, place: Place) {
        let displaced = match place {
            Place::Quiet => return self.deque.push(task),
            Place::Next if !self.delivering.get() => self.next.replace(Some(task)),
            _ => match self.next.take() {
                None => {
                    self.next.set(Some(task));
                    None
                }
                Some(first) => {
                    self.next.set(Some(first));
                    Some(task)
                }
            },
        };
        if let Some(task) = displaced {
            self.deque.push(task);
            if !self.delivering.get() {
                self.worker.scheduler.notify();
            }
        }
    }

    fn look_at_deferred(&self) {
        if self.deferred.borrow().is_empty() {
            return;
        }
        let tasks = self.deferred_tasks.get() + 1;
        self.deferred_tasks.set(tasks);
        if !tasks.is_multiple_of(DEFER_LOOK_TASKS) {
            return;
        }
        let now = Instant::now();
        let since = self.deferred_since.get().unwrap_or(now);
        self.deferred_since.set(Some(since));
        if tasks >= DEFER_TASKS_MAX || now - since >= DEFER_AGE_MAX {
            self.run_deferred();
        }
    }

    fn run_deferred(&self) {
        if self.deferred.borrow().is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut *self.deferred.borrow_mut());
        for target in batch.drain(..) {
            // As in `deliver`.
            let _ = catch_unwind(AssertUnwindSafe(|| target.run()));
        }
        let mut deferred = self.deferred.borrow_mut();
        if deferred.is_empty() {
            *deferred = batch; // keeps its memory for the next batch
        }
    }

    /// Xorshift: cheap and good enough to spread thieves.
    fn random(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        x
    }
}
