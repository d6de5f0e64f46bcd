//! The channel: the way to a server, shared by everybody who calls it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use iobuf::IoBuf;

use super::backup::BackupRequestPolicy;
use super::builder::ChannelBuilder;
use super::call::Call;
use super::cancel::CallHandle;
use super::ended::Callback;
use super::flags;
use super::held::HeldCall;
use super::options::{CallOptions, Reply};
use super::request::Request;
use super::retry::RetryPolicy;
use super::retry_budget::Purse;
use super::waiting;
use super::way::Connections;
use crate::auth::Authenticator;
use crate::error::RpcError;
use crate::message::{Body, MessageBody, ProtoMessage};
use crate::protocol::ClientSide;
use crate::registry::DefaultRegistry;
use crate::service::MethodDescriptor;
use crate::transport::Endpoint;

/// The way to a server. Cheap to clone; one is enough for a process, whatever the number of threads and calls.
///
/// Stubs of generated code take one. Its calls share connections as its
/// [`connection_type`](ChannelBuilder::connection_type) says; one is made when a call needs it. Dropping the last clone
/// closes those that no call uses.
///
/// `P` names the protocols that it chooses from by default; users of the facade never see the parameter.
pub struct Channel<P: DefaultRegistry> {
    pub(super) state: Arc<ChannelState>,
    default: PhantomData<fn() -> P>,
}

/// What was decided about a channel, and its connection.
pub(super) struct ChannelState {
    pub(super) side: &'static dyn ClientSide,
    /// The protocol's name.
    pub(super) protocol: &'static str,
    /// What stands behind the protocol's name.
    pub(super) parameter: String,
    /// The server as the user has named it.
    pub(super) authority: String,
    pub(super) connections: Connections,
    pub(super) timeout: Duration,
    pub(super) max_retry: u32,
    /// `None`: as the flag says.
    pub(super) deliver_timeout: Option<bool>,
    pub(super) retry_policy: Option<Arc<dyn RetryPolicy>>,
    /// `None`: retries cost nothing.
    pub(super) purse: Option<Purse>,
    pub(super) backup_request: Option<Duration>,
    pub(super) backup_request_policy: Option<Arc<dyn BackupRequestPolicy>>,
    pub(super) authenticator: Option<Arc<dyn Authenticator>>,
}

impl ChannelState {
    /// Whether requests say how long their caller still waits.
    pub(super) fn delivers_timeout(&self) -> bool {
        self.deliver_timeout.unwrap_or_else(flags::delivers_timeout)
    }
}

impl<P: DefaultRegistry> Channel<P> {
    /// Begins to decide what a channel is to be.
    pub fn builder() -> ChannelBuilder<P> {
        ChannelBuilder::new()
    }

    pub(super) fn new(state: ChannelState) -> Self {
        Channel { state: Arc::new(state), default: PhantomData }
    }

    /// The name of the protocol that it speaks.
    pub fn protocol_name(&self) -> &'static str {
        self.state.protocol
    }

    /// The server's address.
    pub fn remote_side(&self) -> &Endpoint {
        self.state.connections.remote()
    }

    /// Waits until the connection that all calls share takes more requests, for those who start calls faster than the
    /// server takes them: after one has failed with [`EOVERCROWDED`](crate::error::EOVERCROWDED), and before the next ones.
    /// At once where there is room, no connection yet, or one for each call.
    ///
    /// *Blocking*: parks the bthread, or blocks the thread outside of bthreads, until half of
    /// [`max_unwritten_bytes`](crate::Limits::max_unwritten_bytes) is free, or for `timeout`.
    ///
    /// # Errors
    /// [`ERPCTIMEDOUT`](crate::error::ERPCTIMEDOUT) after `timeout`, or the connection's failure; the next call makes
    /// another one then.
    pub fn wait_for_room(&self, timeout: Duration) -> Result<(), RpcError> {
        self.state.connections.wait_for_room(bthread::clock::now().checked_add(timeout))
    }

    /// Calls a method and waits for the response. What the methods of a stub call.
    ///
    /// *Blocking*: parks the bthread, or blocks the thread outside of bthreads, until the reply or the deadline. That the
    /// bthread is interrupted does not end it; a [`cancel_token`](CallOptions::cancel_token) does.
    ///
    /// # Errors
    /// What the server answered, [`ERPCTIMEDOUT`](crate::error::ERPCTIMEDOUT) at the deadline, or the failure of the
    /// connection, after those of the attempts before it. Each error knows [what the call went
    /// through](RpcError::call).
    pub fn call<Req: ProtoMessage, Resp: ProtoMessage>(
        &self,
        method: &'static MethodDescriptor,
        options: CallOptions,
        request: &Req,
    ) -> Result<Reply<Resp>, RpcError> {
        let mut call = self.request(method, options);
        if call.is_to_be_held(&self.state) {
            return Call::new(self.hold(call, request, None)).join_reply();
        }
        let message = MessageBody(request);
        let (result, progress) = match call.encode(&self.state, &message) {
            Ok(None) => waiting::call(&self.state, &call, &message),
            Ok(Some(body)) => waiting::call(&self.state, &call, &body),
            Err(error) => waiting::not_begun(&call, error),
        };
        match result {
            Ok(answer) => call.read(&self.state, answer, progress),
            Err(error) => Err(call.fail(&self.state, progress, error)),
        }
    }

    /// Starts a call, to be joined or awaited. Never blocks, never fails: an error is what the call ends with.
    pub fn start<Req: ProtoMessage, Resp: ProtoMessage>(
        &self,
        method: &'static MethodDescriptor,
        options: CallOptions,
        request: &Req,
    ) -> Call<Resp> {
        Call::new(self.hold(self.request(method, options), request, None))
    }

    /// Starts a call that ends in `done`, which runs once, in a bthread of its own, and may block it. What is returned
    /// may cancel it and wait for it; it need not be kept. Never blocks itself.
    pub fn call_then<Req: ProtoMessage, Resp: ProtoMessage>(
        &self,
        method: &'static MethodDescriptor,
        options: CallOptions,
        request: &Req,
        done: impl FnOnce(Result<Reply<Resp>, RpcError>) + Send + 'static,
    ) -> CallHandle {
        let call = self.request(method, options);
        let held = self.hold(call, request, Some(Box::new(|call, ended| done(ended.read(call)))));
        CallHandle::new(&held)
    }

    fn request(&self, method: &'static MethodDescriptor, options: CallOptions) -> Request {
        let request = Request::new(&self.state, method, options);
        if let Some(streams) = &request.streams {
            streams.keep(&self.state);
        }
        request
    }

    fn hold<Req: ProtoMessage>(
        &self,
        mut call: Request,
        request: &Req,
        callback: Option<Callback>,
    ) -> Arc<HeldCall> {
        let message = MessageBody(request);
        let body = call.encode(&self.state, &message).map(|encoded| {
            encoded.unwrap_or_else(|| {
                let mut body = IoBuf::new();
                message.append_to(&mut body);
                body
            })
        });
        HeldCall::start(self.state.clone(), call, body, callback)
    }
}

impl<P: DefaultRegistry> Clone for Channel<P> {
    fn clone(&self) -> Self {
        Channel { state: self.state.clone(), default: PhantomData }
    }
}

impl<P: DefaultRegistry> fmt::Debug for Channel<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("remote_side", self.remote_side())
            .field("timeout", &self.state.timeout)
            .field("max_retry", &self.state.max_retry)
            .finish_non_exhaustive()
    }
}
