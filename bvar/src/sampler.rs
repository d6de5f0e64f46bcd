//! The clock of all windows: who is sampled once a second, and when each tick was.
//!
//! Owns the thread `bvar_sampler` of the process, the list of what is sampled, and the times of the last
//! ticks. Must never hold a lock while a variable is sampled: that may run code of the user. Time comes in
//! from outside: a tick is told when it is.

use crate::background;
use crate::registry;
use crate::window::MAX_WINDOW_SECONDS;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
// Relaxed: a switch and a statistic that order nothing.
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// The time between two ticks of the process's sampler.
const TICK: Duration = Duration::from_secs(1);

/// The name of its thread.
const THREAD_NAME: &str = "bvar_sampler";

static ENABLED: AtomicBool = AtomicBool::new(true);

/// What the process's sampler has worked so far.
static BUSY_NANOS: AtomicU64 = AtomicU64::new(0);

/// The same, in seconds.
pub(crate) fn busy_seconds() -> f64 {
    BUSY_NANOS.load(Relaxed) as f64 / 1e9
}

/// Switches the sampling of the whole process off or on again: windows and histories stand still while it is
/// off. It is on at first.
///
/// *Blocking:* no.
pub fn enable_sampling(enabled: bool) {
    ENABLED.store(enabled, Relaxed);
}

/// Something that is sampled at each tick.
pub(crate) trait Tick: Send + Sync {
    /// Samples; false if nobody wants that any more. Called from one thread at a time.
    fn tick(&self, tick: u32) -> bool;
}

/// Samples, once a second, the variables that windows look at.
///
/// [`Sampler::global`] does so by itself, in a thread named `bvar_sampler` that starts when the first window, latency
/// recorder or variable with a history needs it. One from [`Sampler::new`] does so when it is told, at the
/// time that it is told: for tests and simulations.
///
/// ```
/// use bvar::{Adder, Sampler, Window};
/// use std::{sync::Arc, time::Duration};
///
/// let sampler = Sampler::new(Duration::ZERO);
/// let requests = Arc::new(Adder::<u64>::new());
/// let recent = Window::with_sampler(&sampler, requests.clone(), 2);
/// for second in 1..=10 {
///     requests.add(second);
///     sampler.tick(Duration::from_secs(second));
/// }
/// assert_eq!((recent.get(), recent.span()), (9 + 10, Duration::from_secs(2)));
/// ```
#[derive(Clone)]
pub struct Sampler {
    shared: Arc<Shared>,
}

struct Shared {
    /// Of a sampler with a thread, the process's own: the moment that its times are counted from.
    epoch: Option<Instant>,
    ticks: Mutex<Ticks>,
    sampled: Mutex<Vec<Weak<dyn Tick>>>,
    /// Held during a tick, so that ticks come one after another. Nothing that is sampled can reach it but by ticking.
    ticking: Mutex<()>,
}

struct Ticks {
    newest: u32,
    /// When the newest ticks were, oldest first; at most one more than the longest window has seconds.
    times: VecDeque<Duration>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sampler {
    /// A sampler that ticks only when [`tick`](Sampler::tick) is called; `now` is the time at which it starts.
    pub fn new(now: Duration) -> Self {
        Self::with_epoch(None, now)
    }

    fn with_epoch(epoch: Option<Instant>, now: Duration) -> Self {
        let ticks = Ticks { newest: 0, times: VecDeque::from([now]) };
        let shared =
            Shared { epoch, ticks: Mutex::new(ticks), sampled: Mutex::default(), ticking: Mutex::default() };
        Sampler { shared: Arc::new(shared) }
    }

    /// The sampler of the process, which samples every variable that nobody gave another one, and the history of each
    /// exposed variable. Its thread is started by the first call, and lives as long as the process; in one that does it
    /// [by hand](background::by_hand) there is none, and [`background::tick`] is the tick.
    ///
    /// *Blocking:* the first call starts a thread.
    pub fn global() -> &'static Sampler {
        static GLOBAL: OnceLock<Sampler> = OnceLock::new();
        GLOBAL.get_or_init(|| {
            if !background::has_threads() {
                return Self::new(Duration::ZERO);
            }
            let sampler = Self::with_epoch(Some(Instant::now()), Duration::ZERO);
            let own = sampler.clone();
            // Where there is no thread to be had, or under miri, which wants to see all threads end, windows stay empty.
            if !cfg!(miri) {
                let started = thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(move || own.run());
                if let Err(error) = started {
                    eprintln!("bvar: windows stay empty: no thread {THREAD_NAME}: {error}");
                }
            }
            sampler
        })
    }

    fn run(&self) {
        let epoch = self.shared.epoch.expect("only the process's sampler runs");
        let mut next = epoch + TICK;
        loop {
            // This thread's own; no worker waits here.
            thread::sleep(next.saturating_duration_since(Instant::now()));
            if ENABLED.load(Relaxed) {
                let begin = Instant::now();
                self.tick(epoch.elapsed());
                registry::append_to_series();
                BUSY_NANOS.fetch_add(begin.elapsed().as_nanos() as u64, Relaxed);
            }
            // After a long stop of the process seconds are missing rather than sampled in a burst.
            next = (next + TICK).max(Instant::now());
        }
    }

    /// Samples everything once. Ticks are counted as seconds, whatever the times say; rates are computed by the times.
    ///
    /// *Blocking:* as the functions of the [`PassiveStatus`](crate::PassiveStatus)es that have windows; and the thread,
    /// while another thread ticks. Such a function must not call this itself: it would wait for its own end.
    pub fn tick(&self, now: Duration) {
        let _ticking = locked(&self.shared.ticking);
        let tick = {
            let mut ticks = locked(&self.shared.ticks);
            ticks.newest += 1;
            ticks.times.push_back(now);
            if ticks.times.len() > MAX_WINDOW_SECONDS as usize + 1 {
                ticks.times.pop_front();
            }
            ticks.newest
        };
        // What is added meanwhile goes to the new list.
        let mut sampled = std::mem::take(&mut *locked(&self.shared.sampled));
        sampled.retain(|sampled| {
            let Some(sampled) = sampled.upgrade() else { return false };
            // A panic of the user's code, which the panic hook has reported, costs this sample and no other.
            catch_unwind(AssertUnwindSafe(|| sampled.tick(tick))).unwrap_or(true)
        });
        let mut added = locked(&self.shared.sampled);
        sampled.append(&mut added);
        *added = sampled;
    }

    /// Samples `sampled` from the next tick on, until it is dropped or says that it is not needed.
    pub(crate) fn add(&self, sampled: Weak<dyn Tick>) {
        locked(&self.shared.sampled).push(sampled);
    }

    /// The newest tick, and the present time.
    pub(crate) fn now(&self) -> (u32, Duration) {
        let ticks = locked(&self.shared.ticks);
        let newest = *ticks.times.back().expect("there is always one");
        (ticks.newest, self.shared.epoch.map_or(newest, |epoch| epoch.elapsed()))
    }

    /// When a tick was, if it is not too long ago.
    pub(crate) fn time_of(&self, tick: u32) -> Option<Duration> {
        let ticks = locked(&self.shared.ticks);
        let ago = ticks.newest.checked_sub(tick)? as usize;
        ticks.times.len().checked_sub(1 + ago).map(|at| ticks.times[at])
    }

    /// How many things are sampled.
    #[cfg(test)]
    pub(crate) fn sampled(&self) -> usize {
        locked(&self.shared.sampled).len()
    }
}

impl fmt::Debug for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampler").field("newest", &self.now()).finish()
    }
}
