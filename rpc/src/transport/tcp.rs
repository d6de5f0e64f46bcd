//! TCP, without delay of small writes.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use bthread::poller::{self, EventHandler};
use iobuf::{BLOCK_PAYLOAD, IoBuf, IoPortal};
use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{Endpoint, ListenOptions, Listener, Received, Registration, SocketOptions, Transport};

/// The room that a read of this many bytes or more surely has, even when some of its blocks are partly filled:
/// fewer bytes than were asked for then mean that the kernel had no more.
pub(super) const READ_ROOM_SURE: usize = 48 * BLOCK_PAYLOAD;

/// The most bytes that one write is given.
pub(super) const WRITE_MAX: usize = 2 << 20;

/// A TCP connection, or one in the making.
pub(super) struct Tcp(TcpStream);

impl Tcp {
    pub(super) fn connect(address: SocketAddr, options: &SocketOptions) -> io::Result<Self> {
        let socket =
            Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        options.apply(SockRef::from(&socket), true)?;
        options.bind(&socket)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        Self::new(TcpStream::from_std(socket.into()))
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
        poller::register(&self.0, handler).map(Registration::from)
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

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }

    fn shutdown_write(&self) -> bool {
        self.0.shutdown(Shutdown::Write).is_ok()
    }

    fn shutdown(&self) {
        // Fails only where there is no connection to end.
        let _ = self.0.shutdown(Shutdown::Both);
    }

    fn local(&self) -> io::Result<Endpoint> {
        self.0.local_addr().map(Endpoint::Tcp)
    }
}

/// The most connections that wait to be accepted; the system may have a lower bound of its own.
const BACKLOG: i32 = 4096;

/// Where TCP connections come from.
pub(super) struct TcpPort {
    listener: TcpListener,
    options: SocketOptions,
}

/// A listener whose address may be taken again at once after it is closed.
pub(super) fn listen(address: SocketAddr, options: &ListenOptions) -> io::Result<TcpPort> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(options.reuse_address)?;
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    // A receive buffer counts from the handshake on, which is over when a connection is accepted.
    options.sockets.apply(SockRef::from(&socket), true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(bound(socket.into(), options.sockets.clone()))
}

/// A socket that listens already, and does not block.
pub(super) fn bound(listener: std::net::TcpListener, options: SocketOptions) -> TcpPort {
    TcpPort { listener: TcpListener::from_std(listener), options }
}

impl Listener for TcpPort {
    fn accept(&self) -> io::Result<(Box<dyn Transport>, Endpoint)> {
        let (stream, peer) = self.listener.accept()?;
        self.options.apply(SockRef::from(&stream), true)?;
        Ok((Box::new(Tcp::new(stream)?), Endpoint::Tcp(peer)))
    }

    fn register(&self, handler: Arc<dyn EventHandler>) -> io::Result<Registration> {
        poller::register(&self.listener, handler).map(Registration::from)
    }

    fn local(&self) -> io::Result<Endpoint> {
        self.listener.local_addr().map(Endpoint::Tcp)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.listener.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Keepalive;
    use super::*;
    use std::time::Duration;

    fn is_as_told(stream: &TcpStream) {
        let socket = SockRef::from(stream);
        assert!(socket.keepalive().unwrap() && stream.nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(9));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(3));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(7500)));
        // The system takes as much again for itself.
        assert_eq!(socket.recv_buffer_size().unwrap(), 2 * (40 << 10));
        assert_eq!(socket.send_buffer_size().unwrap(), 2 * (50 << 10));
    }

    #[test]
    fn both_ends_are_as_they_were_told() {
        let times = Keepalive {
            idle: Some(Duration::from_secs(9)),
            interval: Some(Duration::from_secs(3)),
            count: Some(4),
        };
        let options = SocketOptions {
            keepalive: Some(times),
            tcp_user_timeout: Some(Duration::from_millis(7500)),
            recv_buffer_size: Some(40 << 10),
            send_buffer_size: Some(50 << 10),
            ..SocketOptions::default()
        };
        let listening = ListenOptions { sockets: options.clone(), ..ListenOptions::default() };
        let port = listen("127.0.0.1:0".parse().unwrap(), &listening).unwrap();
        let Ok(Endpoint::Tcp(address)) = port.local() else { panic!("no address") };
        let client = Tcp::connect(address, &options).unwrap();
        is_as_told(&client.0);
        let accepted = loop {
            match port.listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        };
        port.options.apply(SockRef::from(&accepted), true).unwrap();
        is_as_told(&Tcp::new(accepted).unwrap().0);
    }
}
