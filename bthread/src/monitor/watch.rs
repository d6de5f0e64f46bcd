//! Which workers of one runtime are held, and how many stand in for them.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::report::{BlockedWorker, Reports};
use super::{THRESHOLD_MIN, tracer};
use crate::atomic::lock;
use crate::runtime::Scheduler;
use crate::trace::{self, ThreadTrace};
use crate::worker::Worker;

/// Looks in a row with a worker too many until a stand-in rests.
const CALM_LOOKS: u32 = 16;

/// What the monitor knows of one runtime.
pub(crate) struct Watch {
    threshold: Option<Duration>,
    stand_ins_max: usize,
    /// What this process may use; asking each time would read files.
    cpus: usize,
    state: Mutex<State>,
    blocked: AtomicU64,
}

#[derive(Default)]
struct State {
    workers: Vec<Seen>,
    reports: Reports,
    calm_looks: u32,
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
        let cpus = thread::available_parallelism().map_or(1, |cpus| cpus.get());
        Watch { threshold, stand_ins_max, cpus, state: Mutex::default(), blocked: AtomicU64::new(0) }
    }

    /// Times that a worker was held.
    pub(crate) fn blocked(&self) -> u64 {
        self.blocked.load(Ordering::Relaxed) // a count for people
    }

    pub(crate) fn is_held(&self, worker: usize) -> bool {
        lock(&self.state).workers.get(worker).is_some_and(|seen| seen.held)
    }

    pub(crate) fn reports(&self) -> Vec<BlockedWorker> {
        lock(&self.state).reports.snapshot(Instant::now())
    }

    pub(super) fn add_trace(&self, worker: usize, noticed: Instant, trace: ThreadTrace) {
        lock(&self.state).reports.add_trace(worker, noticed, trace);
    }

    /// One look at the workers of `scheduler`, `pause` later than it was due: for so long the workers cannot be blamed,
    /// since the process was stopped or the machine is short of CPUs. True: one of them is awake.
    pub(super) fn look(&self, scheduler: &'static Scheduler, now: Instant, pause: Duration) -> bool {
        let mut awake = false;
        let mut free = 0;
        let mut held = Vec::new();
        {
            let mut state = lock(&self.state);
            for worker in scheduler.workers() {
                let asleep = scheduler.parking().is_asleep(worker.index());
                awake |= !asleep;
                if self.see(&mut state, worker, asleep, now, pause) {
                    held.push(worker);
                } else {
                    free += usize::from(!worker.is_dormant());
                }
            }
        }
        held.iter().for_each(|worker| worker.relieve());
        held.retain(|worker| !worker.is_dormant());
        self.call_stand_ins(scheduler, free, &held);
        awake
    }

    /// Whether one worker is held.
    fn see(
        &self,
        state: &mut State,
        worker: &'static Worker,
        asleep: bool,
        now: Instant,
        pause: Duration,
    ) -> bool {
        let (index, progress) = (worker.index(), worker.progress());
        if state.workers.len() <= index {
            state.workers.resize(index + 1, Seen { progress, since: now, held: false });
        }
        let seen = &mut state.workers[index];
        seen.since += pause;
        if asleep || seen.progress != progress {
            let was_held = seen.held;
            *seen = Seen { progress, since: now, held: false };
            if was_held {
                state.reports.close(index, now);
            }
            return false;
        }
        let age = now.saturating_duration_since(seen.since);
        if !seen.held && self.threshold.is_some_and(|threshold| age >= threshold) {
            seen.held = true;
            self.blocked.fetch_add(1, Ordering::Relaxed); // a count for people
            state.reports.open(worker, now);
            if !state.reports.newest_has_trace() {
                tracer::ask(worker, now, progress);
            }
        }
        state.workers[index].held
    }

    fn call_stand_ins(&self, scheduler: &'static Scheduler, free: usize, held: &[&'static Worker]) {
        let stand_ins = scheduler.stand_ins();
        let goal = if free == 0 && stand_ins < self.useful(held) {
            stand_ins + 1
        } else if stand_ins > held.len() && self.has_been_calm() {
            stand_ins - 1
        } else {
            return;
        };
        // Without a thread to be had it stays as it is, and the next look tries again.
        let _ = scheduler.set_stand_ins(goal);
    }

    /// How many stand-ins could be of use: one for each worker that is blocked, but for those that compute no more
    /// than there are CPUs, since more would only share those.
    fn useful(&self, held: &[&'static Worker]) -> usize {
        let computing = held.iter().filter(|worker| trace::is_running(worker.thread())).count();
        (held.len() - computing + computing.min(self.cpus)).min(self.stand_ins_max)
    }

    fn has_been_calm(&self) -> bool {
        let mut state = lock(&self.state);
        state.calm_looks = (state.calm_looks + 1) % CALM_LOOKS;
        state.calm_looks == 0
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("threshold", &self.threshold).finish_non_exhaustive()
    }
}
