//! The bounds that keep one connection from taking everything. Plain numbers, each with its default.

use std::time::Duration;

use bvar::flag::{self, Flag};

/// The most bytes behind a frame's header by default: 64 MiB (brpc: `max_body_size`).
pub const MAX_BODY_SIZE_DEFAULT: usize = 64 << 20;

/// The most unwritten bytes of a connection by default: 64 MiB (brpc: `socket_max_unwritten_bytes`).
pub const MAX_UNWRITTEN_BYTES_DEFAULT: usize = 64 << 20;

/// How long a message may take to arrive by default, beside the time that its size is worth.
pub const SLOW_MESSAGE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// Bytes of a message that are worth a second of its arriving.
pub const SLOW_MESSAGE_RATE: u64 = 1 << 10;

static MAX_BODY_SIZE: Flag<u64> = Flag::new(
    "max_body_size",
    MAX_BODY_SIZE_DEFAULT as u64,
    "The most bytes of a message, where the builder of the server or channel does not say",
);
static MAX_UNWRITTEN_BYTES: Flag<u64> = Flag::new(
    "socket_max_unwritten_bytes",
    MAX_UNWRITTEN_BYTES_DEFAULT as u64,
    "The most unwritten bytes of a connection, where the builder of the server or channel does not say",
);

pub(crate) fn register_flags() {
    flag::register(&[&MAX_BODY_SIZE, &MAX_UNWRITTEN_BYTES]);
}

fn bytes(flag: &Flag<u64>) -> usize {
    usize::try_from(flag.get()).unwrap_or(usize::MAX)
}

/// What a connection may hold, and how long. Its default reads the flags at that moment: take them from the command line
/// before.
///
/// ```
/// let mut limits = rpc::Limits::default();
/// limits.idle_timeout = Some(std::time::Duration::from_secs(60));
/// ```
///
/// Give it to a server's or a channel's builder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Limits {
    /// A message that declares more bytes than this behind its header ends its connection, before those bytes
    /// arrive. Exactly this many pass. Default: the flag `max_body_size`, [`MAX_BODY_SIZE_DEFAULT`].
    pub max_body_size: usize,
    /// While a connection has more bytes than this to write, calls on it fail with
    /// [`EOVERCROWDED`](crate::error::EOVERCROWDED), and so do new requests from it; replies are exempt, so that what
    /// runs can end. So are the refusals of new requests, up to as many bytes once more: a peer that goes on with
    /// requests until then, and does not read, loses its connection. Default: the flag `socket_max_unwritten_bytes`,
    /// [`MAX_UNWRITTEN_BYTES_DEFAULT`].
    pub max_unwritten_bytes: usize,
    /// A message must have arrived whole so long after its first bytes, and a second later for each
    /// [`SLOW_MESSAGE_RATE`] bytes of it that have come; between two parts of a body that is read as it arrives as much
    /// time may pass, and as long a peer may take nothing of what is written to it. Else a server closes the connection.
    /// Default: [`SLOW_MESSAGE_TIMEOUT_DEFAULT`].
    pub slow_message_timeout: Duration,
    /// A server closes a connection on which nothing was read or written for so long (brpc: `idle_timeout_sec`).
    /// Default: `None`, never.
    pub idle_timeout: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_body_size: bytes(&MAX_BODY_SIZE),
            max_unwritten_bytes: bytes(&MAX_UNWRITTEN_BYTES),
            slow_message_timeout: SLOW_MESSAGE_TIMEOUT_DEFAULT,
            idle_timeout: None,
        }
    }
}
