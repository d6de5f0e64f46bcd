//! The messages of a turn of reading on their way to whoever runs them: a client's are handled at once, a server's when
//! the reader has given up its role.

use std::sync::Arc;

use super::dispatch::{self, Messages};
use super::{Message, Socket};
use crate::protocol::Role;

/// Where there are two messages there are often more.
const MESSAGES_EXPECTED: usize = 31;

/// The messages of a turn on their way to their owner.
pub(super) struct Arrivals<'a> {
    pub(super) socket: &'a Arc<Socket>,
    in_place: bool,
    /// Not handled yet.
    messages: Messages,
}

impl<'a> Arrivals<'a> {
    pub(super) fn new(socket: &'a Arc<Socket>) -> Self {
        Arrivals { socket, in_place: socket.owner.role() == Role::Client, messages: Messages::new() }
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

    /// The reader has more to read, so that others have to run them.
    pub(super) fn run_elsewhere(&mut self) {
        dispatch::run_elsewhere(self.socket, std::mem::take(&mut self.messages));
    }
    /// Those that nobody runs yet.
    pub(super) fn rest(self) -> Messages {
        self.messages
    }
}
