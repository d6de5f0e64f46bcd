//! What a call went through, as far as callers may know.

use std::time::Duration;

use crate::error::RpcError;
use crate::transport::Endpoint;

/// What a call went through that failed, from [`RpcError::call`]. A [`Reply`](super::Reply) has the same of one that did
/// not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallReport {
    /// From the beginning of the call to its end.
    pub latency: Duration,
    /// Attempts after the first one.
    pub retried_count: u32,
    /// Whether one of them was a backup request.
    pub has_backup_request: bool,
    /// Who was called.
    pub remote_side: Endpoint,
}

impl RpcError {
    /// What the call went through that this is the end of: there for errors that a channel's call has ended with.
    ///
    /// ```
    /// use rpc::{RpcError, error::EHOSTDOWN};
    /// assert!(RpcError::new(EHOSTDOWN, "not of a call").call().is_none());
    /// ```
    pub fn call(&self) -> Option<&CallReport> {
        self.report()
    }
}
