//! What a stream is to be, and who gets what it receives.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bvar::flag::{self, Flag};
use iobuf::IoBuf;

use super::frame::FRAME_META_MAX;
use super::handle::StreamWriter;
use crate::error::RpcError;
use crate::limits::MAX_BODY_SIZE_DEFAULT;

/// The window of a stream by default (brpc: `max_buf_size`): 2 MiB.
pub const MAX_BUF_SIZE_DEFAULT: usize = 2 << 20;
/// The smallest window by default, where windows depend on the connection (brpc: `min_buf_size`): 1 MiB.
pub const MIN_BUF_SIZE_DEFAULT: usize = 1 << 20;
/// Messages that a handler gets at a time by default (brpc: `messages_in_batch`).
pub const MESSAGES_IN_BATCH_DEFAULT: usize = 128;
/// The shortest time after which a handler is told of idleness: a timer runs out as often.
pub const IDLE_TIMEOUT_MIN: Duration = Duration::from_millis(1);
/// Bytes received and not consumed that one stream may hold by default.
pub const MAX_RECEIVED_SIZE_DEFAULT: usize = 256 << 20;
/// The largest segment by default: with its description it just passes the default `max_body_size` of peers. (brpc's
/// default, 512 MiB, does not: its own receivers close the connection on such a frame.)
pub const MAX_SEGMENT_SIZE_DEFAULT: usize = MAX_BODY_SIZE_DEFAULT - FRAME_META_MAX;
/// No segment is larger than this: sizes of frames have 32 bits.
pub(super) const SEGMENT_SIZE_MAX: usize = (u32::MAX as usize) - FRAME_META_MAX;

static MAX_STREAMS_UNCONSUMED_BYTES: Flag<u64> = Flag::new(
    "socket_max_streams_unconsumed_bytes",
    0,
    "Bytes that all streams of a connection may have unconsumed before their windows shrink; 0: windows are fixed",
);
static STREAM_WRITE_MAX_SEGMENT_SIZE: Flag<u64> = Flag::new(
    "stream_write_max_segment_size",
    MAX_SEGMENT_SIZE_DEFAULT as u64,
    "Longer messages of streams are sent in several frames. Keep it below the max_body_size of the peers",
)
.validated(|size| *size > 0);

pub(crate) fn register_flags() {
    flag::register(&[&MAX_STREAMS_UNCONSUMED_BYTES, &STREAM_WRITE_MAX_SEGMENT_SIZE]);
}

/// What all streams of a connection may have unconsumed before windows shrink; 0: windows are fixed.
pub(super) fn connection_unconsumed_max() -> u64 {
    MAX_STREAMS_UNCONSUMED_BYTES.get()
}

/// Gets what a stream receives. One call at a time for each stream, in a bthread that it may block.
///
/// Nothing else of the stream is received meanwhile, and the peer's window fills; other streams and calls go on. The
/// stream is ended with [`EINTERNAL`](crate::error::EINTERNAL) by a panic in here.
pub trait StreamHandler: Send + Sync + 'static {
    /// Messages have arrived: at least one, at most [`messages_in_batch`](StreamOptions::messages_in_batch), in order.
    /// Take them or leave them there; they count as consumed when this returns.
    fn on_received_messages(&self, stream: &StreamWriter, messages: &mut Vec<IoBuf>);

    /// No message has come for [`idle_timeout`](StreamOptions::idle_timeout). The stream goes on; close it if that is
    /// what this is to mean.
    fn on_idle_timeout(&self, stream: &StreamWriter) {
        let _ = stream;
    }

    /// The stream has ended with an error; [`on_closed`](Self::on_closed) comes next.
    fn on_failed(&self, stream: &StreamWriter, error: &RpcError) {
        let _ = (stream, error);
    }

    /// The stream has ended, everything received before has been handed over, and no other call will come.
    fn on_closed(&self, stream: &StreamWriter) {
        let _ = stream;
    }
}

/// What happens to what a stream receives.
#[derive(Clone)]
pub(super) enum Receiver {
    /// Somebody reads it.
    Reader,
    Handler(Arc<dyn StreamHandler>),
    /// The peer is told not to write.
    Nobody,
}

/// What a stream is to be (`spec/rpc-core.md` §19). The default is one that is read with [`Stream::read`](super::Stream::read).
///
/// ```
/// # use std::time::Duration;
/// let options = rpc::StreamOptions::default().max_buf_size(1 << 20).idle_timeout(Duration::from_secs(10));
/// ```
#[derive(Clone)]
#[must_use]
pub struct StreamOptions {
    pub(super) min_buf_size: usize,
    pub(super) max_buf_size: usize,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) messages_in_batch: usize,
    pub(super) max_received_size: usize,
    pub(super) max_segment_size: Option<usize>,
    pub(super) write_in_background: bool,
    pub(super) receiver: Receiver,
}

impl Default for StreamOptions {
    fn default() -> Self {
        StreamOptions {
            min_buf_size: MIN_BUF_SIZE_DEFAULT,
            max_buf_size: MAX_BUF_SIZE_DEFAULT,
            idle_timeout: None,
            messages_in_batch: MESSAGES_IN_BATCH_DEFAULT,
            max_received_size: MAX_RECEIVED_SIZE_DEFAULT,
            max_segment_size: None,
            write_in_background: false,
            receiver: Receiver::Reader,
        }
    }
}

impl StreamOptions {
    /// A stream whose messages `handler` gets, instead of a reader. All streams of one call share it.
    pub fn handler(mut self, handler: impl StreamHandler) -> Self {
        self.receiver = Receiver::Handler(Arc::new(handler));
        self
    }

    /// A stream that is only written to (brpc: no handler): the peer's writes fail with
    /// [`EBADF`](crate::error::EBADF), and what it sends all the same is dropped.
    pub fn write_only(mut self) -> Self {
        self.receiver = Receiver::Nobody;
        self
    }

    /// How many bytes may be written that the peer has not consumed; a message is begun below it and may go beyond. 0:
    /// any number, bounded by what the connection may have unwritten alone. Default: [`MAX_BUF_SIZE_DEFAULT`].
    pub fn max_buf_size(mut self, bytes: usize) -> Self {
        self.max_buf_size = bytes;
        self
    }

    /// To how many the window shrinks while all streams of the connection have more unconsumed than the flag
    /// `socket_max_streams_unconsumed_bytes` says. 0, or more than the largest: to half. Default:
    /// [`MIN_BUF_SIZE_DEFAULT`].
    pub fn min_buf_size(mut self, bytes: usize) -> Self {
        self.min_buf_size = bytes;
        self
    }

    /// After how long without a message the handler is told, again and again; [`IDLE_TIMEOUT_MIN`] at least. Only for
    /// streams with one. Default: never.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout.max(IDLE_TIMEOUT_MIN));
        self
    }

    /// Messages that the handler gets at a time, at least 1. Default: [`MESSAGES_IN_BATCH_DEFAULT`].
    pub fn messages_in_batch(mut self, messages: usize) -> Self {
        self.messages_in_batch = messages.max(1);
        self
    }

    /// Bytes received and not consumed that the stream may hold, a message that is still arriving included. A peer that
    /// goes beyond, which takes a larger window than this side's default or a message of that size, has the stream reset
    /// with [`EOVERCROWDED`](crate::error::EOVERCROWDED). Default: [`MAX_RECEIVED_SIZE_DEFAULT`].
    pub fn max_received_size(mut self, bytes: usize) -> Self {
        self.max_received_size = bytes;
        self
    }

    /// Longer messages are sent in several frames of so many bytes, at least 1. Default: the flag
    /// `stream_write_max_segment_size`, [`MAX_SEGMENT_SIZE_DEFAULT`].
    pub fn max_segment_size(mut self, bytes: usize) -> Self {
        self.max_segment_size = Some(bytes);
        self
    }

    /// Leaves sending to a bthread also for writers outside of bthreads, who otherwise send at once, each message by a
    /// system call. More messages per second, each a little later. Default: no.
    pub fn write_in_background(mut self, background: bool) -> Self {
        self.write_in_background = background;
        self
    }

    pub(super) fn segment_size(&self) -> usize {
        let of_flag = || usize::try_from(STREAM_WRITE_MAX_SEGMENT_SIZE.get()).unwrap_or(usize::MAX);
        self.max_segment_size.unwrap_or_else(of_flag).clamp(1, SEGMENT_SIZE_MAX)
    }

    /// Whether the peer may write.
    pub(super) fn is_writable(&self) -> bool {
        !matches!(self.receiver, Receiver::Nobody)
    }
}

impl fmt::Debug for StreamOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let receiver = match self.receiver {
            Receiver::Reader => "reader",
            Receiver::Handler(_) => "handler",
            Receiver::Nobody => "nobody",
        };
        f.debug_struct("StreamOptions")
            .field("min_buf_size", &self.min_buf_size)
            .field("max_buf_size", &self.max_buf_size)
            .field("idle_timeout", &self.idle_timeout)
            .field("messages_in_batch", &self.messages_in_batch)
            .field("receiver", &receiver)
            .finish_non_exhaustive()
    }
}
