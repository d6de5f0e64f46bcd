//! A TCP socket that takes connections.

use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::addrs::{ToSocketAddrs, first_success};
use super::shape::socket_traits;
use super::socket::Socket;
use super::tcp_stream::TcpStream;

/// A TCP socket that takes connections; `std::net::TcpListener` for bthreads. Any number of bthreads and threads may
/// accept at a time.
pub struct TcpListener {
    // mio's, since its accept makes connections that are in non-blocking mode from the start.
    socket: Arc<Socket<mio::net::TcpListener>>,
}

impl TcpListener {
    /// Listens at the first address that can be had, with `SO_REUSEADDR`; the kernel keeps as many connections that
    /// were not accepted yet as `net.core.somaxconn` allows. Port 0 lets the kernel choose. *Blocking*: only for
    /// names that must be looked up.
    ///
    /// # Errors
    /// What the last address gave; `InvalidInput` when there is none; those of the look-up.
    pub fn bind(addr: impl ToSocketAddrs) -> io::Result<TcpListener> {
        Ok(TcpListener { socket: Socket::new(first_success(addr, mio::net::TcpListener::bind)?)? })
    }

    /// Takes over a listener of std, and puts it into non-blocking mode. Never blocks.
    ///
    /// # Errors
    /// As [`Watched::new`](crate::fd::Watched::new).
    pub fn from_std(listener: net::TcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        Ok(TcpListener { socket: Socket::new(mio::net::TcpListener::from_std(listener))? })
    }

    /// The listener of std, in blocking mode. Never blocks.
    ///
    /// # Errors
    /// `ResourceBusy` when there are other clones.
    pub fn into_std(self) -> io::Result<net::TcpListener> {
        let listener = net::TcpListener::from(Socket::into_inner(self.socket)?);
        listener.set_nonblocking(false)?;
        Ok(listener)
    }

    /// The next connection, and whose it is. One that its peer has given up is passed over. *Blocking*: parks the
    /// calling bthread, or blocks the calling thread.
    ///
    /// # Errors
    /// Those of `accept` (`EMFILE` is worth a pause), of the registration, `Interrupted`; `EBADF` after
    /// a [`close`](Self::close).
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept_before(None)
    }

    /// As [`accept`](Self::accept), until a time.
    ///
    /// # Errors
    /// `TimedOut`; else as [`accept`](Self::accept).
    pub fn accept_until(&self, deadline: Instant) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept_before(Some(deadline))
    }

    /// As [`accept`](Self::accept), for at most `timeout`; with zero, a look without a wait.
    ///
    /// # Errors
    /// `TimedOut`; else as [`accept`](Self::accept).
    pub fn accept_timeout(&self, timeout: Duration) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept_before(Instant::now().checked_add(timeout))
    }

    fn accept_before(&self, deadline: Option<Instant>) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.socket.watched().with_readable(deadline, |io| {
            loop {
                match io.accept() {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    other => return other,
                }
            }
        })?;
        Ok((TcpStream::from_nonblocking(stream.into())?, peer))
    }

    /// The connections as they come, until a [`close`](Self::close), which ends the iteration. As
    /// [`accept`](Self::accept) in a loop: an error is not of one connection. Without descriptors
    /// (`EMFILE`) it comes again at once, so a loop ends on it, or makes a pause.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
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

    /// The time to live of packets (`IP_TTL`).
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.socket.io().set_ttl(ttl)
    }

    /// The time to live of packets.
    ///
    /// # Errors
    /// Those of `getsockopt`.
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket.io().ttl()
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

socket_traits!(TcpListener);

/// The connections of a [`TcpListener`], until it is closed.
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

/// *Blocking*: parks the calling bthread, or blocks the calling thread.
impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.listener.accept() {
            Err(_) if self.listener.socket.watched().is_closed() => None,
            other => Some(other.map(|(stream, _)| stream)),
        }
    }
}

impl FusedIterator for Incoming<'_> {}
