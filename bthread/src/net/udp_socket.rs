//! A UDP socket.

use std::fmt;
use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use super::addrs::{ToSocketAddrs, first_success};
use super::shape::{impl_socket, impl_timeouts};
use super::socket::Socket;

/// A UDP socket; `std::net::UdpSocket` for bthreads. Any number of bthreads and threads may use it at a time.
///
/// ```
/// use bthread::net::UdpSocket;
/// let here = UdpSocket::bind("127.0.0.1:0")?;
/// let there = UdpSocket::bind("127.0.0.1:0")?;
/// there.send_to(b"x", here.local_addr()?)?;
/// let mut buf = [0; 16];
/// assert_eq!(here.recv_from(&mut buf)?, (1, there.local_addr()?));
/// # std::io::Result::Ok(())
/// ```
pub struct UdpSocket {
    socket: Arc<Socket<net::UdpSocket>>,
}

impl UdpSocket {
    /// A socket at the first address that can be had. Port 0 lets the kernel choose. *Blocking*: only for names that
    /// must be looked up.
    ///
    /// # Errors
    /// What the last address gave; `InvalidInput` when there is none; those of the look-up.
    pub fn bind(addr: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        Self::from_std(first_success(addr, net::UdpSocket::bind)?)
    }

    /// Takes over a socket of std, and puts it into non-blocking mode. Never blocks.
    ///
    /// # Errors
    /// As [`Watched::new`](crate::fd::Watched::new).
    pub fn from_std(socket: net::UdpSocket) -> io::Result<UdpSocket> {
        socket.set_nonblocking(true)?;
        Ok(UdpSocket { socket: Socket::new(socket)? })
    }

    /// The socket of std, in blocking mode and without timeouts. Never blocks.
    ///
    /// # Errors
    /// `ResourceBusy` when there are other clones.
    pub fn into_std(self) -> io::Result<net::UdpSocket> {
        let socket = Socket::into_inner(self.socket)?;
        socket.set_nonblocking(false)?;
        Ok(socket)
    }

    /// Makes the first address that can be had the peer, to which [`send`](Self::send) sends and from which alone
    /// is received. *Blocking*: only for names that must be looked up.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn connect(&self, addr: impl ToSocketAddrs) -> io::Result<()> {
        first_success(addr, |addr| self.socket.io().connect(addr))
    }

    /// Sends a datagram to the first of the addresses; returns its bytes. *Blocking*: parks the calling bthread, or
    /// blocks the calling thread, while there is no room to send, or a name must be looked up.
    ///
    /// # Errors
    /// Those of `sendto`, such as `EMSGSIZE`; `InvalidInput` without an address; `TimedOut`, `Interrupted`; `EBADF`
    /// after a [`close`](Self::close).
    pub fn send_to(&self, buf: &[u8], addr: impl ToSocketAddrs) -> io::Result<usize> {
        let Some(addr) = addr.to_socket_addrs()?.next() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no address to send to"));
        };
        self.socket.write(|io| io.send_to(buf, addr))
    }

    /// The next datagram's bytes, and whose it is; what does not fit into `buf` is lost. *Blocking*: parks the calling
    /// bthread, or blocks the calling thread.
    ///
    /// # Errors
    /// Those of `recvfrom`; `TimedOut`, `Interrupted`; `EBADF` after a [`close`](Self::close).
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.read(|io| io.recv_from(buf))
    }

    /// As [`recv_from`](Self::recv_from), without taking it away.
    ///
    /// # Errors
    /// As [`recv_from`](Self::recv_from).
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.read(|io| io.peek_from(buf))
    }

    /// Sends a datagram to the peer; returns its bytes. *Blocking*: as [`send_to`](Self::send_to).
    ///
    /// # Errors
    /// Those of `send`, such as that there is no peer, or that an earlier datagram was refused; else as
    /// [`send_to`](Self::send_to).
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.write(|io| io.send(buf))
    }

    /// The bytes of the peer's next datagram; what does not fit into `buf` is lost. *Blocking*: as
    /// [`recv_from`](Self::recv_from).
    ///
    /// # Errors
    /// As [`recv_from`](Self::recv_from), and that an earlier datagram was refused.
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(|io| io.recv(buf))
    }

    /// As [`recv`](Self::recv), without taking it away.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(|io| io.peek(buf))
    }

    /// Ends all waits on this socket and its clones, those of now and those to come, with `EBADF`. The kernel goes on
    /// receiving until the last clone is dropped. Never blocks.
    pub fn close(&self) {
        self.socket.watched().close();
    }

    /// The peer's address. Never blocks.
    ///
    /// # Errors
    /// Those of `getpeername`, such as that there is none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.io().peer_addr()
    }

    /// Whether it may send to broadcast addresses (`SO_BROADCAST`).
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.socket.io().set_broadcast(broadcast)
    }

    /// Whether it may send to broadcast addresses.
    ///
    /// # Errors
    /// Those of `getsockopt`.
    pub fn broadcast(&self) -> io::Result<bool> {
        self.socket.io().broadcast()
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

    /// Receives what is sent to a group too, on the interface with this address (`IP_ADD_MEMBERSHIP`).
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn join_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.socket.io().join_multicast_v4(group, interface)
    }

    /// Ends a [`join_multicast_v4`](Self::join_multicast_v4).
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn leave_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.socket.io().leave_multicast_v4(group, interface)
    }

    /// Receives what is sent to a group too, on the interface with this index (`IPV6_ADD_MEMBERSHIP`).
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.socket.io().join_multicast_v6(group, interface)
    }

    /// Ends a [`join_multicast_v6`](Self::join_multicast_v6).
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.socket.io().leave_multicast_v6(group, interface)
    }
}

impl_socket!(UdpSocket);
impl_timeouts!(UdpSocket);
