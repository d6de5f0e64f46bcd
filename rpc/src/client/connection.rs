//! A channel's end of a connection, and the one connection that all calls of a channel share (`single`,
//! `spec/rpc-core.md` §11). It is made by the first call that needs it, and again when it has failed.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::call_table::{CALLS_MAX, CallTable, Refused};
use super::outcome::{Failure, Outcome, PendingCall};
use crate::error::{EFAILEDSOCKET, EHOSTDOWN, EOVERCROWDED, EUNUSED, RpcError};
use crate::limits::Limits;
use crate::protocol::{Frame, Protocol, Role};
use crate::socket::{Message, Socket, SocketOwner, lock};
use crate::span::Point;
use crate::transport::Endpoint;

/// After connecting has failed, calls fail at once with [`EHOSTDOWN`] for so long, instead of trying again.
pub(crate) const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// What a channel keeps for each connection.
pub(super) struct ClientConnection {
    calls: CallTable,
    failed_at: OnceLock<Instant>,
}

impl ClientConnection {
    fn new() -> Self {
        ClientConnection { calls: CallTable::new(), failed_at: OnceLock::new() }
    }
}

impl SocketOwner for ClientConnection {
    fn role(&self) -> Role {
        Role::Client
    }

    fn message(&self, socket: &Arc<Socket>, message: Message) {
        let Some(side) = socket.protocol_of(&message).client() else {
            return;
        };
        let size = message.frame.bytes.len();
        // A reply that cannot be read is nobody's; one whose call is gone came too late. Both are dropped.
        let Ok(reply) = side.read_reply(message.frame) else {
            return;
        };
        if let Some(call) = self.calls.remove(reply.correlation_id) {
            if let Some(span) = call.span() {
                span.reach_at(Point::Received, message.received);
                span.set_response_size(size);
            }
            call.end(Outcome::Replied(reply));
        }
    }

    fn wants_stream(&self, _: &'static dyn Protocol, _: &Frame) -> bool {
        false
    }

    fn failed(&self, socket: &Arc<Socket>, error: &RpcError) {
        let _ = self.failed_at.set(Instant::now()); // a socket fails once
        let failure = Failure { error: error.clone(), sent: socket.is_connected() };
        for call in self.calls.close() {
            call.end(Outcome::Failed(failure.clone()));
        }
    }
}

/// Puts a call in the table of a connection; its request may be written then.
pub(super) fn expect_reply(socket: &Socket, call: Arc<dyn PendingCall>) -> Result<u64, Failure> {
    socket.owner::<ClientConnection>().calls.insert(call).map_err(|refused| match refused {
        Refused::Full => Failure::unsent(RpcError::new(
            EOVERCROWDED,
            format!("More than {CALLS_MAX} calls in flight on the connection to {}", socket.remote()),
        )),
        Refused::Closed => Failure::unsent(match socket.error() {
            Some(error) => error.clone(),
            None => RpcError::new(EFAILEDSOCKET, format!("The connection to {} has failed", socket.remote())),
        }),
    })
}

/// Takes a call out again: true if that makes the caller the one to end it.
pub(super) fn expect_no_reply(socket: &Socket, id: u64) -> bool {
    socket.owner::<ClientConnection>().calls.remove(id).is_some()
}

/// The connection of a channel.
pub(super) struct SingleConnection {
    remote: Endpoint,
    protocols: Arc<[&'static dyn Protocol]>,
    connect_timeout: Duration,
    limits: Limits,
    current: Mutex<Current>,
}

enum Current {
    None,
    Socket(Arc<Socket>),
    /// The system refused even to begin.
    Refused(Instant),
}

impl SingleConnection {
    pub(super) fn new(
        remote: Endpoint,
        protocol: &'static dyn Protocol,
        connect_timeout: Duration,
        limits: Limits,
    ) -> Self {
        SingleConnection {
            remote,
            protocols: [protocol].into(),
            connect_timeout,
            limits,
            current: Mutex::new(Current::None),
        }
    }

    pub(super) fn remote(&self) -> &Endpoint {
        &self.remote
    }

    /// The connection, which may still be connecting; never waits for that.
    pub(super) fn socket(&self) -> Result<Arc<Socket>, Failure> {
        let socket = {
            let mut current = lock(&self.current);
            match &*current {
                Current::Socket(socket) if socket.error().is_none() => return Ok(socket.clone()),
                Current::Socket(socket) if is_pausing(socket) => return Err(self.not_connected()),
                Current::Refused(when) if when.elapsed() < RECONNECT_PAUSE => {
                    return Err(self.not_connected());
                }
                _ => {}
            }
            let owner = Box::new(ClientConnection::new());
            match Socket::connecting(
                &self.remote,
                self.connect_timeout,
                self.protocols.clone(),
                self.limits,
                owner,
            ) {
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
        match socket.start() {
            Ok(()) => Ok(socket),
            Err(error) => Err(Failure::unsent(error)),
        }
    }

    fn not_connected(&self) -> Failure {
        Failure::unsent(RpcError::new(EHOSTDOWN, format!("Not connected to {} yet", self.remote)))
    }
}

/// Whether a failed socket never connected, a moment ago.
fn is_pausing(socket: &Socket) -> bool {
    let failed_at = socket.owner::<ClientConnection>().failed_at.get();
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
