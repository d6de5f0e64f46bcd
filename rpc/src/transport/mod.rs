//! What carries bytes between two endpoints: a `Transport`, one file per kind, and the addresses.
//!
//! A transport moves bytes without waiting and says when it could move more. It must never keep bytes, retry, or
//! know what they mean.

mod listen;
mod tcp;
mod unix;

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;

use bthread::poller::{EventHandler, Registration};
use iobuf::{IoBuf, IoPortal};

use crate::error::{EINVAL, RpcError};

pub use listen::BoundListener;
pub(crate) use listen::{Address, ListenOptions, cannot_listen};

/// Marks the address of a Unix socket: `unix:/run/echo.sock`.
const UNIX_PREFIX: &str = "unix:";

/// One connection's way to its peer. All methods return at once; reading and writing may run in parallel, two
/// reads or two writes may not.
pub(crate) trait Transport: Send + Sync + 'static {
    /// Reads at most `max` bytes that are there.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; others are final.
    fn read(&self, into: &mut IoPortal, max: usize) -> io::Result<Received>;

    /// Writes from the front of `from`, drops what was taken and returns how much that was.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room; others are final.
    fn write(&self, from: &mut IoBuf) -> io::Result<usize>;

    /// Has events delivered to `handler`, also for what is so already.
    fn register(&self, handler: Arc<dyn EventHandler>) -> io::Result<Registration>;

    /// Whether connecting has ended: an error if it failed.
    fn is_connected(&self) -> io::Result<bool>;

    /// The descriptor, for pages alone.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// Ends both directions, so that the peer and whoever waits for events learn of it.
    fn shutdown(&self);

    /// This side's address, once connected.
    fn local(&self) -> io::Result<Endpoint>;
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// 0 at the end of the stream.
    pub(crate) bytes: usize,
    /// There was nothing more at that moment, so that whatever comes later makes an event of its own. An end of
    /// stream may have come with the same event.
    pub(crate) drained: bool,
}

/// An address to listen on or to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Endpoint {
    /// Reads `ip:port`, `[ip6]:port`, `host:port` or `unix:path`.
    ///
    /// *Blocking*: a host name is looked up by the system, which blocks the thread; addresses are not.
    ///
    /// # Errors
    /// [`EINVAL`] for anything else, and for a name that has no address.
    pub fn resolve(text: &str) -> Result<Self, RpcError> {
        if let Some(path) = text.strip_prefix(UNIX_PREFIX).filter(|path| !path.is_empty()) {
            return Ok(Endpoint::Unix(path.into()));
        }
        if let Ok(address) = text.parse() {
            return Ok(Endpoint::Tcp(address));
        }
        let found = text.to_socket_addrs().map(|mut addresses| addresses.next());
        match found {
            Ok(Some(address)) => Ok(Endpoint::Tcp(address)),
            Ok(None) => Err(RpcError::new(EINVAL, format!("No address for `{text}'"))),
            Err(error) => Err(RpcError::new(EINVAL, format!("Invalid address=`{text}': {error}"))),
        }
    }

    /// The port; `None` where there are none.
    pub fn port(&self) -> Option<u16> {
        match self {
            Endpoint::Tcp(address) => Some(address.port()),
            Endpoint::Unix(_) => None,
        }
    }

    /// Starts to connect without waiting.
    pub(crate) fn connect(&self) -> io::Result<Box<dyn Transport>> {
        match self {
            Endpoint::Tcp(address) => Ok(Box::new(tcp::Tcp::connect(*address)?)),
            Endpoint::Unix(path) => Ok(Box::new(unix::Unix::connect(path)?)),
        }
    }

    /// Listens.
    pub(crate) fn listen(&self, options: ListenOptions) -> io::Result<Box<dyn Listener>> {
        match self {
            Endpoint::Tcp(address) => Ok(Box::new(listen::tcp(*address, options)?)),
            Endpoint::Unix(path) => Ok(Box::new(unix::listen(path, options.reuse_path)?)),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => address.fmt(f),
            Endpoint::Unix(path) => write!(f, "{UNIX_PREFIX}{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Endpoint::Tcp(address)
    }
}

/// Where connections come from.
pub(crate) trait Listener: Send + Sync + 'static {
    /// Takes one connection that is there, with the peer's address.
    ///
    /// # Errors
    /// `WouldBlock` when there is none.
    fn accept(&self) -> io::Result<(Box<dyn Transport>, Endpoint)>;

    /// Has events delivered to `handler`.
    fn register(&self, handler: Arc<dyn EventHandler>) -> io::Result<Registration>;

    /// The address, with the port that the system chose where it was to choose one.
    fn local(&self) -> io::Result<Endpoint>;

    /// The socket, to be handed to another process.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// Whether its path is removed with it.
    fn owns_path(&self) -> bool {
        false
    }

    /// Somebody else listens at its path from now on.
    fn leave_path(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_printed() {
        for text in ["127.0.0.1:8000", "[::1]:8000", "unix:/tmp/echo.sock"] {
            assert_eq!(Endpoint::resolve(text).unwrap().to_string(), text);
        }
        assert_eq!(Endpoint::resolve("localhost:80").unwrap().port(), Some(80));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "unix:", "127.0.0.1", "127.0.0.1:99999", "no port:"] {
            assert_eq!(Endpoint::resolve(text).unwrap_err().code(), EINVAL, "{text}");
        }
    }
}
