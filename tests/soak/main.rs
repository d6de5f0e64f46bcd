//! All faults at once, with load, for as long as one likes; then everything has to be back where it was.
//!
//!     cargo run --release -p bobbin-tests --bin soak -- --secs 600
//!
//! Two servers: one of this process, behind a proxy that harms its connections and restarted now and then, and one that
//! is a child of this process, killed and started again. Callers of all kinds of connections call both, with and without
//! deadlines that cannot be met, compression, checksums, attachments and cancelling,
//! and open streams. No call may hang or get another's
//! answer.

mod faults;
mod left;
mod load;
mod servers;
mod streams;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bobbin_tests::FaultProxy;

use left::Left;
use load::Load;
use servers::{ChildServer, OwnServer};

/// How long after the end everything may take to go back.
const SETTLING: Duration = Duration::from_secs(60);

/// Has this process be the server that is killed.
const SERVE: &str = "--serve";

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)
}

/// One round: servers, load and faults, from nothing to nothing.
fn soak(time: Duration) -> Arc<Load> {
    let own = OwnServer::start();
    let child = ChildServer::start();
    let proxy = FaultProxy::start(own.address());
    let load = Load::start(&proxy.address(), child.address());
    faults::make(time, &proxy, &own, &child);
    load.end();
    load
}

fn main() -> ExitCode {
    if let Some(address) = argument(SERVE) {
        servers::serve(&address);
    }
    let secs = argument("--secs").map_or(20, |secs| secs.parse().expect("a number of seconds"));
    // The runtime, its threads, and what is kept for the process, are there after the first round.
    drop(soak(Duration::from_secs(1)));
    let before = Left::settled(None, SETTLING);
    println!("before: {before:?}");
    let start = Instant::now();
    let load = soak(Duration::from_secs(secs));
    println!("{} in {:?}", load.summary(), start.elapsed());
    drop(load);
    let after = Left::settled(Some(&before), SETTLING);
    println!("after: {after:?}");
    if after.is_within(&before) {
        println!("nothing is left");
        ExitCode::SUCCESS
    } else {
        println!("something is left");
        ExitCode::FAILURE
    }
}
