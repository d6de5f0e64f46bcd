//! The streams of one call at the server: what the caller offers, what the service accepts, and how the answer reaches the
//! caller, inside of a frame of its first stream (`spec/protocols-baidu.md` §3.3).

use std::sync::Arc;

use iobuf::IoBuf;

use super::frame::{StreamFrame, StreamFrameBody};
use super::handle::Stream;
use super::life::Ending;
use super::offer::check_count;
use super::options::StreamOptions;
use super::sending::Link;
use super::state::StreamState;
use crate::error::{EINVAL, RpcError};
use crate::protocol::StreamSettings;
use crate::socket::Socket;

/// In place of the id of a stream that there is not.
const NO_STREAM: i64 = -1;

/// The streams that a caller wants to have.
pub(crate) struct OfferedStreams {
    theirs: StreamSettings,
    ours: StreamSettings,
    streams: Vec<Arc<StreamState>>,
    /// The caller hears of this side's streams.
    are_told: bool,
}

impl OfferedStreams {
    pub(crate) fn new(theirs: StreamSettings) -> Self {
        OfferedStreams { theirs, ours: StreamSettings::default(), streams: Vec::new(), are_told: false }
    }

    /// How many they are.
    pub(crate) fn count(&self) -> usize {
        self.theirs.ids.len()
    }

    /// Makes this side's streams.
    ///
    /// # Errors
    /// [`EINVAL`]: they were made before, they are too many, or the connection cannot have streams.
    pub(crate) fn accept(
        &mut self,
        socket: &Arc<Socket>,
        options: &StreamOptions,
    ) -> Result<Vec<Stream>, RpcError> {
        if !self.streams.is_empty() {
            return Err(RpcError::new(EINVAL, "The streams of the call are accepted already"));
        }
        check_count(self.count())?;
        let link = Link::over(socket)?;
        let (states, settings) = StreamState::create(self.count(), options, false)?;
        if let Err(error) = states.iter().try_for_each(|stream| stream.bind(link.clone())) {
            for stream in states {
                stream.end(Ending::Failed, Some(error.clone()));
            }
            return Err(error);
        }
        let streams = states.iter().cloned().map(Stream::new).collect();
        (self.streams, self.ours) = (states, settings);
        Ok(streams)
    }

    /// Decides what the answer says of this side's streams: nothing if there are none, the first one has ended, or the
    /// answer is an error.
    pub(crate) fn decide(&mut self, is_error: bool) {
        self.are_told = !is_error && self.streams.first().is_some_and(|first| !first.is_closed());
    }

    /// What the answer says of this side's streams, once that is decided.
    pub(crate) fn settings(&self) -> Option<&StreamSettings> {
        self.are_told.then_some(&self.ours)
    }

    /// Puts the answer into the frame that it travels in. It goes as it is where the connection knows no streams.
    pub(crate) fn wrap(&self, socket: &Arc<Socket>, answer: IoBuf) -> IoBuf {
        let source = self.settings().and_then(|ours| ours.ids.first()).copied();
        wrap(socket, &self.theirs, source.unwrap_or(NO_STREAM), answer)
    }

    /// The answer is queued to be written: what was written to the streams follows it; if it says nothing of them, they
    /// end.
    pub(crate) fn answered(&self, socket: &Arc<Socket>, error: Option<&RpcError>) {
        let Ok(link) = Link::over(socket) else { return };
        for (stream, peer_id) in self.streams.iter().zip(&self.theirs.ids) {
            if self.are_told {
                stream.connect_or_refuse(&link, *peer_id, &self.theirs);
            } else {
                stream.end(Ending::Failed, error.cloned());
            }
            stream.release();
        }
    }
}

impl Drop for OfferedStreams {
    fn drop(&mut self) {
        for stream in self.streams.iter().filter(|stream| !stream.has_been_connected()) {
            stream.end(Ending::Failed, Some(RpcError::internal("The stream's call was not answered")));
            stream.release();
        }
    }
}

/// Puts the answer to a call that does not run into the frame that its caller waits for.
pub(crate) fn wrap_refusal(socket: &Arc<Socket>, theirs: &StreamSettings, answer: IoBuf) -> IoBuf {
    wrap(socket, theirs, NO_STREAM, answer)
}

fn wrap(socket: &Arc<Socket>, theirs: &StreamSettings, source: i64, answer: IoBuf) -> IoBuf {
    let (Ok(link), Some(stream_id)) = (Link::over(socket), theirs.ids.first().copied()) else {
        return answer;
    };
    let mut out = IoBuf::new();
    let body = StreamFrameBody::Data { payload: answer, has_continuation: false };
    link.side.write_frame(StreamFrame { stream_id, source_id: Some(source), body }, &mut out);
    out
}
