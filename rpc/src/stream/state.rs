//! One stream: its identity, its two sides and its end.
//!
//! Owns the table of all streams of the process. An id leads to a stream until it ends, and only for frames of its own
//! connection. The sending and the receiving side have a lock each, never held at the same time, and never while code
//! of users or of a socket runs.

use std::any::Any;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::time::Duration;

use bthread::Butex;
use bthread::slab::Slab;
use bthread::timer;

use super::life::{Ending, Phase};
use super::options::{Receiver, StreamOptions};
use super::receiving::Receiving;
use super::sending::{Close, Link, Remains, Sending};
use super::window::Window;
use crate::error::{ELIMIT, RpcError};
use crate::live::{self, Counted};
use crate::protocol::StreamSettings;
use crate::socket::{Socket, lock};
use crate::starting;

/// Streams in a process, of servers and clients together, that have not ended.
pub const STREAMS_MAX: usize = 1 << 20;

static STREAMS: LazyLock<Slab<StreamState>> = LazyLock::new(|| Slab::new(STREAMS_MAX));

/// Streams that have not ended.
pub(crate) fn live_streams() -> usize {
    STREAMS.len()
}

/// How long a connection that nobody needs any more waits for its peer to take what was written to its last stream.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) type Kept = Arc<dyn Any + Send + Sync>;

/// One stream.
pub(crate) struct StreamState {
    id: OnceLock<u64>,
    /// The connection that its frames come over; 0: none yet.
    socket_id: AtomicU64,
    /// Readers and writers that users have.
    handles: AtomicUsize,
    /// Why it has ended, if not by a close.
    error: OnceLock<RpcError>,
    /// What must not go while the stream lives: the channel whose connection it uses.
    kept: Mutex<Option<Kept>>,
    pub(super) has_handler: bool,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) messages_in_batch: usize,
    pub(super) max_received_size: usize,
    pub(super) segment_size: usize,
    pub(super) write_in_background: bool,
    pub(super) sending: Mutex<Sending>,
    /// Bumped when writers that wait are to look again.
    pub(super) writable: Butex,
    pub(super) receiving: Mutex<Receiving>,
    /// Bumped when the reader that waits is to look again.
    pub(super) arrived: Butex,
    /// Bytes handed over and done with since the beginning.
    pub(super) consumed: AtomicU64,
    _in_memory: Counted,
}

impl StreamState {
    /// Streams that are not connected, of one call, and what the other side is told of them. Nothing that they receive
    /// is handed over before their [`release`](Self::release).
    pub(super) fn create(
        count: usize,
        options: &StreamOptions,
        awaits_reply: bool,
    ) -> Result<(Vec<Arc<Self>>, StreamSettings), RpcError> {
        let mut settings = StreamSettings { writable: options.is_writable(), ..StreamSettings::default() };
        let mut streams = Vec::with_capacity(count);
        for index in 0..count {
            let stream = Arc::new(Self::new(options, awaits_reply && index == 0));
            settings.need_feedback = lock(&stream.sending).needs_feedback();
            let Some(id) = STREAMS.insert(stream.clone()) else {
                for stream in streams {
                    Self::end(&stream, Ending::Failed, None);
                }
                return Err(RpcError::new(ELIMIT, format!("More than {STREAMS_MAX} streams")));
            };
            let _ = stream.id.set(id); // a new cell is empty
            settings.ids.push(id as i64);
            streams.push(stream);
        }
        Ok((streams, settings))
    }

    fn new(options: &StreamOptions, awaits_reply: bool) -> Self {
        let connection_max = super::options::connection_unconsumed_max();
        let window = Window::new(options.min_buf_size, options.max_buf_size, connection_max);
        StreamState {
            id: OnceLock::new(),
            socket_id: AtomicU64::new(0),
            handles: AtomicUsize::new(0),
            error: OnceLock::new(),
            kept: Mutex::new(None),
            has_handler: matches!(options.receiver, Receiver::Handler(_)),
            idle_timeout: options.idle_timeout,
            messages_in_batch: options.messages_in_batch,
            max_received_size: options.max_received_size,
            segment_size: options.segment_size(),
            write_in_background: options.write_in_background,
            sending: Mutex::new(Sending::new(window)),
            writable: Butex::new(0),
            receiving: Mutex::new(Receiving::new(options.receiver.clone(), awaits_reply)),
            arrived: Butex::new(0),
            consumed: AtomicU64::new(0),
            _in_memory: live::STREAMS.count(),
        }
    }

    /// The stream that a frame names, if the frame came over the stream's connection.
    pub(super) fn find(id: i64, socket: &Socket) -> Option<Arc<Self>> {
        // Relaxed: it is set before the stream's id is told to anybody.
        STREAMS.get(id as u64).filter(|stream| stream.socket_id.load(Ordering::Relaxed) == socket.id())
    }

    pub(super) fn id(&self) -> u64 {
        self.id.get().copied().unwrap_or_default()
    }

    /// Why it has ended, if not by a close.
    pub(super) fn error(&self) -> Option<&RpcError> {
        self.error.get()
    }

    /// Whether its user has no use for it any more.
    pub(super) fn is_closed(&self) -> bool {
        matches!(lock(&self.sending).phase, Phase::Closing | Phase::Closed)
    }

    /// Whether nothing comes or goes any more.
    pub(super) fn is_over(&self) -> bool {
        lock(&self.sending).phase == Phase::Closed
    }

    /// Keeps something until the stream ends.
    pub(super) fn keep(&self, what: Kept) {
        // What is taken out is the user's in part, and dropped without the lock.
        let earlier = lock(&self.kept).replace(what);
        drop(earlier);
        if self.is_over() {
            let kept = lock(&self.kept).take();
            drop(kept);
        }
    }

    /// Its frames come and go over this connection from now on.
    pub(super) fn bind(self: &Arc<Self>, link: Link) -> Result<(), RpcError> {
        let socket = link.socket.clone();
        socket.streams().add(self.id())?;
        self.socket_id.store(socket.id(), Ordering::Relaxed); // as in `find`
        lock(&self.sending).set_link(link);
        // Pairs with the fence in `Socket::set_failed`: either that finds the streams of the socket, or this its error.
        fence(Ordering::SeqCst);
        // One that has ended or failed meanwhile has not found what was just added.
        if let Some(error) = socket.error() {
            self.end(Ending::Failed, Some(error.clone()));
            return Err(error.clone());
        }
        if self.is_over() {
            socket.streams().remove(self.id(), 0);
        }
        Ok(())
    }

    /// Ends the stream, once: later calls change nothing. What was received is still handed over; the peer is told behind
    /// everything written before. One that is closed before it is connected ends for its user alone; for the rest when it
    /// is connected, or before in another way. Never blocks.
    pub(super) fn end(self: &Arc<Self>, ending: Ending, error: Option<RpcError>) {
        let close = lock(&self.sending).close(ending);
        match close {
            Close::Over => {}
            Close::Begun => {
                self.note_error(error);
                self.wake_writers();
                self.end_receiving(false);
            }
            Close::Ended(remains) => self.finish(&remains, ending, error),
        }
    }

    fn note_error(&self, error: Option<RpcError>) {
        if let Some(error) = error {
            let _ = self.error.set(error); // the first one counts
        }
    }

    /// The stream has just ended: all that knows of it learns that.
    pub(super) fn finish(self: &Arc<Self>, remains: &Remains, ending: Ending, error: Option<RpcError>) {
        let Remains { link, unconsumed } = remains;
        self.note_error(error);
        if let Some(link) = link
            && self.expects().0
        {
            link.socket.streams().ends_unanswered(self.id()); // before a frame for it finds nothing
        }
        drop(STREAMS.remove(self.id()));
        self.wake_writers();
        let kept = lock(&self.kept).take();
        let kept = match (kept, link) {
            // Before the peer hears of it, so that it answers behind that.
            (Some(kept), Some(link)) if ending == Ending::Closed && self.has_been_connected() => {
                self.keep_until_answered(kept, &link.socket)
            }
            (kept, _) => kept,
        };
        if let Some(link) = link {
            link.socket.streams().remove(self.id(), *unconsumed);
            self.flush();
        }
        self.end_receiving(true);
        drop(kept);
    }

    /// Keeps `kept`, with which the connection may end and what is on its way be lost, until the peer answers the close, as
    /// it has everything then; but not for ever. Gives it back if the connection has failed.
    fn keep_until_answered(&self, kept: Kept, socket: &Arc<Socket>) -> Option<Kept> {
        let id = self.id();
        socket.streams().await_farewell(id, kept);
        // One that has failed meanwhile has not found what was just added.
        if socket.error().is_some() {
            return socket.streams().farewell(id);
        }
        let weak = Arc::downgrade(socket);
        let timer = timer::schedule(bthread::clock::now() + FAREWELL_TIMEOUT, move || {
            if let Some(kept) = weak.upgrade().and_then(|socket| socket.streams().farewell(id)) {
                starting::start(Arc::new(kept), drop);
            }
        });
        socket.streams().bound_farewell(id, timer);
        None
    }

    pub(super) fn add_handle(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed); // as with an `Arc`, made from one that is there
    }

    /// A reader or writer is gone. With the last one a stream ends that no handler has.
    pub(super) fn drop_handle(self: &Arc<Self>) {
        // AcqRel, as with an `Arc`: what others did with theirs comes before the end.
        if self.handles.fetch_sub(1, Ordering::AcqRel) == 1 && !self.has_handler {
            self.end(Ending::Closed, None);
        }
    }
}

/// The connection that `id` came over has failed.
pub(super) fn fail(id: u64, error: &RpcError) {
    if let Some(stream) = STREAMS.get(id) {
        stream.end(Ending::Failed, Some(error.clone()));
    }
}
