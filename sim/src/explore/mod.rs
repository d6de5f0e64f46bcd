//! From one run to many: an [`Explorer`] runs a scenario from many seeds, each in a process of its own, makes the first
//! failure as small as it can, and says how to replay it.
//!
//! It owns the processes it starts and nothing of the simulated world. It must never decide what a seed means: a run is
//! the same whether it is one of thousands or a replay.

mod child;
mod command;
mod ddmin;
mod environment;
mod examine;
mod frame;
mod launch;
mod omit;
mod report;
mod seeds;
mod shorten;
mod sweep;

use std::cell::Cell;
use std::env;
use std::error::Error;
use std::fmt;
use std::io;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use crate::{Options, World};

pub use command::Replay;
pub use omit::{InvalidOmit, Omit};
pub use report::{Examined, Failure, FailureKind, Report};
pub use seeds::{InvalidSeeds, Seeds};

use command::{Place, ReplayCommand};
use environment::Wishes;
use launch::Launcher;
use report::Failure as FailureReport;
use sweep::Sweep;

/// How long one run may take in real time, unless told otherwise.
const RUN_LIMIT: Duration = Duration::from_secs(60);

/// How many runs the search for the smallest failing one makes at most, unless told otherwise.
const SHORTEN_TRIES: u64 = 500;

/// How long that search takes at most, unless told otherwise.
const SHORTEN_TIME: Duration = Duration::from_secs(30);

/// Each seed that is a multiple of this is run twice, unless told otherwise.
const VERIFY_EVERY: u64 = 64;

/// How many processes run at a time at most.
const JOBS_MAX: usize = 1024;

/// The guide's example compiles, and finds nothing.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/simulation.md")]
struct Guide;

thread_local! {
    /// Explorations that this thread has begun.
    static EXPLORATIONS: Cell<usize> = const { Cell::new(0) };
}

/// Runs a scenario from many seeds within a test and panics with all that is known if one fails: what
/// [`Explorer::check`] does with everything else as it is by default. A number of seeds are those from 0 on.
///
/// *Blocking*: blocks the thread until all have run.
///
/// # Panics
/// If a seed fails, and if no process can be started.
pub fn explore(seeds: impl Into<Seeds>, scenario: impl FnOnce(&World) + Send + 'static) {
    Explorer::new().seeds(seeds).check(scenario);
}

/// Runs a scenario from many seeds, each in a process of its own.
///
/// The processes are this executable, started anew: a test is run alone by its name, which is the name of the thread;
/// a program is given its own arguments. When such a child comes to the same exploration, it runs the one seed it is asked
/// for and exits there: none of [`check`](Self::check), [`find`](Self::find) and [`main`](Self::main) returns in it. What
/// the program does before happens in each child, and should be little. In a child, explorations before that one return
/// an empty report. In the parent the scenario is never called.
///
/// # Environment
///
/// | Variable | Meaning |
/// |---|---|
/// | `BOBBIN_SIM_SEEDS` | these [`Seeds`] instead of the program's: `1000`, `40-60` |
/// | `BOBBIN_SIM_SEED` | this one alone, with its trace: as [`only`](Self::only) |
/// | `BOBBIN_SIM_OMIT` | what to leave out of the plans: as [`omit`](Self::omit) |
/// | `BOBBIN_SIM_TRACE` | `1` for whole traces: as [`whole_trace`](Self::whole_trace) |
/// | `BOBBIN_SIM_TRACE_FILE` | where the whole trace goes: as [`trace_file`](Self::trace_file) |
/// | `BOBBIN_SIM_JOBS` | how many at a time: as [`jobs`](Self::jobs) |
#[derive(Debug)]
#[must_use = "an explorer does nothing until it is told to find or check"]
pub struct Explorer {
    seeds: Seeds,
    only: Option<u64>,
    omit: Omit,
    options: Options,
    jobs: usize,
    run_limit: Duration,
    stop_after: u64,
    verify_every: u64,
    shorten_tries: u64,
    shorten_time: Duration,
    whole_trace: bool,
    trace_file: Option<PathBuf>,
    place: Option<Place>,
    replay_command: ReplayCommand,
    environment: bool,
    progress: bool,
}

impl Default for Explorer {
    fn default() -> Self {
        Self::new()
    }
}

impl Explorer {
    /// 200 seeds from 0 on, as many at a time as there are processors.
    pub fn new() -> Self {
        Self {
            seeds: Seeds::from(200),
            only: None,
            omit: Omit::new(),
            options: Options::default(),
            jobs: thread::available_parallelism().map_or(1, NonZero::get),
            run_limit: RUN_LIMIT,
            stop_after: 1,
            verify_every: VERIFY_EVERY,
            shorten_tries: SHORTEN_TRIES,
            shorten_time: SHORTEN_TIME,
            whole_trace: false,
            trace_file: None,
            place: None,
            replay_command: ReplayCommand::default(),
            environment: true,
            progress: false,
        }
    }

    /// Which seeds are run; a number means those from 0 on. Default: 200.
    pub fn seeds(mut self, seeds: impl Into<Seeds>) -> Self {
        self.seeds = seeds.into();
        self
    }

    /// Runs this seed alone, once, and shows what it prints and its whole trace: a replay. It is not shortened.
    pub fn only(mut self, seed: u64) -> Self {
        self.only = Some(seed);
        self
    }

    /// What is left out of the scenario's plans in each run. Default: nothing.
    pub fn omit(mut self, omit: Omit) -> Self {
        self.omit = omit;
        self
    }

    /// The bounds and settings of each run; their `omit` and `trace` are the explorer's to set. They are part of what a
    /// seed means.
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// How many processes run at a time, from 1 to 1024, counting those that other tests of the same program have started:
    /// none is started while so many run. Default: one for each processor.
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.jobs = jobs.clamp(1, JOBS_MAX);
        self
    }

    /// How long a run may take in real time; longer ones fail. Default: a minute.
    pub fn run_limit(mut self, limit: Duration) -> Self {
        self.run_limit = limit;
        self
    }

    /// No further seed is started once so many have failed; those that are running end. Default: 1.
    pub fn stop_after(mut self, failures: u64) -> Self {
        self.stop_after = failures.max(1);
        self
    }

    /// Each seed that is a multiple of `every` is run twice and fails unless both runs are the same; 0: none is.
    /// Default: 64.
    pub fn verify_every(mut self, every: u64) -> Self {
        self.verify_every = every;
        self
    }

    /// The bounds of the search for the smallest run that fails: how many runs it makes and how long it takes; it does not
    /// begin with 0 runs. Default: 500 within 30 seconds.
    pub fn shorten(mut self, tries: u64, time: Duration) -> Self {
        self.shorten_tries = tries;
        self.shorten_time = time;
        self
    }

    /// Prints the trace of a failing run whole, rather than its beginning and its end. Default: no.
    pub fn whole_trace(mut self, whole: bool) -> Self {
        self.whole_trace = whole;
        self
    }

    /// Writes the whole trace of a failing run, or of the one that is replayed, to this file. Default: none.
    pub fn trace_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.trace_file = Some(file.into());
        self
    }

    /// The name of the test that this is, as `--exact` takes it, with its modules: for threads that the test has started.
    /// Default: the name of the calling thread.
    pub fn test(mut self, name: impl Into<String>) -> Self {
        self.place = Some(Place::Test(name.into()));
        self
    }

    /// This is a program, whose children are given the same arguments. Default on the thread called `main`.
    pub fn program(mut self) -> Self {
        self.place = Some(Place::Program);
        self
    }

    /// How the command that replays a run is written. Default: environment variables and `cargo test`, or the program
    /// with its arguments.
    pub fn replay_command(mut self, command: impl Fn(&Replay) -> String + 'static) -> Self {
        self.replay_command = ReplayCommand::new(command);
        self
    }

    /// Does not look at the environment, as programs with options of their own have it.
    pub fn ignore_environment(mut self) -> Self {
        self.environment = false;
        self
    }

    /// Says every ten seconds on the standard error how far it has come. Default: no, but for [`main`](Self::main).
    pub fn progress(mut self, progress: bool) -> Self {
        self.progress = progress;
        self
    }

    /// Runs the seeds, looks into the lowest one that fails, and tells. Does not return in children.
    ///
    /// *Blocking*: blocks the thread; must not be called on a bthread.
    ///
    /// # Errors
    /// If no process can be started, a variable of the environment makes no sense, or the trace's file cannot be written;
    /// on a thread without a name, unless [`test`](Self::test) or [`program`](Self::program) says what to start.
    pub fn find(mut self, scenario: impl FnOnce(&World) + Send + 'static) -> Result<Report, ExploreError> {
        let exploration = EXPLORATIONS.get();
        EXPLORATIONS.set(exploration + 1);
        match environment::of_child().map_err(invalid)? {
            Some(wanted) if wanted == exploration => child::serve(self.options, scenario),
            Some(_) => return Ok(self.nothing()),
            None => {}
        }
        if self.environment {
            let wishes = Wishes::read().map_err(invalid)?;
            self.follow(wishes);
        }
        let place = self.place.take().or_else(Place::of_this_thread).ok_or(ExploreError::NamelessThread)?;
        let executable = env::current_exe().map_err(ExploreError::Start)?;
        let launcher = Launcher {
            executable,
            arguments: place.arguments(),
            exploration,
            run_limit: self.run_limit,
            jobs: self.jobs,
        };
        match self.only {
            Some(seed) => self.replay(seed, &launcher, &place),
            None => self.sweep(&launcher, &place),
        }
    }

    /// [`find`](Self::find)s, and panics with the report if a seed fails; prints it if none does. For tests.
    ///
    /// *Blocking*: blocks the thread; must not be called on a bthread.
    ///
    /// # Panics
    /// If a seed fails, and on [`find`](Self::find)'s errors.
    pub fn check(self, scenario: impl FnOnce(&World) + Send + 'static) {
        match self.find(scenario) {
            Ok(report) if report.is_clean() => println!("{report}"),
            Ok(report) => panic!("{report}"),
            Err(error) => panic!("{error}"),
        }
    }

    /// [`find`](Self::find)s and prints the report: success if no seed fails, 1 if one does, 2 on an error. For programs.
    ///
    /// *Blocking*: blocks the thread; must not be called on a bthread.
    pub fn main(self, scenario: impl FnOnce(&World) + Send + 'static) -> ExitCode {
        match self.progress(true).find(scenario) {
            Ok(report) => {
                println!("{report}");
                if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(1) }
            }
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(2)
            }
        }
    }

    fn follow(&mut self, wishes: Wishes) {
        self.seeds = wishes.seeds.unwrap_or(self.seeds);
        self.only = wishes.seed.or(self.only);
        self.whole_trace = wishes.trace.unwrap_or(self.whole_trace);
        self.jobs = wishes.jobs.unwrap_or(self.jobs).clamp(1, JOBS_MAX);
        if let Some(omit) = wishes.omit {
            self.omit = omit;
        }
        if let Some(file) = wishes.trace_file {
            self.trace_file = Some(file);
        }
    }

    fn nothing(&self) -> Report {
        Report {
            seeds: self.seeds,
            runs: 0,
            failures: Vec::new(),
            virtual_time: Duration::ZERO,
            wall_time: Duration::ZERO,
            steps: 0,
            digest: 0,
            replayed: None,
        }
    }

    fn sweep(&self, launcher: &Launcher, place: &Place) -> Result<Report, ExploreError> {
        let sweep = Sweep {
            launcher,
            seeds: self.seeds,
            omit: &self.omit,
            jobs: self.jobs,
            stop_after: self.stop_after,
            verify_every: self.verify_every,
            progress: self.progress,
        };
        let begin = Instant::now();
        let swept = sweep.run().map_err(ExploreError::Start)?;
        let wall_time = begin.elapsed();
        let mut failures = Vec::with_capacity(swept.failures.len());
        for failed in swept.failures {
            let examined = match failures.is_empty() {
                true => Some(self.examine(launcher, place, &failed)?),
                false => None,
            };
            failures.push(FailureReport { seed: failed.seed, kind: failed.kind(), examined });
        }
        Ok(Report {
            runs: swept.seeds,
            failures,
            virtual_time: swept.virtual_time,
            wall_time,
            steps: swept.steps,
            digest: swept.digest,
            ..self.nothing()
        })
    }
}

fn invalid(variable: environment::InvalidVariable) -> ExploreError {
    ExploreError::Environment(variable.to_string())
}

/// Why seeds could not be run, whatever they would have done.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExploreError {
    /// A variable of the environment makes no sense; the text says which and why.
    Environment(String),
    /// The system starts no process.
    Start(io::Error),
    /// The calling thread has no name that says which test this is, and nobody has told [`Explorer::test`].
    NamelessThread,
    /// The file for the trace cannot be written.
    TraceFile(PathBuf, io::Error),
}

impl fmt::Display for ExploreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(what) => f.write_str(what),
            Self::Start(error) => write!(f, "no process can be started for a simulated run: {error}"),
            Self::NamelessThread => f.write_str(
                "on a thread without a name, Explorer::test or Explorer::program must say what to start",
            ),
            Self::TraceFile(file, error) => {
                write!(f, "the trace cannot be written to {}: {error}", file.display())
            }
        }
    }
}

impl Error for ExploreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Environment(_) | Self::NamelessThread => None,
            Self::Start(error) | Self::TraceFile(_, error) => Some(error),
        }
    }
}
