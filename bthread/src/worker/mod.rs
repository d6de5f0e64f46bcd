//! A worker: an OS thread that runs bthreads one after another.
//!
//! This file is what the rest of the crate sees of it. `runner` switches between bthreads, `work` decides what is next.
//!
//! Holds unsafe: the way to a worker's own part, and that of a task; the argument stands in `runner`.

#![allow(unsafe_code)]

mod coroutine;
mod counters;
mod runner;
mod work;

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crossbeam_deque::Stealer;
use crossbeam_utils::CachePadded;

use crate::accounting;
use crate::atomic::lock;
use crate::clock;
use crate::defer::Deferred;
use crate::inbox::Inbox;
use crate::runtime::Scheduler;
use crate::simulation;
use crate::sys;
use crate::task::{self, Attributes, Owned, Task, TaskId, TaskRef, contained};
use crate::timer::{Action, Key, SLOTS_MAX, Time, Timers};
use crate::wait::Reason;
use counters::{Counters, count};
use runner::{Leave, Local};

pub(crate) use coroutine::Coroutine;
pub(crate) use runner::{Prepared, main, prepare};

/// Deferred targets that a worker holds; beyond, `defer` refuses.
const DEFERRED_MAX: usize = 1024;
/// Task slots that a worker keeps for itself; it trades them with the pool by halves.
const LOCAL_TASKS_MAX: usize = 512;

/// What others may touch of a worker; lives for ever.
pub(crate) struct Worker {
    scheduler: &'static Scheduler,
    pub(crate) index: usize,
    inbox: Inbox,
    stealer: Stealer<TaskRef>,
    pub(crate) thread: AtomicI32,
    /// The task to run before all others.
    next: AtomicPtr<Task>,
    /// The bthread that runs; none while the runner does.
    current: AtomicPtr<Task>,
    /// Only its own started bthreads shall run here.
    dormant: AtomicBool,
    /// A bthread on another worker does its work.
    is_relieved: AtomicBool,
    /// In a simulation: somebody has ended its sleep.
    is_woken: AtomicBool,
    deferred: Mutex<Vec<Arc<dyn Deferred>>>,
    /// Whether `deferred` has something; changed under its lock.
    has_deferred: AtomicBool,
    timers: CachePadded<Timers<Action>>,
    pub(crate) counters: CachePadded<Counters>,
}

thread_local!(static LOCAL: Cell<*const Local> = const { Cell::new(ptr::null()) });

/// The calling worker's own part. Never inlined, so that no compiler keeps the thread-local's address across a wait:
/// a bthread that may move gets it anew after each.
#[inline(never)]
fn local() -> Option<&'static Local> {
    // SAFETY: (1): set once by the worker's thread to a leaked `Local`.
    LOCAL.try_with(|local| unsafe { local.get().as_ref() }).ok().flatten()
}

/// The bthread that calls, if one does.
pub(crate) fn current_task() -> Option<TaskRef> {
    local()?.worker.current()
}

/// The scheduler of the calling worker.
pub(crate) fn current_scheduler() -> Option<&'static Scheduler> {
    Some(local()?.worker.scheduler)
}

/// Parks the calling bthread until its parker is notified or the deadline has passed; may return early.
pub(crate) fn park(task: TaskRef, deadline: Option<Instant>, reason: Reason) {
    let parker = task.get().parker();
    if parker.is_notified() && parker.consume() {
        return;
    }
    // For lists of bthreads; they pair with nothing.
    task.get().reason.store(reason.pack(), Ordering::Relaxed);
    task.get().waits_since.store(clock::coarse(), Ordering::Relaxed);
    let local = local().expect("a bthread runs on a worker");
    debug_assert!(local.worker.current() == Some(task));
    let accounted = accounting::begin(task);
    let timer = deadline.map(|deadline| {
        let mut action = Some(Action::unpark(task));
        let key = local.worker.timers.add(Time::of(deadline), &mut action, SLOTS_MAX);
        (local.worker, key.expect("a slot for one wait of each bthread"))
    });
    if task.get().is_movable() {
        count(&local.worker.counters.parks);
        local.suspend(task, Leave::Park, None);
        count(&self::local().expect("on a worker").worker.counters.parks_ended);
        parker.consume();
    } else if parker.announce() {
        count(&local.worker.counters.parks);
        local.suspend(task, Leave::Findable, None);
        count(&local.worker.counters.parks_ended);
        parker.consume();
    }
    if let Some(began) = accounted {
        accounting::waited(task, began, reason);
    }
    if let Some((worker, key)) = timer {
        // By its name, from wherever we are now; it misses if that is what has woken us.
        worker.timers.remove(key);
    }
}

/// Lets a parked bthread go on. Called by the one waker that ended its park.
pub(crate) fn resume(task: TaskRef) {
    let home = task.get().home().expect("a bthread that parks has started");
    let local = local();
    accounting::woken(task);
    if task.get().is_movable() {
        match local {
            Some(local) if ptr::eq(local.worker.scheduler, home.scheduler) && !local.is_limited() => {
                return local.enqueue(task, Place::Next);
            }
            _ if !home.scheduler.is_exhausted() => {
                home.scheduler.injector().push(task);
                return home.scheduler.notify();
            }
            _ => {} // where no task is started, the injector may not be looked at
        }
    }
    match local {
        Some(local) if ptr::eq(local.worker, home) => local.ready.borrow_mut().push_back(task),
        _ => {
            home.inbox.push(task);
            if planted!(LostWakeUp) && local.is_some_and(|local| local.delivering.get()) {
                return;
            }
            home.wake();
        }
    }
}

/// Lets every other runnable bthread of this worker go first. False: the caller is no bthread.
pub(crate) fn yield_now() -> bool {
    let Some(local) = local() else { return false };
    let Some(task) = local.worker.current() else {
        return false;
    };
    if std::thread::panicking() {
        return false;
    }
    let accounted = accounting::begin(task);
    if task.get().is_movable() {
        local.suspend(task, Leave::Yield, None);
    } else {
        local.ready.borrow_mut().push_back(task);
        local.suspend(task, Leave::Findable, None);
    }
    if let Some(began) = accounted {
        accounting::gave_way(task, began);
    }
    true
}

/// How a new task is queued.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It runs now, and the calling bthread afterwards.
    Urgent,
    /// In the next-slot, where it displaces the one that was there.
    Next,
    /// Behind the others, without waking anybody.
    Quiet,
}

/// Starts a task; `None` when all slots are in use. The handle comes back unless the task is detached.
///
/// # Safety
/// What `f` and its result borrow outlives the task's end.
pub(crate) unsafe fn start<F, T>(
    scheduler: &'static Scheduler,
    f: F,
    attributes: Attributes,
    place: Place,
) -> Option<Option<(Owned<T>, TaskId)>>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let local = local();
    let Some(task) = allocate(local) else {
        scheduler.stacks().put_all(attributes.stack);
        return None;
    };
    // SAFETY: just allocated, queued once below; the rest is the caller's promise.
    let owned = unsafe { task.prepare(f, attributes) };
    let id = task.get().id();
    if let Some(parent) = local.and_then(|local| local.worker.current())
        && parent.get().has_trace_id()
    {
        task.get().set_trace_id(parent.get().trace_id());
    }
    match local {
        Some(local) if ptr::eq(local.worker.scheduler, scheduler) && !local.worker.is_dormant() => {
            local.stamp(task);
            local.enqueue(task, place);
        }
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
    let task = tasks.pop();
    local.worker.counters.spare_tasks.store(tasks.len(), Ordering::Relaxed); // for statistics
    task
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
            local.worker.counters.spare_tasks.store(tasks.len(), Ordering::Relaxed); // for statistics
        }
        None => task::Pool::global().give([task]),
    }
}

/// Keeps work for the end of the batch; false if the caller is no worker, or the batch is full.
pub(crate) fn defer(target: Arc<dyn Deferred>) -> bool {
    let Some(local) = local() else { return false };
    let mut deferred = lock(&local.worker.deferred);
    match deferred.last() {
        None => {
            local.deferred_since.set(None);
            local.deferred_tasks.set(0);
            local.worker.has_deferred.store(true, Ordering::Relaxed); // the owner's own hint; under the lock
        }
        Some(last) if Arc::ptr_eq(last, &target) => return true,
        Some(_) if deferred.len() >= DEFERRED_MAX => return false,
        Some(_) => {}
    }
    deferred.push(target);
    true
}

/// Sets a timer on the calling worker, or another one, and takes its action; leaves it if that has `max` already.
pub(crate) fn add_timer(
    due: Time,
    action: &mut Option<Action>,
    max: usize,
) -> Option<(&'static Worker, Key)> {
    let (worker, key) = match local() {
        Some(local) => (local.worker, local.worker.timers.add(due, action, max)),
        None => {
            let worker = crate::runtime::current().some_worker();
            (worker, worker.timers.add_from_outside(due, action, max, || worker.wake()))
        }
    };
    key.map(|key| (worker, key))
}

/// Writes a label of the bthread that runs on this thread into `buffer`, for the report of a stack overflow.
/// Async-signal-safe: waits for no lock and allocates nothing.
pub(crate) fn describe_current(buffer: &mut [u8]) -> usize {
    use std::io::Write;
    let Some(task) = current_task() else { return 0 };
    let room = buffer.len();
    let mut rest = buffer;
    let id = task.get().id();
    if task.get().with_name(|name| write!(rest, "'{name}' (id {id})")).is_none() {
        let _ = write!(rest, "{id}");
    }
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
            next: AtomicPtr::new(ptr::null_mut()),
            current: AtomicPtr::new(ptr::null_mut()),
            dormant: AtomicBool::new(false),
            is_relieved: AtomicBool::new(false),
            is_woken: AtomicBool::new(false),
            deferred: Mutex::new(Vec::new()),
            has_deferred: AtomicBool::new(false),
            timers: CachePadded::new(Timers::new()),
            counters: CachePadded::default(),
        }
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    pub(crate) fn scheduler(&self) -> &'static Scheduler {
        self.scheduler
    }

    /// The operating system's id of its thread; 0 before it runs.
    pub(crate) fn thread(&self) -> i32 {
        self.thread.load(Ordering::Relaxed)
    }

    /// The bthread that runs on it; from elsewhere a snapshot.
    pub(crate) fn current(&self) -> Option<TaskRef> {
        // Relaxed: changed by the worker itself.
        let current = ptr::NonNull::new(self.current.load(Ordering::Relaxed))?;
        // SAFETY: only pointers of TaskRefs are stored.
        Some(unsafe { TaskRef::from_ptr(current) })
    }

    fn set_current(&self, task: Option<TaskRef>) {
        self.current.store(task.map_or(ptr::null_mut(), TaskRef::as_ptr), Ordering::Relaxed); // as in `current`
    }

    /// Empties the next-slot. By the worker itself, or the monitor when it is held.
    fn take_next(&self) -> Option<TaskRef> {
        // A look first, which is cheaper; what the worker itself has put there it sees.
        ptr::NonNull::new(self.next.load(Ordering::Relaxed))?;
        // Acquire pairs with the Release in `replace_next`.
        let next = ptr::NonNull::new(self.next.swap(ptr::null_mut(), Ordering::Acquire))?;
        // SAFETY: only pointers of TaskRefs are stored, and the swap gave this one to us alone.
        Some(unsafe { TaskRef::from_ptr(next) })
    }

    /// Fills the next-slot; returns what it held. By the worker itself.
    fn replace_next(&self, task: TaskRef) -> Option<TaskRef> {
        if self.next.load(Ordering::Relaxed).is_null() {
            // Nobody else fills it, so it stays empty. Release pairs with the Acquire in `take_next`.
            self.next.store(task.as_ptr(), Ordering::Release);
            return None;
        }
        // As above, and what comes out is ours.
        let old = ptr::NonNull::new(self.next.swap(task.as_ptr(), Ordering::AcqRel))?;
        // SAFETY: as in `take_next`.
        Some(unsafe { TaskRef::from_ptr(old) })
    }

    /// Whether it is to run only its own started bthreads.
    pub(crate) fn is_dormant(&self) -> bool {
        self.dormant.load(Ordering::Relaxed) // as in `set_dormant`
    }

    /// Sends the worker to rest, or back to work.
    pub(crate) fn set_dormant(&self, dormant: bool) {
        // Relaxed: stored before the wake-up, whose fence the worker's last look pairs with.
        self.dormant.store(dormant, Ordering::Relaxed);
        self.wake();
    }

    /// Whether it has new tasks that others could take.
    pub(crate) fn has_stealable(&self) -> bool {
        !self.stealer.is_empty()
    }

    /// New tasks that wait in its queue; a snapshot.
    pub(crate) fn queued(&self) -> usize {
        self.stealer.len()
    }

    /// A number that changes whenever the worker gets on.
    pub(crate) fn progress(&self) -> u64 {
        let counters = &self.counters;
        [&counters.tasks, &counters.switches, &counters.looks, &counters.sleeps]
            .iter()
            .fold(0, |sum: u64, counter| sum.wrapping_add(counter.load(Ordering::Relaxed))) // a hint
    }

    /// Sees to what must not wait for a worker that is held: its next task goes to others, and a bthread on one of them
    /// does its deferred work and fires its timers. From the monitor.
    pub(crate) fn relieve(&'static self) {
        if let Some(task) = self.take_next() {
            self.scheduler.injector().push(task);
            self.scheduler.notify();
        }
        let has_work = self.has_deferred.load(Ordering::Relaxed) || self.timers.next() <= Time::now();
        // Relaxed: the queue orders the rest.
        if !has_work || self.is_relieved.swap(true, Ordering::Relaxed) {
            return;
        }
        let work = move || {
            self.run_deferred();
            self.fire_timers();
            self.is_relieved.store(false, Ordering::Relaxed);
        };
        let attributes = Attributes { detached: true, ..Attributes::default() };
        // SAFETY: it borrows from what lives for ever.
        if unsafe { start::<_, ()>(self.scheduler, work, attributes, Place::Next) }.is_none() {
            self.is_relieved.store(false, Ordering::Relaxed); // the next look tries again
        }
    }

    fn run_deferred(&self) {
        if !self.has_deferred.load(Ordering::Relaxed) {
            return;
        }
        let mut batch = {
            let mut deferred = lock(&self.deferred);
            self.has_deferred.store(false, Ordering::Relaxed); // under the lock
            std::mem::take(&mut *deferred)
        };
        for target in batch.drain(..) {
            contained(|| target.run());
        }
        let mut deferred = lock(&self.deferred);
        if deferred.is_empty() {
            *deferred = batch; // keeps its memory for the next batch
        }
    }

    pub(crate) fn timers(&self) -> &Timers<Action> {
        &self.timers
    }

    /// Fires what is due. By the worker, or the monitor when it is held.
    fn fire_timers(&self) {
        if self.timers.next() == Time::NEVER {
            return;
        }
        let now = Time::now();
        // What the functions add is not due at `now`: one that sets itself again does not keep us here.
        while let Some((_, action)) = self.timers.pop_due(now) {
            contained(|| action.run());
        }
    }

    /// After queueing something for this worker alone: sees that it will look.
    pub(crate) fn wake(&self) {
        if let Some(index) = self.scheduler.parking().claim(self.index) {
            self.scheduler.worker(index).interrupt();
        }
    }

    /// Ends the worker's sleep. Only by whoever has claimed it.
    pub(crate) fn interrupt(&self) {
        self.counters.wakeups.fetch_add(1, Ordering::Relaxed); // a count for people
        if simulation::is_simulated() {
            self.is_woken.store(true, Ordering::Relaxed); // there is one thread
            return;
        }
        // Relaxed: stored before the worker first announced itself, whose bit we have cleared.
        sys::wake(self.thread.load(Ordering::Relaxed));
    }

    /// Whether it was woken in a simulation and has not gone on yet.
    pub(crate) fn is_woken(&self) -> bool {
        self.is_woken.load(Ordering::Relaxed) // as in `interrupt`
    }

    pub(crate) fn take_simulated_wake_up(&self) {
        self.is_woken.store(false, Ordering::Relaxed); // as in `interrupt`
    }
}
