//! Connections that carry one call at a time and are kept for the next (`pooled`, `spec/rpc-core.md` §11).
//!
//! Owns those that nobody uses. One that is used belongs to its call, and comes back when that has its whole reply.

use std::sync::{Arc, Mutex};

use super::connection::ClientConnection;
use super::outcome::Failure;
use super::way::Way;
use crate::error::{ERESPONSE, EUNUSED, RpcError};
use crate::limits::Limits;
use crate::socket::{Socket, lock};
use crate::transport::Endpoint;

/// Connections that a channel keeps unused; more are closed when they come back (brpc: `max_connection_pool_size`).
pub const POOLED_CONNECTIONS_MAX: usize = 100;

/// The pooled connections of a channel.
pub(super) struct Pool {
    way: Way,
    /// The one that was used last is used next, so that the others may go idle.
    idle: Mutex<Vec<Arc<Socket>>>,
}

impl Pool {
    pub(super) fn new(way: Way) -> Arc<Self> {
        Arc::new(Pool { way, idle: Mutex::default() })
    }

    pub(super) fn remote(&self) -> &Endpoint {
        &self.way.remote
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.way.limits
    }

    /// A connection that nobody uses, or a new one.
    pub(super) fn socket(self: &Arc<Self>) -> Result<Arc<Socket>, Failure> {
        loop {
            let idle = lock(&self.idle).pop();
            match idle {
                // Bytes that came while nobody asked are no answer to what is asked next.
                Some(socket) if socket.has_unread_bytes() => {
                    socket.set_failed(RpcError::new(ERESPONSE, "Bytes came that no call waits for"));
                }
                Some(socket) if socket.error().is_none() && !socket.is_peer_closed() => return Ok(socket),
                Some(_) => {}
                None => break,
            }
        }
        self.way.open(ClientConnection::exclusive(Some(Arc::downgrade(self))))
    }

    /// Takes a connection back whose call has its reply.
    pub(super) fn give_back(&self, socket: &Arc<Socket>) {
        let kept = {
            let mut idle = lock(&self.idle);
            let kept = idle.len() < POOLED_CONNECTIONS_MAX && socket.error().is_none();
            if kept {
                idle.push(socket.clone());
            }
            kept
        };
        if !kept {
            socket.set_failed(RpcError::new(EUNUSED, "The pool of connections is full"));
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let idle = std::mem::take(self.idle.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner));
        for socket in idle {
            socket.set_failed(RpcError::new(EUNUSED, "The channel was dropped"));
        }
    }
}
