//! One direction between two nodes: when a packet that leaves now arrives, if it does. It must never know what a packet
//! means.

use std::ops::Range;
use std::time::Duration;

use crate::Random;

/// Bytes that a packet takes on the wire beyond what it carries: the headers of IPv4 and TCP.
pub const HEADER_BYTES: usize = 40;

/// A link that is busy for so long drops what comes, as a router whose queue is full.
pub const LINK_QUEUE_MAX: Duration = Duration::from_secs(10);

/// What one direction between two nodes is like. Its default is a quick network that tears a little.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "scenarios make it")]
pub struct LinkOptions {
    /// What a packet needs at least, and below what it needs at most. Both alike: always so much. Default: 200 µs to 1 ms.
    pub latency: Range<Duration>,
    /// Bytes per second; `None`, the default: without bound. 0 counts as 1.
    pub bandwidth: Option<u64>,
    /// How likely a packet is to be lost, 0.0 to 1.0. Bytes are sent again, so that a loss is seen as a delay. Default: 0.
    pub loss: f64,
    /// How likely a read, a write or a segment is to be cut short at a random place, 0.0 to 1.0. Default: 0.05.
    pub tear: f64,
}

impl Default for LinkOptions {
    fn default() -> Self {
        LinkOptions {
            latency: Duration::from_micros(200)..Duration::from_millis(1),
            bandwidth: None,
            loss: 0.0,
            tear: 0.05,
        }
    }
}

impl LinkOptions {
    /// A link without chance: every packet takes `latency`, nothing is lost or torn.
    pub fn exact(latency: Duration) -> Self {
        LinkOptions { latency: latency..latency, bandwidth: None, loss: 0.0, tear: 0.0 }
    }

    /// What leads from a node to itself.
    pub(super) fn loopback() -> Self {
        LinkOptions {
            latency: Duration::from_micros(10)..Duration::from_micros(50),
            ..LinkOptions::default()
        }
    }
}

/// What faults do to a link at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Condition {
    pub(super) is_cut: bool,
    pub(super) latency: Duration,
    pub(super) bandwidth: Option<u64>,
    pub(super) loss: f64,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carried {
    /// It arrives then.
    Arrives(Duration),
    /// By chance, or because the queue is full.
    Lost,
    /// A fault is in the way.
    CutOff,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) options: LinkOptions,
    pub(super) random: Random,
    /// When the last byte of what was sent so far has left.
    free_at: Duration,
}

impl Link {
    pub(super) fn new(options: LinkOptions, random: Random) -> Self {
        Link { options, random, free_at: Duration::ZERO }
    }

    /// Takes a packet with `bytes` of payload at `now`.
    pub(super) fn carry(&mut self, now: Duration, bytes: usize, condition: &Condition) -> Carried {
        if condition.is_cut {
            return Carried::CutOff;
        }
        let begins = self.free_at.max(now);
        let loss = self.options.loss.max(condition.loss);
        if begins - now > LINK_QUEUE_MAX || (loss > 0.0 && self.random.chance(loss)) {
            return Carried::Lost;
        }
        let bandwidth = match (self.options.bandwidth, condition.bandwidth) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let takes = bandwidth.map_or(Duration::ZERO, |rate| {
            let nanos = (bytes + HEADER_BYTES) as u128 * 1_000_000_000 / u128::from(rate.max(1));
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        });
        self.free_at = begins.saturating_add(takes);
        let Range { start, end } = self.options.latency;
        let latency = if start < end { self.random.duration(start, end) } else { start };
        Carried::Arrives(self.free_at.saturating_add(latency).saturating_add(condition.latency))
    }

    /// `n`, or by chance less, but at least 1. `n` is not 0.
    pub(super) fn torn(&mut self, n: usize) -> usize {
        if n > 1 && self.options.tear > 0.0 && self.random.chance(self.options.tear) {
            1 + self.random.below(n as u64 - 1) as usize
        } else {
            n
        }
    }
}
