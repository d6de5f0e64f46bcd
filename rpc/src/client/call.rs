//! Calls that somebody holds: to join them later, to await or to cancel them.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::cancel::CallHandle;
use super::ended::Ended;
use super::held::HeldCall;
use super::options::Reply;
use crate::error::RpcError;
use crate::message::ProtoMessage;

/// A call in progress whose response is a `T`: join it, await it, or drop it, which cancels it.
///
/// As a [`Future`] it works with any executor; it wakes the latest waker that polled it. What came beside the response
/// is had with [`join_reply`](Self::join_reply) or [`into_reply`](Self::into_reply).
#[must_use = "dropping a call cancels it"]
pub struct Call<T> {
    held: Arc<HeldCall>,
    response: PhantomData<fn() -> T>,
}

impl<T: ProtoMessage> Call<T> {
    pub(super) fn new(held: Arc<HeldCall>) -> Self {
        Call { held, response: PhantomData }
    }

    /// Waits for the response.
    ///
    /// *Blocking*: parks the bthread, or blocks the thread outside of bthreads, until the call has ended.
    ///
    /// # Errors
    /// The error that the call ended with.
    pub fn join(self) -> Result<T, RpcError> {
        self.join_reply().map(|reply| reply.message)
    }

    /// As [`join`](Self::join), with what came beside the response.
    ///
    /// *Blocking*: as [`join`](Self::join).
    ///
    /// # Errors
    /// The error that the call ended with.
    pub fn join_reply(self) -> Result<Reply<T>, RpcError> {
        self.held.wait();
        self.read(self.held.take_end())
    }

    /// To be awaited for the response and what came beside it: `call.into_reply().await?.attachment`. Dropped, it
    /// cancels the call.
    pub fn into_reply(self) -> ReplyFuture<T> {
        ReplyFuture(self)
    }

    /// Ends the call with [`ECANCELED`](crate::error::ECANCELED) if it has not ended. Its server is told by the end of
    /// the connection, where the call has one of its own. Never blocks.
    pub fn cancel(&self) {
        self.held.cancel();
    }

    /// Names the call, to cancel or join it from elsewhere, also when this is gone (brpc: `call_id`).
    pub fn handle(&self) -> CallHandle {
        CallHandle::new(&self.held)
    }

    fn read(&self, ended: Option<Ended>) -> Result<Reply<T>, RpcError> {
        ended
            .expect("only `join` and a poll that is ready take the outcome, and both are the last")
            .read(&self.held)
    }

    fn poll_reply(&mut self, context: &mut Context<'_>) -> Poll<Result<Reply<T>, RpcError>> {
        match self.held.poll(context.waker()) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(ended) => Poll::Ready(self.read(ended)),
        }
    }
}

impl<T: ProtoMessage> Future for Call<T> {
    type Output = Result<T, RpcError>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_reply(context).map_ok(|reply| reply.message)
    }
}

impl<T> Drop for Call<T> {
    fn drop(&mut self) {
        self.held.cancel();
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.held.request.method.full_name)
            .field("running", &self.held.is_running())
            .finish_non_exhaustive()
    }
}

/// A call in progress that is awaited for its whole reply, from [`Call::into_reply`].
#[must_use = "dropping a call cancels it"]
#[derive(Debug)]
pub struct ReplyFuture<T>(Call<T>);

impl<T: ProtoMessage> Future for ReplyFuture<T> {
    type Output = Result<Reply<T>, RpcError>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_reply(context)
    }
}
