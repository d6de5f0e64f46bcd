//! TCP, without delay of small writes.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use bthread::poller::{self, EventHandler, Registration};
use iobuf::{BLOCK_PAYLOAD, IoBuf, IoPortal};
use mio::net::{TcpListener, TcpStream};

use super::{Endpoint, Listener, Received, Transport};

/// The room that a read of this many bytes or more surely has, even when some of its blocks are partly filled:
/// fewer bytes than were asked for then mean that the kernel had no more.
pub(super) const READ_ROOM_SURE: usize = 48 * BLOCK_PAYLOAD;

/// The most bytes that one write is given.
pub(super) const WRITE_MAX: usize = 2 << 20;

/// Connections that wait to be accepted: as many as the system allows (`net.core.somaxconn`).
pub(super) const BACKLOG: i32 = 65535;

/// A TCP connection, or one in the making.
pub(super) struct Tcp(TcpStream);

impl Tcp {
    pub(super) fn connect(address: SocketAddr) -> io::Result<Self> {
        TcpStream::connect(address).and_then(Self::new)
    }

    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Tcp(stream))
    }
}

impl Transport for Tcp {
    fn read(&self, into: &mut IoPortal, max: usize) -> io::Result<Received> {
        let bytes = into.read_from(self.0.as_fd(), max)?;
        Ok(Received { bytes, drained: bytes < max.min(READ_ROOM_SURE) })
    }

    fn write(&self, from: &mut IoBuf) -> io::Result<usize> {
        from.send_to(self.0.as_fd(), WRITE_MAX)
    }

    fn register(&self, handler: Arc<dyn EventHandler>) -> io::Result<Registration> {
        poller::register(&self.0, handler)
    }

    fn is_connected(&self) -> io::Result<bool> {
        if let Some(error) = self.0.take_error()? {
            return Err(error);
        }
        match self.0.peer_addr() {
            // The kernel may connect a port of its own choice to itself where nobody listens.
            Ok(peer) if self.0.local_addr()? == peer => Err(io::Error::from_raw_os_error(libc::ECONNREFUSED)),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn shutdown(&self) {
        // Fails only where there is no connection to end.
        let _ = self.0.shutdown(Shutdown::Both);
    }

    fn local(&self) -> io::Result<Endpoint> {
        self.0.local_addr().map(Endpoint::Tcp)
    }
}

impl Listener for TcpListener {
    fn accept(&self) -> io::Result<(Box<dyn Transport>, Endpoint)> {
        let (stream, peer) = TcpListener::accept(self)?;
        Ok((Box::new(Tcp::new(stream)?), Endpoint::Tcp(peer)))
    }

    fn register(&self, handler: Arc<dyn EventHandler>) -> io::Result<Registration> {
        poller::register(self, handler)
    }

    fn local(&self) -> io::Result<Endpoint> {
        self.local_addr().map(Endpoint::Tcp)
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}
