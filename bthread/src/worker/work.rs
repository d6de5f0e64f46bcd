//! What a worker does next: its own queues, then those of others, then sleep; and in between the poller, the timers
//! and what was deferred.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_deque::{Injector, Steal};

use super::runner::{Leave, Local};
use super::{Place, Worker, count};
use crate::accounting;
use crate::clock;
use crate::sys::{EVENTS_MAX, Event};
use crate::task::{TaskRef, contained};

/// Tasks between two looks of a busy worker at the poller, its timers and the injector. Where tasks are slow, it looks
/// as often as the coarse clock advances.
pub(super) const LOOK_EVERY: u32 = 61;
/// Times in a row that the next-slot may overtake the queues.
const NEXT_RUNS_MAX: u32 = 16;
/// Picks in a row that prefer new tasks, and then as many that prefer those that were woken; a power of two. Somebody
/// who joins many finds several ended each time he comes to run, which saves as many switches.
const TURN_PICKS: u32 = 8;
/// Tasks after which deferred work is looked at again, and how old it may be then.
const DEFER_LOOK_TASKS: u32 = 4;
const DEFER_AGE_MAX: Duration = Duration::from_micros(50);
/// Tasks after which deferred work is done in any case.
const DEFER_TASKS_MAX: u32 = 64;
/// How long a worker that finds no stack for a new task waits before it tries again.
pub(super) const STACK_RETRY: Duration = Duration::from_millis(1);

impl Local {
    /// The next task from this worker's own queues.
    pub(super) fn pick(&self) -> Option<TaskRef> {
        self.worker.inbox.take_all(|task| self.ready.borrow_mut().push_back(task));
        if self.is_limited() {
            self.give_away();
            return self.ready.borrow_mut().pop_front();
        }
        if let Some(task) = self.worker.take_next() {
            let runs = self.next_runs.get() + 1;
            if runs < NEXT_RUNS_MAX {
                self.next_runs.set(runs);
                return Some(task);
            }
            self.deque.push(task);
        }
        self.next_runs.set(0);
        let ready = || self.ready.borrow_mut().pop_front();
        // A turn of its own, not that of the tick: some patterns of spawning and yielding come here at even ticks only.
        let turn = self.turn.get().wrapping_add(1);
        self.turn.set(turn);
        if turn & TURN_PICKS != 0 {
            self.deque.pop().or_else(ready)
        } else {
            ready().or_else(|| self.deque.pop())
        }
    }

    /// Leaves the new tasks of this worker, which it may not start, to the others. Started ones stay.
    fn give_away(&self) {
        let scheduler = self.worker.scheduler;
        let mut given = false;
        while let Some(task) = self.worker.take_next().or_else(|| self.deque.pop()) {
            if task.get().has_started() {
                self.ready.borrow_mut().push_back(task);
            } else {
                scheduler.injector().push(task);
                given = true;
            }
        }
        if given {
            scheduler.notify(); // another worker may have stacks
        }
    }

    /// The next task; sleeps until there is one.
    pub(super) fn find_work(&self) -> TaskRef {
        loop {
            self.follow_orders();
            let tick = self.tick.get().wrapping_add(1);
            self.tick.set(tick);
            if self.is_time_to_look(tick) {
                self.look();
                if let Some(task) = self.take_injected() {
                    return self.found(task);
                }
            }
            if let Some(task) = self.pick() {
                return self.found(task);
            }
            self.worker.run_deferred();
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
        if self.searching.replace(false) && scheduler.parking().end_search() && self.is_anything_shared(true)
        {
            scheduler.notify();
        }
        task
    }

    fn take_injected(&self) -> Option<TaskRef> {
        if self.dormant.get() {
            return None;
        }
        let scheduler = self.worker.scheduler;
        let injector = scheduler.injector();
        if self.starved.get() {
            return self.take_started_from(injector);
        }
        loop {
            match injector.steal_batch_and_pop(&self.deque) {
                Steal::Success(task) => {
                    // What came along was in no queue for a moment: who looked then has gone to sleep.
                    if !self.deque.is_empty() {
                        scheduler.notify();
                    }
                    return Some(task);
                }
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
    }

    /// Bthreads that may move wait in the injector, too, and one of them may be who gives a stack back.
    fn take_started_from(&self, injector: &Injector<TaskRef>) -> Option<TaskRef> {
        if !self.worker.scheduler.has_movable() {
            return None;
        }
        for _ in 0..injector.len() {
            let Steal::Success(task) = injector.steal() else { break };
            if task.get().has_started() {
                return Some(task);
            }
            injector.push(task);
        }
        None
    }

    /// Work of others.
    fn search(&self) -> Option<TaskRef> {
        if let Some(task) = self.take_injected() {
            return Some(task);
        }
        let scheduler = self.worker.scheduler;
        let workers = scheduler.created();
        if self.is_limited() || workers == 1 {
            return None;
        }
        if !self.searching.get() {
            if !scheduler.parking().begin_search(scheduler.active()) {
                return None;
            }
            self.searching.set(true);
        }
        let start = self.random() as usize % workers;
        for step in 0..workers {
            let victim = scheduler.worker((start + step) % workers);
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
        let searched = self.searching.replace(false);
        parking.announce(self.worker.index, searched);
        if searched && self.is_limited() && self.is_anything_shared(true) {
            scheduler.notify(); // somebody took us for a searcher, and relied on it
        }
        if self.could_take_something() {
            self.searching.set(!parking.retract(self.worker.index));
            crate::monitor::worker_woke(); // it may have taken us for asleep
            return;
        }
        let mut timeout = self.worker.timers.arm().left();
        if self.starved.get() {
            timeout = Some(timeout.map_or(STACK_RETRY, |timeout| timeout.min(STACK_RETRY)));
        }
        count(&self.worker.counters.sleeps);
        let mut events = [Event::NONE; EVENTS_MAX];
        // A worker at rest must not be who gets the events.
        let poller = if self.dormant.get() { scheduler.quiet_poller() } else { scheduler.poller() };
        let found = poller.wait(&mut events, timeout, Some(&self.mask));
        self.worker.timers.disarm();
        let claimed = !parking.retract(self.worker.index);
        self.searching.set(claimed);
        crate::monitor::worker_woke();
        if self.starved.get() {
            self.has_spare_stack();
        }
        if found == 0 && !claimed && timeout.is_none() {
            count(&self.worker.counters.spurious_wakeups);
        }
        self.deliver(&events[..found]);
        self.worker.fire_timers();
    }

    /// The last look before the sleep, at all that others can have queued; see `parking`.
    fn could_take_something(&self) -> bool {
        let worker = self.worker;
        // What was deferred last may have deferred more.
        if !worker.inbox.is_empty()
            || worker.has_deferred.load(Ordering::Relaxed)
            || worker.is_dormant() != self.dormant.get()
        {
            return true;
        }
        // A limited worker could not start them.
        !self.is_limited() && self.is_anything_shared(false)
    }

    /// Whether there is a task that any worker may start: in the injector, or in a deque of another worker or `own`.
    fn is_anything_shared(&self, own: bool) -> bool {
        let scheduler = self.worker.scheduler;
        let stealable = |other: &&Worker| (own || other.index != self.worker.index) && other.has_stealable();
        !scheduler.injector().is_empty() || scheduler.workers().any(|other| stealable(&other))
    }

    /// Whether a busy worker is to do what it does now and then.
    pub(super) fn is_time_to_look(&self, tick: u32) -> bool {
        tick.is_multiple_of(LOOK_EVERY) || clock::coarse() != self.looked_at.get()
    }

    /// What a busy worker does now and then.
    fn look(&self) {
        self.looked_at.set(clock::coarse());
        count(&self.worker.counters.looks);
        if self.starved.get() {
            self.has_spare_stack(); // a worker that never sleeps has no other time to try again
        }
        let poller = self.worker.scheduler.poller();
        if poller.is_watching() {
            let mut events = [Event::NONE; EVENTS_MAX];
            let found = poller.wait(&mut events, Some(Duration::ZERO), None);
            self.deliver(&events[..found]);
        }
        self.worker.fire_timers();
    }

    fn deliver(&self, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        self.delivering.set(true);
        for event in events {
            contained(|| self.worker.scheduler.poller().deliver(*event));
        }
        self.delivering.set(false);
        if !self.deque.is_empty() {
            self.worker.scheduler.notify();
        }
    }

    pub(super) fn enqueue(&'static self, task: TaskRef, place: Place) {
        let displaced = match place {
            Place::Quiet => return self.deque.push(task),
            Place::Urgent if self.run_urgent(task) => return,
            Place::Urgent | Place::Next if !self.delivering.get() => self.worker.replace_next(task),
            // The first of them stays in front.
            _ => match self.worker.take_next() {
                None => self.worker.replace_next(task),
                Some(first) => {
                    self.worker.replace_next(first);
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

    /// Switches from the calling bthread to a new one. False: the caller is none, or must not wait now.
    fn run_urgent(&'static self, task: TaskRef) -> bool {
        let Some(caller) = self.worker.current() else { return false };
        if self.is_limited() || std::thread::panicking() {
            return false;
        }
        let accounted = accounting::begin(caller);
        if caller.get().is_movable() {
            self.suspend(caller, Leave::Yield, Some(task));
        } else {
            self.ready.borrow_mut().push_front(caller);
            self.suspend(caller, Leave::Findable, Some(task));
        }
        if let Some(began) = accounted {
            accounting::gave_way(caller, began);
        }
        true
    }

    pub(super) fn look_at_deferred(&self) {
        if !self.worker.has_deferred.load(Ordering::Relaxed) {
            return;
        }
        let tasks = self.deferred_tasks.get() + 1;
        self.deferred_tasks.set(tasks);
        if !tasks.is_multiple_of(DEFER_LOOK_TASKS) {
            return;
        }
        let now = clock::now();
        let since = self.deferred_since.get().unwrap_or(now);
        self.deferred_since.set(Some(since));
        if tasks >= DEFER_TASKS_MAX || now - since >= DEFER_AGE_MAX {
            self.worker.run_deferred();
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
