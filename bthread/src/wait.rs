//! What a wait does, wherever it is called: park the bthread on a worker, block the thread elsewhere.

use std::time::Instant;

use crate::parker::{self, Parker};

/// The parker of whoever is calling.
///
/// While a bthread unwinds from a panic, its waits block the OS thread: std counts panics per thread, and another
/// bthread that ran on this one meanwhile would take the count for its own.
pub(crate) fn current_parker() -> &'static Parker {
    #[cfg(not(loom))]
    if let Some(task) = crate::worker::current_task()
        && !std::thread::panicking()
    {
        return task.get().parker();
    }
    parker::of_this_thread()
}

/// Sleeps until `parker` is unparked or the deadline has passed; may return early for no reason. `parker` must be
/// what [`current_parker`] gave to this caller. Does not unwind.
pub(crate) fn park(parker: &'static Parker, deadline: Option<Instant>) {
    #[cfg(not(loom))]
    if let Some(task) = parker.bthread() {
        return crate::worker::park(task, deadline);
    }
    #[cfg(loom)]
    if deadline.is_some() {
        return; // see `is_over`
    }
    parker.park_thread(deadline);
}

/// Whether the time of a wait is up. In models every deadline passes as soon as the waiter would sleep: what they
/// explore is giving up against being woken, and there is no clock that could tell them when.
pub(crate) fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| cfg!(loom) || deadline <= Instant::now())
}

/// Takes notice of an interruption of the calling bthread ([`interrupt`](crate::interrupt)): for waits that end on one.
/// `parker` must be what [`current_parker`] gave to this caller. Whoever interrupts sets the mark first and then
/// unparks, so a wait looks before it parks and again after it. Never true for an OS thread.
pub(crate) fn take_interrupt(parker: &'static Parker) -> bool {
    #[cfg(not(loom))]
    if let Some(task) = parker.bthread() {
        return task.get().take_interrupt();
    }
    let _ = parker;
    false
}
