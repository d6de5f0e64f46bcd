//! What carries bytes between two endpoints: a [`Transport`], made by a [`Connector`] or taken from a [`Listener`]. TCP
//! and Unix sockets are here, one file each; programs may bring others, such as a simulated network.
//!
//! A transport moves bytes without waiting and says when it could move more. It must never keep bytes, retry, or
//! know what they mean.

mod endpoint;
mod listen;
mod options;
mod registration;
mod tcp;
mod unix;

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use iobuf::{IoBuf, IoPortal};

use crate::error::RpcError;

pub use bthread::poller::{EventHandler, Readiness};
pub use endpoint::Endpoint;
pub use listen::BoundListener;
pub(crate) use listen::{Address, ListenOptions, cannot_listen};
pub use options::{Keepalive, SocketOptions};
pub use registration::Registration;

pub(crate) fn register_flags() {
    options::register_flags();
    listen::register_flags();
}

/// One connection's way to its peer, whose bytes arrive in order and whole, or not at all. *Blocking*: all methods
/// return at once, none parks or blocks. Reading and writing may run in parallel on any threads; two reads or two writes
/// never do.
pub trait Transport: Send + Sync + 'static {
    /// Reads at most `max` bytes that are there.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; others are final.
    fn read(&self, into: &mut IoPortal, max: usize) -> io::Result<Received>;

    /// Writes from the front of `from`, drops what was taken and returns how much that was.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room; others are final.
    fn write(&self, from: &mut IoBuf) -> io::Result<usize>;

    /// Has events delivered to `handler`, also for what is so already, until the [`Registration`] is dropped. Called
    /// once. Events are edges, as of [`bthread::poller::register`]: one when bytes, the peer's end, room for bytes or the
    /// end of connecting come, and none again until a read or write has found `WouldBlock`; too many do no harm. The
    /// handler may be called on any thread, and from within the peer's methods; hold no lock meanwhile that one of this
    /// trait's methods takes.
    ///
    /// # Errors
    /// The system's; the connection fails with it.
    fn register(&self, handler: Arc<dyn EventHandler>) -> io::Result<Registration>;

    /// Whether connecting has ended. Asked at events, until it says yes or fails.
    ///
    /// # Errors
    /// What connecting failed with.
    fn is_connected(&self) -> io::Result<bool>;

    /// The descriptor, for what the pages tell of it. Default: there is none.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Ends the direction to the peer alone, behind all that was written, so that it finds the end of the stream there;
    /// what it sends can still be read. Called at most once, and [`shutdown`](Self::shutdown) later. Returns whether it
    /// has done so; where it has not, the connection is shut down at once instead. That can cost the peer the last replies,
    /// where what it sends meanwhile makes the system reset the connection. Default: not done.
    fn shutdown_write(&self) -> bool {
        false
    }

    /// Ends both directions, so that the peer and whoever waits for events learn of it. Called once, when the connection
    /// has failed or is not wanted any more; reads and writes that are still made fail.
    fn shutdown(&self);

    /// This side's address, once connected.
    ///
    /// # Errors
    /// The system's.
    fn local(&self) -> io::Result<Endpoint>;
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "transports of users make it")]
pub struct Received {
    /// 0 at the end of the stream.
    pub bytes: usize,
    /// There was nothing more at that moment, so that whatever comes later makes an event of its own. An end of
    /// stream may have come with the same event. `false` if in doubt: then there is another read.
    pub drained: bool,
}

/// Makes a channel's connections. Channels share connections only where their connectors are the same object.
pub trait Connector: Send + Sync + 'static {
    /// What the address means that the channel was given. Default: what [`Endpoint::resolve`] reads.
    ///
    /// *Blocking*: may block the thread, as looking up a host's name does.
    ///
    /// # Errors
    /// [`EINVAL`](crate::error::EINVAL) for what is no address.
    fn resolve(&self, address: &str) -> Result<Endpoint, RpcError> {
        Endpoint::resolve(address)
    }

    /// Starts to connect without waiting: must neither park nor block. No lock is held.
    ///
    /// # Errors
    /// What is known to fail at once.
    fn connect(&self, remote: &Endpoint, options: &SocketOptions) -> io::Result<Box<dyn Transport>>;
}

/// The system's sockets: the connector of channels that were not given another.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to be added to it")]
pub struct System;

impl Connector for System {
    fn connect(&self, remote: &Endpoint, options: &SocketOptions) -> io::Result<Box<dyn Transport>> {
        match remote {
            Endpoint::Tcp(address) => Ok(Box::new(tcp::Tcp::connect(*address, options)?)),
            Endpoint::Unix(path) => Ok(Box::new(unix::Unix::connect(path, options)?)),
            Endpoint::Named(name) => Err(unknown(name)),
        }
    }
}

/// Where a server's connections come from. *Blocking*: no method parks or blocks.
pub trait Listener: Send + Sync + 'static {
    /// Takes one connection that is there, with the peer's address.
    ///
    /// # Errors
    /// `WouldBlock` when there is none. After others it is asked again, at once or, where the system has run out of
    /// descriptors or memory, a moment later.
    fn accept(&self) -> io::Result<(Box<dyn Transport>, Endpoint)>;

    /// Has events delivered to `handler` when there are connections, also those that are there already, until the
    /// [`Registration`] is dropped. Called once.
    ///
    /// # Errors
    /// The system's; the server does not start then.
    fn register(&self, handler: Arc<dyn EventHandler>) -> io::Result<Registration>;

    /// The address, with the port that the system chose where it was to choose one.
    ///
    /// # Errors
    /// The system's; the server does not start then.
    fn local(&self) -> io::Result<Endpoint>;

    /// The socket, to be handed to another process ([`handover`](crate::server::handover)); `None`, the default, if there
    /// is none that could be.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Whether a path in the file system is removed with it. Default: no.
    fn owns_path(&self) -> bool {
        false
    }

    /// Somebody else listens at that path from now on: it is not removed any more.
    fn leave_path(&self) {}
}

/// Listens on the system's sockets at `endpoint`; what is accepted has `options`.
///
/// # Errors
/// Those of the system; `AddrInUse` for the path of a Unix socket where somebody listens, unless the flag
/// `reuse_uds_path` is set, and where there is a file of another kind; `Unsupported` for [`Endpoint::Named`].
pub fn listen(endpoint: &Endpoint, options: &SocketOptions) -> io::Result<Box<dyn Listener>> {
    listen_with(endpoint, &ListenOptions { sockets: options.clone(), ..ListenOptions::default() })
}

pub(crate) fn listen_with(endpoint: &Endpoint, options: &ListenOptions) -> io::Result<Box<dyn Listener>> {
    match endpoint {
        Endpoint::Tcp(address) => Ok(Box::new(tcp::listen(*address, options)?)),
        Endpoint::Unix(path) => Ok(Box::new(unix::listen(path, options)?)),
        Endpoint::Named(name) => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("No transport of the system leads to `{name}'"))
}

impl fmt::Debug for dyn Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl fmt::Debug for dyn Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listener").field(&self.local()).finish()
    }
}
