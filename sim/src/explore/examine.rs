//! What is done with a failing seed: it is run again to see that it fails the same way, made as small as it can be, and
//! its trace taken.

use std::fs;
use std::io::{self, Write};
use std::time::Instant;

use super::command::{Place, Replay};
use super::frame::{Reply, Request, Trace};
use super::launch::{Ended, Launcher, Output};
use super::report::{Examined, Failure, FailureKind, Report};
use super::shorten::{Effort, Shortened, fails_alike, shorten};
use super::sweep::{Failed, fails};
use super::{ExploreError, Explorer, Omit};

/// How many traces of each kind are taken of a seed that does not run the same way twice, to find two that differ.
const TRACES_MAX: usize = 5;

impl Failed {
    /// What is wrong with it.
    pub(super) fn kind(&self) -> FailureKind {
        kind_of(&self.ended).unwrap_or(FailureKind::Nondeterministic)
    }
}

/// What is wrong with a run, if anything is.
fn kind_of(ended: &Ended) -> Option<FailureKind> {
    match ended {
        _ if !fails(ended) => None,
        Ended::Reported(reply) => Some(FailureKind::Violations(reply.violations.clone())),
        Ended::Died { how, stderr } => Some(FailureKind::Died { how: how.clone(), stderr: stderr.clone() }),
        Ended::Hung { after, stderr } => Some(FailureKind::Hung { after: *after, stderr: stderr.clone() }),
    }
}

impl Explorer {
    /// Looks into a seed that has failed.
    pub(super) fn examine(
        &self,
        launcher: &Launcher,
        place: &Place,
        failed: &Failed,
    ) -> Result<Examined, ExploreError> {
        let seed = failed.seed;
        let traced = |omit: &Omit, trace: Trace| {
            let request = Request { seed, omit: omit.to_string(), trace };
            launcher.run(&request, Output::Kept).map_err(ExploreError::Start)
        };
        let unshortened = |omit: &Omit| Shortened { omit: omit.clone(), tries: 0, given_up: false };
        // What hangs would take as long again and leave no trace either.
        if matches!(failed.ended, Ended::Hung { .. }) {
            return self.examined(place, seed, unshortened(&self.omit), Reply::default(), None);
        }
        let again = traced(&self.omit, Trace::Lines)?;
        if failed.differently.is_some() || !is_same(&failed.ended, &again) {
            let difference = where_they_differ(failed, &again, |trace| traced(&self.omit, trace))?;
            return self.examined(place, seed, unshortened(&self.omit), reply_of(again), Some(difference));
        }
        let Ended::Reported(first) = again else {
            return self.examined(place, seed, unshortened(&self.omit), Reply::default(), None);
        };
        let effort = Effort { jobs: self.jobs, tries: self.shorten_tries, time: self.shorten_time };
        let shortened = shorten(launcher, seed, &self.omit, &first, effort).map_err(ExploreError::Start)?;
        if shortened.omit == self.omit {
            return self.examined(place, seed, shortened, first, None);
        }
        let shortest = traced(&shortened.omit, Trace::Lines)?;
        let difference = (!fails_alike(&first, &shortest)).then(|| {
            format!("with {} left out it failed, and then\n{}", shortened.omit, described("", &shortest))
        });
        self.examined(place, seed, shortened, reply_of(shortest), difference)
    }

    /// Runs one seed and shows all of it.
    pub(super) fn replay(
        &self,
        seed: u64,
        launcher: &Launcher,
        place: &Place,
    ) -> Result<Report, ExploreError> {
        let begin = Instant::now();
        let request = Request { seed, omit: self.omit.to_string(), trace: Trace::Lines };
        let ended = launcher.run(&request, Output::Shown).map_err(ExploreError::Start)?;
        let wall_time = begin.elapsed();
        let kind = kind_of(&ended);
        let reply = reply_of(ended);
        let mut report = Report {
            seeds: super::Seeds::from(seed..seed.saturating_add(1)),
            runs: 1,
            virtual_time: reply.virtual_time,
            wall_time,
            steps: reply.steps,
            digest: super::sweep::mix(seed, reply.trace_hash),
            ..self.nothing()
        };
        match kind {
            None => {
                self.write_trace(&reply.trace)?;
                report.replayed = Some(reply.trace);
            }
            Some(kind) => {
                let untouched = Shortened { omit: self.omit.clone(), tries: 0, given_up: false };
                let mut examined = self.examined(place, seed, untouched, reply, None)?;
                examined.whole_trace = true;
                report.failures.push(Failure { seed, kind, examined: Some(examined) });
            }
        }
        Ok(report)
    }

    fn examined(
        &self,
        place: &Place,
        seed: u64,
        shortened: Shortened,
        reply: Reply,
        difference: Option<String>,
    ) -> Result<Examined, ExploreError> {
        self.write_trace(&reply.trace)?;
        let replay = Replay { seed, omit: shortened.omit };
        Ok(Examined {
            difference,
            replay: self.replay_command.write(&replay, place),
            omit: replay.omit,
            plans: reply.plans,
            tries: shortened.tries,
            given_up: shortened.given_up,
            violations: reply.violations,
            trace: reply.trace,
            trace_hash: reply.trace_hash,
            whole_trace: self.whole_trace,
            trace_file: self.trace_file.as_ref().map(|file| file.display().to_string()),
        })
    }

    fn write_trace(&self, trace: &[String]) -> Result<(), ExploreError> {
        let Some(path) = &self.trace_file else { return Ok(()) };
        let write = || -> io::Result<()> {
            let mut file = io::BufWriter::new(fs::File::create(path)?);
            trace.iter().try_for_each(|line| writeln!(file, "{line}"))?;
            file.flush()
        };
        write().map_err(|error| ExploreError::TraceFile(path.clone(), error))
    }
}

fn reply_of(ended: Ended) -> Reply {
    match ended {
        Ended::Reported(reply) => reply,
        Ended::Died { .. } | Ended::Hung { .. } => Reply::default(),
    }
}

/// Whether two runs have ended alike, of which the second alone may have kept its trace.
fn is_same(one: &Ended, other: &Ended) -> bool {
    match (one, other) {
        (Ended::Reported(one), Ended::Reported(other)) => {
            one.trace_hash == other.trace_hash
                && one.violations == other.violations
                && one.steps == other.steps
        }
        (Ended::Died { how: one, .. }, Ended::Died { how: other, .. }) => one == other,
        (Ended::Hung { .. }, Ended::Hung { .. }) => true,
        _ => false,
    }
}

/// How two runs of a seed differ that does not run the same way twice; `again` is one with its trace.
fn where_they_differ(
    failed: &Failed,
    again: &Ended,
    traced: impl Fn(Trace) -> Result<Ended, ExploreError>,
) -> Result<String, ExploreError> {
    let mut found = Vec::new();
    let differing = |first: &Ended, trace: Trace| -> Result<Option<String>, ExploreError> {
        for _ in 1..TRACES_MAX {
            let other = traced(trace)?;
            if differ(first, &other) {
                return Ok(Some(difference(first, &other)));
            }
        }
        Ok(None)
    };
    found.extend(differing(again, Trace::Lines)?);
    // Runs may have parted before: each step has a line here.
    let stepwise = differing(&traced(Trace::Steps)?, Trace::Steps)?;
    found.extend(stepwise.map(|difference| format!("In a trace that has each step: {difference}")));
    if found.is_empty() {
        found.push("With a trace it runs the same way many times.".to_owned());
        found.push(described("one run: ", &failed.ended));
        found.extend(failed.differently.as_ref().map(|ended| described("another: ", ended)));
        found.push(described("with a trace: ", again));
    }
    Ok(found.join("\n"))
}

/// Whether two runs with their traces are not the same.
fn differ(one: &Ended, other: &Ended) -> bool {
    match (one, other) {
        (Ended::Reported(first), Ended::Reported(second)) if first.trace != second.trace => true,
        _ => !is_same(one, other),
    }
}

/// How two runs with their traces differ.
fn difference(one: &Ended, other: &Ended) -> String {
    let (Ended::Reported(first), Ended::Reported(second)) = (one, other) else {
        return described("one run: ", one) + "\n" + &described("another: ", other);
    };
    let same = first.trace.iter().zip(&second.trace).take_while(|(one, other)| one == other).count();
    let line = |trace: &[String]| trace.get(same).cloned().unwrap_or_else(|| "(the end)".to_owned());
    if same == first.trace.len() && same == second.trace.len() {
        return format!(
            "All {same} lines are the same; choices that have no line are not (hashes {:016x} and {:016x}).",
            first.trace_hash, second.trace_hash
        );
    }
    let before =
        same.checked_sub(1).map_or_else(String::new, |last| format!("after: {}\n", first.trace[last]));
    let (one, other) = (line(&first.trace), line(&second.trace));
    format!("Line {} is the first that differs:\n{before}one:   {one}\nother: {other}", same + 1)
}

/// One line on how a run has ended.
fn described(label: &str, ended: &Ended) -> String {
    let how = match ended {
        Ended::Reported(reply) if reply.violations.is_empty() => {
            format!("it went well (hash {:016x}, {} steps)", reply.trace_hash, reply.steps)
        }
        Ended::Reported(reply) => {
            format!("{} (hash {:016x}, {} steps)", reply.violations[0], reply.trace_hash, reply.steps)
        }
        Ended::Died { how, .. } => format!("its process died: {how}"),
        Ended::Hung { after, .. } => format!("it did not end within {after:?}"),
    };
    format!("{label}{how}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(hash: u64, trace: &[&str]) -> Ended {
        let trace = trace.iter().map(|&line| line.to_owned()).collect();
        Ended::Reported(Reply { trace_hash: hash, trace, ..Reply::default() })
    }

    #[test]
    fn the_first_line_that_differs_is_named() {
        let text = difference(&run(1, &["a", "b", "c"]), &run(2, &["a", "x", "c"]));
        assert_eq!(text, "Line 2 is the first that differs:\nafter: a\none:   b\nother: x");
        let text = difference(&run(1, &[]), &run(2, &["a"]));
        assert_eq!(text, "Line 1 is the first that differs:\none:   (the end)\nother: a");
        let text = difference(&run(1, &["a"]), &run(2, &["a"]));
        assert!(text.starts_with("All 1 lines are the same"), "{text}");
    }

    #[test]
    fn a_run_is_the_same_with_and_without_its_trace() {
        assert!(is_same(&run(1, &[]), &run(1, &["a"])));
        assert!(!is_same(&run(1, &[]), &run(2, &[])));
        let died = |how: &str| Ended::Died { how: how.to_owned(), stderr: String::new() };
        assert!(is_same(&died("signal: 9"), &died("signal: 9")));
        assert!(!is_same(&died("signal: 9"), &run(1, &[])));
    }
}
