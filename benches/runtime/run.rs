//! Measures in processes of their own: how they are started, and what they do and say.
//!
//! Holds unsafe: limits that a child sets for itself before it becomes another program.

#![allow(unsafe_code)]

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::measures::{self, Measure};
use crate::peer;
use crate::process;

/// The first argument of a process that does one measure.
pub(crate) const CHILD: &str = "--child";
/// A measure that takes longer is ended by a signal.
const SECONDS_MAX: u32 = 300;

/// How a peer is run.
pub(crate) struct Program {
    pub(crate) name: String,
    path: PathBuf,
    is_own: bool,
}

/// How a measure of a peer went.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Figures(Vec<f64>),
    /// The peer has nothing of the kind.
    Nothing,
    /// The process ended with an error or by a signal.
    Failed,
}

impl Program {
    /// This program.
    pub(crate) fn own(name: &str) -> Self {
        let path = std::env::current_exe().expect("the path of this program");
        Program { name: name.to_owned(), path, is_own: true }
    }

    /// Another one, as `NAME=PATH`.
    pub(crate) fn external(text: &str) -> Self {
        let (name, path) = text.split_once('=').expect("--peer takes NAME=PROGRAM");
        Program { name: name.to_owned(), path: path.into(), is_own: false }
    }

    /// Does the measure once. One of our own adds to its figures what [`child`] prints beyond them.
    pub(crate) fn run(&self, measure: &Measure, count: usize, workers: usize) -> Outcome {
        let mut command = Command::new(&self.path);
        if self.is_own {
            command.args([CHILD, measure.key, &self.name]);
        } else {
            command.arg(measure.key);
        }
        let workers = if measure.one_worker { 1 } else { workers };
        command.args([count.to_string(), workers.to_string()]).stdin(Stdio::null()).stdout(Stdio::piped());
        if !self.is_own {
            command.stderr(Stdio::null());
        }
        // SAFETY: two system calls, allowed between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::setrlimit(libc::RLIMIT_CORE, &libc::rlimit { rlim_cur: 0, rlim_max: 0 });
                libc::alarm(SECONDS_MAX);
                Ok(())
            });
        }
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
        let mut said = String::new();
        child.stdout.take().expect("piped").read_to_string(&mut said).expect("text from a child");
        if !child.wait().expect("a child to wait for").success() {
            return Outcome::Failed;
        }
        match said.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>() {
            Ok(figures) if !figures.is_empty() => Outcome::Figures(figures),
            _ => Outcome::Nothing,
        }
    }
}

/// Does one measure and prints its figures, and then how often the runtime woke a thread by a system call (NaN: it does
/// not say) and how often threads went to sleep, for each operation. Ends the process.
pub(crate) fn child(key: &str, name: &str, count: usize, workers: usize) {
    // A runtime whose task has panicked may wait for it for ever.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::exit(1);
    }));
    let measure = measures::by_key(key).unwrap_or_else(|| panic!("no measure {key}"));
    let peer = peer::by_name(name, workers);
    if let Some(count) = count.checked_div(measure.warm_up) {
        (measure.run)(&*peer, count.max(1));
    }
    let before = (peer.wakeups(), process::switches());
    let figures = (measure.run)(&*peer, count);
    let operations = (measure.operations)(count) as f64;
    let wakeups = peer.wakeups().zip(before.0).map_or(f64::NAN, |(now, before)| (now - before) as f64);
    let (wakeups, switches) =
        (wakeups / operations, process::switches().saturating_sub(before.1) as f64 / operations);
    match figures {
        Some(figures) => {
            figures.iter().for_each(|figure| print!("{figure} "));
            println!("{wakeups} {switches}");
        }
        None => println!("-"),
    }
    // Runtimes may wait for their tasks when they are dropped, and some of those sleep.
    std::process::exit(0);
}
