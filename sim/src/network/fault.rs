//! What can go wrong in the network.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::Random;

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
