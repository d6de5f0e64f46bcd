//! What a caller asks of one call, and what it gets back with the reply.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use iobuf::IoBuf;

use crate::body::BodyReader;
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
#[derive(Clone, Debug, Default)]
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
    pub(super) encoding: Encoding,
}

impl CallOptions {
    /// How long the call may take, all attempts together. [`Duration::MAX`]: for ever. Default: the channel's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How often it may be tried again. Default: the channel's.
    pub fn max_retry(mut self, max: u32) -> Self {
        self.max_retry = Some(max);
        self
    }

    /// A number that the server can log. Default: none.
    pub fn log_id(mut self, id: u64) -> Self {
        self.log_id = Some(id);
        self
    }

    /// Names the request, also across servers. Default: empty, not sent.
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
    /// The body, if it is read as it arrives: see [`CallOptions::read_progressively`].
    pub stream: Option<BodyReader>,
    /// What the protocol has read beside all this; protocols give their users better names for it.
    pub extra: Option<Box<dyn Any + Send>>,
}
