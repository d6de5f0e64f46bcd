//! The life of an entry of the socket map: what is known of its server, who makes a connection, and who may use it.
//!
//! One state machine, without I/O, locks or clocks: [`Entry`](super::entry::Entry) feeds it under its lock and does what
//! it says. Each connection that it asks for has a number, so that what is heard of an old one changes nothing for its
//! successor. `life_model` tries it in all orders of events.

use bthread::planted;

/// The number of a connection of an entry, never given twice.
pub(super) type Generation = u64;

/// How calls use the connections of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sharing {
    /// All use the one that there is.
    Shared,
    /// Each has its own. The machine then says whether one may be made, and who tries while the server is away.
    Exclusive,
}

/// What is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// Nothing bad, and no connection: whoever needs one makes it. Of exclusive ones: whoever needs one may make it.
    Idle,
    /// One is being made for the first time since the last one was there; who needs it waits for it.
    Connecting(Generation),
    /// There is one.
    Up(Generation),
    /// The server was not reached. One try at a time is made, perhaps this one; who needs a connection fails meanwhile.
    Checking(Option<Generation>),
    /// Nobody wants connections any more.
    Closed,
}

/// What becomes of somebody who needs a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The one that there is, which may be connecting.
    Join,
    /// Makes one, with this number, and has to tell how that ended.
    Connect(Generation),
    /// There is none, and it is not the time to try.
    Refused,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum End {
    /// It had been connected.
    Lost,
    /// Connecting failed: the server is not there.
    Unreachable,
    /// Connecting took too long, which may be the network's.
    TimedOut,
    /// Connecting was not waited for.
    GivenUp,
}

/// Whoever gets it has to call [`Life::due`] with `token` after a time that grows with `failures`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) token: u64,
    /// Tries that have failed in a row, from 1.
    pub(super) failures: u32,
}

/// The life of one entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Life {
    sharing: Sharing,
    phase: Phase,
    /// The number given last.
    last: Generation,
    /// The check that counts, by its token; earlier ones are void.
    token: u64,
    failures: u32,
    /// Connections in a row that took too long to be made.
    timeouts: u32,
}

impl Life {
    pub(super) fn new(sharing: Sharing) -> Self {
        Life { sharing, phase: Phase::Idle, last: 0, token: 0, failures: 0, timeouts: 0 }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// The number of the connection that everybody uses or will.
    pub(super) fn current(&self) -> Option<Generation> {
        match (self.sharing, self.phase) {
            (Sharing::Shared, Phase::Connecting(it) | Phase::Up(it) | Phase::Checking(Some(it))) => Some(it),
            _ => None,
        }
    }

    /// Somebody needs a connection. `pauses`: the last try is too young for another one.
    pub(super) fn want(&mut self, pauses: bool) -> Wanted {
        match self.phase {
            Phase::Connecting(_) | Phase::Up(_) => Wanted::Join,
            Phase::Idle => {
                let next = self.next();
                if self.sharing == Sharing::Shared {
                    self.phase = Phase::Connecting(next);
                }
                Wanted::Connect(next)
            }
            Phase::Checking(None) if !pauses => {
                let next = self.next();
                self.phase = Phase::Checking(Some(next));
                Wanted::Connect(next)
            }
            Phase::Checking(_) | Phase::Closed => Wanted::Refused,
        }
    }

    /// A connection stands.
    pub(super) fn connected(&mut self, which: Generation) {
        let stands = match (self.sharing, self.phase) {
            (_, Phase::Closed) => return,
            (Sharing::Shared, Phase::Connecting(it) | Phase::Checking(Some(it))) if it == which => {
                Phase::Up(which)
            }
            (Sharing::Shared, _) => return, // it has ended meanwhile
            (Sharing::Exclusive, _) => Phase::Idle,
        };
        self.phase = stands;
        self.failures = 0;
        self.timeouts = 0;
    }

    /// A connection has ended. Whatever is told of it again changes nothing.
    pub(super) fn ended(&mut self, which: Generation, how: End) -> Option<Check> {
        match (self.phase, how) {
            (Phase::Up(it), _) if it == which => self.phase = Phase::Idle,
            (Phase::Connecting(it), End::Unreachable) if it == which => return Some(self.check()),
            (Phase::Connecting(it), _) if it == which => self.phase = Phase::Idle,
            (Phase::Checking(Some(_)), _) if planted!(NeverRevived) && self.timeouts > 0 => {}
            // Whoever has made it does so no more, whatever the reason.
            (Phase::Checking(Some(it)), _) if it == which => return Some(self.check()),
            (Phase::Idle, End::Unreachable) if self.sharing == Sharing::Exclusive => {
                return Some(self.check());
            }
            _ => {}
        }
        None
    }

    /// Connecting takes too long, so that it is about to be ended. True if that is the `limit`th in a row: the server then
    /// counts as not there.
    pub(super) fn timed_out(&mut self, limit: u32) -> bool {
        self.timeouts = self.timeouts.saturating_add(1);
        self.timeouts >= limit
    }

    /// The connection is to take no more calls, as its peer leaves. True if it was the one in use.
    pub(super) fn drained(&mut self, which: Generation) -> bool {
        let is_current = self.phase == Phase::Up(which);
        if is_current {
            self.phase = Phase::Idle;
        }
        is_current
    }

    /// The time of a check has come: the number of the connection to make, if one is to be made.
    pub(super) fn due(&mut self, token: u64) -> Option<Generation> {
        if token != self.token || self.phase != Phase::Checking(None) {
            return None;
        }
        let next = self.next();
        self.phase = Phase::Checking(Some(next));
        Some(next)
    }

    /// Nobody wants connections any more.
    pub(super) fn close(&mut self) {
        self.phase = Phase::Closed;
    }

    fn next(&mut self) -> Generation {
        self.last += 1;
        self.last
    }

    fn check(&mut self) -> Check {
        self.phase = Phase::Checking(None);
        self.token += 1;
        self.failures = self.failures.saturating_add(1);
        Check { token: self.token, failures: self.failures }
    }
}
