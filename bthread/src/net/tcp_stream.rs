//! A TCP connection.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::addrs::{ToSocketAddrs, first_success};
use super::shape::{socket_traits, stream_traits, timeout_methods};
use super::socket::Socket;

/// A TCP connection; `std::net::TcpStream` for bthreads. Any number of bthreads and threads may use it at a time.
///
/// ```
/// use std::io::{Read, Write};
/// use bthread::net::{TcpListener, TcpStream};
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let server = bthread::spawn(move || listener.accept()?.0.write_all(b"hello"));
/// let mut greeting = String::new();
/// TcpStream::connect(address)?.read_to_string(&mut greeting)?;
/// assert_eq!(greeting, "hello");
/// server.join().unwrap()?;
/// # std::io::Result::Ok(())
/// ```
pub struct TcpStream {
    socket: Arc<Socket<net::TcpStream>>,
}

impl TcpStream {
    /// Connects to the first address that can be connected to; each is tried for as long as the kernel does, about two
    /// minutes. *Blocking*: parks the calling bthread, or blocks the calling thread.
    ///
    /// # Errors
    /// What the last address gave; `InvalidInput` when there is none; those of the look-up; `Interrupted`, at once.
    pub fn connect(addr: impl ToSocketAddrs) -> io::Result<TcpStream> {
        first_success(addr, |addr| connect_before(addr, None))
    }

    /// Connects within a time. *Blocking*: parks the calling bthread, or blocks the calling thread.
    ///
    /// # Errors
    /// `TimedOut`; `InvalidInput` for a timeout of zero; else as [`connect`](Self::connect).
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        if timeout.is_zero() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a timeout of zero"));
        }
        connect_before(*addr, Instant::now().checked_add(timeout))
    }

    /// Connects before `deadline`. *Blocking*: parks the calling bthread, or blocks the calling thread.
    ///
    /// # Errors
    /// `TimedOut`; else as [`connect`](Self::connect).
    pub fn connect_until(addr: &SocketAddr, deadline: Instant) -> io::Result<TcpStream> {
        connect_before(*addr, Some(deadline))
    }

    /// Takes over a connection of std, and puts it into non-blocking mode. Never blocks.
    ///
    /// # Errors
    /// As [`Watched::new`](crate::fd::Watched::new).
    pub fn from_std(stream: net::TcpStream) -> io::Result<TcpStream> {
        stream.set_nonblocking(true)?;
        Self::from_nonblocking(stream)
    }

    pub(super) fn from_nonblocking(stream: net::TcpStream) -> io::Result<TcpStream> {
        Ok(TcpStream { socket: Socket::new(stream)? })
    }

    /// The connection of std, in blocking mode and without timeouts. Never blocks.
    ///
    /// # Errors
    /// `ResourceBusy` when there are other clones.
    pub fn into_std(self) -> io::Result<net::TcpStream> {
        let stream = Socket::into_inner(self.socket)?;
        stream.set_nonblocking(false)?;
        Ok(stream)
    }

    /// The other end's address. Never blocks.
    ///
    /// # Errors
    /// Those of `getpeername`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.io().peer_addr()
    }

    /// This end's address. Never blocks.
    ///
    /// # Errors
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.io().local_addr()
    }

    /// Ends one direction or both, for all clones: who waits to read gets the end of stream, who waits to write an
    /// error. Never blocks.
    ///
    /// # Errors
    /// Those of `shutdown`.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.io().shutdown(how)
    }

    /// Reads without taking away. *Blocking*: parks the calling bthread, or blocks the calling thread.
    ///
    /// # Errors
    /// As a read.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(|io| io.peek(buf))
    }

    /// Whether small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.socket.io().set_nodelay(nodelay)
    }

    /// Whether small writes are sent at once.
    ///
    /// # Errors
    /// Those of `getsockopt`.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.socket.io().nodelay()
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
}

stream_traits!(TcpStream);
socket_traits!(TcpStream);
timeout_methods!(TcpStream);

fn connect_before(addr: SocketAddr, deadline: Option<Instant>) -> io::Result<TcpStream> {
    let stream = TcpStream::from_nonblocking(mio::net::TcpStream::connect(addr)?.into())?;
    stream.socket.watched().with_writable(deadline, |io| {
        if let Some(error) = io.take_error()? {
            return Err(error);
        }
        match io.peer_addr() {
            Ok(_) => Ok(()),
            // Under way.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(error) => Err(error),
        }
    })?;
    Ok(stream)
}
