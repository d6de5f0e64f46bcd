//! What a caller asks of one call, and what it gets back with the reply.

use std::time::Duration;

use iobuf::IoBuf;

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

    /// A free value for the server, on protocols that carry them.
    pub fn user_field(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.user_fields.set(key, value);
        self
    }
}

/// A response message and what came with it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reply<T> {
    /// The message.
    pub message: T,
    /// The bytes that came behind it.
    pub attachment: IoBuf,
    /// Free values from the server.
    pub user_fields: UserFields,
    /// From the beginning of the call until its reply was read.
    pub latency: Duration,
    /// Who answered.
    pub remote_side: Endpoint,
}
