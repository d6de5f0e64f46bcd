//! What one read of a connection brings for its streams: frames in the order of their arrival, and the messages of a
//! stream collected, so that its queue is locked and its consumer told once for many. Nothing here waits.

use std::sync::Arc;

use iobuf::IoBuf;

use super::frame::{StreamFrame, StreamFrameBody, StreamSide};
use super::life::{Ending, Phase, Reaction, reaction};
use super::sending::Link;
use super::state::StreamState;
use crate::error::{ECONNRESET, RpcError};
use crate::protocol::Frame;
use crate::socket::Socket;

/// The frames of one turn of reading.
#[derive(Default)]
pub(crate) struct StreamTurn {
    current: Option<Current>,
    /// Messages of the current stream that it does not have yet.
    messages: Vec<IoBuf>,
    bytes: u64,
}

/// The stream that the last frame was for.
struct Current {
    id: i64,
    stream: Arc<StreamState>,
    awaits_reply: bool,
    has_partial: bool,
}

impl StreamTurn {
    /// Takes a frame. If it completes the reply to a call, that is given back, as bytes of another protocol.
    pub(crate) fn take(
        &mut self,
        socket: &Arc<Socket>,
        side: &'static dyn StreamSide,
        frame: Frame,
    ) -> Option<IoBuf> {
        let StreamFrame { stream_id, source_id, body } = side.read_frame(frame)?;
        if self.current.as_ref().is_none_or(|current| current.id != stream_id) {
            self.flush();
            self.current = StreamState::find(stream_id, socket).map(|stream| {
                let (awaits_reply, has_partial) = stream.expects();
                Current { id: stream_id, stream, awaits_reply, has_partial }
            });
        }
        let phase = if self.current.is_some() { Phase::Connected } else { Phase::Closed };
        match (reaction(&body, phase), body) {
            (Reaction::Receive, StreamFrameBody::Data { payload, has_continuation }) => {
                return self.receive(payload, has_continuation);
            }
            (Reaction::Widen, StreamFrameBody::Feedback { consumed }) => {
                if let Some(current) = &self.current {
                    current.stream.widen(consumed);
                }
            }
            (Reaction::End(ending), _) => {
                self.flush();
                if let Some(current) = self.current.take() {
                    let reset = || RpcError::new(ECONNRESET, "The peer has reset the stream");
                    current.stream.end(ending, (ending == Ending::ResetByPeer).then(reset));
                }
            }
            (Reaction::Refuse, StreamFrameBody::Data { payload, has_continuation: false })
                if socket.streams().is_late_reply(stream_id as u64) =>
            {
                return Some(payload);
            }
            (Reaction::Refuse, _) => {
                if let Some(source) = source_id {
                    Link { socket: socket.clone(), side }.refuse(source);
                }
            }
            _ => {}
        }
        None
    }

    fn receive(&mut self, payload: IoBuf, has_continuation: bool) -> Option<IoBuf> {
        let is_whole = !has_continuation && self.current.as_ref().is_some_and(|current| !current.has_partial);
        let message = if is_whole {
            payload
        } else {
            self.flush();
            let current = self.current.as_mut()?;
            match current.stream.assemble(payload, has_continuation) {
                Ok(message) => {
                    current.has_partial = message.is_none();
                    message?
                }
                Err(error) => {
                    self.cut(error);
                    return None;
                }
            }
        };
        let current = self.current.as_mut()?;
        if current.awaits_reply {
            current.awaits_reply = false;
            current.stream.has_reply();
            return Some(message);
        }
        self.bytes += message.len() as u64;
        self.messages.push(message);
        None
    }

    /// Gives the current stream its messages.
    pub(crate) fn flush(&mut self) {
        if self.messages.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut self.bytes);
        if let Some(current) = &self.current
            && let Err(error) = current.stream.receive(&mut self.messages, bytes)
        {
            self.cut(error);
        }
        self.messages.clear();
    }

    fn cut(&mut self, error: RpcError) {
        if let Some(current) = self.current.take() {
            current.stream.end(Ending::Cut, Some(error));
        }
    }
}
