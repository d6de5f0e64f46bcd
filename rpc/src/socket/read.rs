//! The input side of a socket: one reader at a time, and what becomes of the messages it cuts.
//!
//! Owns the read buffer. Events only bump a counter; the one that raises it from 0 starts a reader bthread, which reads
//! until the kernel runs dry and gives its role up by bringing the counter back to 0. Only then it runs a server's
//! messages (see `dispatch`), so that a handler that waits holds up nobody. A client's replies are cheap and are all
//! handled while reading.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use iobuf::IoPortal;

use super::dispatch::{self, Messages};
use super::{FailOnUnwind, Message, Socket, lock};
use crate::error::{EEOF, RpcError};
use crate::messenger::{Cut, Messenger};
use crate::protocol::Role;
use crate::starting;

/// A read asks for this many times the size of an average message.
const READ_MESSAGES: usize = 16;
/// The fewest bytes that a read asks for.
const READ_MIN: usize = 4096;
/// The most bytes that a read asks for.
const READ_MAX: usize = 512 << 10;
/// Messages over which their size is averaged.
const AVERAGED: usize = 10;
/// Where there are two messages there are often more.
const MESSAGES_EXPECTED: usize = 31;
/// After so many bytes a reader lets other bthreads run.
const TURN_BYTES_MAX: usize = 4 << 20;
/// After so many messages a reader lets other bthreads run.
const TURN_MESSAGES_MAX: usize = 4096;

/// The input side of one socket.
pub(super) struct Input {
    /// Events since the current reader has last looked; 0 exactly while there is no reader.
    events: AtomicU32,
    /// An event said that no more bytes will come, once those in the kernel are read.
    ends: AtomicBool,
    /// The reader's alone; the lock is never waited for.
    stream: Mutex<Stream>,
}

struct Stream {
    portal: IoPortal,
    messenger: Messenger,
    message_size: usize,
}

/// How a turn of reading ended.
enum Turn {
    /// The kernel has nothing more.
    Dry,
    /// There may be more, but it is somebody else's turn.
    Full,
    /// The connection is at its end.
    Over(RpcError),
}

impl Input {
    pub(super) fn new(messenger: Messenger) -> Self {
        let stream = Stream { portal: IoPortal::new(), messenger, message_size: READ_MIN / READ_MESSAGES };
        Input { events: AtomicU32::new(0), ends: AtomicBool::new(false), stream: Mutex::new(stream) }
    }
}

impl Socket {
    /// There is something to read; `ends`: and the end of the stream behind it.
    pub(super) fn readable_again(self: &Arc<Self>, ends: bool) {
        if ends {
            // Release pairs with the Acquire in `read_turn`; the counter below orders it before the reader's look.
            self.input.ends.store(true, Ordering::Release);
        }
        // AcqRel pairs with the reader's fetch_sub: the new reader sees the stream as the last one left it.
        if self.input.events.fetch_add(1, Ordering::AcqRel) == 0 {
            starting::start(self.clone(), Self::read);
        }
    }

    /// The reader.
    fn read(self: Arc<Self>) {
        let bomb = FailOnUnwind(&self);
        let mut arrivals = Arrivals::new(&self);
        loop {
            // Acquire pairs with the fetch_add of the events that are taken care of now.
            let seen = self.input.events.load(Ordering::Acquire);
            match self.read_turn(&mut arrivals) {
                // AcqRel pairs with the fetch_add that makes the next reader.
                Turn::Dry if self.input.events.fetch_sub(seen, Ordering::AcqRel) == seen => break,
                Turn::Dry => arrivals.run_elsewhere(),
                Turn::Full => {
                    arrivals.run_elsewhere();
                    starting::start(self.clone(), Self::read);
                    break;
                }
                Turn::Over(error) => {
                    self.set_failed(error);
                    break;
                }
            }
        }
        std::mem::forget(bomb);
        dispatch::run(&self, arrivals.messages);
    }

    /// Reads and cuts until there is nothing more or enough.
    fn read_turn(&self, arrivals: &mut Arrivals<'_>) -> Turn {
        let mut stream = lock(&self.input.stream);
        let stream = &mut *stream;
        let (mut bytes, mut messages) = (0, 0);
        loop {
            let size = stream.read_size();
            let received = match self.transport.read(&mut stream.portal, size) {
                Ok(received) if received.bytes == 0 => {
                    return Turn::Over(RpcError::new(EEOF, format!("Got EOF of {self}")));
                }
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    let error = RpcError::from(error);
                    return Turn::Over(RpcError::new(
                        error.code(),
                        format!("Fail to read from {self}: {}", error.text()),
                    ));
                }
            };
            match stream.cut_all(arrivals) {
                Ok(cut) => messages += cut,
                Err(error) => return Turn::Over(error),
            }
            bytes += received.bytes;
            // Acquire pairs with the store in `readable_again`.
            if received.drained && !self.input.ends.load(Ordering::Acquire) {
                break;
            }
            if bytes >= TURN_BYTES_MAX || messages >= TURN_MESSAGES_MAX {
                return Turn::Full;
            }
        }
        // The room that large messages were read into is not kept for the next one's first bytes.
        if stream.portal.is_empty() || stream.portal.len() < stream.read_size() - READ_MIN {
            stream.portal.return_cached_blocks();
        }
        Turn::Dry
    }
}

impl Stream {
    /// How many bytes to ask for.
    fn read_size(&self) -> usize {
        (self.message_size * READ_MESSAGES).clamp(READ_MIN, READ_MAX)
    }

    /// Cuts every message that is whole, and returns how many.
    fn cut_all(&mut self, arrivals: &mut Arrivals<'_>) -> Result<usize, RpcError> {
        let received = Instant::now();
        let mut count = 0;
        loop {
            let before = self.portal.len();
            match self.messenger.cut(&mut self.portal)? {
                Cut::NeedMore => return Ok(count),
                Cut::Message(protocol, frame) => {
                    let size = before - self.portal.len();
                    self.message_size = (self.message_size * (AVERAGED - 1) + size) / AVERAGED;
                    arrivals.add(Message { protocol, frame, received });
                    count += 1;
                }
            }
        }
    }
}

/// The messages of a turn on their way to their owner.
struct Arrivals<'a> {
    socket: &'a Arc<Socket>,
    in_place: bool,
    /// Not handled yet.
    messages: Messages,
}

impl<'a> Arrivals<'a> {
    fn new(socket: &'a Arc<Socket>) -> Self {
        Arrivals { socket, in_place: socket.owner.role() == Role::Client, messages: Messages::new() }
    }

    fn add(&mut self, message: Message) {
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
    fn run_elsewhere(&mut self) {
        dispatch::run_elsewhere(self.socket, std::mem::take(&mut self.messages));
    }
}
