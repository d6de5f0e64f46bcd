//! What a caller asks of one call, and what it gets back with the reply.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use iobuf::IoBuf;

use super::backup::BackupRequestPolicy;
use super::cancel::CancelToken;
use super::retry::RetryPolicy;
use crate::body::BodyReader;
use crate::context::CallContext;
use crate::error::{EINVAL, RpcError};
use crate::message::{ChecksumType, CompressType, ContentType, Encoding};
use crate::stream::{Offer, Stream, StreamOptions};
use crate::transport::Endpoint;
use crate::user_fields::UserFields;

/// What one call is to be like, where it differs from its channel. The default differs in nothing, and costs nothing.
///
/// ```
/// # use std::time::Duration;
/// let options = rpc::CallOptions::default().timeout(Duration::from_millis(20)).log_id(77);
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct CallOptions {
    pub(super) timeout: Option<Duration>,
    pub(super) max_retry: Option<u32>,
    pub(super) log_id: Option<u64>,
    pub(super) request_id: String,
    pub(super) request_attachment: IoBuf,
    pub(super) user_fields: UserFields,
    pub(super) protocol_options: Option<Arc<dyn Any + Send + Sync>>,
    pub(super) reads_progressively: bool,
    pub(super) streams: Option<Arc<Offer>>,
    pub(super) ignores_eovercrowded: bool,
    pub(super) is_detached: bool,
    pub(super) encoding: Encoding,
    rare: Option<Box<Rare>>,
}

/// What few calls are given.
#[derive(Clone, Default)]
struct Rare {
    retry_policy: Option<Arc<dyn RetryPolicy>>,
    backup_request: Option<Duration>,
    backup_request_policy: Option<Arc<dyn BackupRequestPolicy>>,
    cancel_token: Option<CancelToken>,
}

impl CallOptions {
    /// How long the call may take, all attempts together. [`Duration::MAX`]: for ever. Default: the channel's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How often it may be tried again, a backup request included. Default: the channel's.
    pub fn max_retry(mut self, max: u32) -> Self {
        self.max_retry = Some(max);
        self
    }

    /// Decides what is tried again, and when, instead of the channel's policy.
    pub fn retry_policy(mut self, policy: impl RetryPolicy) -> Self {
        self.rare_mut().retry_policy = Some(Arc::new(policy));
        self
    }

    /// As [`retry_policy`](Self::retry_policy), unless there is one.
    pub fn retry_policy_or(self, policy: impl RetryPolicy) -> Self {
        if self.own_retry_policy().is_some() { self } else { self.retry_policy(policy) }
    }

    /// Sends the call a second time if it has no reply after this time, over the same connection if it is shared and
    /// else over another; the first success counts, and so does the last failure. It is one of the
    /// [retries](Self::max_retry). With [`Duration::MAX`], or a time that the call does not have: never. Default: the
    /// channel's.
    pub fn backup_request(mut self, after: Duration) -> Self {
        self.rare_mut().backup_request = Some(after);
        self
    }

    /// Decides about the backup request, instead of the channel's policy.
    pub fn backup_request_policy(mut self, policy: impl BackupRequestPolicy) -> Self {
        self.rare_mut().backup_request_policy = Some(Arc::new(policy));
        self
    }

    /// Ends the call when the token is cancelled.
    pub fn cancel_token(mut self, token: &CancelToken) -> Self {
        self.rare_mut().cancel_token = Some(token.clone());
        self
    }

    /// Writes the request however much is waiting to be written to the connection, instead of failing with
    /// [`EOVERCROWDED`](crate::error::EOVERCROWDED). Default: it fails.
    pub fn ignore_eovercrowded(mut self, ignore: bool) -> Self {
        self.ignores_eovercrowded = ignore;
        self
    }

    /// Takes nothing over from the request that is being served, neither its deadline nor its ids: for calls that
    /// outlive it, see [`CallContext`].
    pub fn detached(mut self) -> Self {
        self.is_detached = true;
        self
    }

    /// A number that the server can log. Default: that of the request that is being served, if there is one.
    pub fn log_id(mut self, id: u64) -> Self {
        self.log_id = Some(id);
        self
    }

    /// Names the request, also across servers. Default: that of the request that is being served; if that is empty, too,
    /// it is not sent.
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = id.into();
        self
    }

    /// Bytes to send behind the request message, without copying them. Default: none.
    pub fn request_attachment(mut self, attachment: IoBuf) -> Self {
        self.request_attachment = attachment;
        self
    }

    /// How the request message is compressed; HTTP knows [`CompressType::GZIP`] alone. A type that is not registered
    /// ends the call with [`EREQUEST`](crate::error::EREQUEST) before anything is sent. Default:
    /// [`CompressType::NONE`].
    pub fn request_compress_type(mut self, compress: CompressType) -> Self {
        self.encoding.compress = compress;
        self
    }

    /// What the server is to check the request by. Protocols without checksums end the call with
    /// [`EREQUEST`](crate::error::EREQUEST). Default: nothing.
    pub fn request_checksum_type(mut self, checksum: ChecksumType) -> Self {
        self.encoding.checksum = checksum;
        self
    }

    /// How the request message is serialised, on protocols that say so with each message; others end the call with
    /// [`EREQUEST`](crate::error::EREQUEST). Default: protobuf.
    pub fn request_content_type(mut self, content: ContentType) -> Self {
        self.encoding.content = content;
        self
    }

    /// A free value for the server, on protocols that carry them.
    pub fn user_field(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.user_fields.set(key, value);
        self
    }

    /// What the channel's protocol alone understands; protocols give their users better names for it. A value of a
    /// type that it does not know is not looked at.
    pub fn protocol_options(mut self, options: impl Any + Send + Sync) -> Self {
        self.protocol_options = Some(Arc::new(options));
        self
    }

    /// Offers the server a stream with the call, whose answer connects it. The options are for one call then, on a channel
    /// with `single` connections and a protocol that carries streams; it is not tried again.
    ///
    /// What is written before the answer is kept. The stream ends with the call's error if the call fails, and with
    /// [`EREQUEST`](crate::error::EREQUEST), as the call does, if the service does not accept it. It keeps the channel.
    ///
    /// # Errors
    /// [`EINVAL`]: the options have a stream already; [`ELIMIT`](crate::error::ELIMIT): the process has too many.
    pub fn open_stream(self, options: StreamOptions) -> Result<(Self, Stream), RpcError> {
        let (call, mut streams) = self.open_streams(1, options)?;
        let stream = streams.pop().ok_or_else(|| RpcError::internal("No stream was made"))?;
        Ok((call, stream))
    }

    /// As [`open_stream`](Self::open_stream), with several streams that share their options; the service accepts all of
    /// them or none.
    ///
    /// # Errors
    /// As [`open_stream`](Self::open_stream), and [`EINVAL`] for none, and for more than
    /// [`STREAMS_PER_CALL_MAX`](crate::stream::STREAMS_PER_CALL_MAX).
    pub fn open_streams(
        mut self,
        count: usize,
        options: StreamOptions,
    ) -> Result<(Self, Vec<Stream>), RpcError> {
        if self.streams.is_some() {
            return Err(RpcError::new(EINVAL, "The options of the call have streams already"));
        }
        let (offer, streams) = Offer::new(count, &options)?;
        self.streams = Some(offer);
        Ok((self, streams))
    }

    /// Ends the call when the head of its reply is there, and leaves the body to be read as it arrives, with
    /// [`Reply::stream`]. For protocols with streamed bodies and connections that carry one call at a time; on others
    /// it changes nothing.
    pub fn read_progressively(mut self) -> Self {
        self.reads_progressively = true;
        self
    }

    fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(super) fn own_retry_policy(&self) -> Option<&dyn RetryPolicy> {
        self.rare.as_ref()?.retry_policy.as_deref()
    }

    pub(super) fn own_backup_request(&self) -> Option<Duration> {
        self.rare.as_ref()?.backup_request
    }

    pub(super) fn own_backup_request_policy(&self) -> Option<&dyn BackupRequestPolicy> {
        self.rare.as_ref()?.backup_request_policy.as_deref()
    }

    pub(super) fn token(&self) -> Option<&CancelToken> {
        self.rare.as_ref()?.cancel_token.as_ref()
    }

    /// Takes the ids over that it does not have.
    #[cold]
    pub(super) fn inherit_ids(&mut self, context: &CallContext) {
        self.log_id = self.log_id.or(context.log_id());
        if self.request_id.is_empty() {
            self.request_id = context.request_id().to_owned();
        }
    }
}

impl fmt::Debug for CallOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallOptions")
            .field("timeout", &self.timeout)
            .field("max_retry", &self.max_retry)
            .field("log_id", &self.log_id)
            .field("request_id", &self.request_id)
            .field("request_attachment", &self.request_attachment.len())
            .field("user_fields", &self.user_fields)
            .field("is_detached", &self.is_detached)
            .finish_non_exhaustive()
    }
}

/// A response message and what came with it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reply<T> {
    /// The message.
    pub message: T,
    /// The bytes that came behind it.
    pub attachment: IoBuf,
    /// Free values from the server.
    pub user_fields: UserFields,
    /// The form in which the message travelled.
    pub encoding: Encoding,
    /// From the beginning of the call until its reply was read.
    pub latency: Duration,
    /// Who answered.
    pub remote_side: Endpoint,
    /// This side of the connection that the answer came by.
    pub local_side: Endpoint,
    /// Attempts after the first one.
    pub retried_count: u32,
    /// Whether one of them was a backup request.
    pub has_backup_request: bool,
    /// The body, if it is read as it arrives: see [`CallOptions::read_progressively`].
    pub stream: Option<BodyReader>,
    /// What the protocol has read beside all this; protocols give their users better names for it.
    pub extra: Option<Box<dyn Any + Send>>,
}
