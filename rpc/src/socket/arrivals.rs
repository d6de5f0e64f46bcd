//! The messages of a turn of reading on their way to whoever runs them: a client's are handled at once, a server's when
//! the reader has given up its role.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

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

    /// Takes a frame of a stream, with when it began to come and when it was whole, and whether nothing came behind it. The
    /// reply to the call that a stream begins with comes in such a frame. An error if that is none.
    pub(super) fn add_stream_frame(
        &mut self,
        side: &'static dyn StreamSide,
        frame: Frame,
        (began, received): (Instant, Instant),
        is_last: bool,
    ) -> Result<(), RpcError> {
        let messages = &self.socket.input.traffic.messages;
        messages.store(messages.load(Ordering::Relaxed) + 1, Ordering::Relaxed); // the reader alone counts
        let turn = self.streams.get_or_insert_default();
        let Some(mut reply) = turn.take(self.socket, side, frame) else { return Ok(()) };
        // The protocol of a channel is the first of those that its connections know.
        let mut codec = self.socket.protocols[0].codec(Role::Client, &self.socket.limits);
        match codec.parse(&mut reply) {
            Ok(Parsed::Message(frame)) if reply.is_empty() => {
                let (protocol, is_serial, is_first, in_stream) = (0, false, false, true);
                let message =
                    Message { protocol, frame, received, began, is_serial, is_last, is_first, in_stream };
                self.add(message);
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
