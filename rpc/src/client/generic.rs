//! Calls of what a caller names, with bodies that nobody here reads: for proxies, replays and tools
//! (`spec/rpc-core.md` §23).

use iobuf::IoBuf;

use super::call::{Callback, HeldCall};
use super::channel::Channel;
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
    /// As [`call`](Self::call); [`EREQUEST`](crate::error::EREQUEST) on protocols without generic calls (HTTP) and for
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
        let result = self.can_be_generic().and_then(|()| waiting::call(&self.state, &call, &body));
        let latency = bthread::clock::now().saturating_duration_since(call.started);
        call.note_end(&result);
        call.read_raw(&self.state, result?, latency)
    }

    /// As [`call_generic`](Self::call_generic), ending in `done`, which runs once, in a bthread of its own, and may
    /// block it. Never blocks itself.
    pub fn call_generic_then(
        &self,
        service: &str,
        method: &str,
        encoding: Encoding,
        body: IoBuf,
        options: CallOptions,
        done: impl FnOnce(Result<Reply<IoBuf>, RpcError>) + Send + 'static,
    ) {
        let call = Request::generic(&self.state, service, method, encoding, options);
        let body = self.can_be_generic().map(|()| body);
        let done: Callback = Box::new(|call, ended| done(ended.read_raw(call)));
        HeldCall::start(self.state.clone(), call, body, Some(done));
    }

    fn can_be_generic(&self) -> Result<(), RpcError> {
        if self.state.side.has_generic_calls() {
            return Ok(());
        }
        Err(RpcError::new(EREQUEST, format!("protocol={} has no generic calls", self.state.protocol)))
    }
}
