//! Which calls are tried again, and when (`spec/rpc-core.md` §10).
//!
//! Policies only decide: that a call is tried at most `max_retry` times, within its deadline and the channel's budget
//! (`retry_budget`), holds whatever they say, and that those
//! behind the first few do not follow one another at once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bthread::random::random;
use iobuf::IoBuf;

use crate::error::RpcError;
use crate::protocol::IncomingReply;
use crate::service::MethodDescriptor;
use crate::user_fields::UserFields;

/// Decides whether a call is tried again, for a channel ([`retry_policy`](super::ChannelBuilder::retry_policy)) or a
/// call ([`retry_policy`](super::CallOptions::retry_policy)) (brpc: `RetryPolicy`).
///
/// It is asked after each attempt that another one may follow, also a successful one, in the bthread or thread
/// that waits for the call, or in a bthread of its own where nobody does; so it may wait, on the time of the call.
/// Without one a call is tried again if its error [is retriable](RpcError::is_retriable), with no pause. **That includes
/// calls that the server may have run**, if their connection broke before the reply: as in brpc. For methods that must
/// not run twice set [`NeverSent`], or no retries at all ([`max_retry(0)`](super::CallOptions::max_retry)). Over HTTP,
/// errors that a server has answered with are tried again only where there is a policy: without one, an answer is read
/// when the call has ended with it.
///
/// ```
/// use rpc::client::{Attempt, RetryPolicy};
/// use rpc::error::EHTTP;
///
/// /// Also tries again what HTTP answers with an error.
/// struct AlsoHttp;
///
/// impl RetryPolicy for AlsoHttp {
///     fn do_retry(&self, attempt: &Attempt<'_>) -> bool {
///         attempt.is_retriable() || attempt.error().is_some_and(|error| error.code() == EHTTP)
///     }
/// }
/// ```
pub trait RetryPolicy: Send + Sync + 'static {
    /// Whether there is to be another attempt. Default: if the error [is retriable](Attempt::is_retriable).
    fn do_retry(&self, attempt: &Attempt<'_>) -> bool {
        attempt.is_retriable()
    }

    /// How long to wait before it; a time that the deadline would cut short is not waited for at all. Default: not.
    /// Behind the first 16 attempts of a call, 10 ms at least are waited for, whatever this says and whoever waits.
    fn backoff(&self, attempt: &Attempt<'_>) -> Duration {
        let _ = attempt;
        Duration::ZERO
    }

    /// Whether synchronous calls outside of bthreads wait as well, which blocks their thread; else they try again at
    /// once (brpc: `CanRetryBackoffInPthread`). Default: no.
    fn may_block_threads(&self) -> bool {
        false
    }
}

impl<P: RetryPolicy + ?Sized> RetryPolicy for Arc<P> {
    fn do_retry(&self, attempt: &Attempt<'_>) -> bool {
        (**self).do_retry(attempt)
    }

    fn backoff(&self, attempt: &Attempt<'_>) -> Duration {
        (**self).backoff(attempt)
    }

    fn may_block_threads(&self) -> bool {
        (**self).may_block_threads()
    }
}

/// Attempts of a call that may follow one another at once. Behind them each waits for [`LATE_RETRY_PAUSE`] at least, or as
/// long as there is time: a server that is away is known to be so at once, and a call that may be tried very often would
/// do nothing else until its deadline.
pub(super) const EAGER_ATTEMPTS_MAX: u32 = 16;

/// The shortest pause behind [`EAGER_ATTEMPTS_MAX`] attempts.
const LATE_RETRY_PAUSE: Duration = Duration::from_millis(10);

/// How long to wait behind an attempt where the policy says `wished`.
pub(super) fn pause(attempt: &Attempt<'_>, wished: Duration) -> Duration {
    let is_cut_short = attempt.remaining.is_some_and(|remaining| remaining <= wished);
    let pause = if is_cut_short { Duration::ZERO } else { wished };
    if attempt.number < EAGER_ATTEMPTS_MAX {
        return pause;
    }
    let pause = pause.max(LATE_RETRY_PAUSE);
    attempt.remaining.map_or(pause, |remaining| remaining.min(pause))
}

/// How an attempt has ended.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    pub(super) method: &'static MethodDescriptor,
    pub(super) number: u32,
    pub(super) end: Result<&'a IncomingReply, &'a RpcError>,
    pub(super) sent: bool,
    pub(super) remaining: Option<Duration>,
}

impl<'a> Attempt<'a> {
    /// What was called.
    pub fn method(&self) -> &'static MethodDescriptor {
        self.method
    }

    /// 0 for the first attempt of a call, 1 for its first retry.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The error, the server's answer or the connection's; `None`: it was successful.
    pub fn error(&self) -> Option<&'a RpcError> {
        self.end.err()
    }

    /// Whether the error is one that is tried again without a policy, see [`RpcError::is_retriable`].
    pub fn is_retriable(&self) -> bool {
        self.error().is_some_and(RpcError::is_retriable)
    }

    /// Whether no byte of the request can have left, so that the server cannot have run it.
    pub fn never_sent(&self) -> bool {
        !self.sent
    }

    /// What is left of the call's time; `None`: it has no deadline.
    pub fn remaining(&self) -> Option<Duration> {
        self.remaining
    }

    /// The serialised response of a successful attempt, decompressed.
    pub fn response_body(&self) -> Option<&'a IoBuf> {
        self.end.ok().map(|reply| &reply.body)
    }

    /// What came behind the response of a successful attempt.
    pub fn response_attachment(&self) -> Option<&'a IoBuf> {
        self.end.ok().map(|reply| &reply.attachment)
    }

    /// The free pairs that came with a successful attempt.
    pub fn response_user_fields(&self) -> Option<&'a UserFields> {
        self.end.ok().map(|reply| &reply.user_fields)
    }
}

impl fmt::Debug for Attempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("method", &self.method.full_name)
            .field("number", &self.number)
            .field("error", &self.error())
            .field("never_sent", &self.never_sent())
            .field("remaining", &self.remaining)
            .finish_non_exhaustive()
    }
}

/// Tries again only what no server can have run: for methods that must not run twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NeverSent;

impl RetryPolicy for NeverSent {
    fn do_retry(&self, attempt: &Attempt<'_>) -> bool {
        attempt.never_sent() && attempt.is_retriable()
    }
}

/// A policy that waits between attempts.
///
/// ```
/// use rpc::client::{Backoff, NeverSent};
/// use std::time::Duration;
///
/// let ms = Duration::from_millis;
/// let policy = Backoff::jittered(ms(5), ms(15)).none_if_less_remains(ms(50)).of(NeverSent);
/// # let _ = policy;
/// ```
#[derive(Clone)]
#[must_use]
pub struct Backoff {
    kind: Kind,
    least_remaining: Duration,
    in_threads: bool,
    decides: Option<Arc<dyn RetryPolicy>>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Within { min: Duration, max: Duration },
    Exponential { first: Duration, max: Duration },
}

impl Backoff {
    /// Always the same time.
    pub fn fixed(time: Duration) -> Self {
        Self::new(Kind::Within { min: time, max: time })
    }

    /// A random time from `min` to `max`, so that calls that failed together do not come back together.
    pub fn jittered(min: Duration, max: Duration) -> Self {
        Self::new(Kind::Within { min, max: max.max(min) })
    }

    /// A time that doubles with each attempt, from `first` up to `max`; of it a random part from one half to all.
    pub fn exponential(first: Duration, max: Duration) -> Self {
        Self::new(Kind::Exponential { first, max })
    }

    fn new(kind: Kind) -> Self {
        Backoff { kind, least_remaining: Duration::ZERO, in_threads: false, decides: None }
    }

    /// Does not wait if less than this is left of the call's time (brpc: `no_backoff_remaining_rpc_time_ms`). Default:
    /// 0.
    pub fn none_if_less_remains(mut self, remaining: Duration) -> Self {
        self.least_remaining = remaining;
        self
    }

    /// Waits outside of bthreads as well, which blocks the thread. Default: no.
    pub fn in_threads(mut self) -> Self {
        self.in_threads = true;
        self
    }

    /// Leaves it to another policy what is tried again.
    pub fn of(mut self, policy: impl RetryPolicy) -> Self {
        self.decides = Some(Arc::new(policy));
        self
    }

    /// Of a call whose attempt `number` has failed.
    fn time(&self, number: u32) -> Duration {
        let (min, max) = match self.kind {
            Kind::Within { min, max } => (min, max),
            Kind::Exponential { first, max } => {
                let factor = 1_u32.checked_shl(number).unwrap_or(u32::MAX);
                let full = first.saturating_mul(factor).min(max);
                (full / 2, full)
            }
        };
        let spread = u64::try_from((max - min).as_nanos()).unwrap_or(u64::MAX - 1);
        min + Duration::from_nanos(random() % (spread + 1))
    }
}

impl RetryPolicy for Backoff {
    fn do_retry(&self, attempt: &Attempt<'_>) -> bool {
        match &self.decides {
            Some(policy) => policy.do_retry(attempt),
            None => attempt.is_retriable(),
        }
    }

    fn backoff(&self, attempt: &Attempt<'_>) -> Duration {
        if attempt.remaining().is_some_and(|remaining| remaining < self.least_remaining) {
            return Duration::ZERO;
        }
        self.time(attempt.number())
    }

    fn may_block_threads(&self) -> bool {
        self.in_threads
    }
}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backoff").field("kind", &self.kind).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ECONNREFUSED, EEOF, EREQUEST, ErrorCode};
    use crate::schema::Schema;

    static METHOD: MethodDescriptor = MethodDescriptor {
        name: "M",
        full_name: "S.M",
        request_type: "",
        response_type: "",
        schema: &Schema::NONE,
    };

    fn decide(policy: &dyn RetryPolicy, code: ErrorCode, sent: bool) -> bool {
        let error = RpcError::new(code, "");
        policy.do_retry(&Attempt { method: &METHOD, number: 0, end: Err(&error), sent, remaining: None })
    }

    #[test]
    fn what_may_have_run_is_told_from_what_has_not() {
        struct Default;
        impl RetryPolicy for Default {}
        let backoff = Backoff::fixed(Duration::ZERO);
        for policy in [&Default as &dyn RetryPolicy, &backoff] {
            assert!(decide(policy, EEOF, true) && decide(policy, ECONNREFUSED, false));
            assert!(!decide(policy, EREQUEST, false));
        }
        let cautious = backoff.of(NeverSent);
        for policy in [&NeverSent as &dyn RetryPolicy, &cautious] {
            assert!(!decide(policy, EEOF, true) && decide(policy, ECONNREFUSED, false));
            assert!(!decide(policy, EREQUEST, false));
        }
        let reply = IncomingReply::new(1);
        let success = Attempt { method: &METHOD, number: 0, end: Ok(&reply), sent: true, remaining: None };
        assert!(!Default.do_retry(&success) && !NeverSent.do_retry(&success));
    }

    #[test]
    fn pauses_are_within_their_bounds() {
        let ms = Duration::from_millis;
        let error = RpcError::new(EEOF, "");
        let after = |policy: &Backoff, number, remaining| {
            policy.backoff(&Attempt { method: &METHOD, number, end: Err(&error), sent: true, remaining })
        };
        let fixed = Backoff::fixed(ms(7)).none_if_less_remains(ms(50));
        assert_eq!(after(&fixed, 3, None), ms(7));
        assert_eq!((after(&fixed, 3, Some(ms(50))), after(&fixed, 3, Some(ms(49)))), (ms(7), ms(0)));
        let jittered = Backoff::jittered(ms(5), ms(15));
        let times: Vec<_> = (0..100).map(|_| after(&jittered, 0, None)).collect();
        assert!(times.iter().all(|time| (ms(5)..=ms(15)).contains(time)));
        assert!(times.iter().any(|time| *time != times[0]), "they differ");
        let exponential = Backoff::exponential(ms(4), ms(100));
        for (number, full) in [(0, 4), (1, 8), (4, 64), (5, 100), (40, 100)] {
            let time = after(&exponential, number, None);
            assert!((ms(full) / 2..=ms(full)).contains(&time), "{number}: {time:?}");
        }
        assert_eq!(after(&Backoff::jittered(ms(9), ms(3)), 0, None), ms(9));
        assert!(after(&Backoff::jittered(ms(0), Duration::MAX), 0, None) <= Duration::MAX);
    }
}
