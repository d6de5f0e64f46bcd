//! How one attempt of a call ends, and who is told.

use std::sync::Arc;

use crate::error::RpcError;
use crate::protocol::IncomingReply;
use crate::span::Span;
use crate::stream::CallStreams;

/// A call that waits for its reply in a connection's table.
pub(super) trait PendingCall: Send + Sync {
    /// The attempt has ended. Called by whoever removed the call from the table, so once for each time that it was put
    /// there; no lock is held. Must not block.
    fn end(self: Arc<Self>, outcome: Outcome);

    /// Whether the body of the reply is wanted as it arrives.
    fn wants_stream(&self) -> bool;

    /// The streams that begin with it, if any do.
    fn streams(&self) -> Option<Arc<CallStreams>>;

    /// Its span, if it is recorded.
    fn span(&self) -> Option<&Span>;
}

/// How one attempt ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The server has answered, perhaps with an error.
    Replied(IncomingReply),
    /// There will be no answer.
    Failed(Failure),
}

impl Outcome {
    /// The reply, if it is a success. A server's error is a failure like others.
    pub(super) fn into_result(self) -> Result<IncomingReply, Failure> {
        match self {
            Outcome::Replied(mut reply) => match reply.error.take() {
                None => Ok(reply),
                Some(error) => Err(Failure { error, sent: true }),
            },
            Outcome::Failed(failure) => Err(failure),
        }
    }
}

/// Why there is no answer, or none but an error.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) error: RpcError,
    /// The request may have reached the server.
    pub(super) sent: bool,
}

impl Failure {
    /// A failure before anything was sent.
    pub(super) fn unsent(error: RpcError) -> Self {
        Failure { error, sent: false }
    }
}
