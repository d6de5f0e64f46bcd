//! What few calls have: data of the session and of the worker, the caller's identity, and functions to be called when
//! nobody waits any more or the answer is written.
//!
//! Owns that all of it ends with the call.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use bthread::planted;

use super::call::ServerCall;
use super::cancellation::{CancelReason, Watch};
use super::connection::ServerConnection;
use crate::auth::AuthContext;
use crate::error::RpcError;
use crate::socket::Socket;

type AfterReplyFn = Box<dyn FnOnce(Option<&RpcError>) + Send>;

/// Made with the first thing that is in it.
#[derive(Default)]
pub(super) struct CallExtras {
    /// From the server's pool. The mutex is never locked, it lets the call be shared.
    session_data: Option<Mutex<Box<dyn Any + Send>>>,
    watches: Vec<Arc<Watch>>,
    /// As with the session's data.
    after_reply: Vec<Mutex<AfterReplyFn>>,
    /// Where each request is verified.
    pub(super) auth_context: Option<Box<AuthContext>>,
}

impl CallExtras {
    /// The answer is queued.
    pub(super) fn end(self, socket: &Socket, error: Option<&RpcError>) {
        let connection = socket.owner::<ServerConnection>();
        for watch in &self.watches {
            connection.watches.remove(watch);
            watch.end();
        }
        for then in self.after_reply {
            let then = then.into_inner().unwrap_or_else(PoisonError::into_inner);
            // It is the user's; the panic hook has reported it, and the call has more to end.
            let _ = catch_unwind(AssertUnwindSafe(|| then(error)));
        }
        if let (Some(object), Some(pool)) = (self.session_data, &connection.server.session_data) {
            pool.give_back(object.into_inner().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl ServerCall {
    /// The call's own object of those that the server's factory makes (see
    /// [`ServerBuilder::session_local_data`](super::ServerBuilder::session_local_data)), as whoever had it last left
    /// it: taken from the server's pool when it is first asked for, and given back when the call is answered. `None` if
    /// there is no factory, or its objects are no `T`.
    pub fn session_local_data<T: Any + Send>(&mut self) -> Option<&mut T> {
        if self.call_extras.as_ref().is_none_or(|extras| extras.session_data.is_none()) {
            let object = self.server().session_data.as_ref()?.take();
            self.call_extras_mut().session_data = Some(Mutex::new(object));
        }
        let object = self.call_extras_mut().session_data.as_mut()?;
        object.get_mut().unwrap_or_else(PoisonError::into_inner).downcast_mut()
    }

    /// Hands `f` the object that the server keeps for the bthread which calls this, made when it has none yet (see
    /// [`ServerBuilder::thread_local_data`](super::ServerBuilder::thread_local_data)); whichever call runs there next
    /// finds it as `f` left it. `None`, and nothing is called, if there is no factory or its objects are no `T`.
    ///
    /// *Blocking*: as `f` does. Asked for within `f`, it is another object. If `f` panics the object is dropped.
    pub fn thread_local_data<T: Any + Send, R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.server().worker_data.as_ref()?.with(f)
    }

    /// Who the caller is, as the server's [`Authenticator`](crate::Authenticator) has found; `None` on servers without
    /// one.
    pub fn auth_context(&self) -> Option<&AuthContext> {
        let own = self.call_extras.as_ref().and_then(|extras| extras.auth_context.as_deref());
        own.or_else(|| self.socket().owner::<ServerConnection>().auth_context())
    }

    /// Has `notify` called exactly once: when the caller's connection fails or its deadline passes, whichever is first,
    /// in a bthread of its own; or else when the call is answered, in place. Whatever `notify` has captured is gone
    /// then. May be called several times.
    ///
    /// A caller over HTTP/1 that only closes its side of the connection may still wait for its answer, and is not gone.
    ///
    /// *Blocking*: never. Nor should `notify` at the end of a call.
    ///
    /// # Errors
    /// There is no timer left for the deadline; `notify` is dropped then.
    pub fn notify_on_cancel(
        &mut self,
        notify: impl FnOnce(CancelReason) + Send + 'static,
    ) -> Result<(), RpcError> {
        let watch = Watch::new(Box::new(notify), self.deadline())?;
        let socket = self.socket().clone();
        socket.owner::<ServerConnection>().watches.add(&watch);
        // After it is there: either whoever fails the connection finds it, or we find the connection failed.
        if let Some(error) = socket.error()
            && !planted!(UnheardCancel)
        {
            watch.cancel(CancelReason::ConnectionFailed(error.clone()));
        }
        self.call_extras_mut().watches.push(watch);
        Ok(())
    }

    /// Has `then` called when the answer is on its way: written, or queued behind what is being written. It is given the
    /// error that the call was answered with. Functions are called in the order in which they came; they should not
    /// block (brpc: `set_after_rpc_resp_fn`).
    pub fn set_after_rpc_resp_fn(&mut self, then: impl FnOnce(Option<&RpcError>) + Send + 'static) {
        self.call_extras_mut().after_reply.push(Mutex::new(Box::new(then)));
    }
}
