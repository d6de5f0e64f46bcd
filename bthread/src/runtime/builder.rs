//! Options of a runtime, and its start.

use std::io;
use std::thread;
use std::time::Duration;

use super::scheduler::{Parts, Scheduler, WORKER_STACKS_MIN};
use super::{CpuSet, RUNTIMES, RUNTIMES_MAX, Runtime, TAG_GLOBAL, WORKERS_MAX, global_cell};
use crate::atomic::lock;
use crate::monitor;
use crate::simulation;
use crate::stack::{StackClass, StackConfig, StackPools};
use crate::variables::CONCURRENCY;
use crate::worker;

/// How long a worker may be held before somebody stands in for it, unless configured.
const BLOCKED_AFTER: Duration = Duration::from_millis(10);
/// Stand-ins that one runtime has at a time, unless configured.
const STAND_INS_MAX: usize = 64;

/// Options of a [`Runtime`].
#[derive(Debug, Clone)]
#[must_use]
pub struct RuntimeBuilder {
    workers: Option<usize>,
    stacks: [StackConfig; StackClass::ALL.len()],
    stacks_max: usize,
    cpus: Option<CpuSet>,
    movable: bool,
    blocked_after: Option<Duration>,
    stand_ins_max: usize,
}

impl RuntimeBuilder {
    pub(super) fn new() -> Self {
        let stacks = StackClass::ALL.map(StackConfig::new);
        let stacks_max = stacks[StackClass::Normal as usize].stacks_max as usize;
        RuntimeBuilder {
            workers: None,
            stacks,
            stacks_max,
            cpus: None,
            movable: false,
            blocked_after: Some(BLOCKED_AFTER),
            stand_ins_max: STAND_INS_MAX,
        }
    }

    /// How many workers, 1 to 1024. Default: the flag `bthread_concurrency`, or the CPUs that this
    /// process may use.
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

    /// Binds the workers to CPUs: worker k to the one at position k modulo their number. Default: not bound.
    pub fn cpus(mut self, cpus: CpuSet) -> Self {
        self.cpus = Some(cpus);
        self
    }

    /// How long a worker may be held by a blocking call or a computation before it counts as blocked: its next
    /// bthread and what was deferred on it are taken care of, and, while no other worker gets on, a stand-in takes
    /// its place ([`Runtime::blocked_workers`]). `None`: never. Rounded up to 1 ms. Default: 10 ms.
    pub fn blocked_after(mut self, threshold: impl Into<Option<Duration>>) -> Self {
        self.blocked_after = threshold.into();
        self
    }

    /// Most stand-ins for held workers at a time. Default: 64.
    pub fn stand_ins_max(mut self, stand_ins: usize) -> Self {
        self.stand_ins_max = stand_ins;
        self
    }

    /// Lets started bthreads of this runtime move between its workers, see
    /// [`Builder::movable`](crate::Builder::movable).
    ///
    /// # Safety
    /// The contract of [`Builder::movable`](crate::Builder::movable) holds for every bthread that is spawned in this
    /// runtime without an option of its own.
    #[allow(unsafe_code)]
    pub unsafe fn movable(mut self, movable: bool) -> Self {
        self.movable = movable;
        self
    }

    /// Starts a runtime of its own.
    ///
    /// # Errors
    /// `InvalidInput` for a worker count, or a size or number of stacks, out of range; `OutOfMemory` beyond 64
    /// runtimes; what the system says when it gives no threads, descriptors or address space.
    pub fn start(self) -> io::Result<Runtime> {
        self.start_as(None)
    }

    pub(super) fn start_as(self, tag: Option<u32>) -> io::Result<Runtime> {
        let count = match self.workers {
            Some(count) => count,
            None => match usize::try_from(CONCURRENCY.get()) {
                Ok(count @ 1..) => count,
                _ if simulation::is_simulated() => 1, // whatever the machine has
                _ => thread::available_parallelism().map_or(1, |n| n.get().min(WORKERS_MAX)),
            },
        };
        check_workers(count)?;
        // Held to the end: a runtime is known once it works. What a failed start has made so far stays idle.
        let mut runtimes = lock(&RUNTIMES);
        if runtimes.len() == RUNTIMES_MAX {
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, "too many runtimes"));
        }
        if tag.is_some_and(|tag| runtimes.contains_key(&tag)) {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the global runtime has started already",
            ));
        }
        let mut stacks = self.stacks;
        stacks[StackClass::Normal as usize].stacks_max = u32::try_from(self.stacks_max).unwrap_or(u32::MAX);
        check_stacks(self.stacks_max, count)?;
        let stacks = StackPools::new(stacks)?;
        let granted = stacks.pool(StackClass::Normal)?.counts().capacity as usize;
        check_stacks(granted, count).map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))?;
        crate::stack_overflow::install(worker::describe_current)?;
        crate::sys::in_forked_child(super::note_fork)?;
        if !simulation::is_simulated() {
            monitor::watch(self.blocked_after)?;
        }
        let next = runtimes.keys().next_back().map_or(TAG_GLOBAL, |last| *last) + 1;
        let tag = tag.unwrap_or(next);
        let runtime = Runtime(Scheduler::new(Parts {
            tag,
            stacks,
            cpus: self.cpus,
            movable: self.movable,
            blocked_after: self.blocked_after,
            stand_ins_max: self.stand_ins_max,
        })?);
        runtime.0.set_wanted(count)?;
        runtimes.insert(tag, runtime);
        Ok(runtime)
    }

    /// Starts a runtime and makes it the global one.
    ///
    /// # Errors
    /// `AlreadyExists` when the global runtime has started; else as [`start`](Self::start).
    pub fn install(self) -> io::Result<Runtime> {
        let runtime = self.start_as(Some(TAG_GLOBAL))?;
        let _ = global_cell().set(runtime); // a caller that came in between has the same one
        Ok(runtime)
    }
}

pub(super) fn check_workers(count: usize) -> io::Result<()> {
    if (1..=WORKERS_MAX).contains(&count) {
        return Ok(());
    }
    let message = format!("{count} workers: must be 1 to {WORKERS_MAX}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

pub(super) fn check_stacks(stacks: usize, workers: usize) -> io::Result<()> {
    if stacks >= WORKER_STACKS_MIN * workers {
        return Ok(());
    }
    let message = format!("{stacks} stacks: must be {WORKER_STACKS_MIN} for each worker at least");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}
