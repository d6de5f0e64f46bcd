//! One run: what it may take, and how it went.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::conductor;
use crate::explore::Omit;
use crate::world::World;

/// The native stack of the thread that a run takes: the conductor and the workers' own parts; bthreads have their own.
const STACK_SIZE: usize = 16 << 20;

/// What a run is given.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "written as a literal that ends with `..Default::default()`")]
pub struct Options {
    /// Virtual time after which the scenario must have returned. Default: an hour.
    pub time_limit: Duration,
    /// How long, in virtual time, what the scenario has left behind may go on after it returned; it is cut off then,
    /// which is no violation, as services that do something now and then never come to rest. Default: 10 minutes.
    pub settle: Duration,
    /// Steps of workers after which the run must have ended, which finds those who go on for ever without waiting.
    /// Default: 50 million.
    pub steps_max: u64,
    /// Workers of each node's runtime. Default: 2.
    pub workers: usize,
    /// Whether the lines of the trace are kept; they count for [`Outcome::trace_hash`] anyway. Default: no.
    pub trace: bool,
    /// Whether the trace also says of each step who makes it, where lines are kept: to see where two runs part that should
    /// be one. Default: no.
    pub trace_steps: bool,
    /// Whether [`bvar`](bvar::background)'s windows and histories go on, which is some work in each virtual second. Default:
    /// no, they stand still.
    pub sample_variables: bool,
    /// Elements of plans ([`World::plan`]) to leave out. Default: none.
    pub omit: Omit,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            time_limit: Duration::from_secs(3600),
            settle: Duration::from_secs(600),
            steps_max: 50_000_000,
            workers: 2,
            trace: false,
            trace_steps: false,
            sample_variables: false,
            omit: Omit::new(),
        }
    }
}

/// How a run went.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Outcome {
    /// The seed that all followed from.
    pub seed: u64,
    /// What must not be and was, in the order of finding; empty after a good run.
    pub violations: Vec<String>,
    /// A number that covers every line of the trace and every choice: equal for equal runs.
    pub trace_hash: u64,
    /// The lines of the trace, each `<virtual time in seconds> <node> <what>`, if they were to be kept.
    pub trace: Vec<String>,
    /// Steps of workers.
    pub steps: u64,
    /// The virtual time at which it ended.
    pub virtual_time: Duration,
    /// The plans that were made, and how many elements each has, those left out included.
    pub plans: BTreeMap<String, usize>,
}

/// Runs `scenario` as a bthread of the world's own runtime until it has returned and nothing is left to do, or a bound of
/// the options is reached, or there is a violation. Once per process: statics remember what ran before, so only a fresh
/// process repeats a run exactly. Nothing of the program may have used bthreads before.
///
/// What is still there when it ends stays as it is for good, its memory too.
///
/// *Blocking*: blocks the calling thread; the run takes place on a thread of its own.
///
/// # Panics
/// At the second call; when bthreads were used before; when the system gives no thread or no memory.
pub fn run(seed: u64, options: &Options, scenario: impl FnOnce(&World) + Send + 'static) -> Outcome {
    static RAN: AtomicBool = AtomicBool::new(false);
    // Relaxed: who comes second touches nothing.
    assert!(!RAN.swap(true, Ordering::Relaxed), "there was a run in this process already");
    let (report, outcome) = mpsc::channel();
    let options = options.clone();
    let conduct = move || {
        let conducted = AssertUnwindSafe(|| conductor::conduct(seed, options, scenario));
        // The caller waits for it.
        let _ = report.send(panic::catch_unwind(conducted));
        // What the run leaves behind lives on this thread's statics: it never ends.
        loop {
            thread::park();
        }
    };
    thread::Builder::new()
        .name("simulation".to_owned())
        .stack_size(STACK_SIZE)
        .spawn(conduct)
        .expect("a thread for the simulation");
    match outcome.recv().expect("the simulation reports before it rests") {
        Ok(outcome) => outcome,
        Err(payload) => panic::resume_unwind(payload),
    }
}
