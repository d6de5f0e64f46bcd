//! A server's end of one connection: from a message to an admitted call.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::admission;
use super::method::Routes;
use super::state::ServerState;
use crate::error::{EREQUEST, RpcError};
use crate::protocol::Role;
use crate::socket::{Message, Socket, SocketOwner};

/// What a server keeps for each connection.
pub(crate) struct ServerConnection {
    pub(super) server: Arc<ServerState>,
    /// The method that was called last, see [`Routes`].
    recent: AtomicUsize,
}

impl ServerConnection {
    pub(super) fn new(server: Arc<ServerState>) -> Self {
        ServerConnection { server, recent: AtomicUsize::new(usize::MAX) }
    }
}

impl SocketOwner for ServerConnection {
    fn role(&self) -> Role {
        Role::Server
    }

    fn message(&self, socket: &Arc<Socket>, message: Message) {
        let Some(side) = socket.protocol_of(&message).server() else {
            // The builder gives a server no other protocols.
            socket.set_failed(RpcError::internal("A server was given a protocol for clients"));
            return;
        };
        match side.read_request(message.frame, &Routes::new(&self.server.methods, &self.recent)) {
            Ok(request) => admission::admit(socket, &self.server, side, request, message.received),
            Err(error) => {
                socket.set_failed(RpcError::new(EREQUEST, error.to_string()));
            }
        }
    }

    fn failed(&self, socket: &Arc<Socket>, _: &RpcError) {
        self.server.forget(socket.id());
    }
}
