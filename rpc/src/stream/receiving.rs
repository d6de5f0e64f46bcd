//! The receiving side of a stream: putting messages together, the queue of those that nobody has taken, and the consumer
//! that hands them to a handler.
//!
//! The reader of the connection pushes, with what one read has brought at a time, and never waits. One consumer at a time
//! runs for a stream: whoever finds that there is something to do and none, starts one.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bthread::WaitResult;
use bthread::timer::{self, TimerHandle};
use iobuf::IoBuf;

use super::handle::StreamWriter;
use super::life::Ending;
use super::options::Receiver;
use super::state::StreamState;
use crate::error::{EINTERNAL, EINVAL, EOVERCROWDED, ETIMEDOUT, RpcError};
use crate::socket::lock;
use crate::starting;

/// Messages received and not consumed that one stream may hold. A window of 2 MiB of one byte each stays below.
pub const RECEIVED_MESSAGES_MAX: usize = 1 << 22;
/// After so many bytes the peer is told at once what was consumed, though more is there to be consumed.
const FEEDBACK_BYTES: u64 = 256 << 10;
/// After so many batches a consumer lets other bthreads run.
const BATCHES_PER_TURN_MAX: usize = 64;

/// The receiving side, under its lock.
pub(super) struct Receiving {
    receiver: Receiver,
    queue: VecDeque<IoBuf>,
    /// Bytes received since the beginning.
    received: u64,
    /// The beginning of a message whose end has not come.
    partial: IoBuf,
    /// The first message is the reply to the call.
    awaits_reply: bool,
    /// Nothing more is handed over than is there.
    has_ended: bool,
    /// Nothing is handed to the handler yet.
    is_held: bool,
    /// A consumer runs, or has been started.
    is_consuming: bool,
    /// The consumer is to tell of idleness.
    is_idle: bool,
    /// The reader waits.
    reader_waits: bool,
    /// When the consumer was last done.
    handled_at: Option<Instant>,
    timer: Option<TimerHandle>,
}

/// What a consumer is to do next.
enum Task {
    /// The batch is full; whether more waits.
    Messages(bool),
    Idle,
    End,
    Nothing,
}

/// Whom to tell that something has come.
enum Wake {
    Nobody,
    Consumer,
    Reader,
}

impl Receiving {
    pub(super) fn new(receiver: Receiver, awaits_reply: bool) -> Self {
        Receiving {
            receiver,
            queue: VecDeque::new(),
            received: 0,
            partial: IoBuf::new(),
            awaits_reply,
            has_ended: false,
            is_held: true,
            is_consuming: false,
            is_idle: false,
            reader_waits: false,
            handled_at: None,
            timer: None,
        }
    }

    fn wake(&mut self) -> Wake {
        let is_due = !self.queue.is_empty() || self.has_ended || self.is_idle;
        match &self.receiver {
            Receiver::Handler(_) if is_due && !self.is_held && !self.is_consuming => {
                self.is_consuming = true;
                Wake::Consumer
            }
            Receiver::Reader if is_due && std::mem::take(&mut self.reader_waits) => Wake::Reader,
            _ => Wake::Nobody,
        }
    }

    /// Fills `batch`, or says what else there is to do; the consumer ends if that is nothing.
    fn next(&mut self, batch: &mut Vec<IoBuf>, messages_in_batch: usize) -> Task {
        if !self.queue.is_empty() {
            let count = self.queue.len().min(messages_in_batch);
            batch.extend(self.queue.drain(..count));
            self.is_idle = false;
            return Task::Messages(!self.queue.is_empty());
        }
        if self.has_ended {
            self.receiver = Receiver::Nobody; // it may hold the stream
            return Task::End;
        }
        if std::mem::take(&mut self.is_idle) {
            return Task::Idle;
        }
        self.is_consuming = false;
        Task::Nothing
    }
}

impl StreamState {
    /// Whether the next message is the reply to the call, and whether the beginning of a message is there.
    pub(super) fn expects(&self) -> (bool, bool) {
        let receiving = lock(&self.receiving);
        (receiving.awaits_reply, !receiving.partial.is_empty())
    }

    /// A part of a message has come; the message, if it is the last one. An error for one that is too long.
    pub(super) fn assemble(&self, payload: IoBuf, has_continuation: bool) -> Result<Option<IoBuf>, RpcError> {
        let mut receiving = lock(&self.receiving);
        receiving.partial.append_buf(payload);
        self.check_bounds(&receiving, receiving.partial.len() as u64, 0)?;
        Ok((!has_continuation).then(|| std::mem::take(&mut receiving.partial)))
    }

    /// The reply was taken out.
    pub(super) fn has_reply(&self) {
        lock(&self.receiving).awaits_reply = false;
    }

    /// Whole messages have come, of so many bytes together. An error if they are too many.
    pub(super) fn receive(self: &Arc<Self>, messages: &mut Vec<IoBuf>, bytes: u64) -> Result<(), RpcError> {
        let (wake, dropped) = {
            let mut receiving = lock(&self.receiving);
            if receiving.has_ended {
                drop(receiving);
                messages.clear();
                return Ok(());
            }
            self.check_bounds(&receiving, bytes, messages.len())?;
            receiving.received += bytes;
            if matches!(receiving.receiver, Receiver::Nobody) {
                (Wake::Nobody, true)
            } else {
                receiving.queue.extend(messages.drain(..));
                (receiving.wake(), false)
            }
        };
        if dropped {
            messages.clear();
            self.consume_bytes(bytes);
            self.feed_back();
        }
        self.tell(wake);
        Ok(())
    }

    fn check_bounds(&self, receiving: &Receiving, bytes: u64, messages: usize) -> Result<(), RpcError> {
        let waiting = receiving.received + bytes - self.consumed.load(Ordering::Relaxed); // it only gets less
        let text = if waiting > self.max_received_size as u64 {
            format!(
                "Stream {} has received more than max_received_size={}",
                self.id(),
                self.max_received_size
            )
        } else if receiving.queue.len() + messages > RECEIVED_MESSAGES_MAX {
            format!("Stream {} has received more than {RECEIVED_MESSAGES_MAX} messages", self.id())
        } else {
            return Ok(());
        };
        Err(RpcError::new(EOVERCROWDED, text))
    }

    fn tell(self: &Arc<Self>, wake: Wake) {
        match wake {
            Wake::Nobody => {}
            Wake::Consumer => starting::start(self.clone(), Self::consume),
            Wake::Reader => {
                self.arrived.value().fetch_add(1, Ordering::Release); // pairs with the load in `read`
                self.arrived.wake_all();
            }
        }
    }

    /// What was received may be handed over from now on; idleness counts from here.
    pub(super) fn release(self: &Arc<Self>) {
        let wake = {
            let mut receiving = lock(&self.receiving);
            receiving.is_held = false;
            receiving.wake()
        };
        self.tell(wake);
        self.set_idle_timer(bthread::clock::now());
    }

    /// Nothing more is handed over than has come; nothing more comes either, but for the reply to the call, unless the
    /// stream `is_over`.
    pub(super) fn end_receiving(self: &Arc<Self>, is_over: bool) {
        let (wake, timer, partial) = {
            let mut receiving = lock(&self.receiving);
            receiving.has_ended = true;
            let keeps_partial = receiving.awaits_reply && !is_over;
            let partial = if keeps_partial { IoBuf::new() } else { std::mem::take(&mut receiving.partial) };
            (receiving.wake(), receiving.timer.take(), partial)
        };
        drop(partial);
        if let Some(timer) = timer {
            timer.cancel();
        }
        self.tell(wake);
    }

    fn consume_bytes(&self, bytes: u64) {
        self.consumed.fetch_add(bytes, Ordering::Relaxed); // a sum; see `feed_back`
    }

    /// The consumer: hands over what there is until there is nothing.
    fn consume(self: Arc<Self>) {
        let Receiver::Handler(handler) = lock(&self.receiving).receiver.clone() else { return };
        let stream = StreamWriter::new(self.clone());
        let (mut batch, mut untold) = (Vec::new(), 0);
        for turn in 1_usize.. {
            let task = lock(&self.receiving).next(&mut batch, self.messages_in_batch);
            match task {
                Task::Messages(has_more) => {
                    let bytes: u64 = batch.iter().map(|message| message.len() as u64).sum();
                    self.guarded(|| handler.on_received_messages(&stream, &mut batch));
                    batch.clear();
                    self.consume_bytes(bytes);
                    untold += bytes;
                    if untold >= FEEDBACK_BYTES {
                        self.feed_back();
                        self.flush(); // the peer may wait for it, while there is work here
                        untold = 0;
                    } else if !has_more {
                        self.feed_back();
                        untold = 0;
                    }
                    self.note_handled();
                }
                Task::Idle => self.guarded(|| handler.on_idle_timeout(&stream)),
                Task::End => {
                    if let Some(error) = self.error() {
                        self.guarded(|| handler.on_failed(&stream, error));
                    }
                    return self.guarded(|| handler.on_closed(&stream));
                }
                Task::Nothing => return,
            }
            if turn % BATCHES_PER_TURN_MAX == 0 {
                bthread::yield_now();
            }
        }
    }

    /// Calls a handler; its panic is the end of the stream, and of nothing else.
    fn guarded(self: &Arc<Self>, call: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(call)).is_err() {
            let error = RpcError::new(EINTERNAL, format!("The handler of stream {} panicked", self.id()));
            self.end(Ending::Closed, Some(error));
        }
    }

    fn note_handled(&self) {
        if self.idle_timeout.is_some() {
            lock(&self.receiving).handled_at = Some(bthread::clock::now());
        }
    }

    fn set_idle_timer(self: &Arc<Self>, from: Instant) {
        let Some(timeout) = self.idle_timeout.filter(|_| self.has_handler) else { return };
        let Some(due) = from.checked_add(timeout) else { return };
        let stream = Arc::downgrade(self);
        let timer = timer::schedule(due, move || {
            if let Some(stream) = stream.upgrade() {
                stream.look_for_idleness();
            }
        });
        let mut receiving = lock(&self.receiving);
        receiving.handled_at.get_or_insert(from);
        if receiving.has_ended {
            timer.cancel();
        } else {
            receiving.timer = Some(timer);
        }
    }

    fn look_for_idleness(self: &Arc<Self>) {
        let Some(timeout) = self.idle_timeout else { return };
        let now = bthread::clock::now();
        let (wake, from) = {
            let mut receiving = lock(&self.receiving);
            if receiving.has_ended {
                return;
            }
            let is_busy = receiving.is_consuming || !receiving.queue.is_empty();
            match receiving.handled_at {
                Some(at) if !is_busy && now.saturating_duration_since(at) < timeout => (Wake::Nobody, at),
                _ if is_busy => (Wake::Nobody, now),
                _ => {
                    receiving.is_idle = true;
                    receiving.handled_at = Some(now);
                    (receiving.wake(), now)
                }
            }
        };
        self.tell(wake);
        self.set_idle_timer(from);
    }

    /// All messages that wait, in exchange for `batch`, which is empty; `false`: the stream has ended.
    ///
    /// *Blocking*: parks the bthread, or blocks the thread outside of bthreads, until there is one of the two, or the
    /// deadline comes.
    pub(super) fn read(
        &self,
        batch: &mut VecDeque<IoBuf>,
        deadline: Option<Instant>,
    ) -> Result<bool, RpcError> {
        loop {
            // Acquire pairs with the bump in `tell`; before the look, so that no change is missed.
            let seen = self.arrived.value().load(Ordering::Acquire);
            {
                let mut receiving = lock(&self.receiving);
                if !matches!(receiving.receiver, Receiver::Reader) {
                    return Err(RpcError::new(EINVAL, format!("Stream {} is not to be read", self.id())));
                }
                if !receiving.queue.is_empty() {
                    std::mem::swap(&mut receiving.queue, batch);
                    return Ok(true);
                }
                if receiving.has_ended {
                    return match self.error() {
                        Some(error) => Err(error.clone()),
                        None => Ok(false),
                    };
                }
                receiving.reader_waits = true;
            }
            if self.arrived.wait(seen, deadline) == WaitResult::TimedOut {
                let text = format!("Nothing has come on stream {} in time", self.id());
                return Err(RpcError::new(ETIMEDOUT, text));
            }
        }
    }

    /// The reader has taken so many bytes; `is_last`: it has no others.
    pub(super) fn took(self: &Arc<Self>, untold: &mut u64, bytes: usize, is_last: bool) {
        *untold += bytes as u64;
        if is_last || *untold >= FEEDBACK_BYTES {
            let is_much = *untold >= FEEDBACK_BYTES;
            self.consume_bytes(std::mem::take(untold));
            self.feed_back();
            if is_much {
                self.flush(); // the peer may wait for it
            }
        }
    }

    /// The reader is gone, with so many bytes: they and all others count as consumed.
    pub(super) fn stop_reading(self: &Arc<Self>, untold: u64) {
        let queue = {
            let mut receiving = lock(&self.receiving);
            if !matches!(receiving.receiver, Receiver::Reader) {
                return;
            }
            receiving.receiver = Receiver::Nobody;
            std::mem::take(&mut receiving.queue)
        };
        let bytes: usize = queue.iter().map(IoBuf::len).sum();
        drop(queue);
        self.consume_bytes(untold + bytes as u64);
        self.feed_back();
    }
}
