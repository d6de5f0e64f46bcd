//! The service that takes every baidu_std request as it came, whatever it names: for proxies
//! (`spec/rpc-core.md` §23).
//!
//! Owns what such a service is given and how it answers. To the rest of the server it is one more method, with its
//! own counts and limit, that no name leads to.

use std::fmt;

use iobuf::IoBuf;

use super::call::ServerCall;
use crate::error::{ERESPONSE, RpcError};
use crate::limit::ConcurrencyLimiter;
use crate::message::{ChecksumType, Encoding};
use crate::protocol::GenericRequest;
use crate::schema::Schema;
use crate::service::{MethodDescriptor, Service, ServiceDescriptor};

/// Takes every baidu_std request of a server, undecoded. Functions that take a [`MasterCall`] are such services.
///
/// No service is looked up and no body is read: there is neither ENOSERVICE nor ENOMETHOD, and a body that is no message
/// or does not have its checksum arrives as it is. The server's limits hold, and those of
/// [`MasterOptions`]; interceptors do not see these requests.
pub trait BaiduMasterService: Send + Sync + 'static {
    /// Takes one request. It is answered exactly once, now or later; one that is dropped unanswered fails with
    /// [`EINTERNAL`](crate::error::EINTERNAL).
    ///
    /// *Blocking*: runs in a bthread of its own and may park it. No lock is held. A panic that gets out of here fails
    /// this call alone.
    fn process(&self, call: MasterCall);
}

impl<F: Fn(MasterCall) + Send + Sync + 'static> BaiduMasterService for F {
    fn process(&self, call: MasterCall) {
        self(call);
    }
}

/// What is decided about a [`BaiduMasterService`].
#[derive(Default)]
#[must_use]
pub struct MasterOptions {
    pub(super) limiter: Option<Box<dyn ConcurrencyLimiter>>,
    pub(super) ignore_eovercrowded: bool,
}

impl MasterOptions {
    /// Limits how many requests run at a time; others are answered with [`ELIMIT`](crate::error::ELIMIT). Default: no
    /// limit.
    pub fn max_concurrency(mut self, limiter: impl ConcurrencyLimiter) -> Self {
        self.limiter = Some(Box::new(limiter));
        self
    }

    /// Takes requests also from connections that have too much to write. Default: those are answered with
    /// [`EOVERCROWDED`](crate::error::EOVERCROWDED).
    pub fn ignore_eovercrowded(mut self, ignore: bool) -> Self {
        self.ignore_eovercrowded = ignore;
        self
    }
}

impl fmt::Debug for MasterOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterOptions")
            .field("max_concurrency", &self.limiter.as_ref().map(|limiter| limiter.max_concurrency()))
            .field("ignore_eovercrowded", &self.ignore_eovercrowded)
            .finish()
    }
}

/// A request as it came. May be kept and sent to other threads and bthreads; dropped without an answer it fails with
/// [`EINTERNAL`](crate::error::EINTERNAL).
#[derive(Debug)]
pub struct MasterCall {
    call: ServerCall,
    named: GenericRequest,
    body: IoBuf,
}

impl MasterCall {
    /// The service, as the caller has named it; texts that are not UTF-8 are made so with replacement characters.
    pub fn service_name(&self) -> &str {
        &self.named.service_name
    }

    /// The bare name of the method, as the caller has named it.
    pub fn method_name(&self) -> &str {
        &self.named.method_name
    }

    /// The form of the body. It is still compressed, and its checksum was not looked at: see
    /// [`is_intact`](Self::is_intact).
    pub fn encoding(&self) -> Encoding {
        self.named.encoding
    }

    /// The body as it came, without the attachment. Cloning it copies nothing.
    pub fn body(&self) -> &IoBuf {
        &self.body
    }

    /// The body as it came, leaving none.
    pub fn take_body(&mut self) -> IoBuf {
        std::mem::take(&mut self.body)
    }

    /// Whether the body, and the attachment where it counts, have the checksum that the caller sent with them. True
    /// without one. A pass over the bytes, to be made before they are taken.
    pub fn is_intact(&self) -> bool {
        self.call.check_body(&self.body)
    }

    /// What else came with the request: attachment, log id, user fields, deadline.
    pub fn call(&self) -> &ServerCall {
        &self.call
    }

    /// As [`call`](Self::call), and what goes with the response: attachment and user fields.
    pub fn call_mut(&mut self) -> &mut ServerCall {
        &mut self.call
    }

    /// Answers with a body that is in this form already. A checksum that `encoding` names is made here; one that nobody
    /// knows makes the call fail with [`ERESPONSE`]. Never blocks.
    pub fn succeed(self, body: &IoBuf, encoding: Encoding) {
        if encoding.checksum == ChecksumType::Unknown {
            return self.fail(RpcError::new(ERESPONSE, "Fail to make a checksum of an unknown type"));
        }
        self.call.succeed_raw(body, encoding);
    }

    /// Answers with an error, and nothing else. Never blocks.
    pub fn fail(self, error: RpcError) {
        self.call.fail(error);
    }
}

/// A user's service as one that the server can be given.
pub(super) struct Master<S>(pub(super) S);

/// What variables and pages call it.
static DESCRIPTOR: ServiceDescriptor = ServiceDescriptor {
    full_name: "baidu_master_service",
    methods: &[MethodDescriptor {
        name: "*",
        full_name: "baidu_master_service",
        request_type: "",
        response_type: "",
        schema: &Schema::NONE,
    }],
    schema: &Schema::NONE,
};

impl<S: BaiduMasterService> Service for Master<S> {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        &DESCRIPTOR
    }

    fn call(&self, _: usize, mut call: ServerCall, body: IoBuf) {
        let named = call.take_generic().unwrap_or_default();
        self.0.process(MasterCall { call, named, body });
    }
}
