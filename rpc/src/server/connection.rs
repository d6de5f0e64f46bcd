//! A server's end of one connection: from a message to an admitted call.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use super::admission;
use super::cancellation::Watches;
use super::method::{Routes, Target};
use super::state::ServerState;
use super::tail::TailState;
use super::verification::{Verdict, Verified};
use crate::auth::AuthContext;
use crate::error::{EREQUEST, RpcError};
use crate::protocol::{Frame, IncomingRequest, Protocol, Role, ServerSide};
use crate::socket::{FailOnUnwind, Message, Socket, SocketOwner, lock};
use crate::span::{Point, Span};

/// What a server keeps for each connection.
pub(crate) struct ServerConnection {
    pub(super) server: Arc<ServerState>,
    /// The method that was called last, see [`Routes`].
    recent: AtomicUsize,
    /// It came in through the internal port.
    pub(super) is_internal: bool,
    /// The answer that goes on after its call, of which there is one at a time.
    tail: Mutex<Weak<TailState>>,
    /// Who is to be told when the connection fails.
    pub(super) watches: Watches,
    /// On servers that verify their callers.
    verified: Option<Box<Verified>>,
}

impl ServerConnection {
    pub(super) fn new(server: Arc<ServerState>, is_internal: bool) -> Self {
        let recent = AtomicUsize::new(usize::MAX);
        let verified = server.verification.as_ref().map(|_| Box::new(Verified::new()));
        let (tail, watches) = (Mutex::default(), Watches::default());
        ServerConnection { server, recent, is_internal, tail, watches, verified }
    }

    /// Who the peer is, once it is verified.
    pub(super) fn auth_context(&self) -> Option<&AuthContext> {
        self.verified.as_ref()?.context()
    }

    /// Whether a message may be looked at, and with what identity of its own; else it is dealt with. Pages are let
    /// through: who sees them is for them to say.
    fn verify(
        &self,
        socket: &Arc<Socket>,
        origin: Origin,
        request: &mut IncomingRequest,
        is_first: bool,
    ) -> Result<Option<Box<AuthContext>>, ()> {
        let (Some(verified), Some(verification)) = (&self.verified, &self.server.verification) else {
            return Ok(None);
        };
        if matches!(request.target, Ok(Target::Page(_) | Target::NoMethod(_))) {
            verified.pass_over(is_first);
            return Ok(None);
        }
        match verified.judge(verification, socket, request, is_first) {
            Verdict::Passes(own) => Ok(own),
            Verdict::Refused(error) => {
                self.server.non_service_errors.add(1);
                admission::refuse_peer(socket, origin, std::mem::take(&mut request.token), &error);
                Err(())
            }
            Verdict::Dropped => Err(()),
        }
    }

    pub(super) fn set_tail(&self, tail: &Arc<TailState>) {
        *lock(&self.tail) = Arc::downgrade(tail);
    }

    pub(super) fn tail(&self) -> Option<Arc<TailState>> {
        lock(&self.tail).upgrade()
    }

    fn routes(&self) -> Routes<'_> {
        let wants_credential = self.verified.as_ref().is_some_and(|verified| verified.is_open());
        Routes::new(&self.server.methods, &self.recent).with_credential(wants_credential)
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
        let protocol = socket.protocol_of(&message).name();
        let chosen = Span::choose();
        let size = message.frame.bytes.len();
        let origin = Origin { side, received: message.received, is_serial: message.is_serial };
        let mut read = {
            let _guard = FailOnUnwind(socket);
            side.read_request(message.frame, &self.routes())
        };
        match &mut read {
            Ok(request) => {
                let Ok(identity) = self.verify(socket, origin, request, message.is_first) else {
                    return;
                };
                let upstream = request.info.trace.as_deref().copied();
                // What looks at the process is no part of its work.
                let is_call = !matches!(request.target, Ok(Target::Page(_) | Target::NoMethod(_)));
                let span = is_call.then(|| {
                    Span::of_request(chosen, upstream, message.began, || {
                        admission::traced(socket, &self.server, request, protocol, size)
                    })
                });
                let span = span.flatten();
                if let Some(span) = &span {
                    span.reach_at(Point::Received, message.received);
                }
                admission::admit(socket, &self.server, origin, request, span, identity);
            }
            Err(error) => {
                socket.set_failed(RpcError::new(EREQUEST, error.to_string()));
            }
        }
    }

    fn wants_stream(&self, protocol: &'static dyn Protocol, head: &Frame) -> bool {
        protocol.server().is_some_and(|side| side.wants_stream(head, &self.routes()))
    }

    fn body_ended(&self, _: &Arc<Socket>, _: bool) {}

    fn peer_closed(&self, _: &Arc<Socket>) {
        if let Some(tail) = self.tail() {
            tail.tell_stopped();
        }
    }

    fn failed(&self, socket: &Arc<Socket>, error: &RpcError) {
        if let Some(verified) = &self.verified {
            verified.give_up();
        }
        self.watches.cancel_all(error);
        self.server.forget(socket.id());
        if let Some(tail) = self.tail() {
            tail.tell_stopped();
        }
    }

    fn lingers(&self) {
        self.server.one_lingers();
    }

    fn lingered(&self) {
        self.server.one_lingered();
    }
}

/// How a request came.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub(super) side: &'static dyn ServerSide,
    pub(super) received: Instant,
    pub(super) is_serial: bool,
}
