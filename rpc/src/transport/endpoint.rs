//! Addresses: what is listened on and connected to.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{EINVAL, RpcError};

/// Marks the address of a Unix socket: `unix:/run/echo.sock`.
const UNIX_PREFIX: &str = "unix:";

/// An address to listen on or to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A socket in the file system; with a leading `@` a name in the abstract name space of Linux, which is no file and
    /// ends with its listener.
    Unix(PathBuf),
    /// A name that means something to a [`Connector`](super::Connector) or [`Listener`](super::Listener) of the
    /// program's own.
    Named(Arc<str>),
}

impl Endpoint {
    /// Reads `ip:port`, `[ip6]:port`, `host:port`, `unix:path` or `unix:@name`.
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
            Endpoint::Unix(_) | Endpoint::Named(_) => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => address.fmt(f),
            Endpoint::Unix(path) => write!(f, "{UNIX_PREFIX}{}", path.display()),
            Endpoint::Named(name) => f.write_str(name),
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Endpoint::Tcp(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_printed() {
        for text in ["127.0.0.1:8000", "[::1]:8000", "unix:/tmp/echo.sock", "unix:@echo"] {
            assert_eq!(Endpoint::resolve(text).unwrap().to_string(), text);
        }
        assert_eq!(Endpoint::resolve("localhost:80").unwrap().port(), Some(80));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "unix:", "127.0.0.1", "127.0.0.1:99999", "no port:", "127.0.0.1:80:junk"] {
            assert_eq!(Endpoint::resolve(text).unwrap_err().code(), EINVAL, "{text}");
        }
    }
}
