//! The monitor: one thread that sees when a worker is held, by a blocking call or a long computation, and sees to it
//! that nothing else is held up with it (`spec/bthread.md` §18: brpc's users lose whole processes to this).
//!
//! It looks every few milliseconds while any worker is awake, and sleeps without a timeout when all sleep: an idle
//! process has no wake-ups. A worker that has not got on since a threshold ago, though it is awake, is **held**. Then
//! - its next-slot and its deferred work, which only it would have come to, are taken care of;
//! - the culprit is recorded with its stack;
//! - while no worker that could take new work gets on, a **stand-in** is called: another worker, at rest or new. It
//!   is sent to rest when the held ones have come back.
//!
//! Bthreads that have started on a held worker wait for it: they are at home there.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::atomic::lock;
use crate::clock;
use crate::runtime::{self, Scheduler};
use crate::task::TaskId;
use crate::trace::{self, ThreadTrace};
use crate::worker::Worker;

/// Looks during the shortest threshold of all runtimes.
const LOOKS_PER_THRESHOLD: u32 = 3;
/// The shortest time between two looks.
const LOOK_MIN: Duration = Duration::from_micros(300);
/// Between two times that free stacks give memory back.
const TRIM_EVERY: Duration = Duration::from_secs(1);
/// Looks in a row that find all workers asleep until the monitor sleeps, too.
const IDLE_LOOKS: u32 = 64;
/// Looks in a row with a worker too many until a stand-in rests.
const CALM_LOOKS: u32 = 16;
/// Reports kept for each runtime.
const REPORTS_MAX: usize = 64;
/// The shortest threshold.
const THRESHOLD_MIN: Duration = Duration::from_millis(1);

/// One time that a worker was held.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BlockedWorker {
    /// The runtime's tag.
    pub tag: u32,
    /// The worker's number in its runtime.
    pub worker: usize,
    /// The operating system's id of its thread.
    pub thread: i32,
    /// The bthread that held it; none if it was a timer's function or the handler of an event.
    pub bthread: Option<TaskId>,
    /// That bthread's name, if it has one.
    pub name: Option<String>,
    /// When it was noticed; it had begun up to [`blocked_after`](crate::RuntimeBuilder::blocked_after) and a look
    /// earlier.
    pub noticed: Instant,
    /// How long it lasted from then on, or has lasted.
    pub lasted: Duration,
    /// Whether it still lasts.
    pub ongoing: bool,
    /// What the thread did a moment after it was noticed, and the calls that led there; none if that could not be
    /// seen, or if it was over by then.
    pub trace: Option<Arc<ThreadTrace>>,
}

/// What the monitor knows of one runtime.
pub(crate) struct Watch {
    threshold: Option<Duration>,
    stand_ins_max: usize,
    state: Mutex<State>,
    blocked: AtomicU64,
}

#[derive(Default)]
struct State {
    workers: Vec<Seen>,
    reports: std::collections::VecDeque<BlockedWorker>,
    calm_looks: u32,
    /// Reports at the end that have no trace yet.
    untraced: usize,
}

#[derive(Clone, Copy)]
struct Seen {
    progress: u64,
    since: Instant,
    held: bool,
}

impl Watch {
    pub(crate) fn new(threshold: Option<Duration>, stand_ins_max: usize) -> Self {
        let threshold = threshold.map(|threshold| threshold.max(THRESHOLD_MIN));
        Watch { threshold, stand_ins_max, state: Mutex::default(), blocked: AtomicU64::new(0) }
    }

    /// Times that a worker was held.
    pub(crate) fn blocked(&self) -> u64 {
        self.blocked.load(Ordering::Relaxed) // a count for people
    }

    pub(crate) fn is_held(&self, worker: usize) -> bool {
        lock(&self.state).workers.get(worker).is_some_and(|seen| seen.held)
    }

    pub(crate) fn reports(&self) -> Vec<BlockedWorker> {
        let now = Instant::now();
        let state = lock(&self.state);
        let mut reports: Vec<_> = state.reports.iter().cloned().collect();
        for report in reports.iter_mut().filter(|report| report.ongoing) {
            report.lasted = now.saturating_duration_since(report.noticed);
        }
        reports
    }

    /// One look at the workers of `scheduler`, `pause` later than it was due: for so long the workers cannot be blamed,
    /// since the process was stopped or the machine is short of CPUs. True: one of them is awake.
    fn look(&self, scheduler: &'static Scheduler, now: Instant, pause: Duration) -> bool {
        let mut awake = false;
        let (mut free, mut held_now) = (0, 0);
        let mut relieved = Vec::new();
        {
            let mut state = lock(&self.state);
            for worker in scheduler.workers() {
                let index = worker.index();
                let asleep = scheduler.parking().is_asleep(index);
                awake |= !asleep;
                let progress = worker.progress();
                if state.workers.len() <= index {
                    state.workers.resize(index + 1, Seen { progress, since: now, held: false });
                }
                let seen = &mut state.workers[index];
                seen.since += pause;
                if asleep || seen.progress != progress {
                    let was_held = seen.held;
                    *seen = Seen { progress, since: now, held: false };
                    if was_held {
                        state.close_report(index, now);
                    }
                } else if self
                    .threshold
                    .is_some_and(|threshold| now.saturating_duration_since(seen.since) >= threshold)
                {
                    if !seen.held {
                        seen.held = true;
                        self.blocked.fetch_add(1, Ordering::Relaxed); // a count for people
                        state.open_report(worker, now);
                    }
                    relieved.push(worker);
                }
                if !worker.is_dormant() {
                    let held = state.workers[index].held;
                    free += usize::from(!held);
                    held_now += usize::from(held);
                }
            }
        }
        // Code of users runs in here, so the lock is not held.
        relieved.into_iter().for_each(Worker::relieve);
        self.call_stand_ins(scheduler, free, held_now);
        self.trace_one(scheduler);
        awake
    }

    /// Takes the trace of one culprit: it may take a while, so not of more at a look, and after all that helps.
    fn trace_one(&self, scheduler: &'static Scheduler) {
        let (noticed, worker, progress) = {
            let mut state = lock(&self.state);
            let Some(index) = state.reports.len().checked_sub(state.untraced).filter(|_| state.untraced > 0)
            else {
                return;
            };
            state.untraced -= 1;
            let report = &state.reports[index];
            if !report.ongoing {
                return;
            }
            (report.noticed, scheduler.worker(report.worker), state.workers[report.worker].progress)
        };
        let trace = trace::of_thread(worker.thread()).ok().map(Arc::new);
        let mut state = lock(&self.state);
        let report =
            state.reports.iter_mut().find(|one| one.noticed == noticed && one.worker == worker.index());
        // If the worker has got on, the trace may show what came after.
        if let Some(report) = report.filter(|_| worker.progress() == progress) {
            report.trace = trace;
        }
    }

    fn call_stand_ins(&self, scheduler: &'static Scheduler, free: usize, held: usize) {
        let stand_ins = scheduler.stand_ins();
        let goal = if free == 0 && held > 0 && stand_ins < self.stand_ins_max {
            stand_ins + 1
        } else if stand_ins > held && self.has_been_calm() {
            stand_ins - 1
        } else {
            return;
        };
        // Without a thread to be had it stays as it is, and the next look tries again.
        let _ = scheduler.set_stand_ins(goal);
    }

    fn has_been_calm(&self) -> bool {
        let mut state = lock(&self.state);
        state.calm_looks += 1;
        let calm = state.calm_looks >= CALM_LOOKS;
        if calm {
            state.calm_looks = 0;
        }
        calm
    }
}

impl State {
    fn open_report(&mut self, worker: &'static Worker, now: Instant) {
        if self.reports.len() == REPORTS_MAX {
            self.reports.pop_front();
            self.untraced = self.untraced.min(REPORTS_MAX - 1);
        }
        let culprit = worker.current();
        self.reports.push_back(BlockedWorker {
            tag: worker.scheduler().tag(),
            worker: worker.index(),
            thread: worker.thread(),
            bthread: culprit.map(|task| task.get().id()),
            name: culprit.and_then(|task| task.get().with_name(str::to_owned)),
            noticed: now,
            lasted: Duration::ZERO,
            ongoing: true,
            trace: None,
        });
        self.untraced += 1;
    }

    fn close_report(&mut self, worker: usize, now: Instant) {
        let mut open = self.reports.iter_mut().filter(|report| report.worker == worker && report.ongoing);
        if let Some(report) = open.next_back() {
            report.lasted = now.saturating_duration_since(report.noticed);
            report.ongoing = false;
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("threshold", &self.threshold).finish_non_exhaustive()
    }
}

/// All workers sleep, and so does the monitor.
static ASLEEP: AtomicBool = AtomicBool::new(false);
/// Between two looks, in nanoseconds.
static INTERVAL: AtomicU64 = AtomicU64::new(u64::MAX);
static WAKE: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());

/// Starts the monitor, if it does not run yet, and has it look often enough for this threshold.
pub(crate) fn watch(threshold: Option<Duration>) -> io::Result<()> {
    static STARTED: OnceLock<io::Result<()>> = OnceLock::new();
    // Without a threshold it looks for the sake of the clock and the stacks.
    let threshold = threshold.unwrap_or(Duration::from_millis(10)).max(THRESHOLD_MIN);
    let interval = (threshold / LOOKS_PER_THRESHOLD).max(LOOK_MIN);
    INTERVAL.fetch_min(interval.as_nanos() as u64, Ordering::Relaxed); // read at the next look
    let started =
        STARTED.get_or_init(|| thread::Builder::new().name("bthread:monitor".into()).spawn(run).map(drop));
    match started {
        Ok(()) => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}

/// Called by each worker that wakes up, after it has taken back that it sleeps.
pub(crate) fn worker_woke() {
    // SeqCst pairs with the store in `run`: either we see that the monitor sleeps, or it sees that we are awake.
    if ASLEEP.load(Ordering::SeqCst) {
        clock::advance(Instant::now());
        ASLEEP.store(false, Ordering::SeqCst);
        drop(lock(&WAKE.0)); // it is before its check, or in the wait
        WAKE.1.notify_one();
    }
}

fn run() {
    let mut idle_looks = 0;
    let mut trimming = Trimming { last: Instant::now(), more: true };
    loop {
        let interval = Duration::from_nanos(INTERVAL.load(Ordering::Relaxed));
        let before = Instant::now();
        thread::sleep(interval);
        trimming.now_and_then();
        let pause = before.elapsed().saturating_sub(2 * interval);
        idle_looks = if look(pause) { 0 } else { idle_looks + 1 };
        if idle_looks == IDLE_LOOKS {
            idle_looks = 0;
            sleep(&mut trimming);
        }
    }
}

/// Sleeps until a worker wakes up; in between free stacks give back what they can.
fn sleep(trimming: &mut Trimming) {
    let mut guard = lock(&WAKE.0);
    ASLEEP.store(true, Ordering::SeqCst); // pairs with the load in `worker_woke`
    if look(Duration::ZERO) {
        ASLEEP.store(false, Ordering::SeqCst); // who cleared it meanwhile wanted no more
        return;
    }
    trimming.more = true;
    while ASLEEP.load(Ordering::SeqCst) {
        guard = if trimming.more {
            WAKE.1.wait_timeout(guard, TRIM_EVERY).unwrap_or_else(|poisoned| poisoned.into_inner()).0
        } else {
            WAKE.1.wait(guard).unwrap_or_else(|poisoned| poisoned.into_inner())
        };
        drop(guard); // a worker that wakes up needs it for a moment
        trimming.now_and_then();
        guard = lock(&WAKE.0);
    }
}

/// The memory of free stacks, given back bit by bit.
struct Trimming {
    last: Instant,
    /// There is, or may be, something left to give back.
    more: bool,
}

impl Trimming {
    fn now_and_then(&mut self) {
        if self.last.elapsed() >= TRIM_EVERY {
            self.last = Instant::now();
            self.more = false;
            for runtime in runtime::runtimes() {
                self.more |= runtime.scheduler().stacks().trim();
            }
        }
    }
}

/// Looks at all runtimes, as [`Watch::look`]. True: some worker is awake.
fn look(pause: Duration) -> bool {
    let now = Instant::now();
    clock::advance(now);
    let mut awake = false;
    for runtime in runtime::runtimes() {
        let scheduler = runtime.scheduler();
        awake |= scheduler.watch.look(scheduler, now, pause);
    }
    awake
}
