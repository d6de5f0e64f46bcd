//! The messages of a turn of reading on their way to whoever runs them: a client's are handled at once, a server's when
//! the reader has given up its role.

use std::sync::Arc;

use super::dispatch::{self, Messages};
use super::{Message, Socket};
use crate::error::{EPROTO, RpcError};
use crate::protocol::{Frame, Parsed, Role, StreamSide};
use crate::stream::StreamTurn;

/// Where there are two messages there are often more.
const MESSAGES_EXPECTED: usize = 31;

/// The messages of a turn on their way to their owner.
pub(super) struct Arrivals<'a> {
    pub(super) socket: &'a Arc<Socket>,
    in_place: bool,
    /// Not handled yet.
    messages: Messages,
    /// What has come for streams, once something has.
    streams: Option<Box<StreamTurn>>,
}

impl<'a> Arrivals<'a> {
    pub(super) fn new(socket: &'a Arc<Socket>) -> Self {
        Arrivals {
            socket,
            in_place: socket.owner.role() == Role::Client,
            messages: Messages::new(),
            streams: None,
        }
    }

    pub(super) fn add(&mut self, message: Message) {
        if self.in_place {
            self.socket.owner.message(self.socket, message);
        } else {
            if self.messages.len() == 1 {
                self.messages.reserve(MESSAGES_EXPECTED);
            }
            self.messages.push(message);
        }
    }

    /// Takes a frame of a stream; `message`: what the frame is but for its protocol and its bytes. The reply to the call
    /// that a stream begins with comes in such a frame. An error if that is none.
    pub(super) fn add_stream_frame(
        &mut self,
        side: &'static dyn StreamSide,
        frame: Frame,
        message: Message,
    ) -> Result<(), RpcError> {
        let turn = self.streams.get_or_insert_default();
        let Some(mut reply) = turn.take(self.socket, side, frame) else { return Ok(()) };
        // The protocol of a channel is the first of those that its connections know.
        let protocol = self.socket.protocols[message.protocol as usize];
        match protocol.codec(Role::Client, &self.socket.limits).parse(&mut reply) {
            Ok(Parsed::Message(frame)) if reply.is_empty() => {
                self.add(Message { frame, ..message });
                Ok(())
            }
            _ => Err(RpcError::new(EPROTO, "What should be a reply on a stream is none")),
        }
    }

    /// Streams get what has come for them; after each read.
    pub(super) fn flush_streams(&mut self) {
        if let Some(turn) = &mut self.streams {
            turn.flush();
        }
    }

    /// The reader has more to read, so that others have to run them.
    pub(super) fn run_elsewhere(&mut self) {
        dispatch::run_elsewhere(self.socket, std::mem::take(&mut self.messages));
    }
    /// Those that nobody runs yet.
    pub(super) fn rest(self) -> Messages {
        self.messages
    }
}
