//! Runs of the profilers for pages: one of a kind at a time, which all who ask meanwhile share. Owns nothing of how a
//! profile is taken or shown; starts no process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bthread::sync::{Condvar, Mutex};
use bvar::flag::Flag;
use profile::{DURATION_MAX, Kind, Profile, StartError};

use super::reply::EPERM;
use super::request::PageRequest;
use crate::error::{EAGAIN, EINTERNAL, EINVAL, EOVERCROWDED, ErrorCode};

/// The longest run that a page starts, in seconds; who asks for more gets this.
pub(super) static MAX_SECONDS: Flag<i32> =
    Flag::new("max_profiling_seconds", 300, "The longest run of a profiler that a page starts, in seconds")
        .validated(|seconds| (1..=DURATION_MAX.as_secs() as i32).contains(seconds));

/// How long a run lasts where nobody says.
pub(super) const SECONDS_DEFAULT: u64 = 10;
/// Requests that wait for the end of one run.
const WAITERS_MAX: usize = 256;

/// A profile that was taken and kept.
#[derive(Clone)]
pub(super) struct Taken {
    /// Names it among the kept ones.
    pub(super) id: u64,
    pub(super) profile: Profile,
}

/// Why there is none.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) code: ErrorCode,
    pub(super) text: String,
}

impl Failure {
    pub(super) fn new(code: ErrorCode, text: impl Into<String>) -> Failure {
        Failure { code, text: text.into() }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let code = match &error {
            StartError::Busy { .. } => EAGAIN,
            StartError::TooLong => EINVAL,
            StartError::Disabled(_) => EPERM,
            _ => EINTERNAL,
        };
        Failure::new(code, error.to_string())
    }
}

/// A run under way and those who wait for it.
struct Run {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    waiters: usize,
    result: Option<Result<Taken, Failure>>,
}

static RUNS: Mutex<Option<HashMap<Kind, Arc<Run>>>> = Mutex::new(None);

/// How long a run is to last, from the query.
pub(super) fn seconds(request: &PageRequest) -> Result<Option<Duration>, Failure> {
    let Some(text) = request.query.get("seconds").filter(|text| !text.is_empty()) else { return Ok(None) };
    let max = u64::try_from(MAX_SECONDS.get()).unwrap_or(1);
    match text.parse::<u64>() {
        Ok(seconds) if seconds > 0 => Ok(Some(Duration::from_secs(seconds.min(max)))),
        _ => Err(Failure::new(EINVAL, "seconds must be a number above 0")),
    }
}

/// Refuses runs that another site's page asks for.
pub(super) fn may_start(request: &PageRequest) -> Result<(), Failure> {
    match request.is_cross_site {
        true => Err(Failure::new(EPERM, "Another site's page must not start a profiler")),
        false => Ok(()),
    }
}

/// Takes a profile, or waits for the one that is being taken. Parks the bthread for as long as that lasts.
pub(super) fn take(kind: Kind, duration: Duration) -> Result<Taken, Failure> {
    let run = {
        let mut runs = lock(&RUNS);
        let runs = runs.get_or_insert_with(HashMap::new);
        match runs.get(&kind).cloned() {
            Some(run) => Err(run),
            None => {
                let run = Arc::new(Run { state: Mutex::new(State::default()), ended: Condvar::new() });
                runs.insert(kind, run.clone());
                Ok(run)
            }
        }
    };
    match run {
        Ok(mine) => {
            // Whatever happens, nobody is left waiting.
            let mut end =
                End { kind, run: mine, result: Err(Failure::new(EINTERNAL, "The profiler has panicked")) };
            end.result = profile::run(kind, duration)
                .map(|profile| Taken { id: profile::kept::keep(profile.clone()), profile })
                .map_err(Failure::from);
            end.result.clone()
        }
        Err(others) => wait(&others),
    }
}

fn wait(run: &Run) -> Result<Taken, Failure> {
    let mut state = lock(&run.state);
    if state.waiters == WAITERS_MAX {
        return Err(Failure::new(
            EOVERCROWDED,
            format!("{WAITERS_MAX} requests wait for this profile already"),
        ));
    }
    state.waiters += 1;
    loop {
        if let Some(result) = &state.result {
            return result.clone();
        }
        state = run.ended.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
    }
}

/// Ends a run: takes it out of the list and tells its result.
struct End {
    kind: Kind,
    run: Arc<Run>,
    result: Result<Taken, Failure>,
}

impl Drop for End {
    fn drop(&mut self) {
        if let Some(runs) = lock(&RUNS).as_mut() {
            runs.remove(&self.kind);
        }
        lock(&self.run.state).result = Some(self.result.clone());
        self.run.ended.notify_all();
    }
}

/// The data are whole after each statement under these locks.
fn lock<T>(mutex: &Mutex<T>) -> bthread::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::super::tests::get;
    use super::*;

    #[test]
    fn durations_are_numbers_within_bounds() {
        let of = |query: &str| seconds(&get(&format!("/hotspots/cpu{query}")));
        assert_eq!(of("").unwrap(), None);
        assert_eq!(of("?seconds=7").unwrap(), Some(Duration::from_secs(7)));
        assert_eq!(of("?seconds=99999").unwrap(), Some(Duration::from_secs(300)));
        for bad in ["-1", "0", "x", "1.5", "1;id", "$(id)", "999999999999999999999"] {
            assert_eq!(of(&format!("?seconds={bad}")).unwrap_err().code, EINVAL, "{bad}");
        }
    }

    #[test]
    fn who_comes_during_a_run_shares_it() {
        let take = || take(Kind::Cpu, Duration::from_secs(1)).map(|taken| taken.id);
        let others: Vec<_> = (0..3).map(|_| bthread::spawn(take)).collect();
        let ids: Vec<_> = others.into_iter().map(|other| other.join().unwrap().unwrap()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }
}
