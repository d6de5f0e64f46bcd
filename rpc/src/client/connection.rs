//! A channel's end of a connection: the calls that wait on it, and what becomes of it when they are done.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use super::call_table::{CALLS_MAX, CallTable, Refused};
use super::outcome::{Failure, Outcome, PendingCall};
use super::pool::Pool;
use crate::error::{ECANCELED, EFAILEDSOCKET, EOVERCROWDED, EUNUSED, RpcError};
use crate::protocol::{AfterReply, Frame, Protocol, Role};
use crate::socket::{Message, Socket, SocketOwner};
use crate::span::Point;

/// What a channel keeps for each connection.
pub(super) struct ClientConnection {
    calls: CallTable,
    failed_at: OnceLock<Instant>,
    use_: Use,
}

/// How calls use a connection.
enum Use {
    /// All at the same time.
    Shared,
    /// One at a time, whose id is `current`; afterwards it goes back to the pool, or is closed without one or if its
    /// peer closes it.
    Exclusive { current: AtomicU64, closes: AtomicBool, pool: Option<Weak<Pool>> },
}

impl ClientConnection {
    pub(super) fn shared() -> Self {
        ClientConnection { calls: CallTable::new(), failed_at: OnceLock::new(), use_: Use::Shared }
    }

    pub(super) fn exclusive(pool: Option<Weak<Pool>>) -> Self {
        let use_ = Use::Exclusive { current: AtomicU64::new(0), closes: AtomicBool::new(false), pool };
        ClientConnection { calls: CallTable::new(), failed_at: OnceLock::new(), use_ }
    }

    /// The id of the one call, where there is one at a time.
    fn current(&self) -> Option<u64> {
        match &self.use_ {
            Use::Shared => None,
            // Acquire pairs with the store in `expect_reply`.
            Use::Exclusive { current, .. } => Some(current.load(Ordering::Acquire)),
        }
    }

    /// The call of an exclusive connection has its whole reply. `GoOn` if nothing came behind it: that would be taken
    /// for the reply to the next call.
    fn done(&self, socket: &Arc<Socket>, after: AfterReply) {
        if let Use::Exclusive { pool, .. } = &self.use_ {
            match pool.as_ref().and_then(Weak::upgrade).filter(|_| after == AfterReply::GoOn) {
                Some(pool) => pool.give_back(socket),
                None => {
                    socket.set_failed(RpcError::new(EUNUSED, "The connection was for one call"));
                }
            }
        }
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
        let mut reply = match side.read_reply(message.frame) {
            Ok(reply) => reply,
            Err(error) => {
                // Where calls share a connection it is nobody's, and is dropped. Else it is that of the one call.
                if self.current().is_some() {
                    socket.set_failed(error.into());
                }
                return;
            }
        };
        let id = match reply.correlation_id {
            0 => self.current().unwrap_or(0),
            id => id,
        };
        let is_whole = reply.stream.is_none();
        let call = self.calls.remove(id);
        let after = if is_whole && !(call.is_some() && message.is_last) {
            AfterReply::Close // the peer says what nobody has asked for
        } else {
            reply.after
        };
        // Before the call ends: its caller may call again at once, and finds the connection in the pool.
        if is_whole {
            self.done(socket, after);
        } else if let Use::Exclusive { closes, .. } = &self.use_ {
            closes.store(after == AfterReply::Close, Ordering::Relaxed); // the reader's alone
        }
        if let Some(call) = call {
            if let Some(span) = call.span() {
                span.reach_at(Point::Received, message.received);
                span.set_response_size(size);
            }
            let begins_streams = message.in_stream || reply.streams.is_some();
            let streams = if begins_streams { call.streams() } else { None };
            if let Some(streams) = &streams {
                streams.replied(socket, &mut reply);
            }
            call.end(Outcome::Replied(reply));
            if let Some(streams) = streams {
                streams.release();
            }
        }
    }

    fn wants_stream(&self, _: &'static dyn Protocol, _: &Frame) -> bool {
        self.current().is_some_and(|id| self.calls.wants_stream(id))
    }

    fn body_ended(&self, socket: &Arc<Socket>, is_clean: bool) {
        if let Use::Exclusive { closes, .. } = &self.use_ {
            // Relaxed: the reader's alone.
            let closes = !is_clean || closes.load(Ordering::Relaxed);
            self.done(socket, if closes { AfterReply::Close } else { AfterReply::GoOn });
        }
    }

    fn peer_closed(&self, _: &Arc<Socket>) {}

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
    let connection = socket.owner::<ClientConnection>();
    let inserted = connection.calls.insert(call).inspect(|id| {
        if let Use::Exclusive { current, .. } = &connection.use_ {
            current.store(*id, Ordering::Release); // pairs with the load in `current`
        }
    });
    inserted.map_err(|refused| match refused {
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

/// Takes a call out again: true if that makes the caller the one to end it. A connection of its own is closed, since
/// its reply may still come.
pub(super) fn expect_no_reply(socket: &Arc<Socket>, id: u64) -> bool {
    let connection = socket.owner::<ClientConnection>();
    let is_removed = connection.calls.remove(id).is_some();
    if is_removed && matches!(connection.use_, Use::Exclusive { .. }) {
        socket.set_failed(RpcError::new(ECANCELED, "The call did not wait for its reply"));
    }
    is_removed
}

impl ClientConnection {
    /// When it failed, if it has.
    pub(super) fn failed_at(&self) -> Option<Instant> {
        self.failed_at.get().copied()
    }
}
