//! Seeds of all workloads, in every test run; those that found something once; and that a seed is one run, always.

use std::time::Duration;

use sim::{Explorer, Seeds};
use simulate::{Workload, regressions::REGRESSIONS, scenario};

/// How many, spread over the workloads as the seeds draw them.
const SEEDS: u64 = 200;

/// How long one run may take on a busy machine.
const RUN_LIMIT: Duration = Duration::from_secs(120);

fn explorer(seeds: impl Into<Seeds>) -> Explorer {
    Explorer::new().seeds(seeds).run_limit(RUN_LIMIT)
}

#[test]
fn two_hundred_seeds_hold_what_is_promised() {
    explorer(SEEDS).check(|world| scenario(world, None));
}

#[test]
fn seeds_that_found_something_find_it_no_more() {
    for regression in REGRESSIONS {
        let (seed, workload) = (regression.seed, regression.workload);
        let seeds: Seeds = format!("{seed}-{seed}").parse().expect("a range of one");
        explorer(seeds).check(move |world| scenario(world, workload));
    }
}

#[test]
fn a_seed_is_the_same_run_twice_and_under_load() {
    // Each workload once at least; all at a time, so that the machine is busy, and each twice.
    for workload in Workload::ALL {
        explorer(4).jobs(8).verify_every(1).check(move |world| scenario(world, Some(workload)));
    }
    let alone = explorer(8).jobs(1).find(|world| scenario(world, None)).expect("processes can be started");
    let crowded = explorer(8).jobs(16).find(|world| scenario(world, None)).expect("processes can be started");
    assert_eq!(alone.digest(), crowded.digest(), "what else runs changes nothing");
}
