//! Runs seeds of the simulated cluster, each in a process of its own, and shows the first that fails as short as it gets.
//!
//!     cargo run --release -p bobbin-simulate -- --seeds 1000

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use sim::{Explorer, Omit, Seeds};
use simulate::Workload;

/// How long one run may take in real time.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// Runs the whole stack in a simulated cluster, seed by seed.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// How many seeds from 0 on, or which: `1000`, `40-60`.
    #[arg(long, default_value = "1000")]
    seeds: Seeds,
    /// Runs this seed alone, and shows its trace.
    #[arg(long)]
    seed: Option<u64>,
    /// What is left out of the plans, as a failure says it.
    #[arg(long)]
    omit: Option<Omit>,
    /// Shows whole traces of seeds that fail.
    #[arg(long)]
    trace: bool,
    /// Writes the whole trace of the seed that is shown to this file.
    #[arg(long)]
    trace_file: Option<std::path::PathBuf>,
    /// This workload alone, in place of what a seed draws.
    #[arg(long)]
    workload: Option<Workload>,
    /// Plants this bug, in a build with `RUSTFLAGS="--cfg bobbin_planted"`.
    #[arg(long)]
    bug: Option<String>,
    /// How many processes run at a time. Default: one for each processor.
    #[arg(long)]
    jobs: Option<usize>,
    /// How many failing seeds are looked for.
    #[arg(long, default_value_t = 1)]
    failures: u64,
    /// Does not shorten a failing run.
    #[arg(long)]
    no_shorten: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(bug) = &arguments.bug
        && let Err(text) = simulate::plant(bug)
    {
        eprintln!("{text}");
        return ExitCode::from(2);
    }
    let mut explorer = Explorer::new()
        .program()
        .ignore_environment()
        .seeds(arguments.seeds)
        .run_limit(RUN_LIMIT)
        .stop_after(arguments.failures)
        .whole_trace(arguments.trace);
    if let Some(seed) = arguments.seed {
        explorer = explorer.only(seed);
    }
    if let Some(omit) = arguments.omit {
        explorer = explorer.omit(omit);
    }
    if let Some(file) = arguments.trace_file {
        explorer = explorer.trace_file(file);
    }
    if let Some(jobs) = arguments.jobs {
        explorer = explorer.jobs(jobs);
    }
    if arguments.no_shorten {
        explorer = explorer.shorten(0, Duration::ZERO);
    }
    let (workload, bug) = (arguments.workload, arguments.bug);
    let replayed = bug.clone();
    explorer = explorer.replay_command(move |replay| {
        let mut command = match replayed {
            Some(_) => "RUSTFLAGS=\"--cfg bobbin_planted\" ".to_owned(),
            None => String::new(),
        };
        command += &format!("cargo run --release -p bobbin-simulate -- --seed {}", replay.seed);
        if !replay.omit.is_empty() {
            command += &format!(" --omit '{}'", replay.omit);
        }
        if let Some(workload) = workload {
            command += &format!(" --workload {workload}");
        }
        if let Some(bug) = &replayed {
            command += &format!(" --bug {bug}");
        }
        command
    });
    explorer.main(move |world| simulate::scenario(world, workload))
}
