//! What a wait does, wherever it is called: park the bthread on a worker, block the thread elsewhere.

use std::time::Instant;

use crate::parker::{self, Parker};
#[cfg(not(loom))]
use crate::task::TaskId;

/// What somebody waits for: for lists of bthreads, nothing depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A word at this address.
    Butex(usize),
    /// A channel to have a value, or room.
    Channel,
    /// A future.
    Future,
    /// A call on the blocking pool, or room there.
    #[cfg(not(loom))]
    Blocking,
    /// A descriptor.
    Io,
    #[cfg(not(loom))]
    Sleep,
    #[cfg(not(loom))]
    Join(TaskId),
}

#[cfg(not(loom))]
impl Reason {
    const KIND_SHIFT: u32 = 60;
    const SLEEP: u64 = 1;
    const JOIN: u64 = 2;
    const CHANNEL: u64 = 3;
    const FUTURE: u64 = 4;
    const BLOCKING: u64 = 5;
    const IO: u64 = 6;

    /// In one word; addresses leave the top bits free. Of a joined id only the slot is kept.
    pub(crate) fn pack(self) -> u64 {
        match self {
            Reason::Butex(address) => address as u64,
            Reason::Sleep => Self::SLEEP << Self::KIND_SHIFT,
            Reason::Channel => Self::CHANNEL << Self::KIND_SHIFT,
            Reason::Future => Self::FUTURE << Self::KIND_SHIFT,
            Reason::Blocking => Self::BLOCKING << Self::KIND_SHIFT,
            Reason::Io => Self::IO << Self::KIND_SHIFT,
            Reason::Join(id) => Self::JOIN << Self::KIND_SHIFT | id.index() as u64,
        }
    }

    pub(crate) fn unpack(word: u64) -> Self {
        match word >> Self::KIND_SHIFT {
            Self::SLEEP => Reason::Sleep,
            Self::CHANNEL => Reason::Channel,
            Self::FUTURE => Reason::Future,
            Self::BLOCKING => Reason::Blocking,
            Self::IO => Reason::Io,
            Self::JOIN => match crate::task::slot_of(TaskId::from_u64(u64::from(word as u32))) {
                Some(task) => Reason::Join(task.get().id()),
                None => Reason::Sleep,
            },
            _ => Reason::Butex(word as usize),
        }
    }
}

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
pub(crate) fn park_for(parker: &'static Parker, deadline: Option<Instant>, reason: Reason) {
    #[cfg(not(loom))]
    if let Some(task) = parker.bthread() {
        return crate::worker::park(task, deadline, reason);
    }
    let _ = reason;
    #[cfg(loom)]
    if deadline.is_some() {
        return; // see `is_over`
    }
    parker.park_thread(deadline);
}

/// Whether the time of a wait is up. In models every deadline passes as soon as the waiter would sleep: what they
/// explore is giving up against being woken, and there is no clock that could tell them when.
pub(crate) fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| cfg!(loom) || deadline <= crate::clock::now())
}

/// Takes notice of an interruption of the calling bthread ([`interrupt`](crate::interrupt)): for waits that end on one.
/// `parker` must be what [`current_parker`] gave to this caller. Whoever interrupts sets the mark first and then
/// unparks, so a wait looks before it parks and again after it. Never true for an OS thread.
pub(crate) fn take_interrupt(parker: &'static Parker) -> bool {
    let _ = parker;
    #[cfg(not(loom))]
    if let Some(task) = parker.bthread() {
        return task.get().take_interrupt();
    }
    #[cfg(loom)]
    return models::take_interrupt();
    #[cfg(not(loom))]
    false
}

/// The interruption mark of the one interruptible waiter that a model has.
#[cfg(loom)]
pub(crate) mod models {
    use super::Parker;
    use crate::atomic::{AtomicBool, Ordering};

    loom::lazy_static!(static ref INTERRUPTED: AtomicBool = AtomicBool::new(false););

    #[cfg(test)]
    pub(crate) fn interrupt(waiter: &'static Parker) {
        INTERRUPTED.store(true, Ordering::Release); // as `Task::interrupt`
        waiter.unpark();
    }

    pub(crate) fn take_interrupt() -> bool {
        INTERRUPTED.load(Ordering::Relaxed) && INTERRUPTED.swap(false, Ordering::Acquire) // as the task's
    }
}
