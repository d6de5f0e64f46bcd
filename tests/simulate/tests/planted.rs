//! Each planted bug is found within a thousand seeds. In builds with `RUSTFLAGS="--cfg bobbin_planted"` alone.
#![cfg(bobbin_planted)]

use std::process::Command;

use bobbin::bthread::planted::Bug;
use simulate::found::FOUND;

/// Seeds within which a bug must show.
const SEEDS: &str = "1000";

/// Whether these seeds show the bug. Each bug needs processes that have no other one.
fn finds(bug: &str, seeds: &str) -> bool {
    let arguments = ["--bug", bug, "--seeds", seeds, "--no-shorten"];
    let run = Command::new(env!("CARGO_BIN_EXE_bobbin-simulate")).args(arguments).output();
    let output = run.expect("the command can be run");
    match output.status.code() {
        Some(0) => false,
        Some(1) => true,
        _ => panic!("{bug}: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

#[test]
fn each_is_found_within_a_thousand_seeds() {
    let missed = Bug::ALL.iter().map(|bug| bug.name()).filter(|name| {
        let known = FOUND.iter().find(|(bug, _)| bug == name).map(|(_, seed)| format!("{seed}-{seed}"));
        let is_quick = known.is_some_and(|seed| finds(name, &seed));
        !is_quick && !finds(name, SEEDS)
    });
    let missed: Vec<_> = missed.collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[test]
fn nothing_is_found_where_nothing_is_planted() {
    for (bug, seed) in FOUND {
        let seeds = format!("{seed}-{seed}");
        let arguments = ["--seeds", &seeds, "--no-shorten"];
        let run = Command::new(env!("CARGO_BIN_EXE_bobbin-simulate")).args(arguments).status();
        assert!(run.expect("the command can be run").success(), "seed {seed} fails without {bug}");
    }
}
