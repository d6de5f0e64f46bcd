//! What small and large calls cost over baidu_std, beside a bare epoll loop and other servers and clients.
//!
//! ```text
//! cargo bench -p bobbin-benches --bench rpc -- [--rounds N] [--secs N] [--only KEY,KEY] [--cores SERVER,LOAD]
//!     [--load PROGRAM] [--server NAME=COMMAND] [--peer NAME=COMMAND] [--client NAME=COMMAND]
//! ```
//!
//! Three parts, each with a table of its own:
//!
//! - *Servers*: each alone on one core, asked from another one by `baidu_load`, a neutral load generator in C. `loop` is
//!   the floor (`rpc_loop` of this package), a loop of epoll, read and write that answers without doing anything else.
//! - *Pairs* (keys `single`, `pooled`, `short`): 50 synchronous bthreads call a server, client and server on all cores,
//!   for every client and every server that was given.
//! - *Idle* (key `idle`): resident bytes of a server for each of 10,000 connections that have made one call.
//!
//! In each round every side takes its turn, so that a drift of the machine's speed touches all of them; a figure is the
//! median of the rounds. A wrong reply ends the run.
//!
//! `--load` is the load generator; by default `../shared/tools/baidu_load.c` is compiled by `cc`. `--server` says how
//! Bobbin's server is started (by default `examples/echo_server.rs`, which is built first), `--peer` adds a server. In
//! both, `{port}` becomes a free port of 127.0.0.1. `--client` adds a client; `{server}` becomes the address of a
//! server, `{type}` the way of sharing connections, `{secs}` the time; it prints what `examples/echo_client.rs` does.
//! `--cores all` gives server and load the whole machine instead of a core each.
//!
//! Needs `taskset` (Debian's package util-linux), `cc` and two cores.

#[path = "../http/figures.rs"]
mod figures;
mod idle;
mod load;
#[path = "../machine.rs"]
mod machine;
mod pairs;
mod peer;
mod rows;
mod servers;

use std::path::{Path, PathBuf};
use std::process::Command;

use peer::Peer;

/// The floor's name.
const LOOP: &str = "loop";
/// Where the load generator is looked for if it is not given, beside the repository.
const LOAD_SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/tools/baidu_load.c");

/// What the command line says.
struct Options {
    rounds: usize,
    secs: u64,
    only: Vec<String>,
    /// Of the server and of the load; `None`: all cores for both.
    cores: Option<(usize, usize)>,
    load: PathBuf,
    /// Bobbin's, the floor, and then others.
    servers: Vec<Peer>,
    /// The names of the others.
    peers: Vec<String>,
    /// Bobbin's, and then others: names and commands.
    clients: Vec<(String, String)>,
}

impl Options {
    fn wants(&self, key: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == key)
    }

    /// Neither Bobbin's nor the floor.
    fn is_peer(&self, server: &Peer) -> bool {
        self.peers.contains(&server.name)
    }

    fn of(args: impl Iterator<Item = String>) -> Self {
        let (mut rounds, mut secs, mut only, mut cores, mut load) = (3, 3, Vec::new(), Some((0, 1)), None);
        let (mut bobbin, mut peers, mut clients) = (Vec::new(), Vec::new(), Vec::new());
        let mut args = args.filter(|arg| arg != "--bench"); // cargo bench passes it
        while let Some(arg) = args.next() {
            let value = args.next().unwrap_or_else(|| panic!("{arg} takes a value"));
            let number = |value: &str| -> usize { value.parse().expect("a number is needed") };
            let named = |value: &str| -> (String, String) {
                let (name, command) = value.split_once('=').expect("NAME=COMMAND");
                (name.to_owned(), command.to_owned())
            };
            match arg.as_str() {
                "--rounds" => rounds = number(&value).max(1),
                "--secs" => secs = number(&value).max(1) as u64,
                "--only" => only = value.split(',').map(str::to_owned).collect(),
                "--cores" if value == "all" => cores = None,
                "--cores" => {
                    let (server, load) = value.split_once(',').expect("--cores takes SERVER,LOAD or all");
                    cores = Some((number(server), number(load)));
                }
                "--load" => load = Some(PathBuf::from(value)),
                "--server" => bobbin.push(Peer::new(named(&value))),
                "--peer" => peers.push(Peer::new(named(&value))),
                "--client" => clients.push(named(&value)),
                other => panic!("unknown option {other}"),
            }
        }
        assert!(cores.is_none_or(|(server, load)| server != load), "server and load need a core each");
        if bobbin.is_empty() {
            let command = format!("{} --listen 127.0.0.1:{{port}}", example("echo_server").display());
            bobbin.push(Peer::new(("bobbin".to_owned(), command)));
        }
        let floor = format!("{} 127.0.0.1:{{port}}", env!("CARGO_BIN_EXE_rpc_loop"));
        bobbin.push(Peer::new((LOOP.to_owned(), floor)));
        let names = peers.iter().map(|peer: &Peer| peer.name.clone()).collect();
        bobbin.append(&mut peers);
        let client = format!(
            "{} --server {{server}} --connection-type {{type}} --fibers {} --secs {{secs}}",
            example("echo_client").display(),
            pairs::BTHREADS
        );
        clients.insert(0, (bobbin[0].name.clone(), client));
        let load = load.unwrap_or_else(compile_load);
        Options { rounds, secs, only, cores, load, servers: bobbin, peers: names, clients }
    }
}

/// Where this program and what it starts are built.
fn build_folder() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_rpc_loop")).parent().expect("a program lies in a folder")
}

/// An example, built as this program was.
fn example(name: &str) -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--release", "-p", "bobbin-examples", "--example", name])
        .status()
        .expect("cargo");
    assert!(built.success(), "the example {name} cannot be built");
    build_folder().join("examples").join(name)
}

fn compile_load() -> PathBuf {
    let program = build_folder().join("baidu_load");
    let mut command = Command::new("cc");
    command.args(["-O2", "-o"]).arg(&program).arg(LOAD_SOURCE);
    let compiled = command.status().unwrap_or_else(|error| panic!("cc: {error}"));
    assert!(compiled.success(), "{LOAD_SOURCE} cannot be compiled; --load names a load generator");
    program
}

fn main() {
    let options = Options::of(std::env::args().skip(1));
    match options.cores {
        Some((server, load)) => print!("Server on core {server}, load on core {load}"),
        None => print!("Server and load on all cores"),
    }
    println!(", median of {} rounds of {} s\n", options.rounds, options.secs);
    let cpus_before = machine::cpus_to_be_had(2);
    servers::print(&options);
    pairs::print(&options);
    idle::print(&options);
    let cpus_after = machine::cpus_to_be_had(2);
    println!("CPUs that 2 busy threads got: {cpus_before:.2} before, {cpus_after:.2} after");
}
