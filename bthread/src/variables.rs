//! The runtimes as variables, under brpc's names (`spec/builtin-services.md` §15.3).
//!
//! Everything is counted anyway and added up when somebody looks, so that variables cost the scheduler nothing. What
//! brpc counts and this runtime does not have is missing: the share of time of a timer thread
//! (`bthread_timer_usage`), the memory of tables of keys.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bvar::flag::{self, Flag};
use bvar::{
    Exposed, ExposedLatencyRecorder, LatencyRecorder, LatencyUnit, PassiveStatus, PerSecond, Variable,
};

use crate::atomic::lock;
use crate::runtime::{RuntimeStats, runtimes};
use crate::{exec_queue, local, sys};

static SHOW_CREATION: Flag<bool> =
    Flag::new("show_bthread_creation_in_vars", false, "Show how long new bthreads wait until they start")
        .reloadable()
        .on_change(show_creation);
static SHOW_PER_WORKER_USAGE: Flag<bool> = Flag::new(
    "show_per_worker_usage_in_vars",
    false,
    "Show how busy each worker is, from the next call of expose_variables on",
)
.reloadable();

/// Workers of a runtime whose builder does not say; 0: one for each CPU.
pub(crate) static CONCURRENCY: Flag<i32> = Flag::new(
    "bthread_concurrency",
    0,
    "Worker threads of each runtime that starts, where its builder does not say; 0: one for each CPU",
);

/// What keeps the variables in place, and the names that are taken.
#[derive(Default)]
struct Shown {
    names: HashSet<String>,
    variables: Vec<Box<dyn Send>>,
}

static SHOWN: Mutex<Option<Shown>> = Mutex::new(None);

/// Makes the flags of this crate known, so that [`bvar::flag::parse_args`] finds them: `show_bthread_creation_in_vars`,
/// `show_per_worker_usage_in_vars`, `bthread_concurrency`. Never blocks for long; calling it again changes nothing.
pub fn register_flags() {
    flag::register(&[&SHOW_CREATION, &SHOW_PER_WORKER_USAGE, &CONCURRENCY]);
}

/// Makes the state of all runtimes visible among the variables of the process: `bthread_count`,
/// `bthread_worker_count`, `bthread_worker_usage`, `bthread_switch_second`, `bthread_signal_second`,
/// `bthread_group_status`, `bthread_timer_scheduled_second`, `bthread_timer_triggered_second`,
/// `bthread_butex_waiter_count`, `bthread_stack_count`, `bthread_key_count`, `bthread_keytable_count`,
/// `bthread_execq_count`, `_active_count`, `_running_task_count`, `bthread_queue_wait_latency_50` and `_99`
/// (microseconds), and of each runtime the workers and their usage with its tag behind the name. With the flags
/// `show_bthread_creation_in_vars` and `show_per_worker_usage_in_vars` there are more.
///
/// May be called again, which adds what is new: runtimes that have started since. A name that somebody else has taken
/// stays with them. *Blocking*: the thread, for some internal locks.
///
/// ```
/// bthread::expose_variables();
/// assert!(bvar::describe("bthread_worker_count").is_some());
/// ```
pub fn expose_variables() {
    register_flags();
    let mut shown = lock(&SHOWN);
    let shown = shown.get_or_insert_default();
    shown.number("bthread_count", || first(|stats| stats.living));
    shown.number("bthread_worker_count", || runtimes().into_iter().map(|runtime| runtime.workers()).sum());
    shown.number("bthread_butex_waiter_count", || sum(|stats| stats.waiting));
    shown.number("bthread_stack_count", || sum(|stats| stats.stacks_created));
    shown.number("bthread_key_count", local::live_keys);
    shown.number("bthread_keytable_count", local::live_tables);
    shown.number("bthread_execq_count", || exec_queue::stats().queues);
    shown.number("bthread_execq_active_count", || exec_queue::stats().active);
    shown.number("bthread_execq_running_task_count", || exec_queue::stats().running);
    shown.rate("bthread_switch_second", || sum(|stats| stats.switches as usize));
    shown.rate("bthread_signal_second", || sum(|stats| stats.wakeups as usize));
    shown.rate("bthread_timer_scheduled_second", || sum(|stats| stats.timers_scheduled as usize));
    shown.rate("bthread_timer_triggered_second", || sum(|stats| stats.timers_triggered as usize));
    shown.number("bthread_queue_wait_latency_50", || queue_wait(0.5));
    shown.number("bthread_queue_wait_latency_99", || queue_wait(0.99));
    shown.add("bthread_group_status", || PassiveStatus::new(group_status));
    shown.usage("bthread_worker_usage".to_owned(), |_, _| true);
    for runtime in runtimes() {
        let tag = runtime.tag();
        shown.number(&format!("bthread_worker_count_{tag}"), move || runtime.workers());
        shown.usage(format!("bthread_worker_usage_{tag}"), move |of, _| of == tag);
        if SHOW_PER_WORKER_USAGE.get() {
            for worker in
                runtime.scheduler().workers().map(|worker| worker.thread()).filter(|thread| *thread != 0)
            {
                shown
                    .usage(format!("bthread_worker_usage_{tag}_{worker}"), move |_, thread| thread == worker);
            }
        }
    }
}

impl Shown {
    fn add<V: Variable + 'static>(&mut self, name: &str, variable: impl FnOnce() -> V) {
        if self.names.contains(name) {
            return;
        }
        // Taken by somebody else: it may be free the next time.
        if let Ok(exposed) = variable().expose(name) {
            self.names.insert(name.to_owned());
            self.variables.push(Box::<Exposed<V>>::new(exposed));
        }
    }

    fn number(&mut self, name: &str, ask: impl Fn() -> usize + Send + Sync + 'static) {
        self.add(name, || PassiveStatus::new(move || as_i64(ask())));
    }

    fn rate(&mut self, name: &str, ask: impl Fn() -> usize + Send + Sync + 'static) {
        self.add(name, || PerSecond::new(Arc::new(PassiveStatus::counter(move || as_i64(ask()))), 0));
    }

    /// How many processors the threads of some workers have kept busy. `counts` is given a tag and a thread.
    fn usage(&mut self, name: String, counts: impl Fn(u32, i32) -> bool + Send + Sync + 'static) {
        self.add(&name, || {
            let time = PassiveStatus::counter(move || cpu_time(&counts).as_secs_f64());
            let rate = PerSecond::new(Arc::new(time), 0);
            PassiveStatus::new(move || rate.value().as_f64().map_or(0.0, |rate| (rate * 1e6).round() / 1e6))
        });
    }
}

fn as_i64(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn sum(figure: impl Fn(&RuntimeStats) -> usize) -> usize {
    runtimes().into_iter().map(|runtime| figure(&runtime.stats())).sum()
}

/// A figure of the process, which every runtime knows.
fn first(figure: impl Fn(&RuntimeStats) -> usize) -> usize {
    runtimes().first().map_or(0, |runtime| figure(&runtime.stats()))
}

/// In microseconds; the longest of all runtimes.
fn queue_wait(quantile: f64) -> usize {
    let waits =
        runtimes().into_iter().map(|runtime| runtime.stats().queue_wait.quantile(quantile).as_micros());
    waits.max().unwrap_or(0) as usize
}

/// The new tasks in each worker's queue, by the order of the workers; a colon and the tag in front of each runtime's.
fn group_status() -> String {
    let of = |runtime: &crate::Runtime| {
        let queues = runtime.scheduler().workers().map(|worker| worker.queued().to_string());
        format!("{}: {}", runtime.tag(), queues.collect::<Vec<_>>().join(" "))
    };
    runtimes().iter().map(of).collect::<Vec<_>>().join("; ")
}

fn cpu_time(counts: impl Fn(u32, i32) -> bool) -> Duration {
    let mut sum = Duration::ZERO;
    for runtime in runtimes() {
        for worker in runtime.scheduler().workers() {
            let thread = worker.thread();
            if thread != 0 && counts(runtime.tag(), thread) {
                sum += sys::thread_cpu_time(thread).unwrap_or_default();
            }
        }
    }
    sum
}

/// Whether `note_creation` has somebody to tell.
static NOTES_CREATION: AtomicBool = AtomicBool::new(false);

fn creation() -> Option<&'static ExposedLatencyRecorder> {
    static RECORDER: OnceLock<Option<ExposedLatencyRecorder>> = OnceLock::new();
    RECORDER
        .get_or_init(|| LatencyRecorder::new(LatencyUnit::Micros).expose("bthread_creation").ok())
        .as_ref()
}

/// The flag has changed. Once shown, the variables stay, and get nothing new while the flag is off.
fn show_creation() {
    let shows = SHOW_CREATION.get() && creation().is_some();
    NOTES_CREATION.store(shows, Ordering::Relaxed); // a switch; pairs with nothing
}

/// A new bthread has waited so long until it started; told of one in a few.
pub(crate) fn note_creation(waited: Duration) {
    if NOTES_CREATION.load(Ordering::Relaxed)
        && let Some(recorder) = creation()
    {
        recorder.record_duration(waited);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(name: &str) -> f64 {
        let text = bvar::describe(name).unwrap_or_else(|| panic!("{name}"));
        text.parse().unwrap_or_else(|_| panic!("{name} : {text}"))
    }

    #[test]
    fn every_name_of_brpc_is_there() {
        let runtime = crate::Runtime::builder().workers(2).start().unwrap();
        expose_variables();
        expose_variables();
        let tag = runtime.tag();
        let names = [
            "bthread_count",
            "bthread_worker_count",
            "bthread_worker_usage",
            "bthread_switch_second",
            "bthread_signal_second",
            "bthread_timer_scheduled_second",
            "bthread_timer_triggered_second",
            "bthread_butex_waiter_count",
            "bthread_stack_count",
            "bthread_key_count",
            "bthread_keytable_count",
            "bthread_execq_running_task_count",
            "bthread_execq_count",
            "bthread_execq_active_count",
            "bthread_queue_wait_latency_99",
            &format!("bthread_worker_usage_{tag}"),
        ];
        for name in names {
            assert!(number(name) >= 0.0, "{name}");
        }
        assert_eq!(number(&format!("bthread_worker_count_{tag}")), 2.0);
        assert!(bvar::describe("bthread_group_status").unwrap().contains(&format!("{tag}: ")));
    }

    #[test]
    fn waiting_bthreads_are_counted() {
        let runtime = crate::Runtime::builder().workers(1).start().unwrap();
        let sleepers: Vec<_> = (0..100).map(|_| runtime.spawn(|| crate::sleep(Duration::MAX))).collect();
        while runtime.stats().waiting != 100 {
            std::thread::yield_now();
        }
        let stats = runtime.stats();
        assert!(stats.living >= 100 && stats.timers_scheduled >= 100, "{stats:?}");
        sleepers.iter().for_each(|sleeper| assert!(crate::stop(sleeper.id())));
        sleepers
            .into_iter()
            .for_each(|sleeper| assert_eq!(sleeper.join().unwrap(), crate::Slept::Interrupted));
        while runtime.stats().waiting != 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn workers_take_processor_time() {
        let runtime = crate::Runtime::builder().workers(1).start().unwrap();
        let tag = runtime.tag();
        let before = cpu_time(|of, _| of == tag);
        while cpu_time(|of, _| of == tag) < before + Duration::from_millis(5) {
            runtime
                .spawn(|| (0..100_000).fold(0_u64, |sum, n| std::hint::black_box(sum ^ n)))
                .join()
                .unwrap();
        }
        assert_eq!(sys::thread_cpu_time(i32::MAX >> 3), None);
    }

    #[test]
    fn creations_are_recorded_when_the_flag_says_so() {
        SHOW_CREATION.set(true).unwrap();
        while number("bthread_creation_count") == 0.0 {
            crate::spawn(|| (0..100).for_each(|_| drop(crate::spawn(|| ()).join()))).join().unwrap();
        }
        SHOW_CREATION.set(false).unwrap();
    }
}
