//! What the whole stack is put through in the simulator: workloads, and the checkers that know how they must end.
//!
//! A seed draws which workloads a run has, what links, clocks and faults. All that a workload does and suffers is drawn as
//! plans, elements of which can be left out, so that a failing run can be shortened. Checkers say what was expected, in
//! numbers and names that lead to the lines of the trace.

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
