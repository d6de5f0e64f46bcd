//! Seeing all bthreads of the process, without stopping any: `spec/bthread.md` §5 (print tasks) and §13 (tracer).
//!
//! Reads what the tasks show of themselves in atomics, and the rest through the kernel (`trace`). A bthread that
//! changes while it is read may show a mixture of before and after; one that ends is left out.

use std::fmt;
use std::time::Duration;

use crate::clock;
use crate::parking::WORKERS_MAX;
use crate::runtime;
use crate::stack_overflow;
use crate::task::{self, PHASE_FREE, PHASE_QUEUED, PHASE_STARTED, Task, TaskId};
use crate::trace::{self, StackCopy, StackTrace};
use crate::wait::Reason;

/// What a bthread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BthreadState {
    /// Spawned, not started.
    Queued,
    /// On a worker right now.
    Running,
    /// Could run, and waits for its worker.
    Ready,
    /// Waits.
    Waiting(WaitsFor),
}

/// What a bthread waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitsFor {
    /// A butex, or what stands on one (locks, conditions and the like): the address of its word.
    Butex(usize),
    /// A time.
    Sleep,
    /// The end of another bthread.
    Join(TaskId),
    /// A channel to have a value, or room for one.
    Channel,
    /// A future, in [`block_on`](crate::block_on).
    Future,
    /// A call on the pool of [`blocking`](crate::blocking), or room there.
    Blocking,
    /// A socket or another descriptor.
    Io,
}

/// One bthread, as it was at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BthreadInfo {
    /// Its id.
    pub id: TaskId,
    /// The name it was given.
    pub name: Option<String>,
    /// What it does.
    pub state: BthreadState,
    /// The runtime and the worker where it runs, or ran last; none before it started.
    pub home: Option<Home>,
    /// Time since it was spawned, a few milliseconds more or less.
    pub age: Duration,
    /// How long it has been waiting, a few milliseconds more or less; zero if it does not wait.
    pub waited: Duration,
    /// Somebody has interrupted it, and it has not noticed yet.
    pub interrupted: bool,
    /// It was told to stop.
    pub stopped: bool,
    /// The trace that it works for ([`set_trace_id`](crate::set_trace_id)), 0 if none.
    pub trace_id: u128,
}

/// A place in the process where bthreads run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Home {
    /// The runtime's tag.
    pub tag: u32,
    /// The worker's number in it.
    pub worker: usize,
}

impl fmt::Display for BthreadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BthreadState::Queued => f.write_str("queued"),
            BthreadState::Running => f.write_str("running"),
            BthreadState::Ready => f.write_str("ready"),
            BthreadState::Waiting(what) => write!(f, "waiting for {what}"),
        }
    }
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitsFor::Butex(address) => write!(f, "butex {address:#x}"),
            WaitsFor::Sleep => f.write_str("a time"),
            WaitsFor::Join(id) => write!(f, "the end of {id}"),
            WaitsFor::Channel => f.write_str("a channel"),
            WaitsFor::Future => f.write_str("a future"),
            WaitsFor::Blocking => f.write_str("a blocking call"),
            WaitsFor::Io => f.write_str("a descriptor"),
        }
    }
}

/// All bthreads of the process that have not ended. A snapshot that stops nobody; it takes about a microsecond for
/// ten of them. Never blocks.
///
/// ```
/// let sleeper = bthread::Builder::new().name("sleeper").spawn(|| bthread::sleep(std::time::Duration::MAX)).unwrap();
/// let all = bthread::bthreads();
/// assert!(all.iter().any(|one| one.name.as_deref() == Some("sleeper")));
/// bthread::stop(sleeper.id());
/// ```
pub fn bthreads() -> Vec<BthreadInfo> {
    let mut running = Vec::with_capacity(WORKERS_MAX.min(64));
    for runtime in runtime::runtimes() {
        running.extend(runtime.scheduler().workers().filter_map(|worker| worker.current()));
    }
    let now = clock::coarse();
    task::all_slots().filter_map(|slot| info(slot.get(), running.contains(&slot), now)).collect()
}

/// One bthread; none if it has ended.
pub fn bthread(id: TaskId) -> Option<BthreadInfo> {
    let slot = task::slot_of(id)?;
    let running = slot.get().home().and_then(|home| home.current()) == Some(slot);
    info(slot.get(), running, clock::coarse()).filter(|info| info.id == id)
}

/// Where a bthread waits: the calls that led there. It is not stopped: its stack is copied, and the copy counts if it
/// waited all the time. None if it does not wait, or is gone. Blocks the thread for a few microseconds, the first time
/// longer.
///
/// ```
/// fn takes_a_nap() { bthread::sleep(std::time::Duration::MAX); }
/// let sleeper = bthread::spawn(takes_a_nap);
/// let trace = loop {
///     if let Some(trace) = bthread::stack_trace(sleeper.id()) { break trace; }
///     std::thread::yield_now();
/// };
/// assert!(trace.to_string().contains("takes_a_nap"));
/// bthread::stop(sleeper.id());
/// ```
pub fn stack_trace(id: TaskId) -> Option<StackTrace> {
    let task = task::slot_of(id)?.get();
    let waits = || {
        let parked = task.id() == id && task.phase() == PHASE_STARTED && task.parker().is_parked();
        let since = task.waits_since.load(std::sync::atomic::Ordering::Relaxed);
        // The last word that a switch writes; null before.
        parked.then(|| StackCopy::of_word(task.sp_address())).flatten().filter(|sp| *sp != 0).zip(Some(since))
    };
    let before = waits()?;
    let (_, top) = stack_overflow::stack_around(before.0)?;
    let copy = trace::copy_parked(before.0, top)?;
    (waits() == Some(before)).then(|| copy.unwind())
}

/// The bthread in this slot and what it waits for, if it waits.
pub(crate) fn waiter(task: &'static Task) -> Option<(TaskId, Reason)> {
    let id = task.id();
    let waits = task.phase() == PHASE_STARTED && task.parker().is_parked() && !task.is_done();
    let reason = Reason::unpack(task.reason.load(std::sync::atomic::Ordering::Relaxed)); // a snapshot
    (waits && task.id() == id).then_some((id, reason))
}

fn info(task: &'static Task, running: bool, now: u64) -> Option<BthreadInfo> {
    use std::sync::atomic::Ordering::Relaxed; // for snapshots; they pair with nothing
    let id = task.id();
    let phase = task.phase();
    if phase == PHASE_FREE || task.is_done() {
        return None;
    }
    let mut waited = Duration::ZERO;
    let state = if phase == PHASE_QUEUED {
        BthreadState::Queued
    } else if running {
        BthreadState::Running
    } else if task.parker().is_parked() {
        waited = Duration::from_nanos(now.saturating_sub(task.waits_since.load(Relaxed)));
        BthreadState::Waiting(match Reason::unpack(task.reason.load(Relaxed)) {
            Reason::Butex(address) => WaitsFor::Butex(address),
            Reason::Sleep => WaitsFor::Sleep,
            Reason::Join(id) => WaitsFor::Join(id),
            Reason::Channel => WaitsFor::Channel,
            Reason::Future => WaitsFor::Future,
            Reason::Blocking => WaitsFor::Blocking,
            Reason::Io => WaitsFor::Io,
        })
    } else {
        BthreadState::Ready
    };
    let home = task.home().filter(|_| phase != PHASE_QUEUED);
    let (interrupted, stopped) = task.signals();
    let info = BthreadInfo {
        id,
        name: task.with_name(str::to_owned),
        state,
        home: home.map(|worker| Home { tag: worker.scheduler().tag(), worker: worker.index() }),
        age: Duration::from_nanos(now.saturating_sub(task.spawned.load(Relaxed))),
        waited,
        interrupted,
        stopped,
        trace_id: task.trace_id(),
    };
    (task.id() == id).then_some(info)
}
