//! What serving HTTP/1.1 costs, beside hyper on tokio, nginx and other servers.
//!
//! ```text
//! cargo bench -p bobbin-benches --bench http -- [--rounds N] [--secs N] [--only KEY,KEY] [--cores SERVER,CLIENT]
//!     [--server NAME=COMMAND] [--peer NAME=COMMAND]
//! ```
//!
//! Each server runs alone on one core and is asked from another one, over 50 connections: by `wrk` as fast as it
//! answers (keys `echo` and `get`), and by `http_load` of this package at a rate at which it is half loaded
//! (`echo-half`, `get-half`). In each round every server takes its turn, so that a drift of the machine's speed touches
//! all of them. A figure is the median of the rounds; a number in brackets says how many times Bobbin's figure it is.
//! A server that answers otherwise than it should ends the run.
//!
//! `echo` posts `{"message":"hello"}` to `/EchoService/Echo` and wants it back; `get` asks for `/hello`, a line of text.
//! `--server` says how Bobbin's server is started (by default `examples/http_server.rs`, which is built first) and may be
//! given again, to compare one way of running it with another: the first is what the others are compared with. `--peer`
//! adds a server. `{port}` in a COMMAND becomes a free port of 127.0.0.1; instead of a command, `HOST:PORT` names a
//! server that runs already, where it likes. A command that begins with `get:` or `echo:` can do that only.
//!
//! Needs `taskset`, `wrk` and `nginx` (Debian's packages util-linux, wrk and nginx) and two cores.

mod exchange;
mod figures;
mod load;
#[path = "../machine.rs"]
mod machine;
mod nginx;
mod peer;
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;

use exchange::Kind;
use peer::Peer;

/// What the command line says.
struct Options {
    rounds: usize,
    secs: u64,
    only: Vec<String>,
    server_core: usize,
    client_core: usize,
    /// The first is what the others are compared with.
    peers: Vec<Peer>,
}

impl Options {
    fn wants(&self, key: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == key)
    }

    fn of(args: impl Iterator<Item = String>) -> Self {
        let mut options = Options {
            rounds: 5,
            secs: 3,
            only: Vec::new(),
            server_core: 0,
            client_core: 1,
            peers: Vec::new(),
        };
        let mut others = vec![
            Peer::command("hyper", format!("{} 127.0.0.1:{{port}}", env!("CARGO_BIN_EXE_http_hyper"))),
            Peer::nginx(),
        ];
        let mut args = args.filter(|arg| arg != "--bench"); // cargo bench passes it
        while let Some(arg) = args.next() {
            let value = args.next().unwrap_or_else(|| panic!("{arg} takes a value"));
            let number = |value: &str| -> usize { value.parse().expect("a number is needed") };
            match arg.as_str() {
                "--rounds" => options.rounds = number(&value).max(1),
                "--secs" => options.secs = number(&value).max(1) as u64,
                "--only" => options.only = value.split(',').map(str::to_owned).collect(),
                "--cores" => {
                    let (server, client) = value.split_once(',').expect("--cores takes SERVER,CLIENT");
                    (options.server_core, options.client_core) = (number(server), number(client));
                }
                "--server" => options.peers.push(Peer::described(&value)),
                "--peer" => others.push(Peer::described(&value)),
                other => panic!("unknown option {other}"),
            }
        }
        if options.peers.is_empty() {
            let server = build_server();
            options.peers.push(Peer::command(
                "bobbin",
                format!("{} --listen 127.0.0.1:{{port}} --workers 1", server.display()),
            ));
        }
        options.peers.extend(others);
        options
    }
}

/// The example that serves HTTP, built as this program was.
fn build_server() -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--release", "-p", "bobbin-examples", "--example", "http_server"])
        .status()
        .expect("cargo");
    assert!(built.success(), "the example http_server cannot be built; --server names another one");
    // Both lie in target/release.
    let folder = Path::new(env!("CARGO_BIN_EXE_http_hyper")).parent().expect("a program lies in a folder");
    folder.join("examples/http_server")
}

fn main() {
    let options = Options::of(std::env::args().skip(1));
    let cores = [options.server_core, options.client_core];
    assert_ne!(cores[0], cores[1], "server and client need a core each");
    println!(
        "Server on core {}, client on core {}, 50 connections, median of {} rounds of {} s (in brackets: times {}'s)\n",
        cores[0], cores[1], options.rounds, options.secs, options.peers[0].name
    );
    let cpus_before = machine::cpus_to_be_had(cores.len());
    for kind in [Kind::Echo, Kind::Get] {
        let keys = [kind.key().to_owned(), format!("{}-half", kind.key())];
        if keys.iter().any(|key| options.wants(key)) {
            table::print(&options, kind, options.wants(&keys[1]));
        }
    }
    let cpus_after = machine::cpus_to_be_had(cores.len());
    println!("CPUs that {} busy threads got: {cpus_before:.2} before, {cpus_after:.2} after", cores.len());
}
