//! The sending side of a stream: its window, what waits for the connection, and frames on their way to the socket.
//!
//! Frames of small messages are collected and given to the socket together: when there are many bytes, when the worker
//! has nothing better to do, or at once off a worker. One writer at a time does that, in the order of the frames and
//! without the lock.

mod connecting;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bthread::{Deferred, WaitResult, planted};
use iobuf::IoBuf;

use super::frame::{StreamFrame, StreamFrameBody, StreamSide};
use super::life::{Ending, Farewell, Phase};
use super::options::connection_unconsumed_max;
use super::state::StreamState;
use super::window::Window;
use crate::error::{EAGAIN, EBADF, ECONNRESET, EINVAL, ETIMEDOUT, RpcError};
use crate::socket::{Overcrowded, Socket, lock, this_thread};
use crate::starting;

/// Bytes written to a stream that is not connected yet, with 64 for each message, whatever its window.
pub const UNCONNECTED_BYTES_MAX: usize = 4 << 20;
/// What a message counts beside its bytes: the memory of its place in a queue.
const MESSAGE_COST: usize = 64;
/// With so many bytes collected nothing is gained by waiting for more.
const FLUSH_BYTES: usize = 64 << 10;
/// A writer that finds itself sending for others leaves the rest to a bthread after so many rounds.
const FLUSH_ROUNDS_MAX: usize = 16;
/// In place of a thread's number: a bthread was started to flush.
const BACKGROUND: usize = usize::MAX;

/// The way to the peer.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) socket: Arc<Socket>,
    pub(super) side: &'static dyn StreamSide,
}

impl Link {
    /// The link over this connection, if it knows a format for streams.
    pub(super) fn over(socket: &Arc<Socket>) -> Result<Self, RpcError> {
        let side = socket.stream_side().ok_or_else(|| {
            RpcError::new(EINVAL, "No protocol of the connection carries streams: enable streaming_rpc")
        })?;
        Ok(Link { socket: socket.clone(), side })
    }

    /// Tells a peer that there is no such stream here.
    pub(super) fn refuse(&self, peer_id: i64) {
        self.tell(StreamFrame { stream_id: peer_id, source_id: None, body: StreamFrameBody::Rst });
    }

    /// Writes a frame that a peer can ask for; one that goes on with that and does not read loses the connection.
    fn tell(&self, frame: StreamFrame) {
        let mut out = IoBuf::new();
        self.side.write_frame(frame, &mut out);
        self.socket.write_refusal(out);
    }
}

/// The sending side, under its lock.
pub(super) struct Sending {
    pub(super) phase: Phase,
    has_been_connected: bool,
    id: i64,
    link: Option<Link>,
    /// The peer's stream, and what it wants.
    peer_id: i64,
    peer_wants_feedback: bool,
    peer_is_writable: bool,
    window: Window,
    /// Messages written before there was a connection, and what they count.
    early: VecDeque<IoBuf>,
    early_cost: usize,
    /// Frames that the socket does not have yet.
    collected: IoBuf,
    /// Somebody is giving frames to the socket.
    is_flushing: bool,
    /// The thread whose worker has deferred that, [`BACKGROUND`], or 0.
    deferred_on: usize,
    /// Writers that wait.
    waiters: usize,
    /// What the peer was told last of what was consumed.
    fed_back: u64,
    /// A bthread waits to say more.
    feedback_waits: bool,
}

/// What it means for a stream that it is to end.
pub(super) enum Close {
    /// Nothing: it has before.
    Over,
    /// It is closed for its user, and ends once it is connected.
    Begun,
    /// It has ended.
    Ended(Remains),
}

/// What a stream that has ended leaves.
pub(super) struct Remains {
    /// What it was bound to.
    pub(super) link: Option<Link>,
    /// Bytes that nobody will consume any more, where they are counted.
    pub(super) unconsumed: u64,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The window is full, or too much is written that is not connected yet.
    Full,
    /// The connection has too much to write.
    Overcrowded,
    Closed,
    /// The peer does not read.
    NotWritable,
}

/// How what was collected gets to the socket.
enum Flush {
    /// Somebody sees to it.
    Later,
    Now,
    Defer,
    Background,
}

impl Sending {
    pub(super) fn new(window: Window) -> Self {
        Sending {
            phase: Phase::Unconnected,
            has_been_connected: false,
            id: 0,
            link: None,
            peer_id: 0,
            peer_wants_feedback: false,
            peer_is_writable: false,
            window,
            early: VecDeque::new(),
            early_cost: 0,
            collected: IoBuf::new(),
            is_flushing: false,
            deferred_on: 0,
            waiters: 0,
            fed_back: 0,
            feedback_waits: false,
        }
    }

    /// What the peer is told of this side's window.
    pub(super) fn needs_feedback(&self) -> bool {
        self.window.is_limited()
    }

    pub(super) fn set_link(&mut self, link: Link) {
        if matches!(self.phase, Phase::Unconnected | Phase::Closing) {
            self.link = Some(link);
        }
    }

    /// A stream that has ended keeps its connection no longer than it has something to say.
    fn forget_link(&mut self) {
        if planted!(FrameAfterClose) && self.waiters > 0 {
            return;
        }
        if self.phase == Phase::Closed && self.collected.is_empty() && !self.is_flushing {
            self.link = None;
        }
    }

    /// Ends the side, at once or when it is connected.
    pub(super) fn close(&mut self, ending: Ending) -> Close {
        let phase = ending.leads_to(self.phase);
        if phase == self.phase {
            return Close::Over;
        }
        if phase == Phase::Closing {
            self.phase = phase;
            return Close::Begun;
        }
        match ending.farewell(self.phase) {
            Some(Farewell::Close) => self.collect(StreamFrameBody::Close),
            Some(Farewell::Rst) => self.collect(StreamFrameBody::Rst),
            None => {}
        }
        let counted = self.phase == Phase::Connected && self.window.is_dynamic();
        self.phase = phase;
        self.early.clear();
        let unconsumed = if counted { self.window.unconsumed() } else { 0 };
        Close::Ended(Remains { link: self.link.clone(), unconsumed })
    }

    fn collect(&mut self, body: StreamFrameBody) {
        let Some(link) = &self.link else { return };
        let source_id = (!matches!(body, StreamFrameBody::Rst)).then_some(self.id);
        let frame = StreamFrame { stream_id: self.peer_id, source_id, body };
        link.side.write_frame(frame, &mut self.collected);
    }

    fn collect_message(&mut self, mut message: IoBuf, segment_size: usize) {
        while message.len() > segment_size {
            let payload = message.cut(segment_size);
            self.collect(StreamFrameBody::Data { payload, has_continuation: true });
        }
        self.collect(StreamFrameBody::Data { payload: message, has_continuation: false });
    }

    /// Why no message is taken now.
    fn refusal(&self) -> Option<Refused> {
        match self.phase {
            Phase::Closed
                if planted!(FrameAfterClose)
                    && self.link.is_some()
                    && self.waiters == 0
                    && self.collected.is_empty() =>
            {
                None
            }
            Phase::Closing | Phase::Closed => Some(Refused::Closed),
            Phase::Unconnected => {
                (self.window.is_full() || self.early_cost >= UNCONNECTED_BYTES_MAX).then_some(Refused::Full)
            }
            Phase::Connected if !self.peer_is_writable => Some(Refused::NotWritable),
            Phase::Connected if self.window.is_full() => Some(Refused::Full),
            // Asked once for all that is collected: what the socket has not does not change it much.
            Phase::Connected if self.collected.is_empty() || self.collected.len() > FLUSH_BYTES => {
                let link = self.link.as_ref()?;
                link.socket.is_overcrowded().then_some(Refused::Overcrowded)
            }
            Phase::Connected => None,
        }
    }

    fn take(&mut self, message: IoBuf, segment_size: usize) {
        if !(planted!(WindowNotCounted) && self.phase == Phase::Unconnected) {
            self.window.produce(message.len());
        }
        if self.phase == Phase::Unconnected {
            self.early_cost += message.len() + MESSAGE_COST;
            self.early.push_back(message);
            return;
        }
        if self.window.is_dynamic()
            && let Some(link) = &self.link
        {
            link.socket.streams().produced(message.len() as u64);
        }
        self.collect_message(message, segment_size);
    }

    /// Who is to give to the socket what is collected.
    fn plan(&mut self, in_background: bool) -> Flush {
        if self.is_flushing || self.collected.is_empty() {
            return Flush::Later; // whoever flushes looks again
        }
        if self.collected.len() >= FLUSH_BYTES && !in_background {
            return Flush::Now;
        }
        let here = this_thread();
        match self.deferred_on {
            BACKGROUND => Flush::Later,
            there if there == here => Flush::Later,
            // Another worker has deferred it, and may be busy for long.
            _ if in_background => {
                self.deferred_on = BACKGROUND;
                Flush::Background
            }
            _ => {
                self.deferred_on = here;
                Flush::Defer
            }
        }
    }
}

impl StreamState {
    /// Takes a message to be sent, or gives it back. Never blocks.
    pub(super) fn push(self: &Arc<Self>, message: IoBuf) -> Result<(), (Refused, IoBuf)> {
        let flush = {
            let mut sending = lock(&self.sending);
            if let Some(refused) = sending.refusal() {
                return Err((refused, message));
            }
            sending.take(message, self.segment_size);
            sending.plan(self.write_in_background)
        };
        self.carry_out(flush);
        Ok(())
    }

    fn carry_out(self: &Arc<Self>, flush: Flush) {
        match flush {
            Flush::Later => {}
            Flush::Now => self.flush(),
            Flush::Defer => {
                if !bthread::defer(self.clone()) {
                    self.flush();
                }
            }
            Flush::Background => starting::start(self.clone(), |stream| stream.flush()),
        }
    }

    /// Gives the socket what is collected, and has it sent. Never blocks.
    pub(super) fn flush(self: &Arc<Self>) {
        let link = {
            let mut sending = lock(&self.sending);
            sending.deferred_on = 0;
            sending.forget_link();
            if sending.is_flushing || sending.collected.is_empty() {
                return;
            }
            let Some(link) = sending.link.clone() else { return };
            sending.is_flushing = true;
            link
        };
        for _ in 0..FLUSH_ROUNDS_MAX {
            let bytes = {
                let mut sending = lock(&self.sending);
                sending.is_flushing = !sending.collected.is_empty();
                sending.forget_link();
                std::mem::take(&mut sending.collected)
            };
            if bytes.is_empty() {
                link.socket.send_deferred();
                return;
            }
            let _ = link.socket.write(bytes, Overcrowded::Ignore); // its failure ends the stream
        }
        lock(&self.sending).is_flushing = false;
        starting::start(self.clone(), |stream| stream.flush());
    }

    /// The peer says what it has consumed.
    pub(super) fn widen(&self, consumed: i64) {
        let wakes = {
            let mut sending = lock(&self.sending);
            if sending.phase != Phase::Connected {
                return;
            }
            let sending = &mut *sending;
            let more = sending.window.consume(consumed);
            if sending.window.is_dynamic()
                && let Some(link) = &sending.link
            {
                let streams = link.socket.streams();
                streams.consumed(more);
                sending.window.adapt(streams.unconsumed(), connection_unconsumed_max());
            }
            more > 0 && sending.waiters > 0 && !sending.window.is_full()
        };
        if wakes {
            self.wake_writers();
        }
    }

    pub(super) fn wake_writers(&self) {
        self.writable.value().fetch_add(1, Ordering::Release); // pairs with the load in `wait_writable`
        self.writable.wake_all();
    }

    /// Waits until a message would be taken.
    ///
    /// *Blocking*: parks the bthread, or blocks the thread outside of bthreads, until then or the deadline.
    pub(super) fn wait_writable(self: &Arc<Self>, deadline: Option<Instant>) -> Result<(), RpcError> {
        self.flush(); // the peer can only consume what it has
        let mut has_waited = false;
        loop {
            // Acquire pairs with the bump in `wake_writers`; before the look, so that no change is missed.
            let seen = self.writable.value().load(Ordering::Acquire);
            let crowded = {
                let mut sending = lock(&self.sending);
                match sending.refusal() {
                    None => return Ok(()),
                    Some(Refused::Closed) if has_waited => {
                        return Err(RpcError::new(
                            ECONNRESET,
                            "The stream has ended while it was waited for",
                        ));
                    }
                    Some(refused @ (Refused::Closed | Refused::NotWritable)) => {
                        return Err(refused.error(self.id()));
                    }
                    Some(Refused::Overcrowded) => sending.link.clone(),
                    Some(Refused::Full) => {
                        sending.waiters += 1;
                        None
                    }
                }
            };
            has_waited = true;
            if let Some(link) = crowded {
                let max = link.socket.limits().max_unwritten_bytes;
                link.socket.wait_for_room(max, deadline).map_err(|error| {
                    if link.socket.error().is_some() { error } else { timed_out(self.id()) }
                })?;
                self.flush();
                continue;
            }
            let waited = self.writable.wait(seen, deadline);
            lock(&self.sending).waiters -= 1;
            if waited == WaitResult::TimedOut {
                return Err(timed_out(self.id()));
            }
        }
    }

    /// Says what was consumed, if the peer wants to hear it and has not yet. Goes with what is written next, or soon.
    pub(super) fn feed_back(self: &Arc<Self>) {
        let (flush, waits) = {
            let mut sending = lock(&self.sending);
            let consumed = self.consumed.load(Ordering::Relaxed); // a sum; the lock orders those who tell it
            if sending.phase != Phase::Connected
                || !sending.peer_wants_feedback
                || consumed <= sending.fed_back
                || sending.feedback_waits
            {
                return;
            }
            if planted!(LostFeedback) && sending.window.is_full() {
                sending.fed_back = consumed;
                return;
            }
            if sending.link.as_ref().is_some_and(|link| link.socket.is_overcrowded()) {
                sending.feedback_waits = true;
                (Flush::Later, true)
            } else {
                sending.fed_back = consumed;
                sending.collect(StreamFrameBody::Feedback { consumed: consumed as i64 });
                (sending.plan(false), false)
            }
        };
        if waits {
            starting::start(self.clone(), Self::feed_back_later);
        }
        self.carry_out(flush);
    }

    /// A peer that takes nothing is told when it takes something again, so that what it is told does not pile up.
    fn feed_back_later(self: Arc<Self>) {
        let link = lock(&self.sending).link.clone();
        if let Some(link) = link {
            let _ = link.socket.wait_for_room(link.socket.limits().max_unwritten_bytes, None); // it may have failed
        }
        lock(&self.sending).feedback_waits = false;
        self.feed_back();
    }
}

impl Deferred for StreamState {
    fn run(self: Arc<Self>) {
        self.flush();
    }
}

impl Refused {
    /// What users are told (`spec/protocols-baidu.md` §3.7).
    pub(super) fn error(self, id: u64) -> RpcError {
        match self {
            Refused::Full => RpcError::new(EAGAIN, format!("The window of stream {id} is full")),
            Refused::Overcrowded => {
                RpcError::new(EAGAIN, format!("The connection of stream {id} is overcrowded"))
            }
            Refused::Closed => RpcError::new(EINVAL, format!("Stream {id} has ended")),
            Refused::NotWritable => RpcError::new(EBADF, format!("The peer of stream {id} does not read it")),
        }
    }
}

fn timed_out(id: u64) -> RpcError {
    RpcError::new(ETIMEDOUT, format!("Stream {id} has not become writable in time"))
}
