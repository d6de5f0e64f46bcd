//! The moment at which a stream's peer is known: what was written before goes to it. Sends nothing itself.

use std::sync::Arc;

use super::{Close, Flush, Link, Refused};
use crate::protocol::StreamSettings;
use crate::socket::lock;
use crate::stream::life::{Ending, Phase};
use crate::stream::state::StreamState;

impl StreamState {
    /// The peer is known: what was written so far goes to it, with the close behind it of a stream that is closed by now.
    /// False: the stream has ended before.
    pub(in crate::stream) fn connect(self: &Arc<Self>, peer_id: i64, peer: &StreamSettings) -> bool {
        let (flush, close, lost) = {
            let mut sending = lock(&self.sending);
            let is_closing = sending.phase == Phase::Closing;
            if !is_closing && sending.phase != Phase::Unconnected {
                return false;
            }
            sending.phase = Phase::Connected;
            sending.has_been_connected = true;
            sending.id = self.id() as i64;
            sending.peer_id = peer_id;
            sending.peer_wants_feedback = peer.need_feedback;
            sending.peer_is_writable = peer.writable;
            if sending.window.is_dynamic()
                && let Some(link) = &sending.link
            {
                link.socket.streams().produced(sending.window.unconsumed());
            }
            let lost = is_closing && !peer.writable && !sending.early.is_empty();
            // To one that does not read nothing is written.
            for message in std::mem::take(&mut sending.early).into_iter().filter(|_| peer.writable) {
                sending.collect_message(message, self.segment_size);
            }
            sending.early_cost = 0;
            if is_closing {
                (Flush::Later, sending.close(Ending::Closed), lost)
            } else {
                (sending.plan(false), Close::Over, lost)
            }
        };
        if let Close::Ended(remains) = close {
            // Whoever has closed it cannot learn of that from a write.
            let error = lost.then(|| Refused::NotWritable.error(self.id()));
            self.finish(&remains, Ending::Closed, error);
            return true;
        }
        self.carry_out(flush);
        self.wake_writers();
        self.feed_back();
        true
    }

    /// Whether the peer has become known, also if the stream has ended since.
    pub(in crate::stream) fn has_been_connected(&self) -> bool {
        lock(&self.sending).has_been_connected
    }

    /// As [`connect`](Self::connect); the peer of a stream that has ended before hears that it is not there.
    pub(in crate::stream) fn connect_or_refuse(
        self: &Arc<Self>,
        link: &Link,
        peer_id: i64,
        peer: &StreamSettings,
    ) {
        if !self.connect(peer_id, peer) {
            link.refuse(peer_id);
        }
    }
}
