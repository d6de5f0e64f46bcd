//! The accounting of calls: every one that began, each run of it on a server, and its one end.
//!
//! Judges each end as it comes, and what only the end of the run can tell at the end of the run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bobbin::{ErrorCode, RpcError, error};
use sim::World;

use crate::bounds::SLACK;
use crate::site::{Site, lock};

/// What a service of these workloads fails with when it is asked to.
pub(crate) const ASKED_TO_FAIL: i32 = 4001;

/// What may go wrong with a call under faults.
const EXPECTED: &[ErrorCode] = &[
    error::EEOF,
    error::ECONNRESET,
    error::EFAILEDSOCKET,
    error::EPIPE,
    error::EHOSTDOWN,
    error::ECONNREFUSED,
    error::ERPCTIMEDOUT,
    error::ETIMEDOUT,
    error::ENETUNREACH, // a server that connections were not made to in time
    error::EHOSTUNREACH,
    error::ECANCELED,
    error::EOVERCROWDED,
    error::ELIMIT,
    error::ELOGOFF,
];

/// With one of these as the only error of a call no server can have run it.
const NEVER_RUN: &[ErrorCode] =
    &[error::EHOSTDOWN, error::ECONNREFUSED, error::ELIMIT, error::ELOGOFF, error::EOVERCROWDED];

/// What a call is, and may do.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) name: u64,
    /// Bytes of its content.
    pub(crate) size: usize,
    pub(crate) timeout: Duration,
    pub(crate) max_retry: u32,
    /// Only what was never sent is tried again.
    pub(crate) never_twice: bool,
    pub(crate) may_back_up: bool,
    /// The service was asked to fail it with [`ASKED_TO_FAIL`].
    pub(crate) is_to_fail: bool,
    /// So many runs fail by request with an error that is tried again.
    pub(crate) fail_first: u32,
    /// All is well, and there is time enough: anything but a reply is wrong.
    pub(crate) must_succeed: bool,
    /// Errors may arrive as an HTTP status.
    pub(crate) is_http: bool,
}

/// How a call has ended, as its caller saw it.
#[derive(Debug)]
pub(crate) struct End {
    /// What is wrong with the reply, or the error.
    pub(crate) result: Result<Result<(), String>, RpcError>,
    pub(crate) retried: u32,
    pub(crate) has_backup: bool,
}

impl End {
    /// Of a reply that `check` has looked at, or an error.
    pub(crate) fn new<T>(
        result: Result<bobbin::Reply<T>, RpcError>,
        check: impl FnOnce(&bobbin::Reply<T>) -> Result<(), String>,
    ) -> Self {
        match result {
            Ok(reply) => {
                let (retried, has_backup) = (reply.retried_count, reply.has_backup_request);
                End { result: Ok(check(&reply)), retried, has_backup }
            }
            Err(error) => {
                let report = error.call();
                let retried = report.map_or(0, |report| report.retried_count);
                let has_backup = report.is_some_and(|report| report.has_backup_request);
                End { result: Err(error), retried, has_backup }
            }
        }
    }

    fn code(&self) -> Option<ErrorCode> {
        self.result.as_ref().err().map(RpcError::code)
    }
}

/// A call as it is known.
struct Entry {
    terms: Terms,
    caller: Arc<Site>,
    /// The life of the caller.
    incarnation: u32,
    begun: Duration,
    /// By the caller's clock.
    begun_there: Instant,
    canceled: Option<Duration>,
    runs: u32,
    /// Its policy about backup requests was told of its end.
    is_policy_told: bool,
    end: Option<End>,
}

impl Entry {
    /// Its caller's power was cut before it ended.
    fn is_lost(&self) -> bool {
        self.end.is_none()
            && (self.caller.node.incarnation() != self.incarnation || !self.caller.node.is_up())
    }
}

/// The calls of one workload.
pub(crate) struct Ledger {
    world: World,
    calls: Mutex<BTreeMap<u64, Entry>>,
}

impl Ledger {
    pub(crate) fn new(world: &World) -> Arc<Self> {
        Arc::new(Ledger { world: world.clone(), calls: Mutex::default() })
    }

    /// A call begins, on its caller's node.
    pub(crate) fn begin(&self, caller: &Arc<Site>, terms: Terms) {
        self.world.note(format_args!(
            "call {:x} begins: timeout={:?} max_retry={}",
            terms.name, terms.timeout, terms.max_retry
        ));
        let entry = Entry {
            caller: caller.clone(),
            incarnation: caller.node.incarnation(),
            begun: self.world.now(),
            begun_there: bobbin::bthread::clock::now(),
            canceled: None,
            runs: 0,
            is_policy_told: false,
            end: None,
            terms,
        };
        let name = entry.terms.name;
        if lock(&self.calls).insert(name, entry).is_some() {
            self.world.violation(format_args!("two calls have the name {name:x}"));
        }
    }

    /// Somebody cancels it.
    pub(crate) fn cancel(&self, name: u64) {
        self.world.note(format_args!("call {name:x} is cancelled"));
        let now = self.world.now();
        if let Some(entry) = lock(&self.calls).get_mut(&name) {
            entry.canceled.get_or_insert(now);
        }
    }

    /// A server runs it. Returns the how-manieth run of the call that is, from 1.
    pub(crate) fn run(&self, name: u64) -> u32 {
        let runs = {
            let mut calls = lock(&self.calls);
            let Some(entry) = calls.get_mut(&name) else {
                drop(calls);
                self.world.violation(format_args!("a server runs call {name:x}, which nobody has made"));
                return 0;
            };
            entry.runs += 1;
            entry.runs
        };
        self.world.note(format_args!("call {name:x} runs, {runs}"));
        runs
    }

    /// How many bytes of content it has.
    pub(crate) fn size(&self, name: u64) -> usize {
        lock(&self.calls).get(&name).map_or(0, |entry| entry.terms.size)
    }

    /// Its policy about backup requests is told of its end: once.
    pub(crate) fn policy_told(&self, name: u64) {
        let told_before =
            lock(&self.calls).get_mut(&name).map(|entry| std::mem::replace(&mut entry.is_policy_told, true));
        if told_before != Some(false) {
            self.world.violation(format_args!("the policy of call {name:x} is told of its end twice"));
        }
    }

    /// How often servers have run it.
    pub(crate) fn runs(&self, name: u64) -> u32 {
        lock(&self.calls).get(&name).map_or(0, |entry| entry.runs)
    }

    /// It has ended; told on its caller's node.
    pub(crate) fn end(&self, name: u64, end: End) {
        let (now, now_there) = (self.world.now(), bobbin::bthread::clock::now());
        match &end.result {
            Ok(_) => self.world.note(format_args!("call {name:x} is answered, {} retries", end.retried)),
            Err(error) => {
                self.world.note(format_args!("call {name:x} fails, {} retries: {error}", end.retried));
            }
        }
        let wrong = {
            let mut calls = lock(&self.calls);
            match calls.get_mut(&name) {
                None => vec![format!("call {name:x} ends, which has not begun")],
                Some(entry) if entry.end.is_some() => vec![format!("call {name:x} ends twice")],
                Some(entry) => {
                    let wrong = judge(entry, &end, now, now_there);
                    entry.end = Some(end);
                    wrong
                }
            }
        };
        wrong.into_iter().for_each(|wrong| self.world.violation(wrong));
    }

    /// Calls that have not ended, those aside whose callers have lost their power.
    fn open(&self) -> Vec<u64> {
        let calls = lock(&self.calls);
        calls
            .values()
            .filter(|call| call.end.is_none() && !call.is_lost())
            .map(|call| call.terms.name)
            .collect()
    }

    /// Waits until all calls have ended, and judges what is left. All must be well. For a bthread of the world.
    pub(crate) fn close(&self, patience: Duration) {
        let deadline = self.world.now() + patience;
        while !self.open().is_empty() && self.world.now() < deadline {
            bobbin::bthread::sleep(Duration::from_millis(10));
        }
        for name in self.open() {
            self.world
                .violation(format_args!("call {name:x} has not ended after {patience:?} without faults"));
        }
    }

    /// What the number of runs says, when no server has anything left to run.
    pub(crate) fn audit(&self) {
        let calls = lock(&self.calls);
        let wrong: Vec<_> = calls.values().filter_map(audit).collect();
        drop(calls);
        wrong.into_iter().for_each(|wrong| self.world.violation(wrong));
    }
}

/// What is wrong with an end.
fn judge(entry: &Entry, end: &End, now: Duration, now_there: Instant) -> Vec<String> {
    let mut wrong = Vec::new();
    let terms = &entry.terms;
    let name = terms.name;
    let took = now_there.saturating_duration_since(entry.begun_there);
    let ill = entry.caller.ill_for(entry.begun, now);
    let latest = terms.timeout.saturating_add(SLACK).saturating_add(ill);
    if took > latest {
        wrong.push(format!("call {name:x} took {took:?}, expected at most {latest:?}"));
    }
    if end.retried > terms.max_retry {
        wrong.push(format!(
            "call {name:x} was tried again {} times, expected at most {}",
            end.retried, terms.max_retry
        ));
    }
    if end.has_backup && !terms.may_back_up {
        wrong.push(format!("call {name:x} had a backup request, expected none"));
    }
    match &end.result {
        Ok(Ok(())) if terms.is_to_fail => {
            wrong.push(format!("call {name:x} succeeded, expected error {ASKED_TO_FAIL}"));
        }
        Ok(Ok(())) if entry.runs == 0 => {
            wrong.push(format!("call {name:x} was answered, but no server has run it"));
        }
        Ok(Ok(())) => {}
        Ok(Err(text)) => wrong.push(format!("call {name:x} got a wrong reply: {text}")),
        Err(error) => wrong.extend(judge_error(entry, error, took, now)),
    }
    if let Some(canceled) = entry.canceled {
        let late = now.saturating_sub(canceled);
        let latest = SLACK + ill;
        if late > latest {
            wrong.push(format!("call {name:x} ended {late:?} after its cancel, expected at most {latest:?}"));
        }
    }
    wrong
}

fn judge_error(entry: &Entry, error: &RpcError, took: Duration, now: Duration) -> Option<String> {
    let (terms, code) = (&entry.terms, error.code());
    let name = terms.name;
    if terms.is_to_fail
        && entry.runs > 0
        && (code == ASKED_TO_FAIL || (terms.is_http && code == error::EHTTP))
    {
        return None;
    }
    if terms.must_succeed && entry.canceled.is_none() {
        let at = now.saturating_sub(entry.begun);
        return Some(format!("call {name:x} failed after {at:?} though all is well: {error}"));
    }
    if code == error::ECANCELED && entry.canceled.is_none() {
        return Some(format!("call {name:x} ended as cancelled, but nobody cancelled it"));
    }
    let is_own_timeout = code == error::ERPCTIMEDOUT && error.text().contains("Reached timeout");
    if is_own_timeout && took < terms.timeout {
        return Some(format!(
            "call {name:x} timed out after {took:?}, expected not before {:?}",
            terms.timeout
        ));
    }
    let is_expected = EXPECTED.contains(&code) || (terms.is_http && code == error::EHTTP);
    (!is_expected).then(|| format!("call {name:x} ended with an error that no fault explains: {error:?}"))
}

/// What is wrong with the number of runs of a call.
fn audit(entry: &Entry) -> Option<String> {
    let (terms, runs) = (&entry.terms, entry.runs);
    // Who has lost its power can tell nobody how often it has tried.
    let attempts = 1 + entry.end.as_ref().map_or(terms.max_retry, |end| end.retried);
    let most = match &entry.end {
        Some(end) if terms.never_twice => 1 + u32::from(end.has_backup),
        Some(end) if end.retried == 0 && end.code().is_some_and(|code| NEVER_RUN.contains(&code)) => {
            terms.fail_first.min(1)
        }
        _ => attempts,
    };
    let text = |most: u32| {
        let end =
            entry.end.as_ref().map_or("was lost".to_owned(), |end| format!("ended with {:?}", end.code()));
        format!("call {:x}, that {end}, ran {runs} times, expected at most {most}", terms.name)
    };
    (runs > most.min(attempts)).then(|| text(most.min(attempts)))
}
