//! What happens when: events in the order of their times, and of their making where those are alike.

use std::collections::BTreeMap;
use std::time::Duration;

use super::endpoint::Key;
use super::packet::Packet;

/// Something that happens at a time.
#[derive(Debug)]
pub(super) enum Event {
    /// A packet arrives.
    Packet(Packet),
    /// A side of a connection has waited for long enough.
    Timer(Key),
}

/// Names an event that has not happened yet.
pub(super) type Ticket = (Duration, u64);

/// Its size has no bound of its own: there is one timer for each side of a connection, and senders have a bound for what
/// they have on the way.
#[derive(Debug, Default)]
pub(super) struct Queue {
    events: BTreeMap<Ticket, Event>,
    made: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at: Duration, event: Event) -> Ticket {
        self.made += 1;
        let ticket = (at, self.made);
        self.events.insert(ticket, event);
        ticket
    }

    pub(super) fn next(&self) -> Option<Duration> {
        self.events.keys().next().map(|(at, _)| *at)
    }

    /// The first event, if its time has come.
    pub(super) fn pop(&mut self, now: Duration) -> Option<(Duration, Event)> {
        let entry = self.events.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((at, _), event) = entry.remove_entry();
        Some((at, event))
    }

    /// Has a timer go off then, in place of when it did.
    pub(super) fn retime(&mut self, ticket: &mut Option<Ticket>, at: Option<Duration>, key: Key) {
        if ticket.map(|(at, _)| at) == at {
            return;
        }
        if let Some(ticket) = ticket.take() {
            self.events.remove(&ticket);
        }
        *ticket = at.map(|at| self.push(at, Event::Timer(key)));
    }
}
