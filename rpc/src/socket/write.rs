//! The output side of a socket: many writers, wait-free, and one that sends at a time.
//!
//! Owns what is not yet written. A write is pushed on a queue; the push that finds the queue idle makes its caller the
//! sender. A sender on a worker parks its role until the worker has nothing better to do ([`bthread::defer`]), so that
//! what a batch of messages leads to leaves in one system call; elsewhere it sends at once. When the kernel is full,
//! the KeepWrite bthread takes the role over and waits. It must never reorder writes nor split one.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bthread::mpsc::{Push, Queue};
use bthread::{Butex, Deferred, WaitResult, planted, simulation};
use iobuf::IoBuf;

use super::role::SenderRole;
use super::{Socket, lock};
use crate::error::{ECLOSE, EOVERCROWDED, ERPCTIMEDOUT, RpcError};
use crate::span::{Point, Span};
use crate::starting;

/// With so many bytes unwritten nothing is gained by waiting for more.
const FLUSH_BYTES: usize = 64 << 10;
/// What a queued write counts beside its bytes: the memory of its place in the queue.
const WRITE_COST: usize = 128;
/// After so many bytes a sender leaves the rest to KeepWrite, and KeepWrite lets other bthreads run.
const TURN_BYTES_MAX: usize = 4 << 20;
/// With more bytes unwritten nothing more is read of a peer whose requests are answered in order: each has to wait for
/// the answers before it anyway, and a short one may have a long answer.
const UNWRITTEN_BEFORE_NEXT_MAX: usize = 1 << 20;

/// The output side of one socket.
pub(super) struct Output {
    queue: Queue<Write>,
    /// Bytes pushed and not yet taken by the kernel.
    unwritten: AtomicUsize,
    /// Bytes of the refusals pushed since there was last room for requests, with [`WRITE_COST`] for each.
    refusals: AtomicUsize,
    /// Who may take the sender's role.
    role: SenderRole,
    /// The thread that has deferred it, see [`this_thread`].
    deferred_on: AtomicUsize,
    /// What the sender has taken from the queue; its alone, the lock is never waited for.
    sending: Mutex<Sending>,
    /// KeepWrite wants to be told of writability.
    blocked: AtomicBool,
    /// Bumped when the socket is writable again or has failed.
    writable: Butex,
    /// The connection is to end as soon as everything is written.
    closing: AtomicBool,
    /// Who waits for room, and is woken by the sender.
    room_waiters: AtomicUsize,
    /// Bumped when they are.
    room: Butex,
    /// The reader has stopped until there is room, see [`Socket::has_room_for_answer`].
    reader_waits: AtomicBool,
    /// What has gone so far.
    pub(super) traffic: OutTraffic,
}

/// What is pushed on the queue.
struct Write {
    bytes: IoBuf,
    /// Told when the kernel has taken the last byte; forgotten if that never happens.
    span: Option<Span>,
}

/// What the sender is at.
#[derive(Default)]
struct Sending {
    bytes: IoBuf,
    /// Bytes that the kernel has taken so far.
    taken: u64,
    /// Spans of writes that are not taken, with the value of `taken` at which they are.
    spans: VecDeque<(u64, Span)>,
}

impl Sending {
    fn add(&mut self, write: Write) {
        self.bytes.append_buf(write.bytes);
        if let Some(span) = write.span {
            self.spans.push_back((self.taken + self.bytes.len() as u64, span));
        }
    }

    fn took(&mut self, bytes: usize) {
        self.taken += bytes as u64;
        while self.spans.front().is_some_and(|(end, _)| *end <= self.taken) {
            if let Some((_, span)) = self.spans.pop_front() {
                span.reach(Point::Written);
            }
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
    }
}

/// Counted by the sender, read by pages and by whoever looks for slow peers.
#[derive(Default)]
pub(super) struct OutTraffic {
    pub(super) bytes: AtomicU64,
    /// Writes, each of which is a message as a rule.
    pub(super) messages: AtomicU64,
}

/// Whether a write counts against [`Limits::max_unwritten_bytes`](crate::Limits::max_unwritten_bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overcrowded {
    /// It is refused while too much is unwritten.
    Refuse,
    /// It is queued all the same.
    Ignore,
}

/// How a sender's turn ended. It is still the sender, unless all is sent.
enum Sent {
    All,
    KernelFull,
    Enough,
    Failed(RpcError),
}

impl Output {
    pub(super) fn new() -> Self {
        Output {
            queue: Queue::new(),
            unwritten: AtomicUsize::new(0),
            refusals: AtomicUsize::new(0),
            role: SenderRole::new(),
            deferred_on: AtomicUsize::new(0),
            sending: Mutex::default(),
            blocked: AtomicBool::new(false),
            writable: Butex::new(0),
            closing: AtomicBool::new(false),
            room_waiters: AtomicUsize::new(0),
            room: Butex::new(0),
            reader_waits: AtomicBool::new(false),
            traffic: OutTraffic::default(),
        }
    }

    /// A hint: if it is wrong, bytes wait for the worker that has deferred them, or the kernel is asked twice.
    fn is_deferred_elsewhere(&self) -> bool {
        self.role.is_deferred() && self.deferred_on.load(Ordering::Relaxed) != this_thread()
    }
}

impl Socket {
    /// Queues bytes to be written behind those queued before. Wait-free but for the system call that a caller may find
    /// itself making. Never blocks.
    ///
    /// # Errors
    /// [`EOVERCROWDED`] if asked to refuse; the socket's own error if it has failed. The bytes were not and will not
    /// be written. If it fails later, what is still queued is dropped and the owner is told of the failure alone.
    pub(crate) fn write(self: &Arc<Self>, bytes: IoBuf, overcrowded: Overcrowded) -> Result<(), RpcError> {
        self.write_traced(bytes, overcrowded, None)
    }

    /// As [`write`](Self::write); `span` is told when the kernel has taken the last byte, and held until then.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(crate) fn write_traced(
        self: &Arc<Self>,
        bytes: IoBuf,
        overcrowded: Overcrowded,
        span: Option<Span>,
    ) -> Result<(), RpcError> {
        if let Some(error) = self.error() {
            return Err(error.clone());
        }
        if overcrowded == Overcrowded::Refuse && self.is_overcrowded() {
            return Err(RpcError::new(EOVERCROWDED, format!("Connection to {} is overcrowded", self.remote)));
        }
        let output = &self.output;
        // Relaxed: a sum; the queue publishes the bytes.
        let cost = bytes.len() + WRITE_COST;
        let unwritten = output.unwritten.fetch_add(cost, Ordering::Relaxed) + cost;
        match output.queue.push(Write { bytes, span }) {
            Push::First if unwritten >= FLUSH_BYTES => self.send(),
            Push::First => {
                output.deferred_on.store(this_thread(), Ordering::Relaxed); // a hint
                output.role.defer();
                self.defer_sending();
            }
            Push::Queued if unwritten >= FLUSH_BYTES => {
                if output.role.take_deferred() {
                    self.send();
                }
            }
            // Another worker has deferred it, and may be busy for long.
            Push::Queued if output.is_deferred_elsewhere() => self.defer_sending(),
            Push::Queued => {}
        }
        Ok(())
    }

    /// As [`write`](Self::write), for the answer to a request that does not run. A peer that goes on with such requests
    /// and takes no answers loses the connection: nothing else would end what is queued for it.
    pub(crate) fn write_refusal(self: &Arc<Self>, bytes: IoBuf) {
        let refusals = &self.output.refusals;
        // Relaxed: a sum; refusals counted while another writer starts it anew may be counted or not.
        if !self.is_overcrowded() {
            refusals.store(0, Ordering::Relaxed);
        } else if refusals.fetch_add(bytes.len() + WRITE_COST, Ordering::Relaxed)
            > self.limits.max_unwritten_bytes
        {
            let text = format!("{} goes on with requests and does not take the answers", self.remote);
            self.set_failed(RpcError::new(EOVERCROWDED, text));
            return;
        }
        let _ = self.write(bytes, Overcrowded::Ignore); // nobody is there any more to be told
    }

    /// Sees that what is queued is sent when this worker has nothing better to do; at once where there is no worker.
    fn defer_sending(self: &Arc<Self>) {
        if !bthread::defer(self.clone()) && self.output.role.take_deferred() {
            self.send();
        }
    }

    /// Sends now what was to be sent later: for writers that may not come back to the runtime for long. Never blocks.
    pub(crate) fn send_deferred(self: &Arc<Self>) {
        if self.output.role.take_deferred() {
            self.send();
        }
    }

    /// Bytes that the kernel has not taken.
    pub(crate) fn unwritten(&self) -> usize {
        self.output.unwritten.load(Ordering::Relaxed) // a snapshot
    }

    /// Whether more is unwritten than one connection may have.
    pub(crate) fn is_overcrowded(&self) -> bool {
        self.output.unwritten.load(Ordering::Relaxed) > self.limits.max_unwritten_bytes // a snapshot
    }

    /// Whether another request may be read that is answered behind what is unwritten. If not, the reader is called when
    /// it may.
    pub(super) fn has_room_for_answer(&self) -> bool {
        if self.unwritten() <= UNWRITTEN_BEFORE_NEXT_MAX {
            return true;
        }
        // SeqCst pairs with `count_as_written`: either the sender sees that the reader waits, or this look sees the room.
        self.output.reader_waits.store(true, Ordering::SeqCst);
        self.output.unwritten.load(Ordering::SeqCst) <= UNWRITTEN_BEFORE_NEXT_MAX
    }

    /// Ends the connection once everything is written that is queued now, so that the peer can read it, see `linger`. Never
    /// blocks.
    pub(crate) fn close_when_written(self: &Arc<Self>) {
        // SeqCst pairs with the sender's: either it sees the flag after its last byte, or we see that nothing is left.
        self.output.closing.store(true, Ordering::SeqCst);
        if self.output.unwritten.load(Ordering::SeqCst) == 0 {
            self.end(closed(), true);
        }
    }

    /// Keeps writes in the queue until [`let_writes_go`](Self::let_writes_go). Called before there are any.
    pub(super) fn hold_writes_back(&self) {
        self.output.unwritten.fetch_add(WRITE_COST, Ordering::Relaxed); // a sum, as in `write`
        let first = self.output.queue.push(Write { bytes: IoBuf::new(), span: None });
        debug_assert_eq!(first, Push::First);
        self.output.role.leave_to_connecting();
    }

    /// The connection stands.
    pub(super) fn let_writes_go(self: &Arc<Self>) {
        if self.output.role.take_connecting() {
            self.send();
        }
    }

    /// The kernel takes bytes again.
    pub(super) fn writable_again(&self) {
        // SeqCst pairs with the store in `keep_writing`, which looks at the kernel once more after it: either that
        // look finds room, or this event came later and finds the flag.
        if self.output.blocked.load(Ordering::SeqCst) {
            self.wake_keep_write();
        }
    }

    /// The socket has failed: drops what is queued.
    pub(super) fn stop_writing(self: &Arc<Self>) {
        self.wake_keep_write();
        self.wake_room_waiters();
        if self.output.role.take_any() {
            self.send();
        }
    }

    fn wake_keep_write(&self) {
        // Release pairs with the Acquire load in `keep_writing`.
        self.output.writable.value().fetch_add(1, Ordering::Release);
        self.output.writable.wake_all();
    }

    /// Sends as the sender, until nothing is queued or KeepWrite has taken over.
    fn send(self: &Arc<Self>) {
        loop {
            match self.send_turn() {
                Sent::All => return self.close_if_asked_to(),
                Sent::Failed(error) => {
                    self.set_failed(error);
                }
                Sent::KernelFull | Sent::Enough => {
                    return starting::start(self.clone(), Self::keep_writing);
                }
            }
        }
    }

    /// The KeepWrite bthread: the sender that may wait.
    fn keep_writing(self: Arc<Self>) {
        let output = &self.output;
        if planted!(LostWritable) {
            output.blocked.store(true, Ordering::SeqCst);
            let seen = output.writable.value().load(Ordering::Acquire);
            let _ = output.writable.wait(seen, None);
        }
        loop {
            // Acquire pairs with the bump in `wake_keep_write`.
            let seen = output.writable.value().load(Ordering::Acquire);
            output.blocked.store(true, Ordering::SeqCst); // pairs with the load in `writable_again`
            match self.send_turn() {
                Sent::All => return self.close_if_asked_to(),
                Sent::Failed(error) => {
                    self.set_failed(error);
                }
                Sent::Enough => bthread::yield_now(),
                // The flag is taken back with each queue that was emptied; more has come since. Relaxed: the sender's own.
                Sent::KernelFull if !output.blocked.load(Ordering::Relaxed) => {}
                Sent::KernelFull => {
                    let _ = output.writable.wait(seen, None); // however it ends, the kernel is asked again
                }
            }
        }
    }

    /// Sends what is queued, or drops it once the socket has failed.
    fn send_turn(self: &Arc<Self>) -> Sent {
        let output = &self.output;
        let mut sending = lock(&output.sending);
        let sending = &mut *sending;
        let mut turn = 0;
        loop {
            let writes = output.queue.drain(|write| sending.add(write));
            add(&output.traffic.messages, writes);
            // Counted together with the bytes that go next, as a rule all of them.
            let mut uncounted = writes * WRITE_COST;
            while !sending.bytes.is_empty() {
                if turn >= TURN_BYTES_MAX {
                    self.count_as_written(uncounted);
                    return Sent::Enough;
                }
                if self.error().is_some() {
                    uncounted += sending.bytes.len();
                    sending.clear();
                    break;
                }
                match self.transport.write(&mut sending.bytes) {
                    Ok(written) => {
                        sending.took(written);
                        add(&output.traffic.bytes, written); // first: who finds all written looks how much that was
                        self.count_as_written(std::mem::take(&mut uncounted) + written);
                        turn += written;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        if planted!(ShortWrite) && turn > 0 {
                            uncounted += sending.bytes.pop_front(1);
                        }
                        self.count_as_written(uncounted);
                        return Sent::KernelFull;
                    }
                    Err(error) => {
                        self.count_as_written(uncounted);
                        let error = RpcError::from(error);
                        let text = format!("Fail to write to {self}: {}", error.text());
                        return Sent::Failed(RpcError::new(error.code(), text));
                    }
                }
            }
            if uncounted > 0 {
                self.count_as_written(uncounted);
            }
            // Before the role is given up, as the next sender may set it. A stale `true` wakes nobody, once.
            output.blocked.store(false, Ordering::Relaxed);
            if output.queue.release() {
                return Sent::All;
            }
        }
    }

    fn count_as_written(self: &Arc<Self>, bytes: usize) {
        // SeqCst pairs with `close_when_written`, and with `wait_for_room` and `has_room_for_answer`: either the waiter
        // sees the room, or it is seen waiting here.
        let left = self.output.unwritten.fetch_sub(bytes, Ordering::SeqCst) - bytes;
        if left <= UNWRITTEN_BEFORE_NEXT_MAX
            && self.output.reader_waits.load(Ordering::SeqCst)
            && self.output.reader_waits.swap(false, Ordering::SeqCst)
            && self.error().is_none()
        {
            self.read_on();
        }
        if self.output.room_waiters.load(Ordering::SeqCst) > 0 {
            self.wake_room_waiters();
        }
    }

    fn wake_room_waiters(&self) {
        self.output.room.value().fetch_add(1, Ordering::Release); // pairs with the load in `wait_for_room`
        self.output.room.wake_all();
    }

    /// Waits until at most `unwritten` bytes are not taken by the kernel.
    ///
    /// *Blocking*: parks the bthread, or blocks the thread outside of bthreads, until then or the deadline.
    pub(crate) fn wait_for_room(
        self: &Arc<Self>,
        unwritten: usize,
        deadline: Option<Instant>,
    ) -> Result<(), RpcError> {
        let output = &self.output;
        // What this thread has put off would otherwise wait for it.
        self.send_deferred();
        output.room_waiters.fetch_add(1, Ordering::SeqCst); // pairs with `count_as_written`
        let waited = loop {
            // Acquire pairs with the bump in `wake_room_waiters`; before the looks, so that none is missed.
            let seen = output.room.value().load(Ordering::Acquire);
            if let Some(error) = self.error() {
                break Err(error.clone());
            }
            if output.unwritten.load(Ordering::SeqCst) <= unwritten {
                break Ok(());
            }
            if output.room.wait(seen, deadline) == WaitResult::TimedOut {
                break Err(RpcError::new(
                    ERPCTIMEDOUT,
                    format!("{} does not take what is written", self.remote),
                ));
            }
        };
        output.room_waiters.fetch_sub(1, Ordering::SeqCst); // as above
        waited
    }

    fn close_if_asked_to(self: &Arc<Self>) {
        // SeqCst pairs with `close_when_written`: of the two, the later one sees what the other did.
        if self.output.closing.load(Ordering::SeqCst) && self.output.unwritten.load(Ordering::SeqCst) == 0 {
            self.end(closed(), true);
        }
    }
}

/// Adds to a count that only the sender writes, so that load and store will do. Relaxed: a statistic.
fn add(count: &AtomicU64, more: usize) {
    count.store(count.load(Ordering::Relaxed) + more as u64, Ordering::Relaxed);
}

fn closed() -> RpcError {
    RpcError::new(ECLOSE, "The connection was closed")
}

impl Deferred for Socket {
    fn run(self: Arc<Self>) {
        self.send_deferred();
    }
}

/// A number that tells threads apart; in a simulation, workers.
pub(crate) fn this_thread() -> usize {
    if let Some(worker) = simulation::running_worker() {
        return worker;
    }
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    thread_local!(static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed)); // only has to differ
    NUMBER.with(|number| *number)
}
