//! Looks at all connections once a second: how much each carries, and which peers of servers are too slow or idle.
//!
//! Owns the rates that the pages show and the bthreads that look: one in each runtime, at the connections that were made
//! there, as long as there are any. So a runtime whose workers are held delays nobody else. It must never hold up a
//! connection.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bthread::Runtime;

use super::{SOCKETS, Socket, clock, lock};
use crate::error::{ETIMEDOUT, RpcError};
use crate::limits::SLOW_MESSAGE_RATE;
use crate::protocol::Role;

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// After so many connections the watch lets other bthreads run.
const LOOKED_AT_PER_TURN: usize = 256;
/// Looks between two of the totals that are kept for the rate of a minute,
const LOOKS_PER_STEP: u32 = 10;
/// and how many those are.
const STEPS: usize = 6;

/// Counted by the reader, read by pages and by whoever looks for slow peers.
#[derive(Default)]
pub(super) struct InTraffic {
    pub(super) bytes: AtomicU64,
    pub(super) messages: AtomicU64,
    /// When a message began to arrive that is not whole; 0: there is none. In milliseconds of [`clock`].
    pub(super) partial_since: AtomicU64,
    /// The value of `bytes` then.
    pub(super) partial_from: AtomicU64,
    /// When something was read, in the same.
    pub(super) last_at: AtomicU64,
}

/// Bytes and messages, in and out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) in_bytes: u64,
    pub(crate) in_messages: u64,
    pub(crate) out_bytes: u64,
    pub(crate) out_messages: u64,
}

impl Totals {
    fn since(self, before: Totals) -> Totals {
        Totals {
            in_bytes: self.in_bytes - before.in_bytes,
            in_messages: self.in_messages - before.in_messages,
            out_bytes: self.out_bytes - before.out_bytes,
            out_messages: self.out_messages - before.out_messages,
        }
    }
}

/// What one connection carried lately.
#[derive(Debug, Default)]
pub(super) struct Rates {
    looks: u32,
    last: Totals,
    second: Totals,
    /// The totals every ten seconds, the oldest first; those before the connection was there are 0.
    steps: [Totals; STEPS],
    /// The last look that found something carried, or the first one.
    active_at: Option<Instant>,
    /// The first look of those that found bytes unwritten, and none taken since the one before.
    stalled_at: Option<Instant>,
}

impl Rates {
    /// Returns for how long nothing was carried.
    fn look(&mut self, now: Totals, at: Instant) -> Duration {
        self.second = now.since(self.last);
        if self.second != Totals::default() {
            self.active_at = Some(at);
        }
        self.last = now;
        self.looks += 1;
        if self.looks == LOOKS_PER_STEP {
            self.looks = 0;
            self.steps.rotate_left(1);
            self.steps[STEPS - 1] = now;
        }
        at.saturating_duration_since(*self.active_at.get_or_insert(at))
    }

    /// For how long the peer has taken nothing of what is there for it. Called after [`look`](Self::look).
    fn stalled_for(&mut self, has_unwritten: bool, at: Instant) -> Duration {
        if !has_unwritten || self.second.out_bytes > 0 {
            self.stalled_at = None;
            return Duration::ZERO;
        }
        at.saturating_duration_since(*self.stalled_at.get_or_insert(at))
    }

    /// Of the last second, and of the last minute as the 50 to 59 seconds tell that are known exactly.
    fn rates(&self) -> (Totals, Totals) {
        let known = self.last.since(self.steps[0]);
        if self.steps[0] == Totals::default() {
            return (self.second, known); // all that there was
        }
        let seconds = u64::from(LOOKS_PER_STEP) * (STEPS as u64 - 1) + u64::from(self.looks);
        let minute = |count: u64| count * 60 / seconds;
        let minute = Totals {
            in_bytes: minute(known.in_bytes),
            in_messages: minute(known.in_messages),
            out_bytes: minute(known.out_bytes),
            out_messages: minute(known.out_messages),
        };
        (self.second, minute)
    }
}

/// What there is in the runtimes, by their tags: none where there are no connections and no watch.
static WATCHES: Mutex<BTreeMap<u32, Watch>> = Mutex::new(BTreeMap::new());

#[derive(Default)]
struct Watch {
    connections: usize,
    /// The bthread is there.
    runs: bool,
}

/// The runtime that a connection is made in.
pub(super) fn here() -> u32 {
    Runtime::current().tag()
}

/// Sees that somebody watches, now that there is one more connection in the caller's runtime.
pub(super) fn add(tag: u32) {
    let starts = {
        let mut watches = lock(&WATCHES);
        let watch = watches.entry(tag).or_default();
        watch.connections += 1;
        !std::mem::replace(&mut watch.runs, true)
    };
    if starts && bthread::Builder::new().name("rpc_watch").spawn(move || watch(tag)).is_err() {
        // The next connection tries again.
        if let Some(watch) = lock(&WATCHES).get_mut(&tag) {
            watch.runs = false;
        }
    }
}

/// There is one connection less in a runtime.
pub(super) fn remove(tag: u32) {
    if let Some(watch) = lock(&WATCHES).get_mut(&tag) {
        watch.connections -= 1;
    }
}

/// Whether there is nothing to watch any more; whoever comes next starts another watch then.
fn ends(tag: u32) -> bool {
    let mut watches = lock(&WATCHES);
    let ends = watches.get(&tag).is_none_or(|watch| watch.connections == 0);
    if ends {
        watches.remove(&tag);
    }
    ends
}

fn watch(tag: u32) {
    loop {
        bthread::sleep(PERIOD);
        let mut now = bthread::clock::now();
        for (count, socket) in SOCKETS.iter().enumerate() {
            if socket.runtime == tag {
                socket.watched(now);
            }
            drop(socket);
            if count % LOOKED_AT_PER_TURN == LOOKED_AT_PER_TURN - 1 {
                bthread::yield_now();
                now = bthread::clock::now();
            }
        }
        if ends(tag) {
            return;
        }
    }
}

impl Socket {
    /// What it has carried since it was made.
    pub(crate) fn totals(&self) -> Totals {
        let (input, output) = (&self.input.traffic, &self.output.traffic);
        // Relaxed: statistics.
        Totals {
            in_bytes: input.bytes.load(Ordering::Relaxed),
            in_messages: input.messages.load(Ordering::Relaxed),
            out_bytes: output.bytes.load(Ordering::Relaxed),
            out_messages: output.messages.load(Ordering::Relaxed),
        }
    }

    /// Whether nothing was carried for at least so long. No, if in doubt.
    pub(super) fn has_carried_nothing_for(&self, time: Duration) -> bool {
        let (now, rates) = (bthread::clock::now(), lock(&self.rates));
        let is_active = rates.last != self.totals();
        !is_active && rates.active_at.is_some_and(|at| now.saturating_duration_since(at) >= time)
    }

    /// What it has carried in the last second, and in the last minute.
    pub(crate) fn rates(&self) -> (Totals, Totals) {
        lock(&self.rates).rates()
    }

    fn watched(self: &Arc<Self>, now: Instant) {
        let totals = self.totals();
        let (idle_for, stalled_for) = {
            let mut rates = lock(&self.rates);
            (rates.look(totals, now), rates.stalled_for(self.unwritten() > 0, now))
        };
        if self.owner.role() == Role::Server {
            let is_stalled = stalled_for > self.limits.slow_message_timeout;
            let stalled = is_stalled.then(|| format!("{} does not take what is written", self.remote));
            let error = stalled.or_else(|| self.is_too_slow(now)).or_else(|| {
                let limit = self.limits.idle_timeout.filter(|limit| idle_for >= *limit)?;
                Some(format!("Nothing came from or went to {} for {}s", self.remote, limit.as_secs()))
            });
            if let Some(text) = error {
                self.set_failed(RpcError::new(ETIMEDOUT, text));
            }
        }
    }

    /// A message is arriving too slowly.
    fn is_too_slow(&self, now: Instant) -> Option<String> {
        let traffic = &self.input.traffic;
        // Relaxed: the reader's notes, which may be a moment old.
        let since = traffic.partial_since.load(Ordering::Relaxed);
        if since == 0 {
            return None;
        }
        let bytes = traffic
            .bytes
            .load(Ordering::Relaxed)
            .saturating_sub(traffic.partial_from.load(Ordering::Relaxed));
        let allowed = self.limits.slow_message_timeout + Duration::from_secs(bytes / SLOW_MESSAGE_RATE);
        let taken = Duration::from_millis(clock::millis(now).saturating_sub(since));
        (taken > allowed).then(|| format!("{} sends a message too slowly", self.remote))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(n: u64) -> Totals {
        Totals { in_bytes: n, in_messages: n, out_bytes: n, out_messages: n }
    }

    #[test]
    fn a_connection_is_idle_from_what_it_carried_last() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(rates.look(totals(0), start), Duration::ZERO);
        assert_eq!(rates.look(totals(0), start + second), second);
        assert_eq!(rates.look(totals(1), start + 2 * second), Duration::ZERO);
        assert_eq!(rates.look(totals(1), start + 4 * second), 2 * second);
    }

    #[test]
    fn a_peer_stalls_from_when_it_takes_nothing_of_what_is_there() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let second = Duration::from_secs(1);
        let mut look = |out, has_unwritten, at| {
            let now = start + at * second;
            rates.look(Totals { out_bytes: out, ..totals(0) }, now);
            rates.stalled_for(has_unwritten, now)
        };
        assert_eq!(look(0, true, 0), Duration::ZERO);
        assert_eq!(look(0, true, 2), 2 * second);
        assert_eq!(look(1, true, 3), Duration::ZERO, "it has taken something");
        assert_eq!(look(1, true, 4), Duration::ZERO);
        assert_eq!(look(1, true, 9), 5 * second);
        assert_eq!(look(1, false, 10), Duration::ZERO, "nothing is there");
        assert_eq!(look(1, true, 11), Duration::ZERO);
    }

    #[test]
    fn rates_are_those_of_the_last_second_and_minute() {
        let mut rates = Rates::default();
        let start = Instant::now();
        for second in 1..=25 {
            rates.look(totals(second * 3), start);
        }
        assert_eq!(rates.rates(), (totals(3), totals(75)), "younger than a minute: all of it");
        for second in 26..=100 {
            rates.look(totals(second * 3), start);
        }
        assert_eq!(rates.rates(), (totals(3), totals(60 * 3)), "from the 50th second on");
    }
}
