//! One request and its answer to be, as a call carries them from the codec to the reply.

use std::sync::OnceLock;

use super::codec::RequestHead;

/// What is kept of a request until it is answered. Allocated once, by the codec.
#[derive(Debug)]
pub(crate) struct HttpState {
    pub(crate) head: RequestHead,
    parts: OnceLock<Box<http::request::Parts>>,
}

impl HttpState {
    pub(crate) fn new(head: RequestHead) -> Self {
        HttpState { head, parts: OnceLock::new() }
    }

    /// The head as the `http` crate has it, made when it is first asked for.
    pub(crate) fn parts(&self) -> &http::request::Parts {
        self.parts.get_or_init(|| Box::new(self.head.to_parts()))
    }
}
