//! Counts of what a runtime does.

use std::sync::atomic::Ordering;

#[cfg(doc)]
use super::RuntimeBuilder;
use super::Scheduler;
use crate::histogram::Histogram;
use crate::stack::StackClass;

/// Counts over all workers of a runtime since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuntimeStats {
    /// Bthreads started.
    pub tasks: u64,
    /// Times that a bthread waited or yielded.
    pub switches: u64,
    /// Times that a worker took work from another.
    pub steals: u64,
    /// Times that a busy worker looked at the poller and its timers.
    pub looks: u64,
    /// Times that a worker slept.
    pub sleeps: u64,
    /// Times that a worker was woken by a system call.
    pub wakeups: u64,
    /// Times that a worker woke up for no reason it could see.
    pub spurious_wakeups: u64,
    /// Places for bthreads in use in the process: its living bthreads, and up to 512 that each worker keeps at hand.
    pub task_slots: usize,
    /// Bthreads of the process that have not ended; a few more or less while some begin and end.
    pub living: usize,
    /// Bthreads of this runtime that wait now; a few more or less.
    pub waiting: usize,
    /// Timers set so far on workers of this runtime, those of timed waits included.
    pub timers_scheduled: u64,
    /// Timers that became due.
    pub timers_triggered: u64,
    /// How long new bthreads waited until they started: one in 64 of those that a bthread spawned is measured.
    pub queue_wait: Histogram,
    /// Times that a worker was held longer than [`RuntimeBuilder::blocked_after`] says.
    pub blocked: u64,
    /// Workers that stand in for held ones now.
    pub stand_ins: usize,
    /// Threads made so far for workers; those at rest included.
    pub threads: usize,
    /// Workers asleep now.
    pub sleeping_workers: usize,
    /// Stacks that bthreads wait on or workers keep at hand.
    pub stacks_in_use: usize,
    /// Stacks made so far; those not in use wait for their next use.
    pub stacks_created: usize,
    /// Most stacks of the normal class there can be: as asked for, or what address space allowed.
    pub stacks_max: usize,
}

impl RuntimeStats {
    pub(super) fn of(scheduler: &Scheduler) -> Self {
        let stacks = StackClass::ALL.map(|class| scheduler.stacks().stats(class));
        let mut stats = RuntimeStats {
            task_slots: crate::task::Pool::global().in_use(),
            sleeping_workers: scheduler.parking().sleepers(),
            blocked: scheduler.watch.blocked(),
            stand_ins: scheduler.stand_ins(),
            threads: scheduler.created(),
            stacks_in_use: stacks.iter().map(|stacks| stacks.in_use).sum(),
            stacks_created: stacks.iter().map(|stacks| stacks.created).sum(),
            stacks_max: scheduler.stacks().stats(StackClass::Normal).max,
            ..RuntimeStats::default()
        };
        let mut waits = 0_i64;
        for worker in scheduler.workers() {
            let counters = &worker.counters;
            // Snapshots of counts; they pair with nothing.
            stats.tasks += counters.tasks.load(Ordering::Relaxed);
            stats.switches += counters.switches.load(Ordering::Relaxed);
            stats.steals += counters.steals.load(Ordering::Relaxed);
            stats.looks += counters.looks.load(Ordering::Relaxed);
            stats.sleeps += counters.sleeps.load(Ordering::Relaxed);
            stats.wakeups += counters.wakeups.load(Ordering::Relaxed);
            stats.spurious_wakeups += counters.spurious_wakeups.load(Ordering::Relaxed);
            stats.queue_wait.add(&counters.queue_wait);
            waits += counters.parks.load(Ordering::Relaxed) as i64;
            waits -= counters.parks_ended.load(Ordering::Relaxed) as i64;
            let (scheduled, triggered) = worker.timers().counts();
            stats.timers_scheduled += scheduled;
            stats.timers_triggered += triggered;
        }
        stats.waiting = usize::try_from(waits).unwrap_or(0);
        // Slots are traded between workers of all runtimes.
        let spare = super::runtimes().into_iter().flat_map(|runtime| runtime.scheduler().workers());
        let spare: usize = spare.map(|worker| worker.counters.spare_tasks.load(Ordering::Relaxed)).sum();
        stats.living = stats.task_slots.saturating_sub(spare);
        stats
    }
}
