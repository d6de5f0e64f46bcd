//! A TCP socket that takes connections.

use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::addrs::{ToSocketAddrs, first_success};
use super::shape::{impl_listener, impl_socket};
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

impl_listener!(TcpListener, TcpStream, Incoming);
impl_socket!(TcpListener);
