//! Calls of what a caller names, with bodies that nobody here reads: for proxies, replays and tools
//! (`spec/rpc-core.md` §23).

use iobuf::IoBuf;

use super::cancel::CallHandle;
use super::channel::Channel;
use super::ended::Callback;
use super::held::HeldCall;
use super::options::{CallOptions, Reply};
use super::request::Request;
use super::waiting;
use crate::error::{EREQUEST, RpcError};
use crate::message::Encoding;
use crate::registry::DefaultRegistry;
use crate::schema::Schema;
use crate::service::MethodDescriptor;

/// Stands where a call with a descriptor has one.
pub(super) static GENERIC: MethodDescriptor =
    MethodDescriptor { name: "", full_name: "", request_type: "", response_type: "", schema: &Schema::NONE };

impl<P: DefaultRegistry> Channel<P> {
    /// Calls `method` of `service` with a body that is serialised, and compressed, as `encoding` says already, and
    /// waits for the response, which is returned as it came: [`Reply::encoding`] says in what form, and nothing of it
    /// is decompressed or checked. What `options` say about the form of the request is not looked at. A checksum that
    /// `encoding` names is made here.
    ///
    /// *Blocking*: as [`call`](Self::call).
    ///
    /// # Errors
    /// As [`call`](Self::call); [`EREQUEST`] on protocols without generic calls (HTTP) and for
    /// a checksum of an unknown type.
    pub fn call_generic(
        &self,
        service: &str,
        method: &str,
        encoding: Encoding,
        body: IoBuf,
        options: CallOptions,
    ) -> Result<Reply<IoBuf>, RpcError> {
        let call = Request::generic(&self.state, service, method, encoding, options);
        let body = self.can_be_generic().map(|()| body);
        if call.is_to_be_held(&self.state) {
            let held = HeldCall::start(self.state.clone(), call, body, None);
            held.wait();
            let ended = held.take_end().ok_or_else(|| RpcError::internal("A call without an end"))?;
            return ended.read_raw(&held);
        }
        let (result, progress) = match body {
            Ok(body) => waiting::call(&self.state, &call, &body),
            Err(error) => waiting::not_begun(&call, error),
        };
        match result {
            Ok(answer) => Ok(Request::read_raw(answer, progress)),
            Err(error) => Err(call.fail(&self.state, progress, error)),
        }
    }

    /// As [`call_generic`](Self::call_generic), ending in `done`, as [`call_then`](Self::call_then) does. Never blocks
    /// itself.
    pub fn call_generic_then(
        &self,
        service: &str,
        method: &str,
        encoding: Encoding,
        body: IoBuf,
        options: CallOptions,
        done: impl FnOnce(Result<Reply<IoBuf>, RpcError>) + Send + 'static,
    ) -> CallHandle {
        let call = Request::generic(&self.state, service, method, encoding, options);
        let body = self.can_be_generic().map(|()| body);
        let done: Callback = Box::new(|call, ended| done(ended.read_raw(call)));
        CallHandle::new(&HeldCall::start(self.state.clone(), call, body, Some(done)))
    }

    fn can_be_generic(&self) -> Result<(), RpcError> {
        if self.state.side.has_generic_calls() {
            return Ok(());
        }
        Err(RpcError::new(EREQUEST, format!("protocol={} has no generic calls", self.state.protocol)))
    }
}
