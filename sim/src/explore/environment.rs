//! The environment variables that people steer explorations with, and the one by which a parent process tells its children
//! what they are. None of them changes what a seed means; only what is left out of a scenario's plans does.

use std::env;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use super::{Omit, Seeds};

/// Makes a process a child: the number of the exploration that is to run a seed, counted per thread from 0.
pub(super) const RUN: &str = "BOBBIN_SIM_RUN";

/// A range of seeds instead of the program's.
pub(super) const SEEDS: &str = "BOBBIN_SIM_SEEDS";

/// One seed alone, replayed with its trace.
pub(super) const SEED: &str = "BOBBIN_SIM_SEED";

/// What is left out of the plans.
pub(super) const OMIT: &str = "BOBBIN_SIM_OMIT";

/// `1` for whole traces, `0` for their ends.
pub(super) const TRACE: &str = "BOBBIN_SIM_TRACE";

/// Where the whole trace goes.
pub(super) const TRACE_FILE: &str = "BOBBIN_SIM_TRACE_FILE";

/// How many children at a time.
pub(super) const JOBS: &str = "BOBBIN_SIM_JOBS";

/// What the environment asks for.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    pub(super) seeds: Option<Seeds>,
    pub(super) seed: Option<u64>,
    pub(super) omit: Option<Omit>,
    pub(super) trace: Option<bool>,
    pub(super) trace_file: Option<PathBuf>,
    pub(super) jobs: Option<usize>,
}

impl Wishes {
    /// # Errors
    /// Names the variable that makes no sense.
    pub(super) fn read() -> Result<Self, InvalidVariable> {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
        Ok(Self {
            seeds: parsed(SEEDS, |text| text.parse().map_err(from_error::<super::InvalidSeeds>))?,
            seed: parsed(SEED, |text| text.parse().map_err(|_| format!("{text:?} is no seed: a number")))?,
            omit: parsed(OMIT, |text| text.parse().map_err(from_error::<super::InvalidOmit>))?,
            trace: parsed(TRACE, |text| match text {
                "1" => Ok(true),
                "0" => Ok(false),
                _ => Err(format!("{text:?} is neither 1 nor 0")),
            })?,
            trace_file: variable(TRACE_FILE).map(PathBuf::from),
            jobs: parsed(JOBS, |text| match text.parse() {
                Ok(jobs) if jobs > 0 => Ok(jobs),
                _ => Err(format!("{text:?} is no number of processes")),
            })?,
        })
    }
}

fn from_error<E: Error>(error: E) -> String {
    error.to_string()
}

/// The variable's meaning, if it is there and not empty.
fn parsed<T>(
    name: &'static str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, InvalidVariable> {
    let Some(value) = env::var_os(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let text = value.to_str().ok_or_else(|| "it is not UTF-8".to_owned());
    text.and_then(parse).map(Some).map_err(|what| InvalidVariable { name, what })
}

/// A variable whose value makes no sense.
#[derive(Debug)]
pub(super) struct InvalidVariable {
    name: &'static str,
    what: String,
}

impl fmt::Display for InvalidVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the environment variable {}: {}", self.name, self.what)
    }
}

/// Which exploration this process is the child of, if it is one.
///
/// # Errors
/// The variable was set by someone else.
pub(super) fn of_child() -> Result<Option<usize>, InvalidVariable> {
    parsed(RUN, |text| {
        text.parse().map_err(|_| "it is for the processes that an exploration starts itself".to_owned())
    })
}

/// Makes the command start a child. What people ask for has been seen to by the parent.
pub(super) fn for_child(command: &mut Command, exploration: usize) {
    for name in [SEEDS, SEED, OMIT, TRACE, TRACE_FILE, JOBS] {
        command.env_remove(name);
    }
    command.env(RUN, exploration.to_string());
}
