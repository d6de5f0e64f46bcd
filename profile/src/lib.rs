//! Profilers inside the process: where processor time goes, who waits for locks, where bthreads wait, and what the heap
//! holds. As flame graphs for a browser, as tables, and in the format of `go tool pprof`. Nothing here starts a process.
//!
//! | [`Kind`] | Shows | Costs while it runs |
//! |---|---|---|
//! | [`Cpu`](Kind::Cpu) | processor time of all threads, bthreads by their own stacks | some 10 µs per sample |
//! | [`Contention`](Kind::Contention) | waits for bthread's locks, in bthreads and threads | a few µs for a bounded number of waits |
//! | [`OffCpu`](Kind::OffCpu) | where bthreads wait | at most a twentieth of one processor |
//! | [`Heap`](Kind::Heap), [`Growth`](Kind::Growth) | memory in use, and all that was ever asked for | the feature `jemalloc`, see [`heap`] |
//!
//! A run gives a [`Profile`]: stacks of addresses with two values each, which gets names when it is written. [`run`] does
//! a whole run; [`cpu`], [`contention`] and [`off_cpu`] have sessions to start and stop. [`kept`] has the last profiles
//! by number, and [`history`] the processor time of the last hour.
//!
//! ```
//! use profile::{Kind, Value};
//! use std::time::Duration;
//! let profile = profile::run(Kind::Cpu, Duration::from_millis(20))?;
//! println!("{}", profile.to_top(Value::Amount, 20));
//! std::fs::write("/dev/null", profile.to_pprof())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The layers: `bthread::profile` takes samples, for which it must know its stacks; this crate makes values and formats
//! of them, and needs nothing of a server. Source: spec/builtin-services.md §10, §11.

#![deny(unsafe_code)]

mod format;
pub mod heap;
pub mod history;
pub mod kept;
mod mappings;
mod profile;
mod run;
mod session;
pub mod symbol;
mod tree;

pub use format::top::TopRow;
pub use profile::{Kind, Profile, Sample, UnknownKind, Value, ValueType};
pub use run::{DURATION_MAX, run};
pub use session::{StartError, contention, cpu, off_cpu};
#[cfg(feature = "jemalloc")]
pub use tikv_jemallocator::Jemalloc;

/// The command line of this process, an argument per line, as `/pprof/cmdline` answers.
///
/// ```
/// assert!(profile::cmdline().lines().count() >= 1);
/// ```
pub fn cmdline() -> String {
    let mut lines = String::new();
    for argument in std::env::args_os() {
        lines.push_str(&argument.to_string_lossy());
        lines.push('\n');
    }
    lines
}
