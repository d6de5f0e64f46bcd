//! A channel's end of a connection: the calls that wait on it, and what becomes of it when they are done. It tells its
//! entry what becomes of the connection itself.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bthread::planted;

use super::call_table::{CALLS_MAX, CallTable, Refused};
use super::entry::Entry;
use super::greeting::Greeting;
use super::life::Generation;
use super::outcome::{Failure, Outcome, PendingCall};
use crate::error::{
    ECANCELED, EEOF, EFAILEDSOCKET, ELOGOFF, EOVERCROWDED, ETIMEDOUT, EUNUSED, ErrorCode, RpcError,
};
use crate::protocol::{AfterReply, Frame, Protocol, Role};
use crate::socket::{Message, Socket, SocketOwner};
use crate::span::Point;
use crate::stream;

/// What a channel keeps for each connection.
pub(super) struct ClientConnection {
    calls: CallTable,
    /// Whose connection it is, until no channel wants it.
    entry: Weak<Entry>,
    generation: Generation,
    use_: Use,
    greeting: Greeting,
}

/// How calls use a connection.
pub(super) enum Use {
    /// All at the same time. `drains`: no new ones, and it is closed behind those that are there.
    Shared { drains: AtomicBool },
    /// One at a time, whose id is `current`; afterwards it goes back to its entry, or is closed if its peer closes it.
    /// `is_check`: it was made for no call.
    Exclusive { current: AtomicU64, closes: AtomicBool, is_check: bool },
}

impl Use {
    pub(super) fn shared() -> Self {
        Use::Shared { drains: AtomicBool::new(false) }
    }

    pub(super) fn exclusive(is_check: bool) -> Self {
        Use::Exclusive { current: AtomicU64::new(0), closes: AtomicBool::new(false), is_check }
    }
}

impl ClientConnection {
    pub(super) fn new(entry: Weak<Entry>, generation: Generation, use_: Use) -> Self {
        ClientConnection { calls: CallTable::new(), entry, generation, use_, greeting: Greeting::new() }
    }

    /// The id of the one call, where there is one at a time.
    fn current(&self) -> Option<u64> {
        match &self.use_ {
            Use::Shared { .. } => None,
            // Acquire pairs with the store in `expect_reply`.
            Use::Exclusive { current, .. } => Some(current.load(Ordering::Acquire)),
        }
    }

    /// The call of an exclusive connection has its whole reply. `GoOn` if nothing came behind it: that would be taken
    /// for the reply to the next call.
    fn done(&self, socket: &Arc<Socket>, after: AfterReply) {
        if let Use::Exclusive { .. } = &self.use_ {
            match self.entry.upgrade().filter(|_| after == AfterReply::GoOn) {
                Some(entry) => entry.give_back(socket),
                None => {
                    socket.set_failed(RpcError::new(EUNUSED, "The connection was for one call"));
                }
            }
        }
    }

    /// The server says that it leaves: calls in flight may end, new ones go elsewhere.
    fn drain(&self) {
        if let Use::Shared { drains } = &self.use_ {
            drains.store(true, Ordering::Relaxed); // the lock of the entry orders it before the next look
            if let Some(entry) = self.entry.upgrade() {
                entry.drained(self.generation);
            }
        }
    }

    /// Closes a connection that drains when no call is left on it.
    fn close_if_drained(&self, socket: &Arc<Socket>) {
        // Relaxed: who sets it comes here afterwards, and the table's locks order the calls.
        let drains = matches!(&self.use_, Use::Shared { drains } if drains.load(Ordering::Relaxed));
        if drains && self.calls.close_if_empty() {
            socket.set_failed(RpcError::new(ELOGOFF, "The server has left"));
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
        let leaves = reply.error.as_ref().is_some_and(|error| error.code() == ELOGOFF);
        if leaves {
            self.drain();
        }
        let after = if leaves || is_whole && !(call.is_some() && message.is_last) {
            AfterReply::Close // the peer goes, or says what nobody has asked for
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
        } else if let Some(peers) = &reply.streams {
            stream::refuse(socket, peers);
        }
        self.close_if_drained(socket);
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

    fn peer_closed(&self, socket: &Arc<Socket>) {
        // One that waits for its answer still gets it.
        if self.entry.upgrade().is_some_and(|entry| entry.take_unused(socket)) {
            socket.set_failed(RpcError::new(EEOF, "The peer has closed an unused connection"));
        }
    }

    fn waiting_calls(&self) -> usize {
        self.calls.len()
    }

    fn connected(&self, socket: &Arc<Socket>) {
        if let Some(entry) = self.entry.upgrade() {
            let is_check = matches!(self.use_, Use::Exclusive { is_check: true, .. });
            entry.connected(socket, self.generation, is_check);
        }
    }

    fn connect_timed_out(&self) -> ErrorCode {
        self.entry.upgrade().map_or(ETIMEDOUT, |entry| entry.connect_timed_out())
    }

    fn failed(&self, socket: &Arc<Socket>, error: &RpcError) {
        // Before the calls, which may be tried again at once.
        if let Some(entry) = self.entry.upgrade() {
            entry.ended(socket, self.generation);
        }
        let sent = socket.is_connected() && !(planted!(RetryAfterWrite) && error.code() == EEOF);
        let failure = Failure { error: error.clone(), sent };
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

/// Who says the credential on a connection.
pub(super) fn greeting(socket: &Socket) -> &Greeting {
    &socket.owner::<ClientConnection>().greeting
}

/// Takes a call out again: true if that makes the caller the one to end it. A connection of its own is closed, since
/// its reply may still come.
pub(super) fn expect_no_reply(socket: &Arc<Socket>, id: u64) -> bool {
    let connection = socket.owner::<ClientConnection>();
    let is_removed = connection.calls.remove(id).is_some();
    if is_removed {
        match connection.use_ {
            Use::Shared { .. } => connection.close_if_drained(socket),
            Use::Exclusive { .. } => {
                socket.set_failed(RpcError::new(ECANCELED, "The call did not wait for its reply"));
            }
        }
    }
    is_removed
}
