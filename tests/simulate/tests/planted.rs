//! Each planted bug is found within a thousand seeds, and the seeds that find them find nothing without them. In builds
//! with `RUSTFLAGS="--cfg bobbin_planted"` alone; `docs/planted-bugs.md` has the command and the table that this prints.
#![cfg(bobbin_planted)]

use std::ops::Range;
use std::time::Duration;

use bobbin::bthread::planted::{self, Bug};
use sim::{Explorer, Failure, FailureKind, World};
use simulate::found::FOUND;
use simulate::scenario;

/// Seeds within which a bug must show.
const SEEDS: u64 = 1000;

/// How long one run may take on a busy machine.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// How much of a violation the table shows.
const CHARS: usize = 110;

/// The first of these seeds that fails.
fn first_failure(seeds: Range<u64>, scenario: impl FnOnce(&World) + Send + 'static) -> Option<Failure> {
    // The second run, of a seed that is well, and shortening are for other tests.
    let explorer = Explorer::new().ignore_environment().verify_every(0).shorten(0, Duration::ZERO);
    let report = explorer.seeds(seeds).run_limit(RUN_LIMIT).find(scenario);
    report.expect("processes can be started").failures().first().cloned()
}

fn first_line(failure: &Failure) -> String {
    let text = match failure.kind() {
        FailureKind::Violations(texts) => texts.first().map_or("", String::as_str),
        FailureKind::Died { how, .. } => how,
        _ => "it hung",
    };
    text.chars().take(CHARS).collect()
}

/// Each run in a process of its own, which has its bug from the first step of the scenario on.
///
/// Children go through the same calls as this process does, up to theirs: so each bug has three explorations, whatever the
/// ones before have found, some of them with no seeds.
#[test]
fn each_is_found_within_a_thousand_seeds_and_nothing_without_it() {
    let (mut missed, mut unfounded) = (Vec::new(), Vec::new());
    for bug in Bug::ALL {
        let planted = |bug: Bug| {
            move |world: &World| {
                planted::choose(bug);
                scenario(world, None);
            }
        };
        let known = FOUND.iter().find(|(name, _)| *name == bug.name()).map(|(_, seed)| *seed);
        let at_once = first_failure(known.map_or(0..0, |seed| seed..seed + 1), planted(*bug));
        let searched = if at_once.is_some() { 0 } else { SEEDS };
        let later = first_failure(0..searched, planted(*bug));
        let found = at_once.or(later);
        let seed = found.as_ref().map(Failure::seed);
        let clean = first_failure(seed.map_or(0..0, |seed| seed..seed + 1), |world| scenario(world, None));
        match &found {
            Some(failure) => {
                let moved = if known == seed { "" } else { " (another one than is noted)" };
                println!("| `{bug}` | {}{moved} | {} |", failure.seed(), first_line(failure));
            }
            None => {
                println!("| `{bug}` | none of {SEEDS} | |");
                missed.push(bug.name());
            }
        }
        unfounded.extend(clean.map(|failure| (bug.name(), failure.seed(), first_line(&failure))));
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
    assert!(unfounded.is_empty(), "these fail without the bug as well: {unfounded:?}");
}
