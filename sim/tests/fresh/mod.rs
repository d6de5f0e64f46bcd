//! Runs that each need a fresh process: the test starts its own executable again for each seed.

use std::process::Command;
use std::time::Duration;

use sim::Outcome;

const SEED: &str = "SIM_TEST_SEED";

/// What a child says of its run.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Report {
    pub trace_hash: u64,
    pub virtual_time: Duration,
    pub steps: u64,
    pub violations: Vec<String>,
    pub trace: Vec<String>,
}

/// Runs each seed in a process of its own. `test` is the name of the calling test; in the child this does not return.
pub(crate) fn runs(
    test: &str,
    seeds: impl IntoIterator<Item = u64>,
    run: impl FnOnce(u64) -> Outcome,
) -> Vec<Report> {
    if let Ok(seed) = std::env::var(SEED) {
        let outcome = run(seed.parse().unwrap());
        println!("\nR {} {} {}", outcome.trace_hash, outcome.virtual_time.as_nanos(), outcome.steps);
        outcome.violations.iter().for_each(|violation| println!("V {violation}"));
        outcome.trace.iter().for_each(|line| println!("T {line}"));
        std::process::exit(0);
    }
    seeds.into_iter().map(|seed| child(test, seed)).collect()
}

fn child(test: &str, seed: u64) -> Report {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(SEED, seed.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "seed {seed}: {text}{}", String::from_utf8_lossy(&output.stderr));
    let mut report = Report::default();
    for line in text.lines() {
        match line.split_at_checked(2) {
            Some(("R ", numbers)) => {
                let numbers: Vec<u64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
                (report.trace_hash, report.steps) = (numbers[0], numbers[2]);
                report.virtual_time = Duration::from_nanos(numbers[1]);
            }
            Some(("V ", violation)) => report.violations.push(violation.to_owned()),
            Some(("T ", line)) => report.trace.push(line.to_owned()),
            _ => {}
        }
    }
    assert!(report.steps != 0, "seed {seed} has no report: {text}");
    report
}
