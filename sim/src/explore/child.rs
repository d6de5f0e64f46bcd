//! The child's side of one run: what the parent asks for comes in on the standard input, a socket, and the report goes out
//! on it.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process;
use std::thread;

use super::frame::{Reply, Request, Trace};
use crate::{Options, World, run};

/// The exit status of a child that could not do what it is there for; why is on its standard error.
const STATUS_UNASKED: i32 = 64;

/// Runs the seed that the parent asks for, and exits.
pub(super) fn serve(options: Options, scenario: impl FnOnce(&World) + Send + 'static) -> ! {
    match answer(options, scenario) {
        Ok(()) => process::exit(0),
        Err(error) => {
            eprintln!("a simulated run has lost the process that asked for it: {error}");
            process::exit(STATUS_UNASKED)
        }
    }
}

/// Ends the process when nobody waits for it any more: a run that never ends would outlive its parent. On a thread of its
/// own, which sees nothing of the run.
fn watch_parent(mut parent: UnixStream) {
    loop {
        match parent.read(&mut [0]) {
            // Nothing is sent but the request.
            Ok(1..) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => process::exit(STATUS_UNASKED),
        }
    }
}

fn answer(mut options: Options, scenario: impl FnOnce(&World) + Send + 'static) -> io::Result<()> {
    let parent = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let request = Request::read(&parent)?;
    options.omit = request.omit.parse().map_err(io::Error::other)?;
    options.trace = request.trace != Trace::Hash;
    options.trace_steps = request.trace == Trace::Steps;
    let ends_with = parent.try_clone()?;
    thread::Builder::new().name("simulation_parent".to_owned()).spawn(move || watch_parent(ends_with))?;
    let outcome = run(request.seed, &options, scenario);
    let reply = Reply {
        trace_hash: outcome.trace_hash,
        steps: outcome.steps,
        virtual_time: outcome.virtual_time,
        violations: outcome.violations,
        plans: outcome.plans.into_iter().collect(),
        trace: outcome.trace,
    };
    reply.write(&parent)
}
