//! What the monitor remembers of workers that were held.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::task::TaskId;
use crate::trace::ThreadTrace;
use crate::worker::Worker;

/// Reports kept for each runtime; the oldest goes first.
const REPORTS_MAX: usize = 64;

/// A culprit: what held a worker, once or several times.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BlockedWorker {
    /// The runtime's tag.
    pub tag: u32,
    /// The worker's number in its runtime, the last time.
    pub worker: usize,
    /// The operating system's id of its thread.
    pub thread: i32,
    /// The bthread that held it; none if it was a timer's function or the handler of an event.
    pub bthread: Option<TaskId>,
    /// That bthread's name, if it has one.
    pub name: Option<String>,
    /// How often it was noticed.
    pub times: u64,
    /// When it was noticed the last time; it had begun up to
    /// [`blocked_after`](crate::RuntimeBuilder::blocked_after) and a look earlier.
    pub noticed: Instant,
    /// How long it lasted from then on, or has lasted.
    pub lasted: Duration,
    /// Whether it still lasts.
    pub ongoing: bool,
    /// What the thread did soon after it was noticed, and the calls that led there; none if that could not be seen, or
    /// was over by then.
    pub trace: Option<Arc<ThreadTrace>>,
}

impl fmt::Display for BlockedWorker {
    /// One line, and the trace below it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}-{} (thread {}) ", self.tag, self.worker, self.thread)?;
        f.write_str(if self.ongoing { "is held by " } else { "was held by " })?;
        match (&self.name, self.bthread) {
            (Some(name), Some(id)) => write!(f, "bthread '{name}' (id {id})")?,
            (None, Some(id)) => write!(f, "bthread {id}")?,
            (_, None) => f.write_str("a timer or an event")?,
        }
        write!(f, " for {:?}, {} times", self.lasted, self.times)?;
        match &self.trace {
            None => Ok(()),
            Some(trace) => write!(f, ", {}\n{}", trace.held, trace.stack),
        }
    }
}

/// The reports of one runtime.
#[derive(Default)]
pub(super) struct Reports(VecDeque<BlockedWorker>);

impl Reports {
    /// A worker is held.
    pub(super) fn open(&mut self, worker: &'static Worker, now: Instant) {
        let culprit = worker.current();
        let bthread = culprit.map(|task| task.get().id());
        // One that holds its worker again and again has one report, which is the newest.
        let known = bthread.and_then(|id| self.0.iter().position(|report| report.bthread == Some(id)));
        let (times, trace) = match known.and_then(|index| self.0.remove(index)) {
            Some(report) => (report.times, report.trace),
            None => (0, None),
        };
        if self.0.len() == REPORTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(BlockedWorker {
            tag: worker.scheduler().tag(),
            worker: worker.index(),
            thread: worker.thread(),
            bthread,
            name: culprit.and_then(|task| task.get().with_name(str::to_owned)),
            times: times + 1,
            noticed: now,
            lasted: Duration::ZERO,
            ongoing: true,
            trace,
        });
    }

    /// A worker is not held any more.
    pub(super) fn close(&mut self, worker: usize, now: Instant) {
        let mut open = self.0.iter_mut().filter(|report| report.worker == worker && report.ongoing);
        if let Some(report) = open.next_back() {
            report.lasted = now.saturating_duration_since(report.noticed);
            report.ongoing = false;
        }
    }

    /// Whether the newest report has a trace from an earlier time.
    pub(super) fn newest_has_trace(&self) -> bool {
        self.0.back().is_some_and(|report| report.trace.is_some())
    }

    pub(super) fn add_trace(&mut self, worker: usize, noticed: Instant, trace: ThreadTrace) {
        let mut found =
            self.0.iter_mut().filter(|report| report.worker == worker && report.noticed == noticed);
        if let Some(report) = found.next() {
            report.trace = Some(Arc::new(trace));
        }
    }

    pub(super) fn snapshot(&self, now: Instant) -> Vec<BlockedWorker> {
        let mut reports: Vec<_> = self.0.iter().cloned().collect();
        for report in reports.iter_mut().filter(|report| report.ongoing) {
            report.lasted = now.saturating_duration_since(report.noticed);
        }
        reports
    }
}
