//! The scheduler as a whole. Users see [`Runtime`], its [`RuntimeBuilder`] and [`RuntimeStats`].

mod builder;
mod cpus;
mod scheduler;
mod stats;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

use crate::atomic::lock;
use crate::join::JoinHandle;
use crate::monitor::BlockedWorker;
use crate::parking::WORKERS_MAX;
use crate::stack::{StackClass, StackStats};
use crate::worker;

pub use builder::RuntimeBuilder;
pub use cpus::CpuSet;
pub(crate) use scheduler::Scheduler;
pub use stats::RuntimeStats;

/// Runtimes in a process; also the number of stack pools that a fault handler can know.
pub(crate) const RUNTIMES_MAX: usize = 64;

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
        match RuntimeBuilder::new().start_as(Some(TAG_GLOBAL)) {
            Ok(runtime) => runtime,
            // Installed by somebody a moment ago.
            Err(error) => Runtime::by_tag(TAG_GLOBAL)
                .unwrap_or_else(|| panic!("the global runtime cannot be started: {error}")),
        }
    })
}

/// The tag of the global runtime.
const TAG_GLOBAL: u32 = 0;

/// The runtimes that have started, by their tags.
static RUNTIMES: Mutex<BTreeMap<u32, Runtime>> = Mutex::new(BTreeMap::new());

/// All runtimes of this process that have started, in the order of their tags.
pub fn runtimes() -> Vec<Runtime> {
    lock(&RUNTIMES).values().copied().collect()
}

/// What `f` says, unless there is a runtime. None is started meanwhile, and who starts one later sees what `f` did.
pub(crate) fn if_none_started(f: impl FnOnce() -> bool) -> bool {
    let runtimes = lock(&RUNTIMES);
    runtimes.is_empty() && f()
}

/// In the child of a fork there are no workers: it must not be given bthreads.
pub(crate) fn note_fork() {
    FORKED.store(true, Ordering::Relaxed); // there is one thread
}

static FORKED: AtomicBool = AtomicBool::new(false);

/// Whether this process is a fork of one that had runtimes.
pub(crate) fn is_forked() -> bool {
    FORKED.load(Ordering::Relaxed) // set before there was a second thread
}

/// A set of workers that run bthreads; a cheap handle to it. A runtime is never stopped: it lives as long as the
/// process. Most programs use the global one, which starts with the first use of this crate.
///
/// Several runtimes share nothing but memory, so that what happens in one holds up no other: brpc calls them *tags*
/// (`spec/bthread.md` §3.1). Each has a number, its [tag](Runtime::tag). A bthread starts in the runtime of the one that
/// spawns it unless it is told otherwise, and stays there; waiting for and waking each other works across runtimes.
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

    /// The runtime with this tag.
    pub fn by_tag(tag: u32) -> Option<Runtime> {
        lock(&RUNTIMES).get(&tag).copied()
    }

    /// The number of this runtime in the process: 0 for the global one, 1 and up for others in the order of their start.
    pub fn tag(self) -> u32 {
        self.0.tag()
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
        crate::Builder::new().runtime(self).spawn(f).expect("no bthread to be had")
    }

    /// How many workers there are to be, as set; stand-ins and workers at rest are not counted.
    pub fn workers(self) -> usize {
        self.0.wanted()
    }

    /// Changes the number of workers. New ones start at once. One that is not wanted any more takes no new bthreads
    /// from here on, but runs those that have started on it to their end; its thread rests then until it is needed
    /// again. Blocks the thread for the start of threads.
    ///
    /// # Errors
    /// `InvalidInput` for a number outside of 1 to 1024, or above half of the stacks there can be; what the system says
    /// when it gives no thread.
    pub fn set_workers(self, workers: usize) -> io::Result<()> {
        builder::check_workers(workers)?;
        builder::check_stacks(self.0.stack_capacity(), workers)?;
        self.0.set_wanted(workers)
    }

    /// What the workers have done so far.
    pub fn stats(self) -> RuntimeStats {
        RuntimeStats::of(self.0)
    }

    /// The stacks of a class. Never blocks.
    pub fn stack_stats(self, class: StackClass) -> StackStats {
        self.0.stacks().stats(class)
    }

    /// The last 64 times that a worker of this runtime was held by a blocking call or a long computation, the oldest
    /// first; those that still last included.
    pub fn blocked_workers(self) -> Vec<BlockedWorker> {
        self.0.watch.reports()
    }

    pub(crate) fn scheduler(self) -> &'static Scheduler {
        self.0
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("tag", &self.tag())
            .field("workers", &self.workers())
            .finish_non_exhaustive()
    }
}
