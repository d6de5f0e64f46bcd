//! Where a channel's connections go to, and what makes them different from those of other channels.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::map::{self, Held};
use super::outcome::Failure;
use crate::error::RpcError;
use crate::limits::Limits;
use crate::protocol::{ConnectionType, Protocol};
use crate::socket::Socket;
use crate::transport::{Connector, Endpoint, SocketOptions, System};

/// The way to a server.
pub(super) struct Way {
    pub(super) remote: Endpoint,
    pub(super) protocols: Arc<[&'static dyn Protocol]>,
    /// For connections that no call waits for.
    pub(super) connect_timeout: Duration,
    pub(super) limits: Limits,
    pub(super) socket_options: SocketOptions,
    /// Channels of different groups share no connections.
    pub(super) group: String,
    /// What else must be the same: its connector, and who it says it is.
    pub(super) identities: Vec<Identity>,
    /// `None`: the system's sockets.
    pub(super) connector: Option<Arc<dyn Connector>>,
}

/// What is the same for channels that share connections (brpc: the key of the `SocketMap` with its signature).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    remote: Endpoint,
    kind: ConnectionType,
    protocols: Vec<&'static str>,
    limits: Limits,
    socket_options: SocketOptions,
    group: String,
    identities: Vec<usize>,
}

/// An object that connections depend on. Those with equal addresses are the same one as long as it is kept, which an
/// entry does.
pub(super) struct Identity {
    address: usize,
    _kept: Box<dyn Any + Send + Sync>,
}

impl Identity {
    /// That of all clones of this.
    pub(super) fn of<T: ?Sized + Send + Sync + 'static>(object: &Arc<T>) -> Self {
        Identity { address: Arc::as_ptr(object).cast::<()>().addr(), _kept: Box::new(object.clone()) }
    }
}

impl Way {
    pub(super) fn key(&self, kind: ConnectionType) -> Key {
        Key {
            remote: self.remote.clone(),
            kind,
            protocols: self.protocols.iter().map(|protocol| protocol.name()).collect(),
            limits: self.limits,
            socket_options: self.socket_options.clone(),
            group: self.group.clone(),
            identities: self.identities.iter().map(|identity| identity.address).collect(),
        }
    }

    /// Begins to connect a socket that was made for it.
    pub(super) fn connect(&self, socket: &Arc<Socket>, timeout: Duration) -> Result<(), RpcError> {
        let connector = self.connector.as_deref().unwrap_or(&System);
        socket.connect(connector, &self.socket_options, timeout)
    }
}

/// The connections of a channel, which other channels may share.
pub(super) struct Connections {
    entry: Held,
    connect_timeout: Duration,
}

impl Connections {
    pub(super) fn new(kind: ConnectionType, way: Way) -> Self {
        Connections { connect_timeout: way.connect_timeout, entry: map::hold(kind, way) }
    }

    pub(super) fn remote(&self) -> &Endpoint {
        &self.way().remote
    }

    /// What one connection may hold.
    pub(super) fn limits(&self) -> &Limits {
        &self.way().limits
    }

    /// Whether a connection lives on when a call has ended.
    pub(super) fn is_shared(&self) -> bool {
        self.entry.entry().is_shared()
    }

    /// A connection for a call, which may still be connecting; never waits for that.
    pub(super) fn socket(&self) -> Result<Arc<Socket>, Failure> {
        self.entry.entry().socket(self.connect_timeout)
    }

    /// Waits until the connection that all calls share has room for more of them.
    pub(super) fn wait_for_room(&self, deadline: Option<Instant>) -> Result<(), RpcError> {
        match self.entry.entry().shared() {
            // Half, so that those who wait do not find it full again at once.
            Some(socket) => socket.wait_for_room(self.limits().max_unwritten_bytes / 2, deadline),
            None => Ok(()),
        }
    }

    fn way(&self) -> &Way {
        self.entry.entry().way()
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connections").field(self.remote()).finish()
    }
}
