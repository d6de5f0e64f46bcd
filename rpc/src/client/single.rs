//! The one connection that all calls of a channel share (`single`, `spec/rpc-core.md` §11). It is made by the first call
//! that needs it, and again when it has failed.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::connection::ClientConnection;
use super::outcome::Failure;
use super::way::Way;
use crate::error::{EHOSTDOWN, EUNUSED, RpcError};
use crate::limits::Limits;
use crate::socket::{Socket, lock};
use crate::transport::Endpoint;

/// After connecting has failed, calls fail at once with [`EHOSTDOWN`] for so long, instead of trying again.
pub(crate) const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// The connection of a channel.
pub(super) struct SingleConnection {
    way: Way,
    current: Mutex<Current>,
}

enum Current {
    None,
    Socket(Arc<Socket>),
    /// The system refused even to begin.
    Refused(Instant),
}

impl SingleConnection {
    pub(super) fn new(way: Way) -> Self {
        SingleConnection { way, current: Mutex::new(Current::None) }
    }

    pub(super) fn remote(&self) -> &Endpoint {
        &self.way.remote
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.way.limits
    }

    /// The connection, which may still be connecting; never waits for that.
    pub(super) fn socket(&self) -> Result<Arc<Socket>, Failure> {
        let socket = {
            let mut current = lock(&self.current);
            match &*current {
                Current::Socket(socket) if socket.error().is_none() => return Ok(socket.clone()),
                Current::Socket(socket) if is_pausing(socket) => return Err(not_connected(&self.way)),
                Current::Refused(when) if when.elapsed() < RECONNECT_PAUSE => {
                    return Err(not_connected(&self.way));
                }
                _ => {}
            }
            match self.way.connect(ClientConnection::shared()) {
                Ok(socket) => {
                    *current = Current::Socket(socket.clone());
                    socket
                }
                Err(error) => {
                    *current = Current::Refused(Instant::now());
                    return Err(Failure::unsent(error));
                }
            }
        };
        // Without the lock, as it may fail and tell so.
        socket.start().map_err(Failure::unsent)?;
        Ok(socket)
    }
}

fn not_connected(way: &Way) -> Failure {
    Failure::unsent(RpcError::new(EHOSTDOWN, format!("Not connected to {} yet", way.remote)))
}

/// Whether a failed socket never connected, a moment ago.
fn is_pausing(socket: &Socket) -> bool {
    let failed_at = socket.owner::<ClientConnection>().failed_at();
    // Without a time it is failing right now.
    !socket.is_connected() && failed_at.is_none_or(|when| when.elapsed() < RECONNECT_PAUSE)
}

impl Drop for SingleConnection {
    fn drop(&mut self) {
        let current = self.current.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Current::Socket(socket) = current {
            socket.set_failed(RpcError::new(EUNUSED, "The channel was dropped"));
        }
    }
}
