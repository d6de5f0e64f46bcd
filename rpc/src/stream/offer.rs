//! The streams that a caller offers with a call: used by one call, connected by its reply, ended with the call if that
//! fails (`spec/protocols-baidu.md` §3.3).

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::handle::Stream;
use super::life::Ending;
use super::options::StreamOptions;
use super::sending::Link;
use super::state::StreamState;
use crate::error::{ECANCELED, EINVAL, EREQUEST, RpcError};
use crate::protocol::{IncomingReply, StreamSettings};
use crate::socket::Socket;

/// Streams that one call can have.
pub const STREAMS_PER_CALL_MAX: usize = 1 << 10;

/// Streams that were made for a call, which has perhaps not begun.
pub(crate) struct Offer {
    streams: Vec<Arc<StreamState>>,
    settings: StreamSettings,
    is_used: AtomicBool,
}

impl Offer {
    /// Makes the streams of one call.
    pub(crate) fn new(count: usize, options: &StreamOptions) -> Result<(Arc<Self>, Vec<Stream>), RpcError> {
        check_count(count)?;
        let (states, settings) = StreamState::create(count, options, true)?;
        let streams = states.iter().cloned().map(Stream::new).collect();
        Ok((Arc::new(Offer { streams: states, settings, is_used: AtomicBool::new(false) }), streams))
    }

    /// Begins the one call that they are for.
    pub(crate) fn begin(self: Arc<Self>) -> CallStreams {
        // Relaxed: whoever comes second only has to know that.
        let is_ours = !self.is_used.swap(true, Ordering::Relaxed);
        CallStreams { offer: self, is_ours }
    }

    fn fail(&self, error: &RpcError) {
        for stream in &self.streams {
            stream.end(Ending::Failed, Some(error.clone()));
            stream.release();
        }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if !self.is_used.load(Ordering::Relaxed) {
            self.fail(&RpcError::new(ECANCELED, "The stream's call was never made"));
        }
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer").field("streams", &self.settings.ids).finish_non_exhaustive()
    }
}

pub(super) fn check_count(count: usize) -> Result<(), RpcError> {
    if (1..=STREAMS_PER_CALL_MAX).contains(&count) {
        return Ok(());
    }
    Err(RpcError::new(EINVAL, format!("A call has 1 to {STREAMS_PER_CALL_MAX} streams, not {count}")))
}

/// The peers of streams whose call has ended hear that nobody is there.
pub(crate) fn refuse(socket: &Arc<Socket>, peers: &StreamSettings) {
    if let Ok(link) = Link::over(socket) {
        peers.ids.iter().for_each(|peer_id| link.refuse(*peer_id));
    }
}

/// The streams of one call.
pub(crate) struct CallStreams {
    offer: Arc<Offer>,
    /// No other call had them before.
    is_ours: bool,
}

impl CallStreams {
    /// What the server is told.
    pub(crate) fn settings(&self) -> &StreamSettings {
        &self.offer.settings
    }

    /// Keeps something for as long as one of the streams lives.
    pub(crate) fn keep(&self, what: &Arc<impl Any + Send + Sync>) {
        if self.is_ours {
            self.offer.streams.iter().for_each(|stream| stream.keep(what.clone()));
        }
    }

    /// The call goes over this connection. `is_shared`: it lives on when the call has ended.
    ///
    /// # Errors
    /// [`EINVAL`]: another call had them, one has ended, or the connection cannot have streams.
    pub(crate) fn bind(&self, socket: &Arc<Socket>, is_shared: bool) -> Result<(), RpcError> {
        let refuse = |text: &str| Err(RpcError::new(EINVAL, text));
        if !self.is_ours {
            return refuse("The streams of these options belong to another call");
        }
        if !is_shared {
            return refuse("Streams need connection_type=single: others end with their call");
        }
        if self.offer.streams.iter().any(|stream| stream.is_over()) {
            return refuse("A stream was reset before its call");
        }
        let link = Link::over(socket)?;
        self.offer.streams.iter().try_for_each(|stream| stream.bind(link.clone()))
    }

    /// The server has answered: the streams are connected, or fail with the call. A call that is answered well but for
    /// its streams fails.
    pub(crate) fn replied(&self, socket: &Arc<Socket>, reply: &mut IncomingReply) {
        if let Some(peer) = reply.streams.take() {
            self.connect(socket, &peer, reply.error.is_some());
        }
        match &reply.error {
            Some(error) => self.fail(error),
            None => reply.error = self.check().err(),
        }
    }

    /// Connects each stream with its peer. If the service has accepted, and then failed, the peers are told.
    fn connect(&self, socket: &Arc<Socket>, peer: &StreamSettings, has_failed: bool) {
        let is_pairing = !has_failed && peer.ids.len() == self.offer.streams.len();
        let mut streams = self.offer.streams.iter();
        for peer_id in &peer.ids {
            let connected = streams.next().is_some_and(|stream| is_pairing && stream.connect(*peer_id, peer));
            if !connected && let Ok(link) = Link::over(socket) {
                link.refuse(*peer_id);
            }
        }
    }

    /// The caller knows, or is about to.
    pub(crate) fn release(&self) {
        self.offer.streams.iter().for_each(|stream| stream.release());
    }

    /// The call has succeeded, if its streams have.
    ///
    /// # Errors
    /// [`EREQUEST`]: they were not accepted, or one has ended before.
    pub(crate) fn check(&self) -> Result<(), RpcError> {
        if !self.is_ours || self.offer.streams.iter().all(|stream| stream.has_been_connected()) {
            return Ok(());
        }
        let is_over = |stream: &Arc<StreamState>| stream.is_over() && !stream.has_been_connected();
        let text = if self.offer.streams.iter().any(is_over) {
            "A stream of the call has ended before the answer"
        } else {
            "The server didn't accept the stream"
        };
        let error = RpcError::new(EREQUEST, text);
        self.fail(&error);
        Err(error)
    }

    /// The call has failed, and so have its streams.
    pub(crate) fn fail(&self, error: &RpcError) {
        if self.is_ours {
            self.offer.fail(error);
        }
    }
}

impl Drop for CallStreams {
    fn drop(&mut self) {
        if self.is_ours && self.offer.streams.iter().any(|stream| !stream.has_been_connected()) {
            self.fail(&RpcError::new(ECANCELED, "The stream's call was given up"));
        }
    }
}
