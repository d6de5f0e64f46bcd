//! Where a server listens: addresses with ranges of ports, how the sockets are made, and sockets that listen already.

use std::fmt;
use std::io;
use std::net;
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use bvar::flag::{self, Flag};
use socket2::{Domain, SockRef, Type};

use super::{Endpoint, Listener, SocketOptions, listen_with, tcp, unix};
use crate::error::{EINVAL, RpcError};

static REUSE_ADDR: Flag<bool> = Flag::new(
    "reuse_addr",
    true,
    "Listen on ports though connections of their last user linger (SO_REUSEADDR)",
);
static REUSE_PORT: Flag<bool> = Flag::new(
    "reuse_port",
    false,
    "Let others listen on the ports of servers at the same time (SO_REUSEPORT)",
);
static REUSE_UDS_PATH: Flag<bool> =
    Flag::new("reuse_uds_path", false, "Take over paths of Unix sockets though somebody may listen there");

pub(super) fn register_flags() {
    flag::register(&[&REUSE_ADDR, &REUSE_PORT, &REUSE_UDS_PATH]);
}

/// The address that stands for all of IPv4, where a port is all that was given.
const ANY: &str = "0.0.0.0";

/// How sockets to listen on are made.
#[derive(Clone, Debug)]
pub(crate) struct ListenOptions {
    /// The address may be taken while connections of its last user linger.
    pub(crate) reuse_address: bool,
    /// Others may listen on the address at the same time, who say so too.
    pub(crate) reuse_port: bool,
    /// A socket in the file system is replaced though somebody may listen there.
    pub(crate) reuse_path: bool,
    /// What is accepted.
    pub(crate) sockets: SocketOptions,
}

impl Default for ListenOptions {
    /// As the flags say at that moment.
    fn default() -> Self {
        ListenOptions {
            reuse_address: REUSE_ADDR.get(),
            reuse_port: REUSE_PORT.get(),
            reuse_path: REUSE_UDS_PATH.get(),
            sockets: SocketOptions::default(),
        }
    }
}

/// An address as a server is told it: one endpoint, or one of several ports of a host.
#[derive(Debug)]
pub(crate) struct Address {
    text: String,
    first: Endpoint,
    /// For TCP.
    ports: Option<RangeInclusive<u16>>,
}

impl Address {
    /// Reads what [`Endpoint::resolve`] reads, and `host:first-last`, and a port or a range of ports alone.
    ///
    /// *Blocking*: as [`Endpoint::resolve`].
    ///
    /// # Errors
    /// [`EINVAL`] for anything else, and for a range that has its end before its beginning.
    pub(crate) fn resolve(text: &str) -> Result<Self, RpcError> {
        let (host, ports) = match text.rsplit_once(':') {
            Some((host, ports)) => (host, ports),
            None => (ANY, text),
        };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let ports = match ports.split_once('-') {
            Some((first, last)) if is_number(first) && is_number(last) => (first, last),
            None if is_number(ports) => (ports, ports),
            _ => return Ok(Address { text: text.to_owned(), first: Endpoint::resolve(text)?, ports: None }),
        };
        let invalid = || RpcError::new(EINVAL, format!("Invalid address=`{text}': no range of ports"));
        let port = |text: &str| text.parse::<u16>().map_err(|_| invalid());
        let ports = port(ports.0)?..=port(ports.1)?;
        if ports.is_empty() {
            return Err(invalid());
        }
        let first = Endpoint::resolve(&format!("{host}:{}", ports.start()))?;
        let ports = first.port().map(|_| ports);
        Ok(Address { text: text.to_owned(), first, ports })
    }

    /// Listens on the first port that is free.
    ///
    /// # Errors
    /// The system's, for the last one that was tried.
    pub(crate) fn listen(&self, options: &ListenOptions) -> Result<Box<dyn Listener>, RpcError> {
        let listened = match (&self.first, &self.ports) {
            (Endpoint::Tcp(address), Some(ports)) => {
                let mut last = Err(io::ErrorKind::AddrInUse.into());
                for port in ports.clone() {
                    last = listen_with(&Endpoint::Tcp((address.ip(), port).into()), options);
                    if last.is_ok() {
                        break;
                    }
                }
                last
            }
            (endpoint, _) => listen_with(endpoint, options),
        };
        listened.map_err(|error| cannot_listen(&self.text, error))
    }
}

/// The error for an address that cannot be listened on.
pub(crate) fn cannot_listen(address: impl fmt::Display, error: io::Error) -> RpcError {
    let error = RpcError::from(error);
    RpcError::new(error.code(), format!("Fail to listen on {address}: {}", error.text()))
}

/// A socket that listens already: made by the program itself, by whoever has started it, or by the process that ran
/// before it ([`handover`](crate::server::handover)).
#[derive(Debug)]
pub struct BoundListener {
    socket: Bound,
    /// Its server shows its pages there.
    pub(crate) is_internal: bool,
    /// Its path is removed with it.
    pub(crate) owns_path: bool,
}

#[derive(Debug)]
enum Bound {
    Tcp(net::TcpListener),
    Unix(UnixListener),
}

impl BoundListener {
    /// Makes it the one for those who run the server: see
    /// [`ServerBuilder::internal_port`](crate::ServerBuilder::internal_port).
    pub fn internal(mut self) -> Self {
        self.is_internal = true;
        self
    }

    pub(crate) fn listen(self, options: &SocketOptions) -> io::Result<Box<dyn Listener>> {
        match self.socket {
            Bound::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Ok(Box::new(tcp::bound(listener, options.clone())))
            }
            Bound::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Ok(Box::new(unix::bound(listener, self.owns_path, options.clone())?))
            }
        }
    }
}

impl From<net::TcpListener> for BoundListener {
    fn from(listener: net::TcpListener) -> Self {
        BoundListener { socket: Bound::Tcp(listener), is_internal: false, owns_path: false }
    }
}

impl From<UnixListener> for BoundListener {
    /// Its path stays there when the server ends.
    fn from(listener: UnixListener) -> Self {
        BoundListener { socket: Bound::Unix(listener), is_internal: false, owns_path: false }
    }
}

impl TryFrom<OwnedFd> for BoundListener {
    type Error = io::Error;

    /// # Errors
    /// `InvalidInput` for what is no stream socket of TCP or in the file system that listens; the system's.
    fn try_from(descriptor: OwnedFd) -> io::Result<Self> {
        let other = || io::Error::new(io::ErrorKind::InvalidInput, "not a socket that listens");
        let socket = SockRef::from(&descriptor);
        if !socket.is_listener()? || socket.r#type()? != Type::STREAM {
            return Err(other());
        }
        match socket.domain()? {
            Domain::IPV4 | Domain::IPV6 => Ok(net::TcpListener::from(descriptor).into()),
            Domain::UNIX => Ok(UnixListener::from(descriptor).into()),
            _ => Err(other()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_bare_ports_are_read() {
        let read = |text| {
            let address = Address::resolve(text).unwrap();
            (address.first.to_string(), address.ports.map(RangeInclusive::into_inner))
        };
        assert_eq!(read("127.0.0.1:80"), ("127.0.0.1:80".into(), Some((80, 80))));
        assert_eq!(read("127.0.0.1:8000-8010"), ("127.0.0.1:8000".into(), Some((8000, 8010))));
        assert_eq!(read("[::1]:8000-8010"), ("[::1]:8000".into(), Some((8000, 8010))));
        assert_eq!(read("8000"), ("0.0.0.0:8000".into(), Some((8000, 8000))));
        assert_eq!(read("8000-8001"), ("0.0.0.0:8000".into(), Some((8000, 8001))));
        assert_eq!(read("unix:/tmp/1-2"), ("unix:/tmp/1-2".into(), None));
        assert_eq!(read("localhost:0").1, Some((0, 0)));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in
            ["", "-", "8000-", "-8000", "8010-8000", "127.0.0.1:80000", "127.0.0.1:1-65536", "h:1-2-3"]
        {
            assert_eq!(Address::resolve(text).unwrap_err().code(), EINVAL, "{text}");
        }
        for text in ["127.0.0.1:8000:junk", "nowhere.invalid:80", "127.0.0.1", "unix:"] {
            assert_eq!(Address::resolve(text).unwrap_err().code(), EINVAL, "{text}");
        }
    }

    /// Two ports side by side, the first of which is taken.
    fn half_taken() -> (net::TcpListener, u16) {
        loop {
            let taken = net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = taken.local_addr().unwrap().port();
            if port < u16::MAX && net::TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
                return (taken, port);
            }
        }
    }

    #[test]
    fn the_first_free_port_of_a_range_is_taken_until_there_is_none() {
        let (_taken, port) = half_taken();
        let address = Address::resolve(&format!("127.0.0.1:{port}-{}", port + 1)).unwrap();
        let listener = address.listen(&ListenOptions::default()).unwrap();
        assert_eq!(listener.local().unwrap().port(), Some(port + 1));
        let error = address.listen(&ListenOptions::default()).err().unwrap();
        assert_eq!(error.code().get(), libc::EADDRINUSE);
        assert!(error.text().contains(&format!("127.0.0.1:{port}-{}", port + 1)), "{error}");
    }

    #[test]
    fn two_may_share_a_port_if_both_say_so() {
        let options = ListenOptions { reuse_port: true, ..ListenOptions::default() };
        let first = Address::resolve("127.0.0.1:0").unwrap().listen(&options).unwrap();
        let address = Address::resolve(&first.local().unwrap().to_string()).unwrap();
        assert!(address.listen(&ListenOptions::default()).is_err());
        assert!(address.listen(&options).is_ok());
    }

    #[test]
    fn only_what_listens_is_taken_for_a_listener() {
        let tcp = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = net::TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        assert!(BoundListener::try_from(OwnedFd::from(tcp)).is_ok());
        assert!(BoundListener::try_from(OwnedFd::from(stream)).is_err());
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(BoundListener::try_from(OwnedFd::from(file)).is_err());
    }
}
