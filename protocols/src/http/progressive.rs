//! Bodies that are written after the call has returned, as they come to be (`spec/protocols-http.md` §12).

use std::fmt;
use std::time::Instant;

use iobuf::IoBuf;
use rpc::server::Tail;
use rpc::{Endpoint, RpcError};

use super::codec::{LAST_CHUNK, write_chunk};

/// How the parts of a body are marked on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// As chunks: HTTP/1.1.
    Chunked,
    /// Not at all, the end of the connection ends it: HTTP/1.0.
    Raw,
    /// There is no body, the request was a HEAD.
    None,
}

/// A response's body that is written in parts, during the call and after it, from any thread (brpc:
/// `ProgressiveAttachment`). Made by [`HttpCall::progressive`](super::HttpCall::progressive). The body ends when it is
/// dropped; then the connection goes on with its next request.
///
/// Each write is a chunk of its own in HTTP/1.1. A receiver that does not read makes writes fail with
/// [`EOVERCROWDED`](rpc::error::EOVERCROWDED): wait for room between them.
pub struct ProgressiveAttachment {
    tail: Tail,
    framing: Framing,
}

impl ProgressiveAttachment {
    pub(super) fn new(tail: Tail, framing: Framing) -> Self {
        ProgressiveAttachment { tail, framing }
    }

    /// Writes a part. What is written before the call is answered follows the head of the response. Nothing is written
    /// for no bytes. Never blocks.
    ///
    /// # Errors
    /// [`EOVERCROWDED`](rpc::error::EOVERCROWDED) while more than
    /// [`max_unwritten_bytes`](rpc::Limits::max_unwritten_bytes) wait to be written, after which it may be tried again;
    /// [`ECANCELED`](rpc::error::ECANCELED) if the call was answered with an error; the connection's error when it has
    /// failed.
    pub fn write(&self, part: impl Into<IoBuf>) -> Result<(), RpcError> {
        let part = part.into();
        if part.is_empty() {
            return Ok(());
        }
        match self.framing {
            Framing::Chunked => {
                let mut chunk = IoBuf::new();
                write_chunk(part, &mut chunk);
                self.tail.write(chunk)
            }
            Framing::Raw => self.tail.write(part),
            Framing::None => Ok(()),
        }
    }

    /// Waits until at most `unwritten` bytes of the connection are not taken by the kernel.
    ///
    /// *Blocking*: parks the bthread, or blocks the thread outside of bthreads, until then or the deadline.
    ///
    /// # Errors
    /// The connection's error when it has failed; [`ERPCTIMEDOUT`](rpc::error::ERPCTIMEDOUT) at the deadline.
    pub fn wait_for_room(&self, unwritten: usize, deadline: Option<Instant>) -> Result<(), RpcError> {
        self.tail.wait_for_room(unwritten, deadline)
    }

    /// Whether nobody reads the body any more.
    pub fn is_stopped(&self) -> bool {
        self.tail.is_stopped()
    }

    /// Has `stopped` run once, in a bthread of its own, when nobody reads the body any more or it ends, whatever comes
    /// first; at once if [nobody does](Self::is_stopped). A second one takes the place of the first.
    pub fn on_stopped(&self, stopped: impl FnOnce() + Send + 'static) {
        self.tail.on_stopped(stopped);
    }

    /// Has the connection closed as soon as the server stops. Otherwise the server waits for the end of the body.
    pub fn end_with_server(&self) {
        self.tail.end_with_server();
    }

    /// The peer's address.
    pub fn remote_side(&self) -> &Endpoint {
        self.tail.remote_side()
    }

    /// The address that the peer has reached.
    pub fn local_side(&self) -> &Endpoint {
        self.tail.local_side()
    }
}

impl Drop for ProgressiveAttachment {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Whoever wrote the body has not come to its end; with a last chunk it would look whole.
            self.tail.cut_off();
        } else if self.framing == Framing::Chunked {
            self.tail.write_last(IoBuf::from(LAST_CHUNK));
        }
    }
}

impl fmt::Debug for ProgressiveAttachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgressiveAttachment")
            .field("remote_side", self.remote_side())
            .field("framing", &self.framing)
            .finish_non_exhaustive()
    }
}
