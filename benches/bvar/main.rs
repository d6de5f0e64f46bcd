//! What variables cost: writing them from one and several threads, and sampling and going through very many of them.
//!
//! ```text
//! cargo bench -p bobbin-benches --bench bvar -- [--rounds N] [--only KEY,KEY] [--quick] [--peer NAME=PROGRAM]
//! ```
//!
//! Each measure of each peer runs in a process of its own; in each round every peer takes its turn, so that a drift of
//! the machine's speed touches all of them. A figure is the median of the rounds. A number in brackets says how many
//! times Bobbin's figure it is. Writes are measured in CPU time of the writing threads, so that more threads than CPUs
//! do not look slower than they are.
//!
//! `--peer` adds a program that is called as `PROGRAM KEY COUNT THREADS` and prints one figure, or `-` if it has nothing
//! of the kind.

mod many;
mod peer;
mod table;
mod write;

use std::process::{Command, Stdio};

/// The first argument of a process that does one measure.
const CHILD: &str = "--child";

/// One line of the table.
struct Measure {
    /// What is done; passed to the peer.
    key: &'static str,
    threads: usize,
    /// Operations, or variables.
    count: usize,
    name: &'static str,
    /// At most so much.
    target: Option<f64>,
}

const fn write(key: &'static str, threads: usize, name: &'static str, target: Option<f64>) -> Measure {
    Measure { key, threads, count: 20_000_000, name, target }
}

const MEASURES: &[Measure] = &[
    write("adder", 1, "add to a sum, 1 thread, ns", Some(1.5)),
    write("adder", 2, "… 2 threads, per operation of one, ns", Some(1.5)),
    write("adder", 8, "… 8 threads, per operation of one, ns", Some(1.5)),
    write("maxer", 1, "record a maximum, 1 thread, ns", None),
    write("average", 1, "record for an average, 1 thread, ns", None),
    write("latency", 1, "record a latency, 1 thread, ns", Some(12.0)),
    write("latency", 2, "… 2 threads, per operation of one, ns", Some(12.0)),
    write("latency", 8, "… 8 threads, per operation of one, ns", Some(12.0)),
    write("collectable", 1, "decide whether to sample, at 1 of 16, 1 thread, ns", Some(10.0)),
    Measure {
        key: "tick",
        threads: 1,
        count: 100_000,
        name: "sample 100,000 idle latency recorders, ms",
        target: None,
    },
    Measure {
        key: "tick-busy",
        threads: 2,
        count: 10_000,
        name: "sample 10,000 busy latency recorders, ms",
        target: None,
    },
    Measure {
        key: "walk",
        threads: 1,
        count: 100_000,
        name: "describe 100,000 exposed sums, ms",
        target: Some(100.0),
    },
    Measure {
        key: "series",
        threads: 1,
        count: 100_000,
        name: "read the histories of 100 of them, ms",
        target: None,
    },
];

struct Options {
    rounds: usize,
    only: Vec<String>,
    quick: bool,
    /// Names, and the programs of those that are not in this one.
    peers: Vec<(String, Option<String>)>,
}

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    args.retain(|arg| arg != "--bench"); // cargo bench passes it
    if let [child, peer, key, count, threads] = &args[..]
        && child == CHILD
    {
        let number = |text: &str| text.parse().expect("a number");
        match peer::figure(peer, key, number(count), number(threads)) {
            Some(figure) => println!("{figure}"),
            None => println!("-"),
        }
        return;
    }
    table::print(&Options::of(args));
}

impl Options {
    fn of(args: Vec<String>) -> Self {
        let peers = peer::NAMES.iter().map(|name| ((*name).to_owned(), None)).collect();
        let mut options = Options { rounds: 5, only: Vec::new(), quick: false, peers };
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().unwrap_or_else(|| panic!("{arg} takes a value"));
            match arg.as_str() {
                "--rounds" => {
                    options.rounds =
                        value().parse().ok().filter(|n| *n > 0).expect("a number above 0 is needed");
                }
                "--only" => options.only = value().split(',').map(str::to_owned).collect(),
                "--quick" => options.quick = true,
                "--peer" => {
                    let value = value();
                    let (name, program) = value.split_once('=').expect("--peer takes NAME=PROGRAM");
                    options.peers.push((name.to_owned(), Some(program.to_owned())));
                }
                other => panic!("unknown option {other}"),
            }
        }
        options
    }

    fn wants(&self, measure: &Measure) -> bool {
        self.only.is_empty() || self.only.iter().any(|key| key == measure.key)
    }
}

/// Does one measure of one peer once, in a process of its own.
fn run((name, program): &(String, Option<String>), measure: &Measure, quick: bool) -> Option<f64> {
    let mut command = match program {
        Some(program) => Command::new(program),
        None => {
            let mut own = Command::new(std::env::current_exe().expect("the path of this program"));
            own.args([CHILD, name]);
            own
        }
    };
    let count = if quick { measure.count / 10 } else { measure.count };
    command.args([measure.key, &count.to_string(), &measure.threads.to_string()]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().expect("a process");
    assert!(output.status.success(), "{name}: {} has failed", measure.key);
    String::from_utf8(output.stdout).expect("text").trim().parse().ok()
}
