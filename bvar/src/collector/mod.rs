//! Samples of what is too frequent to be looked at whole: taken at a bounded rate, handled in the background.
//!
//! Owns the samples between their submission and their dump, and the two threads of the process's collector:
//! one grabs what was submitted and adapts the limits, ten times a second while there is something; the other runs
//! the users' code. Both sleep while nothing is submitted. Must never run code of the user in the thread that
//! submits (but for the drop of a sample that there is no room for), nor under a lock.

mod limit;

pub use limit::{MAX_SAMPLING_RANGE, SampleRatio, SpeedLimit};

use crate::background;
use crate::reducer::{Adder, Number};
use crate::status::PassiveStatus;
use crate::variable::Variable;
use crate::window::PerSecond;
use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
// Relaxed throughout: flags and counts; what they are about is behind the mutexes.
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Samples that wait to be dumped, at most; more are dropped.
pub const MAX_PENDING_SAMPLES: usize = 1000;

/// How often what was submitted is grabbed.
const GRAB_INTERVAL: Duration = Duration::from_millis(100);

/// A sample.
pub trait Collected: Send + 'static {
    /// Does with the sample what it was taken for: writes it to a file, puts it into a store.
    ///
    /// *Blocking:* it may; it runs in a thread of its own, after the samples that were submitted before. A panic
    /// costs this sample only.
    fn dump(self: Box<Self>);
}

static GLOBAL: OnceLock<Collector> = OnceLock::new();

/// Takes samples from any thread and dumps them in the background.
///
/// ```
/// use bvar::{Collected, Collector, SpeedLimit};
/// use std::{sync::mpsc, time::Duration};
///
/// struct Slow(Duration, mpsc::Sender<Duration>);
/// impl Collected for Slow {
///     fn dump(self: Box<Self>) {
///         let _ = self.1.send(self.0); // an error: nobody listens any more
///     }
/// }
///
/// static LIMIT: SpeedLimit = SpeedLimit::new(1000); // samples a second
/// let (log, logged) = mpsc::channel();
/// if LIMIT.is_collectable().is_some() {
///     Collector::global().submit(Box::new(Slow(Duration::from_secs(1), log)), &LIMIT);
/// }
/// assert_eq!(logged.recv(), Ok(Duration::from_secs(1)));
/// ```
pub struct Collector {
    /// Of all samples submitted and not dumped.
    pending: AtomicUsize,
    dropped: Adder<u64>,
    grabbed: Adder<u64>,
    dumped: Adder<u64>,
    /// Microseconds that the threads were busy.
    grab_busy: AtomicU64,
    dump_busy: AtomicU64,
    submitted: Mutex<Vec<Box<dyn Collected>>>,
    limits: Mutex<Vec<&'static SpeedLimit>>,
    grabber: Sleeper,
    /// Whether nobody needs to call the grabber: it will look by itself.
    is_grabber_awake: AtomicBool,
    to_dump: Mutex<VecDeque<Box<dyn Collected>>>,
    dumper: Sleeper,
}

/// A thread that sleeps until it is called, or has been.
#[derive(Default)]
struct Sleeper {
    is_called: Mutex<bool>,
    calls: Condvar,
}

impl Sleeper {
    fn call(&self) {
        *locked(&self.is_called) = true;
        self.calls.notify_one();
    }

    /// Waits for a call, at most so long.
    fn wait(&self, at_most: Option<Duration>) {
        let called = locked(&self.is_called);
        let mut called = match at_most {
            Some(time) => {
                self.calls
                    .wait_timeout_while(called, time, |called| !*called)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
            None => self.calls.wait_while(called, |called| !*called).unwrap_or_else(PoisonError::into_inner),
        };
        *called = false;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Collector {
    fn new() -> Self {
        Collector {
            pending: AtomicUsize::new(0),
            dropped: Adder::new(),
            grabbed: Adder::new(),
            dumped: Adder::new(),
            grab_busy: AtomicU64::new(0),
            dump_busy: AtomicU64::new(0),
            submitted: Mutex::default(),
            limits: Mutex::default(),
            grabber: Sleeper::default(),
            is_grabber_awake: AtomicBool::new(false),
            to_dump: Mutex::default(),
            dumper: Sleeper::default(),
        }
    }

    /// The collector of the process. Its threads are started by the first call, which exposes its variables too:
    /// `bvar_collector_pending_samples`, `_dropped_samples`, `_grab_thread_usage`, `_grab_second`,
    /// `_dump_thread_usage` and `_dump_second`, as far as their names are free. In a process that does it
    /// [by hand](background::by_hand) there are no threads, and samples wait for [`background::tick`].
    ///
    /// *Blocking:* the first call starts threads.
    pub fn global() -> &'static Collector {
        static STARTED: OnceLock<Vec<Box<dyn Any + Send + Sync>>> = OnceLock::new();
        let collector = GLOBAL.get_or_init(Collector::new);
        STARTED.get_or_init(|| {
            if background::has_threads() {
                start("bvar_collector", || collector.grab_for_ever());
                start("bvar_dump_samples", || collector.dump_for_ever());
            }
            collector.variables()
        });
        collector
    }

    /// What the threads would do with what was submitted in the last `elapsed`, if there were any.
    pub(crate) fn work_by_hand(elapsed: Duration) {
        if let Some(collector) = GLOBAL.get() {
            collector.grab(elapsed);
            collector.dump();
        }
    }

    /// Its variables, exposed as far as their names are free.
    fn variables(&'static self) -> Vec<Box<dyn Any + Send + Sync>> {
        fn show<V: Variable + 'static>(name: &str, variable: V) -> Option<Box<dyn Any + Send + Sync>> {
            let exposed = variable.expose_as("bvar_collector", name).ok()?;
            Some(Box::new(exposed))
        }
        fn per_second<T: Number>(
            total: impl Fn() -> T + Send + Sync + 'static,
        ) -> PerSecond<PassiveStatus<T>> {
            PerSecond::new(Arc::new(PassiveStatus::counter(total)), 0)
        }
        let busy = |micros: &'static AtomicU64| per_second(|| micros.load(Relaxed) as f64 / 1e6);
        [
            show("pending_samples", PassiveStatus::new(|| self.pending())),
            show("dropped_samples", PassiveStatus::counter(|| self.dropped())),
            show("grab_thread_usage", busy(&self.grab_busy)),
            show("grab_second", per_second(|| self.grabbed.get())),
            show("dump_thread_usage", busy(&self.dump_busy)),
            show("dump_second", per_second(|| self.dumped.get())),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Takes a sample that [`SpeedLimit::is_collectable`] has chosen. If [`MAX_PENDING_SAMPLES`] wait already, it is
    /// dropped here, and counted.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    pub fn submit(&self, sample: Box<dyn Collected>, limit: &'static SpeedLimit) {
        if !limit.is_listed.load(Relaxed) && !limit.is_listed.swap(true, Relaxed) {
            locked(&self.limits).push(limit);
        }
        let is_urgent = limit.count();
        let has_room =
            self.pending.fetch_update(Relaxed, Relaxed, |n| (n < MAX_PENDING_SAMPLES).then_some(n + 1));
        if has_room.is_err() {
            self.dropped.add(1);
        } else {
            locked(&self.submitted).push(sample);
        }
        // The lock above orders this with the grabber's last look before it sleeps; without it, it is awake.
        if is_urgent || !self.is_grabber_awake.swap(true, Relaxed) {
            self.grabber.call();
        }
    }

    /// Samples that wait to be dumped.
    ///
    /// *Blocking:* no.
    pub fn pending(&self) -> usize {
        self.pending.load(Relaxed)
    }

    /// Samples that there was no room for.
    ///
    /// *Blocking:* the thread, for the time of a short internal lock.
    pub fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    /// Hands over what was submitted in the last `elapsed`, and adapts the limits to it. True if there is nothing to
    /// look after until the next sample.
    fn grab(&self, elapsed: Duration) -> bool {
        let samples = std::mem::take(&mut *locked(&self.submitted));
        let limits = locked(&self.limits).clone();
        let busy = limits.iter().filter(|limit| !limit.adapt(elapsed)).count();
        if samples.is_empty() {
            return busy == 0;
        }
        self.grabbed.add(samples.len() as u64);
        locked(&self.to_dump).extend(samples);
        self.dumper.call();
        false
    }

    fn grab_for_ever(&self) {
        let mut last = Instant::now();
        loop {
            let begun = Instant::now();
            let is_idle = self.grab(begun - last);
            last = begun;
            self.grab_busy.fetch_add(begun.elapsed().as_micros() as u64, Relaxed);
            if is_idle {
                self.is_grabber_awake.store(false, Relaxed);
                // One may have been submitted before that, by a thread that thought this one awake.
                if locked(&self.submitted).is_empty() {
                    self.grabber.wait(None);
                }
                self.is_grabber_awake.store(true, Relaxed);
            }
            self.grabber.wait(Some(GRAB_INTERVAL));
        }
    }

    /// Dumps what was grabbed.
    fn dump(&self) {
        loop {
            let Some(sample) = locked(&self.to_dump).pop_front() else { return };
            // The panic hook has reported it.
            let _ = catch_unwind(AssertUnwindSafe(|| sample.dump()));
            self.dumped.add(1);
            self.pending.fetch_sub(1, Relaxed);
        }
    }

    fn dump_for_ever(&self) {
        loop {
            self.dumper.wait(None);
            let begun = Instant::now();
            self.dump();
            self.dump_busy.fetch_add(begun.elapsed().as_micros() as u64, Relaxed);
        }
    }
}

fn start(name: &str, run: impl FnOnce() + Send + 'static) {
    // Without a thread samples fill their room and are then dropped, and that is counted.
    if let Err(error) = thread::Builder::new().name(name.to_owned()).spawn(run) {
        eprintln!("bvar: samples are dropped: no thread {name}: {error}");
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("pending", &self.pending()).field("dropped", &self.dropped).finish()
    }
}

#[cfg(test)]
mod tests;
