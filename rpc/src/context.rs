//! What the calls that are made for a request take over from it without anybody's doing: the time that is left, the log
//! id and the request id (`spec/rpc-core.md` §8.1, brpc's `Inheritable`; the deadline as in Go's `context`).
//!
//! Owns whose context it is: that of a bthread, or of a thread outside of bthreads. It must cost nothing where there is
//! none, and a deadline alone must allocate nothing: both are told by the number that the bthread carries, which is 0
//! without a context, and else the deadline and whether there are ids beside it.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bthread::clock::origin;

/// The lowest bit of what a bthread carries: there are ids.
const HAS_IDS: u64 = 1;
/// What stands for no deadline.
const NEVER: u64 = u64::MAX >> 1;

bthread::bthread_local! {
    /// Looked at only where `HAS_IDS` is set: other bthreads would be given a table of locals for it.
    static IDS: RefCell<Option<Arc<Ids>>> = RefCell::new(None);
}

#[derive(Debug, PartialEq, Eq)]
struct Ids {
    log_id: Option<u64>,
    request_id: String,
}

impl Ids {
    /// `None` if there is neither.
    fn of(log_id: Option<u64>, request_id: &str) -> Option<Arc<Self>> {
        let has_ids = log_id.is_some() || !request_id.is_empty();
        has_ids.then(|| Arc::new(Ids { log_id, request_id: request_id.to_owned() }))
    }
}

/// What calls made by a bthread take over, where their [`CallOptions`](crate::CallOptions) do not say otherwise: a call
/// ends at the deadline at the latest, and has the ids if it is given none.
///
/// The method of a service has that of its request, without asking. Bthreads that it spawns do not: their work may be
/// meant to outlive the request. Those that belong to it are handed this and [`enter`](Self::enter) it.
///
/// ```
/// use rpc::CallContext;
/// use std::time::{Duration, Instant};
///
/// let deadline = Instant::now() + Duration::from_millis(100);
/// let context = CallContext::default().with_deadline(deadline).with_log_id(7);
/// let _entered = context.enter(); // as a server does for the method of a service
/// let context = CallContext::current();
/// bthread::spawn(move || {
///     let _entered = context.enter();
///     // Calls from here share what is left of the 100 ms.
///     assert_eq!(CallContext::current().log_id(), Some(7));
/// }).join().unwrap();
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a context does nothing before it is entered"]
pub struct CallContext {
    deadline: Option<Instant>,
    ids: Option<Arc<Ids>>,
}

impl CallContext {
    /// That of the calling bthread or thread; an empty one if it has none.
    ///
    /// *Blocking*: no.
    pub fn current() -> Self {
        let carried = bthread::carried();
        if carried == 0 { CallContext::default() } else { Self::carried(carried) }
    }

    #[cold]
    fn carried(carried: u64) -> Self {
        let ids = if carried & HAS_IDS == 0 {
            None
        } else {
            IDS.try_with(|ids| ids.borrow().clone()).ok().flatten()
        };
        CallContext { deadline: deadline_of(carried), ids }
    }

    /// The same with another deadline.
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The same without a deadline: for work that goes on when nobody waits for it any more.
    pub fn without_deadline(mut self) -> Self {
        self.deadline = None;
        self
    }

    /// The same with another log id.
    pub fn with_log_id(mut self, id: u64) -> Self {
        let request_id = self.request_id().to_owned();
        self.ids = Some(Arc::new(Ids { log_id: Some(id), request_id }));
        self
    }

    /// The same with another request id.
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        let log_id = self.log_id();
        self.ids = Some(Arc::new(Ids { log_id, request_id: id.into() }));
        self
    }

    /// When calls end at the latest, if there is such a time.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The log id of calls that are given none.
    pub fn log_id(&self) -> Option<u64> {
        self.ids.as_ref()?.log_id
    }

    /// The request id of calls that are given none; empty if there is none.
    pub fn request_id(&self) -> &str {
        self.ids.as_ref().map_or("", |ids| &ids.request_id)
    }

    /// Makes this the calling bthread's or thread's, until the guard is dropped.
    ///
    /// *Blocking*: no.
    pub fn enter(&self) -> EnteredContext {
        enter(self.deadline, || self.ids.clone())
    }
}

/// While it lives, a context is that of its bthread or thread; from [`CallContext::enter`]. Guards end in the reverse of
/// the order in which they began.
#[derive(Debug)]
#[must_use = "the context is entered until it is dropped"]
pub struct EnteredContext {
    carried_before: u64,
    /// Whether `ids_before` is to be put back.
    has_ids: bool,
    ids_before: Option<Arc<Ids>>,
    _not_send: PhantomData<*const ()>,
}

impl Drop for EnteredContext {
    fn drop(&mut self) {
        bthread::set_carried(self.carried_before);
        if self.has_ids {
            let entered = IDS.try_with(|ids| ids.replace(self.ids_before.take()));
            drop(entered);
        }
    }
}

/// The deadline of the calling bthread's context. Never blocks, and looks at nothing but the number that it carries.
#[inline]
pub(crate) fn deadline() -> Option<Instant> {
    let carried = bthread::carried();
    if carried == 0 { None } else { deadline_of(carried) }
}

/// Whether there are ids that calls inherit.
#[inline]
pub(crate) fn has_ids() -> bool {
    bthread::carried() & HAS_IDS != 0
}

/// Enters the context of a request, if there is anything in it.
#[inline]
pub(crate) fn serve(
    deadline: Option<Instant>,
    log_id: Option<u64>,
    request_id: &str,
) -> Option<EnteredContext> {
    if deadline.is_none() && log_id.is_none() && request_id.is_empty() {
        return None;
    }
    Some(enter(deadline, || Ids::of(log_id, request_id)))
}

/// What [`serve`] enters, for those who go on elsewhere.
pub(crate) fn of_request(deadline: Option<Instant>, log_id: Option<u64>, request_id: &str) -> CallContext {
    CallContext { deadline, ids: Ids::of(log_id, request_id) }
}

fn enter(deadline: Option<Instant>, ids: impl FnOnce() -> Option<Arc<Ids>>) -> EnteredContext {
    let carried_before = bthread::carried();
    let ids = ids();
    let mut carried = deadline.map_or(NEVER, nanos) << 1;
    if ids.is_none() && deadline.is_none() {
        carried = 0;
    }
    let (mut has_ids, mut ids_before) = (false, None);
    if ids.is_some() {
        // Where bthread-locals are gone for good the ids are, too.
        if let Ok(before) = IDS.try_with(|own| own.replace(ids)) {
            (has_ids, ids_before) = (true, before);
            carried |= HAS_IDS;
        }
    }
    bthread::set_carried(carried);
    EnteredContext { carried_before, has_ids, ids_before, _not_send: PhantomData }
}

/// Never 0, so that no deadline is taken for no context; one before [`origin`] has passed like the first moment after it.
fn nanos(deadline: Instant) -> u64 {
    let since = deadline.saturating_duration_since(origin()).as_nanos();
    u64::try_from(since).unwrap_or(NEVER).clamp(1, NEVER)
}

fn deadline_of(carried: u64) -> Option<Instant> {
    match carried >> 1 {
        0 | NEVER => None,
        nanos => origin().checked_add(Duration::from_nanos(nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_that_of_its_bthread_until_its_end() {
        assert_eq!(CallContext::current(), CallContext::default());
        let deadline = Instant::now() + Duration::from_secs(7);
        let outer = CallContext::default().with_deadline(deadline);
        {
            let _outer = outer.enter();
            assert_eq!(CallContext::current(), outer);
            assert!(!has_ids() && super::deadline() == Some(deadline));
            let inner = CallContext::current().with_log_id(0).with_request_id("r");
            {
                let _inner = inner.enter();
                assert_eq!(CallContext::current(), inner);
                let spawned = bthread::spawn(|| CallContext::current() == CallContext::default());
                assert!(spawned.join().unwrap(), "it is not inherited");
                {
                    // Nothing of the outer ones shows through.
                    let _empty = CallContext::default().enter();
                    assert_eq!(CallContext::current(), CallContext::default());
                }
                assert_eq!(CallContext::current(), inner);
            }
            assert_eq!(CallContext::current(), outer);
        }
        assert_eq!(CallContext::current(), CallContext::default());
    }

    #[test]
    fn odd_deadlines_stay_deadlines() {
        let long_ago = Instant::now().checked_sub(Duration::from_secs(5)).unwrap_or_else(origin);
        let _entered = CallContext::default().with_deadline(long_ago).enter();
        assert!(super::deadline().is_some_and(|deadline| deadline <= Instant::now()));
        let _serving = serve(None, Some(1), "");
        assert_eq!((super::deadline(), CallContext::current().log_id()), (None, Some(1)));
        assert!(serve(None, None, "").is_none());
    }
}
