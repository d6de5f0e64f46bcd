//! Telling a service that nobody waits for its answer any more (brpc: `NotifyOnCancel`).
//!
//! Owns that each function is called exactly once, with the first reason that there is. None runs under a lock.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use bthread::timer::{self, TimerHandle};

use crate::error::{EINTERNAL, RpcError};
use crate::socket::lock;
use crate::starting;

/// Why a function that was given to [`ServerCall::notify_on_cancel`](super::ServerCall::notify_on_cancel) is called.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelReason {
    /// The caller's connection has failed.
    ConnectionFailed(RpcError),
    /// The caller waits no longer.
    DeadlinePassed,
    /// The call was answered before anything of the kind.
    Ended,
}

type Notify = Box<dyn FnOnce(CancelReason) + Send>;

/// One function that is to be called.
pub(super) struct Watch {
    /// Its place among those of its connection, once it has one.
    number: OnceLock<u64>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    notify: Option<Notify>,
    reason: Option<CancelReason>,
    timer: Option<TimerHandle>,
}

impl Watch {
    /// Watches the deadline, if there is one.
    pub(super) fn new(notify: Notify, deadline: Option<Instant>) -> Result<Arc<Self>, RpcError> {
        let state = State { notify: Some(notify), ..State::default() };
        let watch = Arc::new(Watch { number: OnceLock::new(), state: Mutex::new(state) });
        if let Some(deadline) = deadline {
            let timed = watch.clone();
            let timer = timer::try_schedule(deadline, move || timed.cancel(CancelReason::DeadlinePassed));
            let timer = timer.map_err(|error| {
                RpcError::new(EINTERNAL, format!("Fail to watch the deadline of a call: {error}"))
            })?;
            lock(&watch.state).timer = Some(timer);
        }
        Ok(watch)
    }

    /// Has the function called in a bthread of its own, unless it was. Never blocks.
    pub(super) fn cancel(self: &Arc<Self>, reason: CancelReason) {
        {
            let mut state = lock(&self.state);
            if state.notify.is_none() || state.reason.is_some() {
                return;
            }
            state.reason = Some(reason);
        }
        starting::start(self.clone(), |watch| {
            let (notify, reason) = {
                let mut state = lock(&watch.state);
                (state.notify.take(), state.reason.clone())
            };
            if let (Some(notify), Some(reason)) = (notify, reason) {
                notify(reason);
            }
        });
    }

    /// The call has ended: calls the function here, unless somebody else does.
    pub(super) fn end(&self) {
        let (notify, timer) = {
            let mut state = lock(&self.state);
            let notify = if state.reason.is_none() { state.notify.take() } else { None };
            (notify, state.timer.take())
        };
        if let Some(timer) = timer {
            timer.cancel();
        }
        if let Some(notify) = notify {
            // It is the user's; the panic hook has reported it, and the call has more to end.
            let _ = catch_unwind(AssertUnwindSafe(|| notify(CancelReason::Ended)));
        }
    }
}

/// The watches of one connection; costs nothing while there are none.
#[derive(Default)]
pub(super) struct Watches(Mutex<Option<Box<Added>>>);

#[derive(Default)]
struct Added {
    count: u64,
    /// In the order in which they were added, in which they are cancelled too.
    by_number: BTreeMap<u64, Arc<Watch>>,
}

impl Watches {
    /// Once for each watch.
    pub(super) fn add(&self, watch: &Arc<Watch>) {
        let mut added = lock(&self.0);
        let added = added.get_or_insert_default();
        added.count += 1;
        if watch.number.set(added.count).is_ok() {
            added.by_number.insert(added.count, watch.clone());
        }
    }

    pub(super) fn remove(&self, watch: &Arc<Watch>) {
        let Some(number) = watch.number.get() else { return };
        let removed = lock(&self.0).as_mut().and_then(|added| added.by_number.remove(number));
        drop(removed);
    }

    /// The connection has failed. Must not block.
    pub(super) fn cancel_all(&self, error: &RpcError) {
        let added = lock(&self.0).take();
        for watch in added.iter().flat_map(|added| added.by_number.values()) {
            watch.cancel(CancelReason::ConnectionFailed(error.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::error::EEOF;

    fn watch(deadline: Option<Instant>) -> (Arc<Watch>, mpsc::Receiver<CancelReason>) {
        let (sender, receiver) = mpsc::channel();
        let notify = Box::new(move |reason| sender.send(reason).unwrap());
        (Watch::new(notify, deadline).unwrap(), receiver)
    }

    #[test]
    fn the_first_reason_is_told_and_no_other() {
        let (ended, told) = watch(None);
        ended.end();
        ended.cancel(CancelReason::DeadlinePassed);
        ended.end();
        assert_eq!(told.recv(), Ok(CancelReason::Ended));
        assert!(told.recv().is_err(), "the function is gone");

        let (failed, told) = watch(None);
        let watches = Watches::default();
        watches.add(&failed);
        let error = RpcError::new(EEOF, "gone");
        watches.cancel_all(&error);
        failed.end();
        assert_eq!(told.recv(), Ok(CancelReason::ConnectionFailed(error)));
        assert!(told.recv().is_err());
    }

    #[test]
    fn the_deadline_is_told_when_it_has_passed() {
        let deadline = Instant::now() + Duration::from_millis(20);
        let (watch, told) = watch(Some(deadline));
        assert_eq!(told.recv(), Ok(CancelReason::DeadlinePassed));
        assert!(Instant::now() >= deadline);
        watch.end();
        assert!(told.recv().is_err());
    }

    #[test]
    fn watches_are_cancelled_in_the_order_in_which_they_came() {
        let all: Vec<_> = (0..100).map(|_| watch(None).0).collect();
        let watches = Watches::default();
        all.iter().for_each(|watch| watches.add(watch));
        watches.remove(&all[50]);
        watches.remove(&watch(None).0); // was never there
        let added = lock(&watches.0).take().unwrap();
        let expected = all.iter().enumerate().filter(|(index, _)| *index != 50).map(|(_, watch)| watch);
        assert!(added.by_number.values().map(Arc::as_ptr).eq(expected.map(Arc::as_ptr)));
    }

    #[test]
    fn what_was_removed_is_not_told_of_the_connection() {
        let (watch, told) = watch(None);
        let watches = Watches::default();
        watches.add(&watch);
        watches.remove(&watch);
        watches.cancel_all(&RpcError::new(EEOF, "gone"));
        watch.end();
        assert_eq!(told.recv(), Ok(CancelReason::Ended));
    }
}
