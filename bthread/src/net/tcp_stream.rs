//! A TCP connection.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::addrs::{ToSocketAddrs, first_success};
use super::shape::{impl_socket, impl_stream, impl_timeouts};
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
        connect_before(*addr, crate::clock::now().checked_add(timeout))
    }

    /// Connects before `deadline`. *Blocking*: parks the calling bthread, or blocks the calling thread.
    ///
    /// # Errors
    /// `TimedOut`; else as [`connect`](Self::connect).
    pub fn connect_until(addr: &SocketAddr, deadline: Instant) -> io::Result<TcpStream> {
        connect_before(*addr, Some(deadline))
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

impl_stream!(TcpStream);
impl_socket!(TcpStream);
impl_timeouts!(TcpStream);

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
