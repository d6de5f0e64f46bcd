//! The input side of a socket: one reader at a time, and what becomes of the messages it cuts.
//!
//! Owns the read buffer. Events only bump a counter; the one that raises it from 0 starts a reader bthread, which reads
//! until the kernel runs dry and gives its role up by bringing the counter back to 0. Only then it runs a server's
//! messages (see `dispatch`), so that a handler that waits holds up nobody. A client's replies are cheap and are all
//! handled while reading.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bthread::planted;
use iobuf::IoPortal;

use super::arrivals::Arrivals;
use super::dispatch;
use super::gate::Gate;
use super::linger::Discarded;
use super::watch::InTraffic;
use super::write::Overcrowded;
use super::{FailOnUnwind, Message, Socket, clock, lock};
use crate::body::{BodyPipe, Room};
use crate::error::{ECLOSE, EEOF, EREQUEST, RpcError};
use crate::messenger::{Cut, Messenger};
use crate::protocol::{AfterReply, Protocol, Role, WireError};
use crate::starting;

/// A read asks for this many times the size of an average message.
const READ_MESSAGES: usize = 16;
/// The fewest bytes that a read asks for.
const READ_MIN: usize = 4096;
/// The most bytes that a read asks for.
const READ_MAX: usize = 512 << 10;
/// Messages over which their size is averaged.
const AVERAGED: usize = 10;
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
    /// Shut while a message is not answered whose protocol wants its answers in order.
    answered: Gate,
    /// The peer sends nothing more, but waits for an answer.
    peer_closed: AtomicBool,
    /// Nothing more is read: the connection ends with the answer that is due.
    ending: AtomicBool,
    /// What [`Codec::expect`](crate::protocol::Codec::expect) is to be told before the next reply is cut,
    hint: AtomicU64,
    /// and whether there is such a thing.
    has_hint: AtomicBool,
    /// The body that is arriving, see [`Stream::body`]: for those who end the connection.
    body: Mutex<Option<Arc<BodyPipe>>>,
    /// What has come so far.
    pub(super) traffic: InTraffic,
    /// The index of the protocol of the last message, plus one.
    protocol: AtomicU32,
    /// The reader's alone; the lock is never waited for.
    stream: Mutex<Stream>,
}

struct Stream {
    portal: IoPortal,
    messenger: Messenger,
    message_size: usize,
    /// Where the body goes that is arriving, if its receiver wants it so.
    body: Option<Arc<BodyPipe>>,
    /// The codec keeps the beginning of a message.
    is_gathering: bool,
    /// The peer has spoken a protocol whose answers must be in order.
    is_serial: bool,
    /// A message was passed on. Frames of streams are none.
    has_passed_on: bool,
    /// When the first byte came of the message that is arriving.
    began: Option<Instant>,
    /// Bytes may be left that somebody else's work kept from being cut.
    is_held: bool,
    /// What comes is not looked at any more.
    is_over: bool,
}

/// How far cutting went.
enum CutUp {
    /// The rest is no message yet.
    Whole,
    /// Somebody else must do something first, and has the reader called then.
    Held,
    /// The connection ends when what is queued to be written is written.
    Last,
    /// A body that is streamed cannot be read to its end, and nothing behind it.
    Lost(RpcError),
}

/// How a turn of reading ended.
enum Turn {
    /// The kernel has nothing more, or nothing more is wanted before somebody has the reader called.
    Dry,
    /// There may be more, but it is somebody else's turn.
    Full,
    /// The connection is at its end.
    Over(RpcError),
}

impl Input {
    pub(super) fn new(messenger: Messenger) -> Self {
        let stream = Stream {
            portal: IoPortal::new(),
            messenger,
            message_size: READ_MIN / READ_MESSAGES,
            body: None,
            is_gathering: false,
            is_serial: false,
            has_passed_on: false,
            began: None,
            is_held: false,
            is_over: false,
        };
        Input {
            events: AtomicU32::new(0),
            ends: AtomicBool::new(false),
            answered: Gate::new(),
            peer_closed: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            hint: AtomicU64::new(0),
            has_hint: AtomicBool::new(false),
            body: Mutex::new(None),
            traffic: InTraffic::default(),
            protocol: AtomicU32::new(0),
            stream: Mutex::new(stream),
        }
    }

    /// The name of the protocol of the last message.
    pub(super) fn protocol_name(&self, protocols: &[&'static dyn Protocol]) -> Option<&'static str> {
        let index = self.protocol.load(Ordering::Relaxed).checked_sub(1)?; // a note for people
        protocols.get(index as usize).map(|protocol| protocol.name())
    }

    /// The place of the protocol of the last message in the list of the socket's; -1: there was none yet.
    pub(super) fn protocol_index(&self) -> i64 {
        i64::from(self.protocol.load(Ordering::Relaxed)) - 1 // a note for people
    }

    /// The bytes that wait to be cut or taken, if nobody is reading right now.
    pub(super) fn buffered(&self) -> Option<usize> {
        self.stream.try_lock().ok().map(|stream| stream.portal.len())
    }

    /// The socket has failed: nothing more of the body will come.
    pub(super) fn fail_body(&self, error: &RpcError) {
        let body = lock(&self.body).take();
        if let Some(body) = body {
            body.end(Err(error.clone()));
        }
    }
}

impl Socket {
    /// There is something to read; `ends`: and the end of the stream behind it.
    pub(super) fn readable_again(self: Arc<Self>, ends: bool) {
        if ends {
            // Release pairs with the Acquire in `read_turn`; the counter below orders it before the reader's look.
            self.input.ends.store(true, Ordering::Release);
        }
        // AcqRel pairs with the reader's fetch_sub: the new reader sees the stream as the last one left it.
        if self.input.events.fetch_add(1, Ordering::AcqRel) == 0 {
            starting::start(self, Self::read);
        }
    }

    /// There is something to do for the reader again, though nothing new may have come.
    pub(crate) fn read_on(self: &Arc<Self>) {
        self.clone().readable_again(false);
    }

    /// Tells the codec what reply comes next; before that reply is asked for, and after the one before it was cut. It is
    /// only left for the reader, which may be at work still: its lock is not to be waited for.
    pub(crate) fn expect(&self, hint: u64) {
        self.input.hint.store(hint, Ordering::Relaxed); // the next store publishes it
        self.input.has_hint.store(true, Ordering::Release); // pairs with the load in `cut_all`
    }

    /// A message of a serial protocol is answered, and all of its answer is queued.
    pub(crate) fn answered(self: &Arc<Self>, after: AfterReply) {
        if after == AfterReply::Close {
            return self.close_when_written(); // the gate stays shut
        }
        let somebody_waits = self.input.answered.open();
        // SeqCst pairs with the store in `end_behind_answer`: of the two, the later one sees what the other did.
        if self.input.ending.load(Ordering::SeqCst) {
            // A request that the reader has cut meanwhile has shut it again, and its answer comes here.
            if self.input.answered.is_open() {
                self.close_when_written();
            }
        } else if somebody_waits {
            self.read_on();
        }
    }

    /// Whether the peer has said that it sends nothing more. It may have gone for good.
    pub(crate) fn is_peer_closed(&self) -> bool {
        self.input.peer_closed.load(Ordering::SeqCst) // pairs with the store in `end_of_stream`
    }

    /// Whether bytes were read that are no message yet. No, while somebody is reading.
    pub(crate) fn has_unread_bytes(&self) -> bool {
        self.unread().is_some_and(|bytes| bytes > 0)
    }

    /// The bytes that were read and are no message yet, if nobody is reading right now.
    pub(crate) fn unread(&self) -> Option<usize> {
        self.input.buffered()
    }

    /// The reader.
    fn read(self: Arc<Self>) {
        let guard = FailOnUnwind(&self);
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
                    arrivals.flush_streams(); // what came ahead of bytes that cannot be read
                    if self.set_failed(error) {
                        break;
                    }
                    self.stop_lingering();
                    // Who ends it may be about to have it linger, and needs another reader then: the role is given up.
                    if self.input.events.fetch_sub(seen, Ordering::AcqRel) == seen {
                        break; // AcqRel as above
                    }
                }
            }
        }
        drop(guard);
        dispatch::run(&self, arrivals.rest());
    }

    /// Reads and cuts until there is nothing more or enough.
    fn read_turn(self: &Arc<Self>, arrivals: &mut Arrivals<'_>) -> Turn {
        let mut stream = lock(&self.input.stream);
        let stream = &mut *stream;
        let (mut bytes, mut messages) = (0, 0);
        // What is left of a connection that has failed asks for answers that nobody would get.
        if stream.is_over || self.error().is_some() {
            return self.turn_behind_end(stream);
        }
        if stream.is_held {
            match self.cut_turn(stream, arrivals) {
                Ok(cut) => messages += cut,
                Err(turn) => return turn,
            }
        }
        loop {
            if planted!(LostLastBytes) && self.input.ends.load(Ordering::Acquire) {
                return self.end_of_stream(stream, arrivals);
            }
            let size = stream.read_size();
            let received = match self.transport.read(&mut stream.portal, size) {
                Ok(received) if received.bytes == 0 => return self.end_of_stream(stream, arrivals),
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
            bytes += received.bytes;
            // The reader is the only one that counts, so that load and store will do.
            let traffic = &self.input.traffic;
            let before = traffic.bytes.load(Ordering::Relaxed);
            traffic.bytes.store(before + received.bytes as u64, Ordering::Relaxed);
            match self.cut_turn(stream, arrivals) {
                Ok(cut) => messages += cut,
                Err(turn) => return turn,
            }
            // Acquire pairs with the store in `readable_again`.
            let drained = received.drained || planted!(ShortRead) && received.bytes < size;
            if drained && !self.input.ends.load(Ordering::Acquire) {
                break;
            }
            if self.error().is_some() {
                return self.turn_behind_end(stream); // as above
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

    /// Nothing that comes is wanted any more.
    fn turn_behind_end(&self, stream: &mut Stream) -> Turn {
        if !self.lingering.goes_on() {
            return Turn::Dry;
        }
        stream.forget();
        match self.discard(&mut stream.portal) {
            Discarded::Dry => Turn::Dry,
            Discarded::Full => Turn::Full,
            Discarded::End => Turn::Over(RpcError::new(ECLOSE, "The connection was closed")),
        }
    }

    /// Cuts what is there: how many messages that were, or how the turn ends.
    fn cut_turn(self: &Arc<Self>, stream: &mut Stream, arrivals: &mut Arrivals<'_>) -> Result<usize, Turn> {
        match stream.cut_all(arrivals).map_err(Turn::Over)? {
            (count, CutUp::Whole) => Ok(count),
            (_, CutUp::Held) => Err(Turn::Dry),
            (_, CutUp::Last) => Err(self.last_turn(stream)),
            (_, CutUp::Lost(error)) => Err(self.lose_body(stream, &error)),
        }
    }

    /// The codec has refused the bytes and said so to the peer.
    fn last_turn(self: &Arc<Self>, stream: &mut Stream) -> Turn {
        stream.is_over = true;
        self.input
            .fail_body(&RpcError::new(ECLOSE, "The connection ends with a request that cannot be read"));
        self.close_when_written();
        Turn::Dry
    }

    /// The answer to what was read is what the connection ends with: it may have begun, so that nothing goes ahead of it.
    fn lose_body(self: &Arc<Self>, stream: &mut Stream, error: &RpcError) -> Turn {
        stream.body = None;
        self.input.fail_body(error);
        self.end_behind_answer(stream);
        Turn::Dry
    }

    /// Reads nothing more, and closes the connection behind the answer that is due, if one is.
    fn end_behind_answer(self: &Arc<Self>, stream: &mut Stream) {
        stream.is_over = true;
        self.input.traffic.partial_since.store(0, Ordering::Relaxed); // nobody is waited for
        self.input.ending.store(true, Ordering::SeqCst); // pairs with the load in `answered`
        if self.input.answered.is_open() {
            self.close_when_written();
        }
    }

    /// The peer sends nothing more. One that waits for its answer gets it.
    fn end_of_stream(self: &Arc<Self>, stream: &mut Stream, arrivals: &mut Arrivals<'_>) -> Turn {
        if let Err(error) = stream.cut_last(arrivals) {
            return Turn::Over(RpcError::new(EEOF, format!("Got EOF of {self}: {error}")));
        }
        let eof = RpcError::new(EEOF, format!("Got EOF of {self}"));
        self.input.fail_body(&eof); // unless it has ended
        self.input.peer_closed.store(true, Ordering::SeqCst); // pairs with the load in `is_peer_closed`
        if !stream.is_serial {
            stream.is_over = true;
            return Turn::Over(eof);
        }
        self.end_behind_answer(stream);
        self.owner.peer_closed(self);
        Turn::Dry
    }
}

impl Stream {
    /// Keeps nothing of the messages that have not come whole.
    fn forget(&mut self) {
        self.messenger.forget();
        self.body = None;
        self.is_held = false;
    }

    /// How many bytes to ask for.
    fn read_size(&self) -> usize {
        (self.message_size * READ_MESSAGES).clamp(READ_MIN, READ_MAX)
    }

    /// Cuts what is there, and returns how many messages that were.
    fn cut_all(&mut self, arrivals: &mut Arrivals<'_>) -> Result<(usize, CutUp), RpcError> {
        let received = clock::note_now();
        let mut count = 0;
        let input = &arrivals.socket.input;
        // Acquire pairs with the store in `expect`. Nobody leaves another one before the reply to this one is cut.
        if input.has_hint.load(Ordering::Acquire) {
            input.has_hint.store(false, Ordering::Relaxed);
            self.messenger.expect(input.hint.load(Ordering::Relaxed));
        }
        let cut_up = loop {
            if let Some(body) = &self.body {
                match body.room() {
                    Room::Some => {}
                    Room::None => break CutUp::Held,
                    Room::Discarding => {
                        break CutUp::Lost(RpcError::new(ECLOSE, "A long body came that nobody reads"));
                    }
                }
            } else if self.portal.is_empty() && !self.messenger.is_behind_head() {
                break CutUp::Whole;
            } else if self.is_serial
                && (!arrivals.socket.input.answered.may_pass() || !arrivals.socket.has_room_for_answer())
            {
                break CutUp::Held; // of other protocols nothing shuts the gate
            }
            let before = self.portal.len();
            let cut = self.messenger.cut(&mut self.portal);
            let taken = before.saturating_sub(self.portal.len());
            // Of a body that is taken while it arrives each part counts as a message.
            if taken > 0 && !matches!(cut, Ok(Cut::Head(..))) {
                self.message_size = (self.message_size * (AVERAGED - 1) + taken) / AVERAGED;
            }
            let output = self.messenger.take_output();
            if let (Err(error), Some(_), Role::Server) = (&cut, &self.body, arrivals.socket.owner.role()) {
                break CutUp::Lost(RpcError::new(EREQUEST, error.to_string()));
            }
            let has_output = output.is_some();
            if let Some(output) = output {
                let _ = arrivals.socket.write(output, Overcrowded::Ignore); // it fails by itself
            }
            match cut {
                Ok(Cut::NeedMore) => break CutUp::Whole,
                Ok(Cut::StreamFrame(side, frame)) => {
                    count += 1;
                    let began = self.began.take().unwrap_or(received);
                    arrivals.add_stream_frame(side, frame, (began, received), self.portal.is_empty())?;
                }
                Ok(cut) => {
                    count += usize::from(self.handle(cut, received, arrivals));
                }
                Err(_) if has_output => break CutUp::Last,
                Err(error) => return Err(error.into()),
            }
        };
        arrivals.flush_streams();
        self.is_held = matches!(cut_up, CutUp::Held);
        if self.is_gathering || !self.portal.is_empty() {
            self.began.get_or_insert(received);
        }
        self.note_partial(&arrivals.socket.input.traffic, received, count);
        Ok((count, cut_up))
    }

    /// As the stream has ended: what its end makes whole.
    fn cut_last(&mut self, arrivals: &mut Arrivals<'_>) -> Result<(), WireError> {
        if let Some(cut) = self.messenger.end_of_stream()? {
            self.handle(cut, bthread::clock::now(), arrivals);
        }
        Ok(())
    }

    /// Passes on what was cut; true if that was a message.
    #[inline]
    fn handle(&mut self, cut: Cut, received: Instant, arrivals: &mut Arrivals<'_>) -> bool {
        let began = self.began.unwrap_or(received);
        match cut {
            Cut::NeedMore | Cut::StreamFrame(..) => false,
            Cut::Message(protocol, frame, is_serial) => {
                self.is_gathering = false;
                let is_last = self.portal.is_empty();
                let (is_first, in_stream) = (false, false);
                let message =
                    Message { protocol, frame, received, began, is_serial, is_last, is_first, in_stream };
                self.pass_on(message, arrivals);
                true
            }
            Cut::Head(protocol, mut frame, is_serial) => {
                let socket = arrivals.socket;
                let is_streamed = socket.owner.wants_stream(socket.protocols[protocol as usize], &frame);
                if is_streamed {
                    let (pipe, reader) = BodyPipe::new(socket);
                    *lock(&socket.input.body) = Some(pipe.clone());
                    // Who makes it fail says so before looking for the body, so that one of us two sees the other.
                    if let Some(error) = socket.error() {
                        socket.input.fail_body(error);
                    }
                    self.body = Some(pipe);
                    frame.body = Some(reader);
                    self.messenger.stream();
                    let (is_last, is_first, in_stream) = (false, false, false);
                    let message =
                        Message { protocol, frame, received, began, is_serial, is_last, is_first, in_stream };
                    self.pass_on(message, arrivals);
                } else {
                    self.messenger.gather(frame);
                    self.is_gathering = true;
                }
                if let Some(output) = self.messenger.take_output() {
                    let _ = socket.write(output, Overcrowded::Ignore); // it fails by itself
                    socket.send_deferred(); // the peer waits for it
                }
                is_streamed
            }
            Cut::Part(bytes) => {
                if let Some(body) = &self.body {
                    body.push(bytes);
                }
                false
            }
            Cut::End => {
                drop(lock(&arrivals.socket.input.body).take());
                let Some(body) = self.body.take() else { return false };
                let is_clean = body.is_whole() && self.portal.is_empty();
                // Before the receiver is told: it may call again at once, and finds the connection in the pool.
                arrivals.socket.owner.body_ended(arrivals.socket, is_clean);
                body.end(Ok(()));
                false
            }
        }
    }

    #[inline]
    fn pass_on(&mut self, mut message: Message, arrivals: &mut Arrivals<'_>) {
        self.began = None;
        if message.is_serial {
            self.is_serial = true;
            arrivals.socket.input.answered.shut();
        }
        let input = &arrivals.socket.input;
        input.protocol.store(message.protocol + 1, Ordering::Relaxed); // a note for people
        let messages = &input.traffic.messages;
        messages.store(messages.load(Ordering::Relaxed) + 1, Ordering::Relaxed); // the reader alone counts
        message.is_first = !std::mem::replace(&mut self.has_passed_on, true);
        arrivals.add(message);
    }

    /// Notes since when a message is arriving. A body that is streamed is a new one with each of its parts.
    fn note_partial(&self, traffic: &InTraffic, now: Instant, messages: usize) {
        // Relaxed throughout: hints for whoever looks for slow peers.
        let now = clock::millis(now);
        traffic.last_at.store(now, Ordering::Relaxed);
        let is_partial =
            !self.is_held && (self.is_gathering || self.body.is_some() || !self.portal.is_empty());
        if !is_partial {
            traffic.partial_since.store(0, Ordering::Relaxed);
        } else if messages > 0 || self.body.is_some() || traffic.partial_since.load(Ordering::Relaxed) == 0 {
            traffic.partial_from.store(traffic.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
            traffic.partial_since.store(now, Ordering::Relaxed);
        }
    }
}
