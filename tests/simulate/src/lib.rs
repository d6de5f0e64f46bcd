//! What the whole stack is put through in the simulator: workloads, and the checkers that know how they must end.
//!
//! A seed draws which workloads a run has (one, or two at once), what links, clocks and faults. All that a workload does
//! and suffers is drawn as plans, elements of which can be left out, so that a failing run can be shortened. Checkers say
//! what was expected, in numbers and names that lead to the lines of the trace.
//!
//! # The command
//!
//! ```sh
//! cargo run --release -p bobbin-simulate -- --seeds 1000                  # all workloads, as the seeds draw them
//! cargo run --release -p bobbin-simulate -- --seeds 500-999 --workload streams
//! cargo run --release -p bobbin-simulate -- --seed 17                     # this run alone, with its trace
//! ```
//!
//! Each seed has a process of its own, `--jobs` at a time. When one fails it is shortened, and the report ends with the
//! command that replays the shortened run: `--seed 17 --omit 'calls:0-3,5'`. The same command prints the same trace
//! always, byte for byte, so it can be compared before and behind a change (`--trace-file`); with `--trace` nothing of it is
//! left out. `--failures N` goes on until N seeds have failed, `--no-shorten` does not look for a shorter run. The exit
//! status is 0 if nothing fails, 1 if something does, 2 if it could not be run. `--bug` is in `docs/planted-bugs.md`.
//!
//! # What is checked
//!
//! | Workload | What must hold | With what slack ([`bounds`]) |
//! |---|---|---|
//! | `echo` | Each call ends once, with its own reply or an error that a fault explains; runs as often as its retries allow; fails, if so, not before its deadline nor later than that. When the faults have ended, calls succeed again. | `SLACK`, and the time for which a node was ill; `RECOVERY` |
//! | `streams` | Messages come in order and once; none is lost before a close, none comes behind it; no more than `max_buf_size` and one message are on their way; both sides learn of the end. | as long as links need for the bytes |
//! | `hops` | Each of three servers knows of less time than the one before it; handlers are told of a cancel, a deadline or a lost connection. | `ROUNDING`, `drifted`; `CANCEL_HEARD` |
//! | `stopping` | A call that a server has begun before its graceful stop is answered; others find another server. | its `TIMEOUT` |
//! | `overload` | Never more than the limit run at a time; after the rush all calls are admitted. | `RECOVERY` |
//! | `meeting` | Locks, semaphores, condition variables, channels and timers within a node: nothing is had by two, nobody sleeps beside what is free, nothing is early. | `SLACK`; a second on slow nodes |
//! | all | At the end no pending call, connection, stream, bthread or block of a buffer is left, and no server counts a call. | `SETTLING` |
//!
//! # Another workload
//!
//! 1. A module with `run(world, links)`, which returns when its part is over and has dropped all that it has made. It names
//!    its nodes and plans after itself, as another workload may run beside it.
//! 2. What happens, and when, comes from [`World::plan`], best as one element for each call, message or fault; what is the same for
//!    the whole run from [`Random::stream`] with a name of its own, so that other workloads keep their meaning.
//! 3. A variant of [`Workload`], at the end of [`Workload::ALL`]: what seeds draw changes with that list, so regressions
//!    ([`regressions`]) name their workload, and the seeds of [`found`] are to be looked for again.
//! 4. A row above. Let it find something: break the code once, or plant a bug.

#![forbid(unsafe_code)]

pub mod bounds;
pub mod found;
pub mod payload;
pub mod regressions;

mod echo;
mod faults;
mod hops;
mod leaks;
mod ledger;
mod meeting;
mod overload;
mod proto;
mod site;
mod stopping;
mod streams;
mod way;
mod work_call;
mod work_service;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bobbin::bthread;
use sim::{Random, World};

use faults::Links;
use site::Site;

/// A thing that the stack is put through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Calls of all kinds, exactly-once accounting, all faults.
    Echo,
    /// Streams in both directions.
    Streams,
    /// Cancelling and deadlines across three servers.
    Hops,
    /// Graceful stops under load.
    Stopping,
    /// More calls than limits admit.
    Overload,
    /// Bthreads that meet at locks and timers.
    Meeting,
}

impl Workload {
    /// All of them. Their order belongs to what a seed means.
    pub const ALL: [Workload; 6] = [
        Workload::Echo,
        Workload::Streams,
        Workload::Hops,
        Workload::Stopping,
        Workload::Overload,
        Workload::Meeting,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Workload::Echo => "echo",
            Workload::Streams => "streams",
            Workload::Hops => "hops",
            Workload::Stopping => "stopping",
            Workload::Overload => "overload",
            Workload::Meeting => "meeting",
        }
    }

    fn run(self, world: &World, links: &Links) {
        world.note(format_args!("workload {self}, {links:?}"));
        match self {
            Workload::Echo => echo::run(world, links),
            Workload::Streams => streams::run(world, links),
            Workload::Hops => hops::run(world, links),
            Workload::Stopping => stopping::run(world, links),
            Workload::Overload => overload::run(world, links),
            Workload::Meeting => meeting::run(world, links),
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Workload {
    type Err = UnknownWorkload;

    fn from_str(name: &str) -> Result<Self, UnknownWorkload> {
        let found = Workload::ALL.into_iter().find(|workload| workload.name() == name);
        found.ok_or_else(|| UnknownWorkload(name.to_owned()))
    }
}

/// No workload has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownWorkload(String);

impl fmt::Display for UnknownWorkload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no workload is named {:?}; there are:", self.0)?;
        Workload::ALL.iter().try_for_each(|workload| write!(f, " {workload}"))
    }
}

impl std::error::Error for UnknownWorkload {}

/// How likely a run has two workloads at once.
const PAIRED: f64 = 0.2;

/// The run of one seed: `only` that workload, or what the seed draws. For a bthread of the world, which it parks until all
/// is over.
pub fn scenario(world: &World, only: Option<Workload>) {
    let mut random = Random::stream(world.seed(), "scenario", 0);
    let links = Links::draw(world, &mut random);
    let first = *random.pick(&Workload::ALL);
    let second = *random.pick(&Workload::ALL);
    let is_paired = random.chance(PAIRED) && first != second;
    let before = leaks::Left::now();
    match only {
        Some(only) => only.run(world, &links),
        None if is_paired => {
            let (world_, links_) = (world.clone(), links.clone());
            let other = bthread::spawn(move || second.run(&world_, &links_));
            first.run(world, &links);
            let _ = other.join();
        }
        None => first.run(world, &links),
    }
    before.check(world);
}

/// Has this process have the planted bug of this name. To be called first of all.
///
/// # Errors
/// A text, if there is no such bug, or this is a build without planted bugs.
pub fn plant(bug: &str) -> Result<(), String> {
    #[cfg(bobbin_planted)]
    {
        bthread::planted::choose(
            bug.parse().map_err(|error: bthread::planted::UnknownBug| error.to_string())?,
        );
        Ok(())
    }
    #[cfg(not(bobbin_planted))]
    Err(format!("{bug}: bugs are planted in a build with RUSTFLAGS=\"--cfg bobbin_planted\" alone"))
}

/// Has the clocks of some nodes run fast or slow.
fn drift(random: &mut Random, sites: &[Arc<Site>]) {
    for site in sites {
        if random.chance(0.3) {
            let most = bounds::DRIFT_MAX as u64;
            site.node.set_drift(random.between(0, 2 * most) as i32 - bounds::DRIFT_MAX);
        }
    }
}
