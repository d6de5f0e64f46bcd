//! Ending calls from outside: by a token that was given to them, or by a handle of a call (brpc: `StartCancel`, `Join`).

use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use super::held::HeldCall;
use crate::socket::lock;

/// Calls that a token knows before it first looks which of them have ended.
const TIDY_AT_FIRST: usize = 16;

/// Ends the calls that were given it, those in progress at once and those that begin later before they are sent, with
/// [`ECANCELED`](crate::error::ECANCELED). Clones are the same token; any bthread or thread may cancel. It stays
/// cancelled.
///
/// A synchronous call with a token costs what one that is held costs.
///
/// ```
/// use rpc::{CallOptions, CancelToken};
/// let token = CancelToken::new();
/// let options = CallOptions::default().cancel_token(&token);
/// token.cancel(); // from another bthread, as a rule
/// assert!(token.is_canceled());
/// # let _ = options;
/// ```
#[derive(Clone, Default)]
pub struct CancelToken(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    is_canceled: bool,
    /// Not more than twice those that are in progress.
    calls: Vec<Weak<HeldCall>>,
    tidy_at: usize,
}

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the calls that were given it. Again, it does nothing.
    ///
    /// *Blocking*: no.
    pub fn cancel(&self) {
        let calls = {
            let mut known = lock(&self.0);
            known.is_canceled = true;
            std::mem::take(&mut known.calls)
        };
        // Without the lock, as wakers are code of the user's.
        calls.iter().filter_map(Weak::upgrade).for_each(|call| call.cancel());
    }

    /// Whether it was cancelled.
    pub fn is_canceled(&self) -> bool {
        lock(&self.0).is_canceled
    }

    /// Has a call ended with the token; at once, if that is cancelled.
    pub(super) fn watch(&self, call: &Arc<HeldCall>) {
        // Perhaps the last references, so dropped behind the lock: what calls hold is the user's.
        let mut looked_at = Vec::new();
        let mut known = lock(&self.0);
        if !known.is_canceled {
            if known.calls.len() >= known.tidy_at.max(TIDY_AT_FIRST) {
                known.calls.retain(|call| {
                    let call = call.upgrade();
                    let is_running = call.as_ref().is_some_and(|call| call.is_running());
                    looked_at.extend(call);
                    is_running
                });
                known.tidy_at = 2 * known.calls.len();
            }
            known.calls.push(Arc::downgrade(call));
            return;
        }
        drop(known);
        call.cancel();
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken").field("is_canceled", &self.is_canceled()).finish_non_exhaustive()
    }
}

/// Names a call that was started, for as long as anybody likes: it keeps nothing of the call alive, and calls that have
/// ended stay ended. Clones name the same call. For any bthread or thread.
#[derive(Clone)]
pub struct CallHandle(Weak<HeldCall>);

impl CallHandle {
    pub(super) fn new(call: &Arc<HeldCall>) -> Self {
        CallHandle(Arc::downgrade(call))
    }

    /// Ends the call with [`ECANCELED`](crate::error::ECANCELED) if it is in progress. Its server is told by the end of
    /// the connection, where the call has one of its own.
    ///
    /// *Blocking*: no.
    pub fn cancel(&self) {
        if let Some(call) = self.0.upgrade() {
            call.cancel();
        }
    }

    /// Whether the call is in progress.
    pub fn is_running(&self) -> bool {
        self.0.upgrade().is_some_and(|call| call.is_running())
    }

    /// Waits for the call's end: until its callback has returned, if it has one, which must not wait for itself. Any
    /// number may wait; if it has ended, nobody does.
    ///
    /// *Blocking*: parks the bthread, or blocks the thread outside of bthreads.
    pub fn join(&self) {
        if let Some(call) = self.0.upgrade() {
            call.wait();
        }
    }
}

impl fmt::Debug for CallHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallHandle").field("is_running", &self.is_running()).finish()
    }
}
