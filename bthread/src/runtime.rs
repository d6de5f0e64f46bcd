//! The scheduler as a whole: its workers and what they share. Users see [`Runtime`] and [`Builder`](RuntimeBuilder).

use std::fmt;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crossbeam_deque::Injector;

use crate::join::JoinHandle;
use crate::parking::{Parking, WORKERS_MAX};
use crate::poller::Poller;
use crate::stack::{StackClass, StackConfig, StackPools, StackStats};
use crate::task::TaskRef;
use crate::worker::{self, Worker};

/// Stacks without which a worker runs nothing: one to stand on, one for when the bthread on that one waits.
const WORKER_STACKS_MIN: usize = 2;

/// What the workers share; lives for ever.
pub(crate) struct Scheduler {
    injector: Injector<TaskRef>,
    parking: Parking,
    workers: OnceLock<Box<[&'static Worker]>>,
    poller: Poller,
    stacks: StackPools,
    /// Some worker found no stack for a new task.
    exhausted: AtomicBool,
    next_worker: AtomicUsize,
}

impl Scheduler {
    pub(crate) fn injector(&self) -> &Injector<TaskRef> {
        &self.injector
    }

    pub(crate) fn parking(&self) -> &Parking {
        &self.parking
    }

    pub(crate) fn poller(&'static self) -> &'static Poller {
        &self.poller
    }

    pub(crate) fn stacks(&self) -> &StackPools {
        &self.stacks
    }

    pub(crate) fn workers(&self) -> &[&'static Worker] {
        self.workers.get().map_or(&[], |workers| workers)
    }

    pub(crate) fn set_exhausted(&self, exhausted: bool) {
        self.exhausted.store(exhausted, Ordering::Relaxed); // a hint to spawners; pairs with nothing
    }

    pub(crate) fn is_exhausted(&self) -> bool {
        self.exhausted.load(Ordering::Relaxed) // as above
    }

    /// After queueing work that any worker may take: wakes one if one is needed.
    pub(crate) fn notify(&self) {
        if let Some(index) = self.parking.claim_any() {
            self.workers()[index].interrupt();
        }
    }

    /// One worker after the other.
    pub(crate) fn some_worker(&self) -> &'static Worker {
        let workers = self.workers();
        workers[self.next_worker.fetch_add(1, Ordering::Relaxed) % workers.len()] // any order will do
    }
}

/// The runtime of the caller: its worker's, or else the global one.
pub(crate) fn current() -> &'static Scheduler {
    worker::current_scheduler().unwrap_or_else(|| global().0)
}

fn global_cell() -> &'static OnceLock<Runtime> {
    static GLOBAL: OnceLock<Runtime> = OnceLock::new();
    &GLOBAL
}

fn global() -> Runtime {
    *global_cell().get_or_init(|| {
        RuntimeBuilder::new().start().expect("starting the global runtime: no threads or no address space")
    })
}

/// A set of workers that run bthreads; a cheap handle to it. A runtime is never stopped: it lives as long as the
/// process. Most programs use the global one, which starts with the first use of this crate.
#[derive(Clone, Copy)]
pub struct Runtime(&'static Scheduler);

impl Runtime {
    /// Options for a runtime.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::new()
    }

    /// The runtime that the caller belongs to: that of the worker it runs on, else the global one, which is started
    /// with default options if it does not run yet.
    ///
    /// # Panics
    /// When the global runtime has to be started and the system gives no threads or no address space.
    pub fn current() -> Runtime {
        Runtime(current())
    }

    /// Starts a bthread here; see [`spawn`](crate::spawn).
    ///
    /// # Panics
    /// When bthreads or stacks have run out; [`Builder::spawn_on`](crate::Builder::spawn_on) gives an error instead.
    pub fn spawn<F, T>(self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        crate::join::Builder::new().spawn_on(self, f).expect("no bthread to be had")
    }

    /// How many workers there are.
    pub fn workers(self) -> usize {
        self.0.workers().len()
    }

    /// What the workers have done so far.
    pub fn stats(self) -> RuntimeStats {
        let stacks = StackClass::ALL.map(|class| self.stack_stats(class));
        let mut stats = RuntimeStats {
            sleeping_workers: self.0.parking.sleepers(),
            stacks_in_use: stacks.iter().map(|stacks| stacks.in_use).sum(),
            stacks_created: stacks.iter().map(|stacks| stacks.created).sum(),
            stacks_max: self.stack_stats(StackClass::Normal).max,
            ..RuntimeStats::default()
        };
        for worker in self.0.workers() {
            let counters = &worker.counters;
            // Snapshots of counts; they pair with nothing.
            stats.tasks += counters.tasks.load(Ordering::Relaxed);
            stats.switches += counters.switches.load(Ordering::Relaxed);
            stats.steals += counters.steals.load(Ordering::Relaxed);
            stats.looks += counters.looks.load(Ordering::Relaxed);
            stats.sleeps += counters.sleeps.load(Ordering::Relaxed);
            stats.wakeups += counters.wakeups.load(Ordering::Relaxed);
            stats.spurious_wakeups += counters.spurious_wakeups.load(Ordering::Relaxed);
        }
        stats
    }

    /// The stacks of a class. *Blocking*: neither.
    pub fn stack_stats(self, class: StackClass) -> StackStats {
        self.0.stacks.stats(class)
    }

    /// Gives memory of free stacks back to the kernel: of half of those that nobody needed since the last call, so a
    /// first call gives none. Returns whether a later call may give more. *Blocking*: blocks the thread for a system
    /// call for each run of neighbouring stacks.
    pub fn trim_stacks(self) -> bool {
        self.0.stacks.trim()
    }

    pub(crate) fn scheduler(self) -> &'static Scheduler {
        self.0
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("workers", &self.workers()).finish_non_exhaustive()
    }
}

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
    /// Workers asleep now.
    pub sleeping_workers: usize,
    /// Stacks that bthreads wait on or workers keep at hand.
    pub stacks_in_use: usize,
    /// Stacks made so far; those not in use wait for their next use.
    pub stacks_created: usize,
    /// Most stacks of the normal class there can be: as asked for, or what address space allowed.
    pub stacks_max: usize,
}

/// Options of a [`Runtime`].
#[derive(Debug, Clone)]
#[must_use]
pub struct RuntimeBuilder {
    workers: Option<usize>,
    stacks: [StackConfig; StackClass::ALL.len()],
    stacks_max: usize,
}

impl RuntimeBuilder {
    fn new() -> Self {
        let stacks = StackClass::ALL.map(StackConfig::new);
        let stacks_max = stacks[StackClass::Normal as usize].stacks_max as usize;
        RuntimeBuilder { workers: None, stacks, stacks_max }
    }

    /// How many workers, 1 to 1024. Default: the CPUs that this process may use.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Usable bytes of a stack of the normal class, rounded up to pages, two at least, up to 1 GiB. Only pages that
    /// were touched take memory. Default: 1 MiB.
    pub fn stack_size(self, bytes: usize) -> Self {
        self.stack_size_of(StackClass::Normal, bytes)
    }

    /// As [`stack_size`](Self::stack_size) for any class. Defaults: 32 KiB, 1 MiB, 8 MiB.
    pub fn stack_size_of(mut self, class: StackClass, bytes: usize) -> Self {
        self.stacks[class as usize].stack_size = bytes;
        self
    }

    /// Most stacks of the normal class at a time, and with it the bthreads that can wait at a time: from two for each worker, which is
    /// what it needs to run, to 2^24; a reservation of address space. Default: 2^20.
    pub fn stacks_max(mut self, stacks: usize) -> Self {
        self.stacks_max = stacks;
        self
    }

    /// Starts a runtime of its own.
    ///
    /// # Errors
    /// `InvalidInput` for a worker count, or a size or number of stacks, out of range; `OutOfMemory` beyond 64 runtimes; what the system says when it gives no
    /// threads, descriptors or address space.
    pub fn start(self) -> io::Result<Runtime> {
        let count = match self.workers {
            Some(count) => count,
            None => thread::available_parallelism().map_or(1, |n| n.get().min(WORKERS_MAX)),
        };
        if !(1..=WORKERS_MAX).contains(&count) {
            let message = format!("{count} workers: must be 1 to {WORKERS_MAX}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let mut stacks = self.stacks;
        stacks[StackClass::Normal as usize].stacks_max = u32::try_from(self.stacks_max).unwrap_or(u32::MAX);
        let too_few = |stacks| stacks < WORKER_STACKS_MIN * count;
        if too_few(self.stacks_max) {
            let message =
                format!("{} stacks: must be {WORKER_STACKS_MIN} for each worker at least", self.stacks_max);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let stacks = StackPools::new(stacks)?;
        if too_few(stacks.pool(StackClass::Normal)?.counts().capacity as usize) {
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, "no address space for stacks"));
        }
        crate::stack_overflow::install(worker::describe_current)?;
        let scheduler: &'static Scheduler = Box::leak(Box::new(Scheduler {
            injector: Injector::new(),
            parking: Parking::new(count),
            workers: OnceLock::new(),
            poller: Poller::new()?,
            stacks,
            exhausted: AtomicBool::new(false),
            next_worker: AtomicUsize::new(0),
        }));
        let mut deques = Vec::with_capacity(count);
        let workers: Box<[&'static Worker]> = (0..count)
            .map(|index| {
                let deque = crossbeam_deque::Worker::new_fifo();
                let worker: &'static Worker =
                    Box::leak(Box::new(Worker::new(scheduler, index, deque.stealer())));
                deques.push((worker, deque));
                worker
            })
            .collect();
        let _ = scheduler.workers.set(workers); // the cell is new
        for (index, (worker, deque)) in deques.into_iter().enumerate() {
            thread::Builder::new()
                .name(format!("bthread:{index}"))
                .spawn(move || worker::main(worker, deque))?;
        }
        Ok(Runtime(scheduler))
    }

    /// Starts a runtime and makes it the global one.
    ///
    /// # Errors
    /// `AlreadyExists` when the global runtime has started; else as [`start`](Self::start).
    pub fn install(self) -> io::Result<Runtime> {
        let taken = || io::Error::new(io::ErrorKind::AlreadyExists, "the global runtime has started already");
        if global_cell().get().is_some() {
            return Err(taken());
        }
        let runtime = self.start()?;
        global_cell().set(runtime).map_err(|_| taken())?;
        Ok(runtime)
    }
}
