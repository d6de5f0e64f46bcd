//! From a failing run to the smallest one that fails the same way: elements of the scenario's plans are left out, each
//! try in a process of its own.

use std::collections::HashSet;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::Omit;
use super::ddmin::{Tried, minimize};
use super::frame::{Reply, Request, Trace};
use super::launch::{Ended, Launcher, Output};

/// How many words at the beginning make two violations the same, where the rest differs.
const WORDS: usize = 4;

/// How many plan elements are taken up: of more, the later ones stay as they are.
const ELEMENTS_MAX: usize = 20_000;

/// The bounds of the search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    pub(super) jobs: usize,
    pub(super) tries: u64,
    pub(super) time: Duration,
}

/// What the search has come to.
#[derive(Clone, Debug)]
pub(super) struct Shortened {
    /// All that can go, with what was left out from the start.
    pub(super) omit: Omit,
    /// Runs made.
    pub(super) tries: u64,
    /// A bound has ended the search.
    pub(super) given_up: bool,
}

/// Leaves out what the failure of `reply` does not need.
///
/// # Errors
/// The system's, if a process cannot be started.
pub(super) fn shorten(
    launcher: &Launcher,
    seed: u64,
    omit: &Omit,
    reply: &Reply,
    effort: Effort,
) -> io::Result<Shortened> {
    let deadline = Instant::now() + effort.time;
    let elements: Vec<(&str, usize)> = reply
        .plans
        .iter()
        .flat_map(|(plan, count)| (0..*count).map(move |element| (plan.as_str(), element)))
        .filter(|(plan, element)| !omit.contains(plan, *element))
        .take(ELEMENTS_MAX)
        .collect();
    let mut tries = 0;
    let mut given_up = false;
    let mut error = None;
    let mut in_vain: HashSet<String> = HashSet::new();

    let without = |kept: &[(&str, usize)]| -> Omit {
        let kept: HashSet<_> = kept.iter().collect();
        omit.iter().chain(elements.iter().filter(|element| !kept.contains(element)).copied()).collect()
    };
    let kept = minimize(elements.clone(), |candidates| {
        let mut new: Vec<(usize, Request)> = Vec::new();
        for (number, candidate) in candidates.iter().enumerate() {
            let omit = without(candidate).to_string();
            if !in_vain.contains(&omit) {
                new.push((number, Request { seed, omit, trace: Trace::Hash }));
            }
        }
        // In pieces, so that the bounds are looked at in between.
        for piece in new.chunks(effort.jobs) {
            if tries >= effort.tries || Instant::now() >= deadline {
                given_up = true;
                return Tried::GivenUp;
            }
            tries += piece.len() as u64;
            let requests: Vec<Request> = piece.iter().map(|(_, request)| request.clone()).collect();
            match first_alike(launcher, &requests, reply) {
                Ok(Some(found)) => return Tried::First(piece[found].0),
                Ok(None) => in_vain.extend(requests.into_iter().map(|request| request.omit)),
                Err(failed) => {
                    error = Some(failed);
                    return Tried::GivenUp;
                }
            }
        }
        Tried::Nothing
    });
    let omit = without(&kept);
    error.map_or(Ok(Shortened { omit, tries, given_up }), Err)
}

/// Runs the requests, all at a time: the number of the first, in their order, that has failed as `reply` has.
fn first_alike(launcher: &Launcher, requests: &[Request], reply: &Reply) -> io::Result<Option<usize>> {
    let ended: Vec<io::Result<Ended>> = thread::scope(|scope| {
        let runs: Vec<_> =
            requests.iter().map(|request| scope.spawn(|| launcher.run(request, Output::Kept))).collect();
        let panicked = |_| Err(io::Error::other("waiting for a run has panicked"));
        runs.into_iter().map(|run| run.join().unwrap_or_else(panicked)).collect()
    });
    for (number, ended) in ended.into_iter().enumerate() {
        if fails_alike(reply, &ended?) {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// Whether a run has failed the way the first one has: with a violation that reads as the first one's first, but for
/// numbers, or that begins with the same words.
pub(super) fn fails_alike(first: &Reply, ended: &Ended) -> bool {
    let Ended::Reported(reply) = ended else { return false };
    first.violations.first().is_some_and(|wanted| reply.violations.iter().any(|other| alike(wanted, other)))
}

fn alike(one: &str, other: &str) -> bool {
    let (one, other) = (without_numbers(one), without_numbers(other));
    let beginning =
        |text: &str| -> Vec<String> { text.split_whitespace().take(WORDS).map(str::to_owned).collect() };
    one == other || (beginning(&one).len() == WORDS && beginning(&one) == beginning(&other))
}

/// Each row of digits as one `#`.
fn without_numbers(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for character in text.chars() {
        if !character.is_ascii_digit() {
            result.push(character);
        } else if !result.ends_with('#') {
            result.push('#');
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_are_alike_but_for_numbers_or_after_their_first_words() {
        assert!(alike("call 17 ended twice", "call 3 ended twice"));
        assert!(alike("lost: 1.5 s late", "lost: 12.25 s late"));
        assert!(alike("a call of node a got no answer: X", "a call of node b got no answer: Y"));
        assert!(!alike("call 17 ended twice", "call 3 never ended"));
        assert!(!alike("leak of a", "leak of b"));
        assert!(alike("leak", "leak"));
    }

    #[test]
    fn only_a_report_with_a_like_violation_fails_alike() {
        let with = |violations: &[&str]| Reply {
            violations: violations.iter().map(|&violation| violation.to_owned()).collect(),
            ..Reply::default()
        };
        let first = with(&["call 1 ended twice", "leak"]);
        assert!(fails_alike(&first, &Ended::Reported(with(&["leak", "call 2 ended twice"]))));
        assert!(!fails_alike(&first, &Ended::Reported(with(&["leak"]))));
        assert!(!fails_alike(&first, &Ended::Reported(with(&[]))));
        assert!(!fails_alike(
            &first,
            &Ended::Died { how: String::new(), stderr: "call 1 ended twice".to_owned() }
        ));
    }
}
