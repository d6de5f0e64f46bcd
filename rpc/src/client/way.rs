//! Where a channel's connections go to, and how its calls share them.

use std::sync::Arc;
use std::time::Duration;

use super::connection::ClientConnection;
use super::outcome::Failure;
use super::pool::Pool;
use super::single::SingleConnection;
use crate::error::RpcError;
use crate::limits::Limits;
use crate::protocol::{ConnectionType, Protocol};
use crate::socket::Socket;
use crate::transport::Endpoint;

/// The way to a server.
pub(super) struct Way {
    pub(super) remote: Endpoint,
    pub(super) protocols: Arc<[&'static dyn Protocol]>,
    pub(super) connect_timeout: Duration,
    pub(super) limits: Limits,
}

impl Way {
    /// A connection that begins to be made.
    pub(super) fn open(&self, owner: ClientConnection) -> Result<Arc<Socket>, Failure> {
        let socket = self.connect(owner).map_err(Failure::unsent)?;
        socket.start().map_err(Failure::unsent)?;
        Ok(socket)
    }

    /// A connection to be made. [`Socket::start`] it next.
    pub(super) fn connect(&self, owner: ClientConnection) -> Result<Arc<Socket>, RpcError> {
        Socket::connecting(
            &self.remote,
            self.connect_timeout,
            self.protocols.clone(),
            self.limits,
            Box::new(owner),
        )
    }
}

/// The connections of a channel.
pub(super) enum Connections {
    Single(SingleConnection),
    Pooled(Arc<Pool>),
    Short(Way),
}

impl Connections {
    pub(super) fn new(kind: ConnectionType, way: Way) -> Self {
        match kind {
            ConnectionType::Single => Connections::Single(SingleConnection::new(way)),
            ConnectionType::Pooled => Connections::Pooled(Pool::new(way)),
            ConnectionType::Short => Connections::Short(way),
        }
    }

    pub(super) fn remote(&self) -> &Endpoint {
        match self {
            Connections::Single(single) => single.remote(),
            Connections::Pooled(pool) => pool.remote(),
            Connections::Short(way) => &way.remote,
        }
    }

    /// What one connection may hold.
    pub(super) fn limits(&self) -> &Limits {
        match self {
            Connections::Single(single) => single.limits(),
            Connections::Pooled(pool) => pool.limits(),
            Connections::Short(way) => &way.limits,
        }
    }

    /// Whether a connection lives on when a call has ended.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Connections::Single(_))
    }

    /// A connection for a call, which may still be connecting; never waits for that.
    pub(super) fn socket(&self) -> Result<Arc<Socket>, Failure> {
        match self {
            Connections::Single(single) => single.socket(),
            Connections::Pooled(pool) => pool.socket(),
            Connections::Short(way) => way.open(ClientConnection::exclusive(None)),
        }
    }
}
