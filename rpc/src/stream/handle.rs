//! Streams as their users hold them.

use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use iobuf::IoBuf;

use super::life::Ending;
use super::sending::Refused;
use super::state::StreamState;
use crate::error::{ECONNRESET, RpcError};
use crate::socket::lock;
use crate::starting;

/// A stream of messages in both directions beside the calls of a connection (`spec/rpc-core.md` §19).
///
/// Made by [`CallOptions::open_stream`](crate::CallOptions::open_stream) and
/// [`ServerCall::accept_stream`](crate::ServerCall::accept_stream). Messages keep their boundaries and their order; none
/// is lost between the first and the last one before a [`close`](StreamWriter::close). It is both ends in one: everything
/// of [`StreamWriter`], and of [`StreamReader`]; [`split`](Self::split) takes them apart. As an iterator it gives the
/// messages that arrive, until the stream ends.
///
/// A stream without a [handler](super::StreamOptions::handler) is closed when the last of its handles is dropped; one with
/// a handler when somebody closes it, or its connection ends.
pub struct Stream {
    writer: StreamWriter,
    reader: StreamReader,
}

impl Stream {
    pub(super) fn new(state: Arc<StreamState>) -> Self {
        Stream { writer: StreamWriter::new(state.clone()), reader: StreamReader::new(state) }
    }

    /// The two ends, for different bthreads or threads.
    pub fn split(self) -> (StreamReader, StreamWriter) {
        (self.reader, self.writer)
    }

    /// As [`StreamReader::read`].
    ///
    /// *Blocking*: parks the bthread, or blocks the thread outside of bthreads.
    ///
    /// # Errors
    /// As [`StreamReader::read`].
    pub fn read(&mut self) -> Result<Option<IoBuf>, RpcError> {
        self.reader.read()
    }

    /// As [`StreamReader::read_until`].
    ///
    /// *Blocking*: parks the bthread, or blocks the thread outside of bthreads.
    ///
    /// # Errors
    /// As [`StreamReader::read_until`].
    pub fn read_until(&mut self, deadline: Instant) -> Result<Option<IoBuf>, RpcError> {
        self.reader.read_until(deadline)
    }
}

impl Deref for Stream {
    type Target = StreamWriter;

    fn deref(&self) -> &StreamWriter {
        &self.writer
    }
}

impl Iterator for Stream {
    type Item = Result<IoBuf, RpcError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.reader.next()
    }
}

impl FusedIterator for Stream {}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("id", &self.id()).field("closed", &self.is_closed()).finish()
    }
}

/// The writing end of a stream. Clones write to the same stream; messages of several writers come one behind the other.
pub struct StreamWriter {
    state: Arc<StreamState>,
}

impl StreamWriter {
    pub(super) fn new(state: Arc<StreamState>) -> Self {
        state.add_handle();
        StreamWriter { state }
    }

    /// This side's id of the stream.
    pub fn id(&self) -> u64 {
        self.state.id()
    }

    /// Writes a message, empty ones included; waits while the window is full. Before the call has been answered messages
    /// are kept, as many as the window allows.
    ///
    /// Messages are sent when the bthread waits or much has been written; see [`flush`](Self::flush).
    ///
    /// *Blocking*: parks the bthread, or blocks the thread outside of bthreads, while the window is full.
    ///
    /// # Errors
    /// [`EINVAL`](crate::error::EINVAL): the stream has ended. [`ECONNRESET`]: it ended while this waited.
    /// [`EBADF`](crate::error::EBADF): the peer does not read.
    pub fn write(&self, message: impl Into<IoBuf>) -> Result<(), RpcError> {
        self.write_before(message.into(), None)
    }

    /// As [`write`](Self::write), until the deadline at most.
    ///
    /// *Blocking*: as [`write`](Self::write).
    ///
    /// # Errors
    /// As [`write`](Self::write), and [`ETIMEDOUT`](crate::error::ETIMEDOUT) at the deadline: nothing was written.
    pub fn write_until(&self, message: impl Into<IoBuf>, deadline: Instant) -> Result<(), RpcError> {
        self.write_before(message.into(), Some(deadline))
    }

    fn write_before(&self, mut message: IoBuf, deadline: Option<Instant>) -> Result<(), RpcError> {
        let mut has_waited = false;
        loop {
            match self.state.push(message) {
                Ok(()) => return Ok(()),
                Err((Refused::Full | Refused::Overcrowded, refused)) => {
                    self.state.wait_writable(deadline)?;
                    has_waited = true;
                    message = refused;
                }
                Err((Refused::Closed, _)) if has_waited => {
                    return Err(RpcError::new(ECONNRESET, "The stream has ended while it was written to"));
                }
                Err((refused, _)) => return Err(refused.error(self.id())),
            }
        }
    }

    /// Writes a message if there is room in the window. Never blocks.
    ///
    /// # Errors
    /// [`EAGAIN`](crate::error::EAGAIN): not now; else as [`write`](Self::write). The message comes back.
    pub fn try_write(&self, message: impl Into<IoBuf>) -> Result<(), TryWriteError> {
        self.state
            .push(message.into())
            .map_err(|(refused, message)| TryWriteError { error: refused.error(self.id()), message })
    }

    /// Waits until a message would be taken. Another writer may be faster.
    ///
    /// *Blocking*: parks the bthread, or blocks the thread outside of bthreads, until then or the deadline.
    ///
    /// # Errors
    /// [`ETIMEDOUT`](crate::error::ETIMEDOUT) at the deadline; [`ECONNRESET`]: the stream ended meanwhile; else as
    /// [`write`](Self::write).
    pub fn wait_writable(&self, deadline: Option<Instant>) -> Result<(), RpcError> {
        self.state.wait_writable(deadline)
    }

    /// Has `done` called, in a bthread of its own that it may block, with what [`wait_writable`](Self::wait_writable)
    /// gives. Never blocks.
    pub fn when_writable(
        &self,
        deadline: Option<Instant>,
        done: impl FnOnce(Result<(), RpcError>) + Send + 'static,
    ) {
        let wait = Wait { stream: self.clone(), deadline, done: Mutex::new(Some(Box::new(done))) };
        starting::start(Arc::new(wait), Wait::run);
    }

    /// Sends now what has been written. Only for who has something else to do for long and does not wait: messages are
    /// sent when the bthread waits, or much has been written; off bthreads at once. Never blocks.
    pub fn flush(&self) {
        self.state.flush();
    }

    /// Ends the stream in both directions. What was written before arrives; what has arrived here is still handed over,
    /// behind which the handler is told. The peer's stream ends with this one. Closing again changes nothing. Never
    /// blocks.
    ///
    /// Before the call is answered, or made, too: the peer gets what was written, and the end behind it, when its service
    /// has accepted. If it does not, or the call fails, all that is lost, and [`error`](Self::error) says why. A service
    /// that closes the first of its streams before its answer has not accepted.
    pub fn close(&self) {
        self.state.end(Ending::Closed, None);
    }

    /// Ends the stream as [`close`](Self::close) does, but the peer learns that it went wrong:
    /// [`ECONNRESET`]. Before the call is answered what was written is thrown away, and the call fails. Never blocks.
    pub fn reset(&self) {
        self.state.end(Ending::Cut, None);
    }

    /// Whether the stream has ended, by whomever. There may still be messages to be read.
    pub fn is_closed(&self) -> bool {
        self.state.is_closed()
    }

    /// Why the stream has ended, if not by a close: [`ECONNRESET`] by the peer, the error of the connection or of the call
    /// that it began with. [`EBADF`](crate::error::EBADF): it was closed before the peer was found not to read it.
    pub fn error(&self) -> Option<RpcError> {
        self.state.error().cloned()
    }
}

type Done = Box<dyn FnOnce(Result<(), RpcError>) + Send>;

/// A wait that ends in a call.
struct Wait {
    stream: StreamWriter,
    deadline: Option<Instant>,
    done: Mutex<Option<Done>>,
}

impl Wait {
    fn run(self: Arc<Self>) {
        let done = lock(&self.done).take();
        if let Some(done) = done {
            done(self.stream.wait_writable(self.deadline));
        }
    }
}

impl Clone for StreamWriter {
    fn clone(&self) -> Self {
        StreamWriter::new(self.state.clone())
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        self.state.drop_handle();
    }
}

impl fmt::Debug for StreamWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamWriter").field("id", &self.id()).field("closed", &self.is_closed()).finish()
    }
}

/// A message that was not written, and why.
#[derive(Clone)]
pub struct TryWriteError {
    /// [`EAGAIN`](crate::error::EAGAIN): the window is full.
    pub error: RpcError,
    /// As it was given.
    pub message: IoBuf,
}

impl fmt::Debug for TryWriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryWriteError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl fmt::Display for TryWriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for TryWriteError {}

impl From<TryWriteError> for RpcError {
    fn from(error: TryWriteError) -> Self {
        error.error
    }
}

/// The reading end of a stream without a handler. Dropped, it lets the peer write on: what comes is thrown away.
///
/// A message counts as consumed, and widens the peer's window, when it has been read.
pub struct StreamReader {
    state: Arc<StreamState>,
    batch: VecDeque<IoBuf>,
    /// Bytes read that the stream does not know of.
    untold: u64,
    is_over: bool,
}

impl StreamReader {
    fn new(state: Arc<StreamState>) -> Self {
        state.add_handle();
        StreamReader { state, batch: VecDeque::new(), untold: 0, is_over: false }
    }

    /// This side's id of the stream.
    pub fn id(&self) -> u64 {
        self.state.id()
    }

    /// The next message; `None` when the stream was closed, by whichever side, and everything before has been read.
    ///
    /// *Blocking*: parks the bthread, or blocks the thread outside of bthreads, until one of the two.
    ///
    /// # Errors
    /// The error that the stream has ended with, behind everything that came before, each time: [`ECONNRESET`] if the peer
    /// does not know it any more, or that of the connection. [`EINVAL`](crate::error::EINVAL): the stream has a handler,
    /// or is only written to.
    pub fn read(&mut self) -> Result<Option<IoBuf>, RpcError> {
        self.read_before(None)
    }

    /// As [`read`](Self::read), until the deadline at most.
    ///
    /// *Blocking*: as [`read`](Self::read).
    ///
    /// # Errors
    /// As [`read`](Self::read), and [`ETIMEDOUT`](crate::error::ETIMEDOUT) at the deadline, after which it may be called
    /// again.
    pub fn read_until(&mut self, deadline: Instant) -> Result<Option<IoBuf>, RpcError> {
        self.read_before(Some(deadline))
    }

    fn read_before(&mut self, deadline: Option<Instant>) -> Result<Option<IoBuf>, RpcError> {
        if self.batch.is_empty() && !self.state.read(&mut self.batch, deadline)? {
            return Ok(None);
        }
        let message = self.batch.pop_front();
        if let Some(message) = &message {
            self.state.took(&mut self.untold, message.len(), self.batch.is_empty());
        }
        Ok(message)
    }
}

impl Iterator for StreamReader {
    type Item = Result<IoBuf, RpcError>;

    /// *Blocking*: as [`read`](StreamReader::read).
    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let read = self.read().transpose();
        self.is_over = !matches!(read, Some(Ok(_)));
        read
    }
}

impl FusedIterator for StreamReader {}

impl Drop for StreamReader {
    fn drop(&mut self) {
        let rest: usize = self.batch.iter().map(IoBuf::len).sum();
        self.state.stop_reading(self.untold + rest as u64);
        self.state.drop_handle();
    }
}

impl fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReader").field("id", &self.id()).field("waiting", &self.batch.len()).finish()
    }
}
