//! Sockets in blocking style, in the shape of `std::net` and `std::os::unix::net`: a call that would block parks the
//! bthread (or blocks the thread outside of bthreads) until the poller sees the socket ready.
//!
//! Owns what is common to the five socket types; never buffers a byte of its own.
//!
//! | | here | in `std` |
//! |---|---|---|
//! | a timeout | [`TimedOut`](std::io::ErrorKind::TimedOut); counts each call, over all its waits | `WouldBlock` |
//! | [`interrupt`](crate::interrupt), [`stop`](crate::stop) | [`Interrupted`](std::io::ErrorKind::Interrupted); `read_exact`, `write_all` and the like go on after it, as they do after a signal | |
//! | a clone | the same descriptor; options, timeouts and `close` are everybody's | another descriptor |
//! | dropping one clone | nothing happens to the others and their waits; the last one closes | |
//! | `shutdown` of a stream | ends the waits of that direction in this process too | same |
//! | `close` of a listener or a UDP socket | ends all waits with `EBADF`, and those to come; ends `incoming` | |
//! | name look-ups | on the pool of [`blocking`](fn@crate::blocking) | in place |
//!
//! Sockets are in non-blocking mode, and registered with the runtime that made them.

mod addrs;
mod shape;
mod socket;
mod tcp_info;
mod tcp_listener;
mod tcp_stream;
mod udp_socket;
mod unix_listener;
mod unix_stream;

pub use addrs::ToSocketAddrs;
pub use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6};
pub use tcp_info::{TcpInfo, tcp_info};
pub use tcp_listener::{Incoming, TcpListener};
pub use tcp_stream::TcpStream;
pub use udp_socket::UdpSocket;
pub use unix_listener::{IncomingUnix, UnixListener};
pub use unix_stream::UnixStream;
