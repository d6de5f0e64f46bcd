//! The rest of an answer that is written after its call has ended: a body that grows while it is sent.
//!
//! Owns the order of the bytes (behind the reply, ahead of the next one) and that the end is told once. It must not
//! know what the bytes mean: the protocol gives them as they go on the wire.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use iobuf::IoBuf;

use super::admission;
use super::connection::ServerConnection;
use super::method::MethodId;
use crate::error::{ECANCELED, ELOGOFF, EOVERCROWDED, RpcError};
use crate::protocol::AfterReply;
use crate::socket::{Overcrowded, Socket, lock};
use crate::starting;
use crate::transport::Endpoint;

/// The rest of an answer. Made by [`ServerCall::hold`](super::ServerCall::hold); the answer is complete when it is
/// dropped. It may be sent to other threads and bthreads, and outlive the call.
pub struct Tail {
    state: Arc<TailState>,
}

/// Told once when nobody takes the bytes any more, or the tail is at its end.
type Stopped = Box<dyn FnOnce() + Send>;

pub(super) struct TailState {
    socket: Arc<Socket>,
    method: MethodId,
    inner: Mutex<Inner>,
}

struct Inner {
    phase: Phase,
    stopped: Option<Stopped>,
    /// The connection is to be closed when the server stops, rather than waited for.
    ends_with_server: bool,
    /// The answer is not whole, and the connection is to end with what there is of it.
    is_cut_off: bool,
}

enum Phase {
    /// The reply is not written, or what was written before it is just being sent behind it.
    Early {
        waiting: IoBuf,
        is_over: bool,
    },
    Open(AfterReply),
    Over,
    Failed(RpcError),
}

impl Tail {
    /// Writes bytes behind the reply and what was written before. Never blocks; see
    /// [`wait_for_room`](Self::wait_for_room).
    ///
    /// # Errors
    /// [`EOVERCROWDED`] while more than [`max_unwritten_bytes`](crate::Limits::max_unwritten_bytes) are not written;
    /// [`ECANCELED`] if the call was answered with an error; the connection's own error when it has failed.
    pub fn write(&self, bytes: IoBuf) -> Result<(), RpcError> {
        {
            let mut inner = lock(&self.state.inner);
            match &mut inner.phase {
                Phase::Early { waiting, .. } => {
                    if let Some(error) = self.state.socket.error() {
                        return Err(error.clone());
                    }
                    let socket = &self.state.socket;
                    // The second while `begin` empties what waits: it must come to an end.
                    if waiting.len() > socket.limits().max_unwritten_bytes || socket.is_overcrowded() {
                        return Err(RpcError::new(EOVERCROWDED, "Too much was written before the reply"));
                    }
                    waiting.append_buf(bytes);
                    return Ok(());
                }
                Phase::Failed(error) => return Err(error.clone()),
                Phase::Open(_) | Phase::Over => {}
            }
        }
        self.state.socket.write(bytes, Overcrowded::Refuse)
    }

    /// As [`write`](Self::write), for the few bytes that end the answer and must not be missing: however much is not
    /// written. A failure of the connection is not told.
    pub fn write_last(&self, bytes: IoBuf) {
        {
            let mut inner = lock(&self.state.inner);
            match &mut inner.phase {
                Phase::Early { waiting, .. } => {
                    waiting.append_buf(bytes);
                    return;
                }
                Phase::Failed(_) => return,
                Phase::Open(_) | Phase::Over => {}
            }
        }
        let _ = self.state.socket.write(bytes, Overcrowded::Ignore); // nobody is there any more to be told
    }

    /// Waits until at most `unwritten` bytes of the connection are not taken by the kernel.
    ///
    /// *Blocking*: parks the bthread, or blocks the thread outside of bthreads, until then or the deadline.
    ///
    /// # Errors
    /// The connection's error when it has failed; [`ERPCTIMEDOUT`](crate::error::ERPCTIMEDOUT) at the deadline.
    pub fn wait_for_room(&self, unwritten: usize, deadline: Option<Instant>) -> Result<(), RpcError> {
        self.state.socket.wait_for_room(unwritten, deadline)
    }

    /// Whether nobody takes the bytes any more: the connection has failed, its peer has closed it, or the call was
    /// answered with an error.
    pub fn is_stopped(&self) -> bool {
        self.state.socket.error().is_some()
            || self.state.socket.is_peer_closed()
            || matches!(lock(&self.state.inner).phase, Phase::Failed(_))
    }

    /// Has `stopped` run once, in a bthread of its own, when this [is stopped](Self::is_stopped) or dropped, whatever
    /// comes first; at once if it is stopped. A second one takes the place of the first.
    pub fn on_stopped(&self, stopped: impl FnOnce() + Send + 'static) {
        let earlier = lock(&self.state.inner).stopped.replace(Box::new(stopped));
        drop(earlier); // outside of the lock, as it is the user's
        // After it is there: either whoever stops finds it, or we find the tail stopped.
        if self.is_stopped() {
            self.state.tell_stopped();
        }
    }

    /// Has the connection closed when the server stops, instead of the server waiting for the end of the answer; at once
    /// if it is stopping.
    pub fn end_with_server(&self) {
        lock(&self.state.inner).ends_with_server = true;
        let socket = &self.state.socket;
        // After it is noted: either `stop` finds the note, or we find the server stopping.
        if socket.owner::<ServerConnection>().server.is_stopping() {
            socket.set_failed(RpcError::new(ELOGOFF, "Server is stopping"));
        }
    }

    /// Has the connection closed behind what was written when this is dropped, so that the peer can tell that the answer
    /// is not whole.
    pub fn cut_off(&self) {
        lock(&self.state.inner).is_cut_off = true;
    }

    /// The peer's address.
    pub fn remote_side(&self) -> &Endpoint {
        self.state.socket.remote()
    }

    /// The address that the peer has reached.
    pub fn local_side(&self) -> &Endpoint {
        self.state.socket.local()
    }

    pub(super) fn new(socket: Arc<Socket>, method: MethodId) -> (Self, Arc<TailState>) {
        let inner = Inner {
            phase: Phase::Early { waiting: IoBuf::new(), is_over: false },
            stopped: None,
            ends_with_server: false,
            is_cut_off: false,
        };
        let state = Arc::new(TailState { socket, method, inner: Mutex::new(inner) });
        state.socket.owner::<ServerConnection>().set_tail(&state);
        (Tail { state: state.clone() }, state)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.state.finish();
        self.state.tell_stopped();
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail").field("remote_side", self.remote_side()).finish_non_exhaustive()
    }
}

impl TailState {
    /// The reply is written: what was written early goes behind it.
    pub(super) fn begin(self: &Arc<Self>, after: AfterReply) {
        loop {
            let more = {
                let mut inner = lock(&self.inner);
                let Phase::Early { waiting, is_over } = &mut inner.phase else { return };
                if waiting.is_empty() {
                    let is_over = *is_over;
                    inner.phase = if is_over { Phase::Over } else { Phase::Open(after) };
                    drop(inner);
                    if is_over {
                        self.complete(after);
                    }
                    return;
                }
                std::mem::take(waiting)
            };
            // Outside of the lock, as it may find the connection failed and tell so.
            let _ = self.socket.write(more, Overcrowded::Ignore); // the writers find the failure themselves
        }
    }

    /// The call was answered with an error, which is complete.
    pub(super) fn cancel(self: &Arc<Self>, after: AfterReply) {
        lock(&self.inner).phase =
            Phase::Failed(RpcError::new(ECANCELED, "The call was answered with an error"));
        self.complete(after);
        // The connection knows of its next tail from now on, and would not tell this one.
        self.tell_stopped();
    }

    /// Nobody takes the bytes any more.
    pub(super) fn tell_stopped(self: &Arc<Self>) {
        if lock(&self.inner).stopped.is_some() {
            starting::start(self.clone(), |tail| {
                let stopped = lock(&tail.inner).stopped.take();
                if let Some(stopped) = stopped {
                    stopped();
                }
            });
        }
    }

    pub(super) fn ends_with_server(&self) -> bool {
        lock(&self.inner).ends_with_server
    }

    fn finish(&self) {
        let after = {
            let mut inner = lock(&self.inner);
            match &mut inner.phase {
                Phase::Early { is_over, .. } => {
                    *is_over = true;
                    return;
                }
                Phase::Open(after) => {
                    let after = *after;
                    inner.phase = Phase::Over;
                    after
                }
                Phase::Over | Phase::Failed(_) => return,
            }
        };
        self.complete(after);
    }

    /// All of the answer is queued.
    fn complete(&self, after: AfterReply) {
        let after = if lock(&self.inner).is_cut_off { AfterReply::Close } else { after };
        self.socket.answered(after);
        let server = &self.socket.owner::<ServerConnection>().server;
        admission::leave(server, server.methods.method(self.method));
    }
}
