//! What is counted of a method, and what limits it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bthread::planted;
use bvar::{Adder, LatencyRecorder, LatencySnapshot, LatencyUnit};

use super::Method;
use crate::error::ErrorCode;
use crate::limit::{ConcurrencyLimiter, Ended, Entering, Exceeded};

/// A limiter and what it judges by: calls that are not answered yet. They are counted apart from those that run, since
/// a caller that has its answer must not find itself counted when it calls again.
pub(crate) struct Limit {
    pub(super) limiter: Box<dyn ConcurrencyLimiter>,
    running: AtomicUsize,
}

impl Limit {
    pub(super) fn new(limiter: Box<dyn ConcurrencyLimiter>) -> Self {
        Limit { limiter, running: AtomicUsize::new(0) }
    }

    /// Counts one more call if the limiter admits it; else says how many there would have been, and which number that
    /// exceeds: `None` if the limiter has panicked.
    pub(crate) fn enter(&self, timeout: Option<Duration>) -> Result<(), (usize, Option<Exceeded>)> {
        let running = self.running.fetch_add(1, Ordering::Relaxed) + 1; // a count of its own, as in `leave`
        // It is the user's. The call is answered all the same, and leaves no count behind.
        let said = catch_unwind(AssertUnwindSafe(|| self.limiter.admit(&Entering::new(running, timeout))));
        let exceeded = match said {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(exceeded)) => Some(exceeded),
            Err(_) => None,
        };
        if !planted!(LeakedAdmission) {
            self.running.fetch_sub(1, Ordering::Relaxed);
        }
        Err((running, exceeded))
    }

    /// An admitted call is about to be answered.
    pub(crate) fn leave(&self, call: &Ended) {
        self.running.fetch_sub(1, Ordering::Relaxed);
        self.limiter.ended(call);
    }
}

/// What is counted of one method.
pub(crate) struct MethodStatus {
    concurrency: AtomicUsize,
    /// Nanoseconds that fast calls take to run, an estimate; 0: none has ended that was measured.
    fast_run: AtomicU64,
    pub(crate) errors: Arc<Adder<i64>>,
    /// Of calls that succeeded.
    pub(crate) latency: Arc<LatencyRecorder>,
}

impl MethodStatus {
    pub(crate) fn new() -> Self {
        MethodStatus {
            concurrency: AtomicUsize::new(0),
            fast_run: AtomicU64::new(0),
            errors: Arc::new(Adder::new()),
            latency: Arc::new(LatencyRecorder::new(LatencyUnit::Micros)),
        }
    }

    /// Calls running.
    pub(crate) fn concurrency(&self) -> usize {
        self.concurrency.load(Ordering::SeqCst) // pairs with `enter` and `leave`
    }

    /// Counts one more call as running.
    pub(crate) fn enter(&self) {
        // SeqCst: whoever enters looks afterwards whether the server stops, and whoever stops it looks afterwards
        // whether calls run; one of the two must see the other.
        self.concurrency.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts one call less, and returns how many are left.
    pub(crate) fn leave(&self) -> usize {
        self.concurrency.fetch_sub(1, Ordering::SeqCst) - 1 // as in `enter`
    }

    /// What fast calls take to run: one with less time left than this is late whatever is done.
    pub(crate) fn fast_run(&self) -> Duration {
        Duration::from_nanos(self.fast_run.load(Ordering::Relaxed)) // an estimate, pairs with nothing
    }

    /// A call took so long to run. The estimate goes down eight times as fast as up, so that it stays among the fast
    /// ones however slow the slow ones are.
    pub(crate) fn measure_run(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        // Relaxed: an estimate; of two that meet one is lost.
        let known = self.fast_run.load(Ordering::Relaxed);
        let next = match known {
            0 => took,
            _ if took < known => known - (known - took) / 8,
            _ => known + (took - known) / 64,
        };
        self.fast_run.store(next, Ordering::Relaxed);
    }

    pub(crate) fn count_error(&self) {
        self.errors.add(1);
    }

    pub(crate) fn count(&self, error: Option<ErrorCode>, latency: Duration) {
        match error {
            None => self.latency.record_duration(latency),
            Some(_) => self.count_error(),
        }
    }
}

/// What a server has counted of one method since it started.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MethodReport {
    /// `"example.EchoService.Echo"`.
    pub full_name: &'static str,
    /// Calls that run now.
    pub concurrency: usize,
    /// Calls that failed, those refused by a limit included.
    pub errors: i64,
    /// Latencies of the calls that succeeded, in microseconds, from the read that brought the request to the reply.
    pub latency: LatencySnapshot,
}

impl Method {
    pub(crate) fn report(&self) -> MethodReport {
        MethodReport {
            full_name: self.descriptor.full_name,
            concurrency: self.status.concurrency(),
            errors: self.status.errors.get(),
            latency: self.status.latency.snapshot(),
        }
    }
}
