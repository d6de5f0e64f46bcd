//! A worker: an OS thread that runs bthreads one after another.
//!
//! This file is what the rest of the crate sees of it. `runner` switches between bthreads, `work` decides what is next.
//!
//! Holds unsafe: the way to a worker's own part, and that of a task; the argument stands in `runner`.

#![allow(unsafe_code)]

mod runner;
mod work;

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crossbeam_deque::Stealer;
use crossbeam_utils::CachePadded;

use crate::atomic::lock;
use crate::defer::Deferred;
use crate::inbox::Inbox;
use crate::runtime::Scheduler;
use crate::sys;
use crate::task::{self, Owned, TaskId, TaskRef};
use crate::timer::{Action, Callback};
use runner::Local;

pub(crate) use runner::main;

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

/// Keeps work for the end of the batch; false if the caller is no worker, or the batch is full.
pub(crate) fn defer(target: Arc<dyn Deferred>) -> bool {
    let Some(local) = local() else { return false };
    let mut deferred = local.deferred.borrow_mut();
    match deferred.last() {
        None => {
            local.deferred_since.set(None);
            local.deferred_tasks.set(0);
        }
        Some(last) if Arc::ptr_eq(last, &target) => return true,
        Some(_) if deferred.len() >= DEFERRED_MAX => return false,
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
