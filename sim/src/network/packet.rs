//! What goes over a link, and how the trace shows it.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::endpoint::Side;

/// One packet of a connection.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) connection: u64,
    pub(super) label: Arc<str>,
    pub(super) sender: Side,
    pub(super) from: Ipv4Addr,
    pub(super) to: Ipv4Addr,
    pub(super) sent: Duration,
    /// None where the sender knows nothing of the connection, or not yet.
    pub(super) acknowledges: Option<Acknowledgement>,
    pub(super) body: Body,
}

/// What a packet says of the bytes that went the other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Acknowledgement {
    /// All before this have arrived; the end counts as one.
    pub(super) next: u64,
    /// So many bytes from there on are welcome.
    pub(super) window: usize,
    /// When that was sent which this answers.
    pub(super) echo: Option<Duration>,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    /// To the port, from the port.
    Syn {
        from_port: u16,
        port: u16,
    },
    SynAck,
    /// Bytes from an offset on, and whether they are the last.
    Segment {
        at: u64,
        bytes: Vec<u8>,
        is_last: bool,
    },
    /// Nothing but the acknowledgement.
    Ack,
    /// Asks for one.
    Probe,
    /// The number that would come next, as far as the sender can tell: what the packet acknowledges that this answers.
    Rst {
        at: Option<u64>,
    },
}

impl Packet {
    pub(super) fn payload(&self) -> usize {
        match &self.body {
            Body::Segment { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }

    /// Whether the trace shows that it was sent and arrived: nobody wants to see each acknowledgement.
    pub(super) fn is_shown(&self) -> bool {
        !matches!(self.body, Body::Ack | Body::Probe)
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.label, way(self.sender))?;
        match &self.body {
            Body::Syn { port, .. } => write!(f, "SYN to port {port}"),
            Body::SynAck => f.write_str("SYN+ACK"),
            Body::Segment { at, bytes, is_last } => {
                Shape { at: *at, len: bytes.len(), is_last: *is_last }.fmt(f)
            }
            Body::Ack => f.write_str("ACK"),
            Body::Probe => f.write_str("probe"),
            Body::Rst { .. } => f.write_str("RST"),
        }
    }
}

/// Which way a packet of that side goes.
pub(super) fn way(sender: Side) -> char {
    match sender {
        Side::Client => '>',
        Side::Server => '<',
    }
}

/// A segment without its bytes.
pub(super) struct Shape {
    pub(super) at: u64,
    pub(super) len: usize,
    pub(super) is_last: bool,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.len, self.is_last) {
            (0, true) => write!(f, "FIN at {}", self.at),
            (len, true) => write!(f, "segment {}+{len} FIN", self.at),
            (len, false) => write!(f, "segment {}+{len}", self.at),
        }
    }
}
