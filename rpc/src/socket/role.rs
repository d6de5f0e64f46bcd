//! Whose turn it is to send what a socket has queued: one at a time, and never nobody for long.
//!
//! The push that finds the queue idle makes its caller the sender. One that does not send at once leaves the role here for
//! others to take. `role_model` tries the hand-overs in all orders.

use std::sync::atomic::{AtomicU8, Ordering};

/// Nobody has left the role for others to take: there is no sender, or it is at work.
const TAKEN: u8 = 0;
/// The sender has deferred its work; anybody may do it.
const DEFERRED: u8 = 1;
/// There is no connection yet; connecting holds the role.
const CONNECTING: u8 = 2;

/// The role of the sender, where it can be left.
pub(super) struct SenderRole(AtomicU8);

impl SenderRole {
    pub(super) fn new() -> Self {
        SenderRole(AtomicU8::new(TAKEN))
    }

    /// The sender leaves its work to whoever comes first.
    pub(super) fn defer(&self) {
        self.0.store(DEFERRED, Ordering::Release); // pairs with the Acquire in `take` and `take_any`
    }

    /// The sender leaves its work to whoever connects.
    pub(super) fn leave_to_connecting(&self) {
        self.0.store(CONNECTING, Ordering::Release); // as in `defer`
    }

    /// A hint whether the role is deferred.
    pub(super) fn is_deferred(&self) -> bool {
        self.0.load(Ordering::Relaxed) == DEFERRED // decides nothing: taking it does
    }

    /// True if the role was deferred: it is the caller's now.
    pub(super) fn take_deferred(&self) -> bool {
        self.take(DEFERRED)
    }

    /// True if the role waited for the connection: it is the caller's now.
    pub(super) fn take_connecting(&self) -> bool {
        self.take(CONNECTING)
    }

    /// True if the role was left at all: it is the caller's now.
    pub(super) fn take_any(&self) -> bool {
        // Acquire pairs with the Release that left it.
        self.0.swap(TAKEN, Ordering::Acquire) != TAKEN
    }

    fn take(&self, left: u8) -> bool {
        // Acquire pairs with the Release that left it. The relaxed failure decides nothing.
        self.0.compare_exchange(left, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }
}
