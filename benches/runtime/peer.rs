//! What a runtime under test can do.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use crate::{bobbin, may, threads, tokio};

/// The runtimes that this program has in it; the first is the one that the others are compared with.
pub(crate) const NAMES: &[&str] = &["bobbin", "tokio", "may", "threads"];

/// Work to be done by a task.
pub(crate) type Task = Box<dyn FnOnce() + Send>;

/// One runtime under test. A method that takes a count does the operation so many times and returns the nanoseconds
/// that one took, or `None` where the runtime has nothing of the kind.
pub(crate) trait Peer {
    fn workers(&self) -> usize;
    /// Starts a detached task, from any thread.
    fn start(&self, task: Task);
    /// Times that the runtime has woken a thread by a system call.
    fn wakeups(&self) -> Option<u64> {
        None
    }

    /// Start a task that does nothing and wait for it, one after another, from a task.
    fn spawn_join(&self, n: usize) -> Option<f64>;
    /// Start `at_once` tasks from a task, then wait for all, until it was `n`.
    fn spawn_many(&self, n: usize, at_once: usize) -> Option<f64>;
    /// So many tasks that yield in turn, `n` times altogether.
    fn yields(&self, _n: usize, _tasks: usize) -> Option<f64> {
        None
    }
    /// So many pairs of tasks, spread over the workers, of which each wakes the other in turn, `n` times altogether; one
    /// way.
    fn ping_pong(&self, _n: usize, _pairs: usize) -> Option<f64> {
        None
    }
    /// The same with tasks that may move between workers in the middle.
    fn ping_pong_free(&self, _n: usize, _pairs: usize) -> Option<f64> {
        None
    }
    /// Lock and unlock a mutex: so many tasks, spread over the workers, `n` times altogether.
    fn mutex(&self, n: usize, tasks: usize) -> Option<f64>;
    /// Set a timer a minute ahead and cancel it.
    fn timer(&self, _n: usize) -> Option<f64> {
        None
    }
    /// So many tasks that together send `n` numbers to one that adds them up, until it has.
    fn queue(&self, _n: usize, _producers: usize) -> Option<f64> {
        None
    }
    /// A task that waits is woken from an OS thread while everything sleeps; until it runs, the medians of `n` times on
    /// the waker's CPU and of `n` times on another one.
    fn wake(&self, _n: usize) -> Option<Vec<f64>> {
        None
    }
    /// So many tasks that sleep 10 ms at the same time: the time for each beyond the 10 ms, and the CPU time for each.
    fn sleepers(&self, n: usize) -> Option<Vec<f64>>;
    /// So many tasks that wait: seconds until all do, resident GiB, GiB of page tables, seconds until all are woken and
    /// have ended.
    fn waiters(&self, _n: usize) -> Option<Vec<f64>> {
        None
    }
}

/// The runtime of that name.
pub(crate) fn by_name(name: &str, workers: usize) -> Box<dyn Peer> {
    match name {
        "bobbin" => Box::new(bobbin::Bobbin::new(workers)),
        "tokio" => Box::new(tokio::Tokio::new(workers)),
        "may" => Box::new(may::May::new(workers)),
        "threads" => Box::new(threads::Threads::new(workers)),
        other => panic!("no runtime {other}"),
    }
}

/// Tasks beyond this are so many that they get around by themselves.
pub(crate) const SPREAD_MAX: usize = 256;
/// How long a task waits for others to be taken, at most: less than after which a worker counts as held.
const SPREAD_TIME_MAX: Duration = Duration::from_millis(5);

/// How several tasks begin together.
pub(crate) struct Start {
    base: Instant,
    /// Nanoseconds after `base` at which the first began.
    first: AtomicU64,
    /// Workers that have tasks.
    threads: Mutex<Vec<ThreadId>>,
    threads_wanted: usize,
}

impl Start {
    pub(crate) fn new(tasks: usize, workers: usize) -> Self {
        Start {
            base: Instant::now(),
            first: AtomicU64::new(u64::MAX),
            threads: Mutex::new(Vec::new()),
            threads_wanted: tasks.min(workers),
        }
    }

    /// Keeps the worker of the calling task busy until others have taken their share of the tasks behind it, or it
    /// takes too long: otherwise one worker starts them all before another is awake, and those that do not move never
    /// meet one of another worker.
    pub(crate) fn spread(&self) {
        let start = Instant::now();
        let own = thread::current().id();
        let threads = || self.threads.lock().expect("nobody panics with it");
        if !threads().contains(&own) {
            threads().push(own);
        }
        while threads().len() < self.threads_wanted && start.elapsed() < SPREAD_TIME_MAX {
            std::hint::spin_loop();
        }
    }

    /// A task begins.
    pub(crate) fn mark(&self) {
        // Relaxed: read by one who has joined the tasks.
        self.first.fetch_min(self.base.elapsed().as_nanos() as u64, Ordering::Relaxed);
    }

    /// Nanoseconds since the first began, for each of `n` operations.
    pub(crate) fn per(&self, n: usize) -> f64 {
        per(self.base + Duration::from_nanos(self.first.load(Ordering::Relaxed)), n)
    }
}

/// Nanoseconds that one of `n` operations took.
pub(crate) fn time(n: usize, f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    per(start, n)
}

/// Nanoseconds since then, for each of `n` operations.
pub(crate) fn per(start: Instant, n: usize) -> f64 {
    start.elapsed().as_nanos() as f64 / n as f64
}
