//! A socket that takes connections from processes of the same machine.

use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shape::socket_traits;
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

    /// Takes over a listener of std, and puts it into non-blocking mode. Never blocks.
    ///
    /// # Errors
    /// As [`Watched::new`](crate::fd::Watched::new).
    pub fn from_std(listener: net::UnixListener) -> io::Result<UnixListener> {
        listener.set_nonblocking(true)?;
        Ok(UnixListener { socket: Socket::new(mio::net::UnixListener::from_std(listener))? })
    }

    /// The listener of std, in blocking mode. Never blocks.
    ///
    /// # Errors
    /// `ResourceBusy` when there are other clones.
    pub fn into_std(self) -> io::Result<net::UnixListener> {
        let listener = net::UnixListener::from(Socket::into_inner(self.socket)?);
        listener.set_nonblocking(false)?;
        Ok(listener)
    }

    /// The next connection, and whose it is (mostly an address without a name). *Blocking*: parks the calling bthread,
    /// or blocks the calling thread.
    ///
    /// # Errors
    /// Those of `accept` (`EMFILE` is worth a pause), of the registration, `Interrupted`; `EBADF` after
    /// a [`close`](Self::close).
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        self.accept_before(None)
    }

    /// As [`accept`](Self::accept), until a time.
    ///
    /// # Errors
    /// `TimedOut`; else as [`accept`](Self::accept).
    pub fn accept_until(&self, deadline: Instant) -> io::Result<(UnixStream, SocketAddr)> {
        self.accept_before(Some(deadline))
    }

    /// As [`accept`](Self::accept), for at most `timeout`; with zero, a look without a wait.
    ///
    /// # Errors
    /// `TimedOut`; else as [`accept`](Self::accept).
    pub fn accept_timeout(&self, timeout: Duration) -> io::Result<(UnixStream, SocketAddr)> {
        self.accept_before(Instant::now().checked_add(timeout))
    }

    fn accept_before(&self, deadline: Option<Instant>) -> io::Result<(UnixStream, SocketAddr)> {
        let (stream, peer) = self.socket.watched().with_readable(deadline, |io| io.accept())?;
        Ok((UnixStream::from_nonblocking(stream.into())?, peer))
    }

    /// The connections as they come, until a [`close`](Self::close), which ends the iteration. As
    /// [`accept`](Self::accept) in a loop: an error is not of one connection. Without descriptors
    /// (`EMFILE`) it comes again at once, so a loop ends on it, or makes a pause.
    pub fn incoming(&self) -> IncomingUnix<'_> {
        IncomingUnix { listener: self }
    }

    /// Ends all waits on this listener and its clones, those of now and those to come, with `EBADF`, and the
    /// iterations of [`incoming`](Self::incoming). The kernel goes on listening until the last clone is dropped:
    /// clients can connect until then, and nobody answers. Never blocks.
    pub fn close(&self) {
        self.socket.watched().close();
    }

    /// The address listened at. Never blocks.
    ///
    /// # Errors
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.io().local_addr()
    }

    /// Takes the error that the socket has pending. Never blocks.
    ///
    /// # Errors
    /// Those of `getsockopt`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.io().take_error()
    }

    /// A clone, for code written for std: the same descriptor.
    ///
    /// # Errors
    /// None; as in std.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(self.clone())
    }
}

socket_traits!(UnixListener);

/// The connections of a [`UnixListener`], until it is closed.
#[derive(Debug)]
pub struct IncomingUnix<'a> {
    listener: &'a UnixListener,
}

/// *Blocking*: parks the calling bthread, or blocks the calling thread.
impl Iterator for IncomingUnix<'_> {
    type Item = io::Result<UnixStream>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.listener.accept() {
            Err(_) if self.listener.socket.watched().is_closed() => None,
            other => Some(other.map(|(stream, _)| stream)),
        }
    }
}

impl FusedIterator for IncomingUnix<'_> {}
