//! A connection between processes of one machine.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shape::{impl_socket, impl_stream, impl_timeouts};
use super::socket::Socket;
use crate::sleep::{Slept, sleep_until};

/// How long a connect waits before it asks a listener with a full backlog again: first, and at most. The kernel has
/// no event for it.
const BACKLOG_RETRY_FIRST: Duration = Duration::from_micros(200);
const BACKLOG_RETRY_LAST: Duration = Duration::from_millis(10);

/// A connection between processes of one machine; `std::os::unix::net::UnixStream` for bthreads. Any number of
/// bthreads and threads may use it at a time.
///
/// ```
/// use std::io::{Read, Write};
/// let (mut left, mut right) = bthread::net::UnixStream::pair()?;
/// let peer = bthread::spawn(move || right.write_all(b"x"));
/// let mut byte = [0];
/// left.read_exact(&mut byte)?;
/// peer.join().unwrap()?;
/// # std::io::Result::Ok(())
/// ```
pub struct UnixStream {
    socket: Arc<Socket<net::UnixStream>>,
}

impl UnixStream {
    /// Connects to the listener at a path; waits while its backlog is full. *Blocking*: parks the calling bthread, or
    /// blocks the calling thread.
    ///
    /// # Errors
    /// Those of `connect`; `InvalidInput` for a path that is too long; `Interrupted`.
    pub fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        connect_before(&SocketAddr::from_pathname(path)?, None)
    }

    /// As [`connect`](Self::connect), to an address, which may be an abstract one.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_addr(addr: &SocketAddr) -> io::Result<UnixStream> {
        connect_before(addr, None)
    }

    /// As [`connect_addr`](Self::connect_addr), until a time.
    ///
    /// # Errors
    /// `TimedOut`; else as [`connect`](Self::connect).
    pub fn connect_until(addr: &SocketAddr, deadline: Instant) -> io::Result<UnixStream> {
        connect_before(addr, Some(deadline))
    }

    /// As [`connect_addr`](Self::connect_addr), within a time.
    ///
    /// # Errors
    /// `TimedOut`; `InvalidInput` for a timeout of zero; else as [`connect`](Self::connect).
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<UnixStream> {
        if timeout.is_zero() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a timeout of zero"));
        }
        connect_before(addr, crate::clock::now().checked_add(timeout))
    }

    /// Two ends of one connection. Never blocks.
    ///
    /// # Errors
    /// Those of `socketpair` and of the registration.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (left, right) = mio::net::UnixStream::pair()?;
        Ok((Self::from_nonblocking(left.into())?, Self::from_nonblocking(right.into())?))
    }
}

impl_stream!(UnixStream);
impl_socket!(UnixStream);
impl_timeouts!(UnixStream);

fn connect_before(addr: &SocketAddr, deadline: Option<Instant>) -> io::Result<UnixStream> {
    let mut pause = BACKLOG_RETRY_FIRST;
    loop {
        match mio::net::UnixStream::connect_addr(addr) {
            // Such a connect never is under way: this is a full backlog.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return UnixStream::from_nonblocking(other?.into()),
        }
        let now = crate::clock::now();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let next = now + pause;
        if sleep_until(deadline.map_or(next, |deadline| deadline.min(next))) == Slept::Interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        pause = (pause * 2).min(BACKLOG_RETRY_LAST);
    }
}
