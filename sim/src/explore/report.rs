//! What an exploration has found, for programs and for people.

use std::fmt;
use std::time::Duration;

use super::omit::{Omit, write_ranges};
use super::seeds::Seeds;

/// Of a trace that is not wanted whole, so many lines of its beginning are printed.
const HEAD_LINES: usize = 40;

/// And so many of its end.
const TAIL_LINES: usize = 120;

/// How much of a line is printed of a trace that is not wanted whole.
const LINE_CHARS: usize = 300;

/// How many violations of a run are printed.
const VIOLATIONS_SHOWN: usize = 5;

/// How many failing seeds are listed beyond the one that is shown.
const OTHERS_MAX: usize = 20;

/// What an exploration has found. As text it is what people want to know: of the lowest seed that fails, what it violates,
/// what is left of its plan, its trace and how to replay it; and the sums.
#[derive(Clone, Debug)]
#[must_use]
pub struct Report {
    pub(super) seeds: Seeds,
    pub(super) runs: u64,
    pub(super) failures: Vec<Failure>,
    pub(super) virtual_time: Duration,
    pub(super) wall_time: Duration,
    pub(super) steps: u64,
    pub(super) digest: u64,
    /// The trace of the one seed that was replayed, if it is well.
    pub(super) replayed: Option<Vec<String>>,
}

impl Report {
    /// The seeds that were to be run.
    pub fn seeds(&self) -> Seeds {
        self.seeds
    }

    /// How many were, the failing ones included; the runs made to look into a failure do not count.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// The seeds found to fail, the lowest first; that one has been looked into.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// Whether no seed fails.
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty()
    }

    /// The virtual time of all runs.
    pub fn virtual_time(&self) -> Duration {
        self.virtual_time
    }

    /// The real time that it took, looking into a failure left aside.
    pub fn wall_time(&self) -> Duration {
        self.wall_time
    }

    /// The steps of all runs.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// A number made of the traces of all runs: the same wherever the same seeds were run, whatever their order and
    /// however many at a time, as long as none fails.
    pub fn digest(&self) -> u64 {
        self.digest
    }
}

/// A seed that fails.
#[derive(Clone, Debug)]
pub struct Failure {
    pub(super) seed: u64,
    pub(super) kind: FailureKind,
    pub(super) examined: Option<Examined>,
}

impl Failure {
    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What is wrong with the run.
    pub fn kind(&self) -> &FailureKind {
        &self.kind
    }

    /// What looking into it has brought; only the lowest failing seed is looked into.
    pub fn examined(&self) -> Option<&Examined> {
        self.examined.as_ref()
    }
}

/// What is wrong with a run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// It has ended with these violations, of which there is one at least.
    Violations(Vec<String>),
    /// Its process has ended without a report.
    Died {
        /// The signal or the exit status.
        how: String,
        /// The end of what it wrote to its standard error.
        stderr: String,
    },
    /// It has not ended within the real time allowed for one run.
    Hung {
        /// That time.
        after: Duration,
        /// The end of what it wrote to its standard error.
        stderr: String,
    },
    /// It is well, but a second run of the seed was not the same.
    Nondeterministic,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violations(violations) => write_violations(f, violations),
            Self::Died { how, stderr } => {
                write!(f, "its process has died: {how}")?;
                write_stderr(f, stderr)
            }
            Self::Hung { after, stderr } => {
                write!(f, "it has not ended within {after:?} of real time: either it takes longer ")?;
                write!(f, "(Explorer::run_limit), or something blocks the thread that all nodes share")?;
                write_stderr(f, stderr)
            }
            Self::Nondeterministic => f.write_str("it does not run the same way twice"),
        }
    }
}

fn write_violations(f: &mut fmt::Formatter<'_>, violations: &[String]) -> fmt::Result {
    for (number, violation) in violations.iter().take(VIOLATIONS_SHOWN).enumerate() {
        write!(f, "{}{violation}", if number == 0 { "" } else { "\n  also: " })?;
    }
    match violations.len().saturating_sub(VIOLATIONS_SHOWN) {
        0 => Ok(()),
        more => write!(f, "\n  and {} more", count(more as u64, "violation")),
    }
}

fn write_stderr(f: &mut fmt::Formatter<'_>, stderr: &str) -> fmt::Result {
    stderr.lines().try_for_each(|line| write!(f, "\n  stderr: {line}"))
}

/// What looking into a failing seed has brought.
#[derive(Clone, Debug)]
pub struct Examined {
    pub(super) difference: Option<String>,
    pub(super) omit: Omit,
    pub(super) plans: Vec<(String, usize)>,
    pub(super) tries: u64,
    pub(super) given_up: bool,
    pub(super) violations: Vec<String>,
    pub(super) trace: Vec<String>,
    pub(super) trace_hash: u64,
    pub(super) whole_trace: bool,
    pub(super) trace_file: Option<String>,
    pub(super) replay: String,
}

impl Examined {
    /// Set if the seed does not run the same way twice: how two runs differ. It has not been shortened then.
    pub fn difference(&self) -> Option<&str> {
        self.difference.as_deref()
    }

    /// What the shortened run leaves out.
    pub fn omit(&self) -> &Omit {
        &self.omit
    }

    /// How many elements of plans are left in the shortened run, and how many there were.
    pub fn elements(&self) -> (usize, usize) {
        let all = self.plans.iter().map(|(_, count)| count).sum();
        (self.plans.iter().map(|(plan, count)| self.kept(plan, *count).count()).sum(), all)
    }

    fn kept<'a>(&'a self, plan: &'a str, count: usize) -> impl Iterator<Item = usize> + 'a {
        (0..count).filter(move |&element| !self.omit.contains(plan, element))
    }

    /// The violations of the shortened run.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// The trace of the shortened run.
    pub fn trace(&self) -> &[String] {
        &self.trace
    }

    /// The hash of that trace.
    pub fn trace_hash(&self) -> u64 {
        self.trace_hash
    }

    /// The command that replays the shortened run.
    pub fn replay(&self) -> &str {
        &self.replay
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, failure) in self.failures.iter().enumerate().take(OTHERS_MAX) {
            write!(f, "seed {} fails: {}", failure.seed, failure.kind)?;
            writeln!(f)?;
            if let Some(examined) = &failure.examined {
                examined.fmt(f)?;
            }
            if number == 0 && self.failures.len() > 1 {
                writeln!(f)?;
            }
        }
        if self.failures.len() > OTHERS_MAX {
            writeln!(f, "and {} more seeds", self.failures.len() - OTHERS_MAX)?;
        }
        if let Some(trace) = &self.replayed {
            write_trace(f, trace, true)?;
        }
        write!(f, "{}: ", count(self.runs, "seed"))?;
        match self.failures.len() {
            0 => write!(f, "none fails")?,
            1 => write!(f, "1 fails")?,
            failing => write!(f, "{failing} fail")?,
        }
        if self.runs < self.seeds.count() {
            write!(f, ", {} not run", self.seeds.count() - self.runs)?;
        }
        let hours = self.virtual_time.as_secs_f64() / 3600.0;
        write!(f, "; {hours:.2} virtual hours")?;
        // Without it, the text of a replay is the same each time.
        if self.seeds.count() > 1 {
            let seconds = self.wall_time.as_secs_f64();
            let rate = hours * 60.0 / seconds.max(f64::MIN_POSITIVE);
            write!(f, " in {seconds:.1} s, {rate:.1} a minute")?;
        }
        write!(f, "; {}; digest {:016x}", count(self.steps, "step"), self.digest)
    }
}

impl fmt::Display for Examined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(difference) = &self.difference {
            writeln!(f, "THE SCENARIO IS NOT DETERMINISTIC: two runs of this seed differ.")?;
            writeln!(f, "{difference}")?;
            writeln!(
                f,
                "Something in it does not follow from the seed: an address in memory, the id of the process, a"
            )?;
            writeln!(f, "thread of its own, a file or a socket of the system, the environment.")?;
        }
        let (left, all) = self.elements();
        if all > 0 {
            let tries = count(self.tries, "try");
            let end = if self.given_up { ", then given up" } else { "" };
            writeln!(
                f,
                "what is left of its plans: {left} of {} ({tries}{end})",
                count(all as u64, "element")
            )?;
            for (plan, count) in &self.plans {
                let kept: Vec<usize> = self.kept(plan, *count).collect();
                write!(f, "  {plan}: {} of {count}", kept.len())?;
                f.write_str(if kept.is_empty() { "" } else { ", number " })?;
                write_ranges(f, kept)?;
                writeln!(f)?;
            }
        }
        if !self.violations.is_empty() && self.tries > 0 {
            f.write_str("it fails then: ")?;
            write_violations(f, &self.violations)?;
            writeln!(f)?;
        }
        if !self.trace.is_empty() {
            let lines = count(self.trace.len() as u64, "line");
            writeln!(f, "trace, {lines}, hash {:016x}:", self.trace_hash)?;
            write_trace(f, &self.trace, self.whole_trace)?;
        }
        if let Some(file) = &self.trace_file {
            writeln!(f, "the whole trace: {file}")?;
        }
        writeln!(f, "replay: {}", self.replay)
    }
}

fn write_trace(f: &mut fmt::Formatter<'_>, trace: &[String], whole: bool) -> fmt::Result {
    if whole {
        return trace.iter().try_for_each(|line| writeln!(f, "  {line}"));
    }
    let left_out = trace.len().saturating_sub(HEAD_LINES + TAIL_LINES);
    for (number, line) in trace.iter().enumerate() {
        if left_out > 0 && number == HEAD_LINES {
            writeln!(f, "  … {} left out …", count(left_out as u64, "line"))?;
        }
        if left_out > 0 && (HEAD_LINES..HEAD_LINES + left_out).contains(&number) {
            continue;
        }
        match line.char_indices().nth(LINE_CHARS) {
            Some((end, _)) => writeln!(f, "  {}…", &line[..end])?,
            None => writeln!(f, "  {line}")?,
        }
    }
    Ok(())
}

/// `1 try`, `2,000 tries`.
fn count(number: u64, what: &str) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    let plural = match what.strip_suffix('y') {
        _ if number == 1 => what.to_owned(),
        Some(stem) => format!("{stem}ies"),
        None => format!("{what}s"),
    };
    format!("{text} {plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_read_well() {
        assert_eq!(count(1, "try"), "1 try");
        assert_eq!(count(1000, "try"), "1,000 tries");
        assert_eq!(count(999, "seed"), "999 seeds");
        assert_eq!(count(1_234_567, "step"), "1,234,567 steps");
    }

    #[test]
    fn a_failure_says_what_when_and_how_to_replay() {
        let examined = Examined {
            difference: None,
            omit: Omit::from_iter([("adds", 0), ("adds", 2), ("faults", 0)]),
            plans: vec![("adds".to_owned(), 4), ("faults".to_owned(), 1)],
            tries: 9,
            given_up: false,
            violations: vec!["twice".to_owned()],
            trace: (0..HEAD_LINES + TAIL_LINES + 5).map(|n| format!("line {n}")).collect(),
            trace_hash: 0xabc,
            whole_trace: false,
            trace_file: None,
            replay: "again 7".to_owned(),
        };
        assert_eq!(examined.elements(), (2, 5));
        let failure = Failure {
            seed: 7,
            kind: FailureKind::Violations(vec!["twice".to_owned()]),
            examined: Some(examined),
        };
        let report = Report {
            seeds: Seeds::from(200),
            runs: 8,
            failures: vec![failure],
            virtual_time: Duration::from_secs(7200),
            wall_time: Duration::from_secs(60),
            steps: 1000,
            digest: 1,
            replayed: None,
        };
        let text = report.to_string();
        for expected in [
            "seed 7 fails: twice\n",
            "2 of 5 elements (9 tries)\n",
            "  adds: 2 of 4, number 1,3\n",
            "  faults: 0 of 1\n",
            "trace, 165 lines, hash 0000000000000abc:\n",
            "  line 39\n  … 5 lines left out …\n  line 45\n",
            "  line 164\nreplay: again 7\n",
            "8 seeds: 1 fails, 192 not run; 2.00 virtual hours in 60.0 s, 2.0 a minute; 1,000 steps; ",
        ] {
            assert!(text.contains(expected), "{expected:?} in {text}");
        }
    }
}
