//! The monitor: one thread that sees when a worker is held, by a blocking call or a long computation, and sees to it
//! that nothing else is held up with it (`spec/bthread.md` §18: brpc's users lose whole processes to this).
//!
//! It looks every few milliseconds while any worker is awake, and sleeps without a timeout when all sleep: an idle
//! process has no wake-ups. A worker that has not got on since a threshold ago, though it is awake, is **held**. Then
//! - its next-slot is emptied, and a bthread on another worker does its deferred work and fires its timers;
//! - the culprit is recorded, with its stack (`tracer`);
//! - while no worker that could take new work gets on, a **stand-in** is called: another worker, at rest or new. It
//!   is sent to rest when the held ones have come back.
//!
//! Bthreads that have started on a held worker wait for it: they are at home there. No code of users runs on the
//! monitor's thread, and it waits for nobody.

mod report;
mod tracer;
mod watch;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::atomic::lock;
use crate::clock;
use crate::runtime;

pub use report::BlockedWorker;
pub(crate) use watch::Watch;

/// Looks during the shortest threshold of all runtimes.
const LOOKS_PER_THRESHOLD: u32 = 3;
/// The shortest time between two looks.
const LOOK_MIN: Duration = Duration::from_micros(300);
/// Between two times that free stacks give memory back.
const TRIM_EVERY: Duration = Duration::from_secs(1);
/// Looks in a row that find all workers asleep until the monitor sleeps, too.
const IDLE_LOOKS: u32 = 64;
/// The shortest threshold.
const THRESHOLD_MIN: Duration = Duration::from_millis(1);
/// The threshold to go by where a runtime has none: for the sake of the clock and the stacks.
const THRESHOLD_NONE: Duration = Duration::from_millis(10);

/// All workers sleep, and so does the monitor.
static ASLEEP: AtomicBool = AtomicBool::new(false);
/// Between two looks, in nanoseconds.
static INTERVAL: AtomicU64 = AtomicU64::new(u64::MAX);
static WAKE: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());

/// Starts the monitor, if it does not run yet, and has it look often enough for this threshold.
pub(crate) fn watch(threshold: Option<Duration>) -> io::Result<()> {
    static STARTED: Mutex<bool> = Mutex::new(false);
    let threshold = threshold.unwrap_or(THRESHOLD_NONE).max(THRESHOLD_MIN);
    let interval = (threshold / LOOKS_PER_THRESHOLD).max(LOOK_MIN);
    INTERVAL.fetch_min(interval.as_nanos() as u64, Ordering::Relaxed); // read at the next look
    let mut started = lock(&STARTED);
    if !*started {
        thread::Builder::new().name("bthread:monitor".into()).spawn(run)?;
        *started = true;
    }
    Ok(())
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
    for runtime in runtime::runtimes() {
        // Nobody is held. It only sends workers to rest, which cannot fail.
        let _ = runtime.scheduler().set_stand_ins(0);
    }
    ASLEEP.store(true, Ordering::SeqCst); // pairs with the load in `worker_woke`
    if look(Duration::ZERO) {
        ASLEEP.store(false, Ordering::SeqCst); // who cleared it meanwhile wanted no more
        return;
    }
    trimming.more = true;
    let mut guard = lock(&WAKE.0);
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
