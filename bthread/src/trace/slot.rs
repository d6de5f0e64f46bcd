//! Who may touch the one buffer that a signal handler fills for somebody who waits: the asker or the handler.
//!
//! | state | the buffer belongs to | who leaves it |
//! |---|---|---|
//! | `IDLE` | the asker | asker → `ASKED`, with a new ticket |
//! | `ASKED` | nobody | handler with that ticket → `FILLING`, asker → `IDLE` |
//! | `FILLING` | the handler | handler → `FULL` |
//! | `FULL` | the asker | asker → `ASKED`, with a new ticket |
//!
//! There is one asker at a time. A handler that comes late has a ticket that is no longer asked for and touches
//! nothing. Must never wait, so that a handler can use it.

use crate::atomic::{AtomicU32, Ordering};

const IDLE: u32 = 0;
const ASKED: u32 = 1;
const FILLING: u32 = 2;
const FULL: u32 = 3;
const STATE_MASK: u32 = 3;
const TICKET_STEP: u32 = 4;

/// The number of one request; they repeat after 2^30.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ticket(u32);

impl Ticket {
    /// As a number that a signal can carry.
    pub(crate) fn to_u32(self) -> u32 {
        self.0
    }

    /// Any number makes a ticket; one that was not given out opens nothing.
    pub(crate) fn from_u32(number: u32) -> Ticket {
        Ticket(number & !STATE_MASK)
    }
}

/// The state of the buffer, and the ticket of the latest request.
pub(crate) struct Slot(AtomicU32);

impl Slot {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Slot {
        Slot(AtomicU32::new(IDLE))
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Slot {
        Slot(AtomicU32::new(IDLE))
    }

    /// Asks for the buffer to be filled. None: a handler is still filling it for an earlier request. By the asker.
    pub(crate) fn ask(&self) -> Option<Ticket> {
        // Acquire pairs with the Release in `finish`: what a late handler wrote comes before what the next one will.
        // Others change the word only in ASKED, where the asker never asks, and in FILLING; so it is ours.
        let word = self.0.load(Ordering::Acquire);
        if word & STATE_MASK == FILLING {
            return None;
        }
        let ticket = (word & !STATE_MASK).wrapping_add(TICKET_STEP);
        // Release pairs with the Acquire in `begin`: our last look at the buffer comes before the handler's writes.
        self.0.store(ticket | ASKED, Ordering::Release);
        Some(Ticket(ticket))
    }

    /// Takes the buffer to fill it. False: not asked for, or no longer; then the buffer is not to be touched. By a
    /// handler.
    pub(crate) fn begin(&self, ticket: Ticket) -> bool {
        let (asked, filling) = (ticket.0 | ASKED, ticket.0 | FILLING);
        // Acquire pairs with the Release in `ask`.
        self.0.compare_exchange(asked, filling, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Gives the buffer back. By the handler that has begun.
    pub(crate) fn finish(&self, ticket: Ticket) {
        // Release pairs with the Acquire in `is_full`: the asker sees the content. The word is ours since `begin`.
        self.0.store(ticket.0 | FULL, Ordering::Release);
    }

    /// Whether the buffer has been filled, and is the asker's. By the asker.
    pub(crate) fn is_full(&self) -> bool {
        self.0.load(Ordering::Acquire) & STATE_MASK == FULL // pairs with the Release in `finish`
    }

    /// Takes the request back. False: a handler has begun. By the asker.
    pub(crate) fn withdraw(&self, ticket: Ticket) -> bool {
        let (asked, idle) = (ticket.0 | ASKED, ticket.0 | IDLE);
        // Relaxed: nobody has touched the buffer for this request.
        self.0.compare_exchange(asked, idle, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(all(test, loom))]
#[allow(unsafe_code)]
mod models {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;

    struct Area {
        slot: Slot,
        content: UnsafeCell<u32>,
    }

    // SAFETY: loom checks every access to the content.
    unsafe impl Sync for Area {}
    // SAFETY: as above.
    unsafe impl Send for Area {}

    fn handler(area: Arc<Area>, ticket: Ticket, value: u32) {
        if area.slot.begin(ticket) {
            // SAFETY: loom checks it.
            area.content.with_mut(|content| unsafe { *content = value });
            area.slot.finish(ticket);
        }
    }

    fn look(area: &Area, expected: u32) {
        if area.slot.is_full() {
            // SAFETY: loom checks it.
            area.content.with(|content| assert_eq!(unsafe { *content }, expected));
        }
    }

    /// A request that is withdrawn or not, then another one; both handlers may come at any time. They know their
    /// tickets beforehand, so that the slot alone orders what they do.
    #[test]
    fn loom_a_handler_touches_the_buffer_only_while_it_is_asked_for() {
        crate::atomic::model(|| {
            let area = Arc::new(Area { slot: Slot::new(), content: UnsafeCell::new(0) });
            let tickets = [Ticket(TICKET_STEP), Ticket(2 * TICKET_STEP)];
            let handlers = tickets.map(|ticket| {
                let area = area.clone();
                loom::thread::spawn(move || handler(area, ticket, ticket.0))
            });
            assert_eq!(area.slot.ask(), Some(tickets[0]));
            if !area.slot.withdraw(tickets[0]) {
                look(&area, tickets[0].0);
            }
            if let Some(second) = area.slot.ask() {
                assert_eq!(second, tickets[1]);
                look(&area, second.0);
            }
            for handler in handlers {
                handler.join().unwrap();
            }
        });
    }
}
