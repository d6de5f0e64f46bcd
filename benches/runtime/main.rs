//! What the runtime costs, beside tokio, may and std threads, and whether it is what it is meant to be.
//!
//! ```text
//! cargo bench -p bobbin-benches --bench runtime -- [--workers N] [--rounds N] [--only KEY,KEY] [--quick] [--scaling]
//!     [--peer NAME=PROGRAM]
//! ```
//!
//! Each measure of each peer runs in a process of its own, so that no runtime's threads and memory touch another's; in
//! each round every peer takes its turn, so that a drift of the machine's speed touches all of them. A figure is the
//! median of the rounds. A number in brackets says how many times Bobbin's figure it is.
//!
//! `--peer` adds a program that is called as `PROGRAM KEY COUNT WORKERS` and prints the figures of the measure KEY on
//! one line, or `-` if it has nothing of the kind. `--scaling` prints how cost grows with workers and tasks instead.

mod bobbin;
mod held;
mod idle;
#[path = "../machine.rs"]
mod machine;
mod may;
mod measures;
mod peer;
mod process;
mod run;
mod scaling;
mod table;
mod tail;
mod threads;
mod tokio;
mod wake;

use measures::Measure;
use run::Program;

/// What the command line says.
struct Options {
    workers: usize,
    rounds: usize,
    only: Vec<String>,
    quick: bool,
    scaling: bool,
    peers: Vec<Program>,
}

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    args.retain(|arg| arg != "--bench"); // cargo bench passes it
    if let [child, key, peer, count, workers] = &args[..]
        && child == run::CHILD
    {
        let number = |text: &str| text.parse().expect("a number");
        return run::child(key, peer, number(count), number(workers));
    }
    let options = Options::of(args);
    if options.scaling { scaling::print(&options) } else { table::print(&options) }
}

impl Options {
    fn wants(&self, measure: &Measure) -> bool {
        self.only.is_empty() || self.only.iter().any(|key| key == measure.key)
    }

    fn of(args: Vec<String>) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
        let peers = peer::NAMES.iter().map(|name| Program::own(name)).collect();
        let mut options =
            Options { workers: cpus, rounds: 5, only: Vec::new(), quick: false, scaling: false, peers };
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().unwrap_or_else(|| panic!("{arg} takes a value"));
            let number = |value: String| {
                value.parse().ok().filter(|value| *value > 0).expect("a number above 0 is needed")
            };
            match arg.as_str() {
                "--workers" => options.workers = number(value()),
                "--rounds" => options.rounds = number(value()),
                "--only" => options.only = value().split(',').map(str::to_owned).collect(),
                "--quick" => options.quick = true,
                "--scaling" => options.scaling = true,
                "--peer" => options.peers.push(Program::external(&value())),
                other => panic!("unknown option {other}"),
            }
        }
        options
    }
}
