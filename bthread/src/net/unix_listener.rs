//! A socket that takes connections from processes of the same machine.

use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shape::{impl_listener, impl_socket};
use super::socket::Socket;
use super::unix_stream::UnixStream;

/// A socket that takes connections from processes of the same machine; `std::os::unix::net::UnixListener` for
/// bthreads. Any number of bthreads and threads may accept at a time. Its path stays when it is dropped.
pub struct UnixListener {
    // mio's, since its accept makes connections that are in non-blocking mode from the start.
    socket: Arc<Socket<mio::net::UnixListener>>,
}

impl UnixListener {
    /// Listens at a path, which must not exist. Never blocks.
    ///
    /// # Errors
    /// Those of `bind`; `InvalidInput` for a path that is too long.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        Self::bind_addr(&SocketAddr::from_pathname(path)?)
    }

    /// Listens at an address, which may be an abstract one. Never blocks.
    ///
    /// # Errors
    /// Those of `bind`.
    pub fn bind_addr(addr: &SocketAddr) -> io::Result<UnixListener> {
        Ok(UnixListener { socket: Socket::new(mio::net::UnixListener::bind_addr(addr)?)? })
    }
}

impl_listener!(UnixListener, UnixStream, IncomingUnix);
impl_socket!(UnixListener);
