//! What can go wrong in the network.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::link::Condition;
use crate::Random;

/// Bytes per second that a drawn [`Fault::SlowLink`] leaves, if it has such a bound.
const SLOW_BANDWIDTH: (u64, u64) = (10_000, 1_000_000);

/// What a drawn [`Fault::SlowLink`] adds to the latency.
const SLOW_LATENCY: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(2));

/// Lasting faults at a time; the oldest ends for another.
pub const FAULTS_MAX: usize = 256;

/// Something that goes wrong between nodes, which are named by their addresses. [Lasting](Fault::is_lasting) ones stay
/// until they are lifted or healed, and the same one may be injected more than once; others happen once.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing gets through, either way. Senders are told nothing: bytes arrive when the next retransmission after the
    /// healing does, or the connection times out.
    Partition {
        /// One side.
        a: Ipv4Addr,
        /// The other.
        b: Ipv4Addr,
    },
    /// Nothing gets through from one to the other: bytes the other way arrive, but their acknowledgements do not.
    OneWay {
        /// Whose packets vanish.
        from: Ipv4Addr,
        /// On the way to whom.
        to: Ipv4Addr,
    },
    /// Nothing gets to the node or away from it.
    Isolate {
        /// The node.
        node: Ipv4Addr,
    },
    /// Packets take longer.
    SlowLink {
        /// Whose packets.
        from: Ipv4Addr,
        /// To whom.
        to: Ipv4Addr,
        /// Added to each packet's latency.
        latency: Duration,
        /// Bytes per second at most, if that is less than the link has.
        bandwidth: Option<u64>,
    },
    /// Packets are lost.
    Lossy {
        /// Whose packets.
        from: Ipv4Addr,
        /// To whom.
        to: Ipv4Addr,
        /// How likely, if that is more than it is for the link.
        loss: f64,
    },
    /// All connections between the two are reset, and both sides are told at once. Happens once.
    ResetConnections {
        /// One side.
        a: Ipv4Addr,
        /// The other.
        b: Ipv4Addr,
    },
    /// All connections between the two are reset at `a`, and `b` is told nothing: it learns when it sends next. Happens
    /// once.
    HalfOpen {
        /// Whose side is gone.
        a: Ipv4Addr,
        /// Who still believes in it.
        b: Ipv4Addr,
    },
    /// Lifts everything that lasts on the two links between the two, but for [`Fault::Isolate`]. Happens once.
    Heal {
        /// One side.
        a: Ipv4Addr,
        /// The other.
        b: Ipv4Addr,
    },
}

impl Fault {
    /// Whether it stays until it is [lifted](super::Network::lift) or [healed](super::Network::heal).
    pub fn is_lasting(&self) -> bool {
        match self {
            Fault::Partition { .. }
            | Fault::OneWay { .. }
            | Fault::Isolate { .. }
            | Fault::SlowLink { .. }
            | Fault::Lossy { .. } => true,
            Fault::ResetConnections { .. } | Fault::HalfOpen { .. } | Fault::Heal { .. } => false,
        }
    }

    /// Draws one for some of `nodes`, of which there are two or more, all different. Never [`Fault::Heal`].
    ///
    /// # Panics
    /// When there are fewer.
    pub fn draw(random: &mut Random, nodes: &[Ipv4Addr]) -> Self {
        let first = random.below(nodes.len() as u64) as usize;
        let other = (first + 1 + random.below(nodes.len() as u64 - 1) as usize) % nodes.len();
        let (a, b) = (nodes[first], nodes[other]);
        match random.below(7) {
            0 => Fault::Partition { a, b },
            1 => Fault::OneWay { from: a, to: b },
            2 => Fault::Isolate { node: a },
            3 => {
                let bandwidth =
                    random.chance(0.5).then(|| random.between(SLOW_BANDWIDTH.0, SLOW_BANDWIDTH.1));
                let latency = random.duration(SLOW_LATENCY.0, SLOW_LATENCY.1);
                Fault::SlowLink { from: a, to: b, latency, bandwidth }
            }
            // In hundredths, so that its text is all there is to it.
            4 => Fault::Lossy { from: a, to: b, loss: random.between(1, 50) as f64 / 100.0 },
            5 => Fault::ResetConnections { a, b },
            _ => Fault::HalfOpen { a, b },
        }
    }

    /// What it does to packets from one node to another.
    pub(super) fn apply(&self, sender: Ipv4Addr, receiver: Ipv4Addr, to: &mut Condition) {
        let link = (sender, receiver);
        match *self {
            Fault::Partition { a, b } if link == (a, b) || link == (b, a) => to.is_cut = true,
            Fault::OneWay { from: one, to: other } if link == (one, other) => to.is_cut = true,
            Fault::Isolate { node } if node == sender || node == receiver => to.is_cut = true,
            Fault::SlowLink { from: one, to: other, latency, bandwidth } if link == (one, other) => {
                to.latency += latency;
                to.bandwidth = [to.bandwidth, bandwidth].into_iter().flatten().min();
            }
            Fault::Lossy { from: one, to: other, loss } if link == (one, other) => {
                to.loss = to.loss.max(loss)
            }
            _ => {}
        }
    }

    /// Whether it is about links between these two, and about no others.
    pub(super) fn is_between(&self, a: Ipv4Addr, b: Ipv4Addr) -> bool {
        let ends = match *self {
            Fault::Partition { a, b }
            | Fault::ResetConnections { a, b }
            | Fault::HalfOpen { a, b }
            | Fault::Heal { a, b } => (a, b),
            Fault::OneWay { from, to } | Fault::SlowLink { from, to, .. } | Fault::Lossy { from, to, .. } => {
                (from, to)
            }
            Fault::Isolate { .. } => return false,
        };
        ends == (a, b) || ends == (b, a)
    }
}

impl Fault {
    /// As the trace shows it, with names of nodes.
    pub(super) fn with_names<N: fmt::Display>(&self, name: &impl Fn(Ipv4Addr) -> N) -> String {
        match self {
            Fault::Partition { a, b } => format!("partition {} | {}", name(*a), name(*b)),
            Fault::OneWay { from, to } => format!("cut {} -> {}", name(*from), name(*to)),
            Fault::Isolate { node } => format!("isolate {}", name(*node)),
            Fault::SlowLink { from, to, latency, bandwidth } => {
                let bandwidth = bandwidth.map(|bandwidth| format!(", {bandwidth} B/s")).unwrap_or_default();
                format!("slow {} -> {}: {latency:?} more{bandwidth}", name(*from), name(*to))
            }
            Fault::Lossy { from, to, loss } => format!("lossy {} -> {}: {loss}", name(*from), name(*to)),
            Fault::ResetConnections { a, b } => format!("reset connections {} | {}", name(*a), name(*b)),
            Fault::HalfOpen { a, b } => format!("half-open: reset {}, not {}", name(*a), name(*b)),
            Fault::Heal { a, b } => format!("heal {} | {}", name(*a), name(*b)),
        }
    }
}

/// With the nodes' addresses; the trace has their names.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_names(&|ip| ip))
    }
}
