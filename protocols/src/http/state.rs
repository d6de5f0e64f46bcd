//! One request and its answer to be, as a call carries them from the codec to the reply.

use std::sync::OnceLock;

use http::{request, response};
use rpc::builtin::Query;
use rpc::json::JsonOptions;

use super::codec::RequestHead;
use super::content::Content;
use super::progressive::Framing;

/// What is kept of a request until it is answered. Allocated once, by the codec.
#[derive(Debug)]
pub(crate) struct HttpState {
    pub(crate) head: RequestHead,
    /// The most bytes that a body may be inflated to.
    pub(super) max_body_size: usize,
    /// What is left of the path behind the names of service and method, undecoded.
    pub(super) unresolved: String,
    /// What the body is; `None`: not said, or not known.
    pub(super) content: Option<Content>,
    /// What was decided about JSON in bodies, by the service or the call.
    pub(super) options: JsonOptions,
    /// How the body of the response is framed that goes on after the call.
    pub(super) progressive: Option<Framing>,
    /// The response is to be compressed if the client takes it.
    pub(super) compress: bool,
    /// The attachment is the body of the response also if the call fails.
    pub(super) keep_error_body: bool,
    /// The request is for the server itself: what may be done is the answer.
    pub(super) is_for_server: bool,
    /// What the body of the response is, where its fields do not say.
    pub(super) type_of_body: Option<&'static str>,
    response: Option<Box<response::Parts>>,
    parts: OnceLock<Box<request::Parts>>,
    query: OnceLock<Box<Query>>,
}

impl HttpState {
    pub(super) fn new(head: RequestHead, max_body_size: usize) -> Self {
        HttpState {
            head,
            max_body_size,
            unresolved: String::new(),
            content: None,
            options: JsonOptions::default(),
            progressive: None,
            compress: false,
            keep_error_body: false,
            is_for_server: false,
            type_of_body: None,
            response: None,
            parts: OnceLock::new(),
            query: OnceLock::new(),
        }
    }

    /// The head as the `http` crate has it, made when it is first asked for.
    pub(super) fn parts(&self) -> &request::Parts {
        self.parts.get_or_init(|| Box::new(self.head.to_parts()))
    }

    /// As [`parts`](Self::parts), to be kept.
    pub(super) fn take_parts(&mut self) -> request::Parts {
        match self.parts.take() {
            Some(parts) => *parts,
            None => self.head.to_parts(),
        }
    }

    /// The query, decoded when it is first asked for.
    pub(super) fn query(&self) -> &Query {
        self.query.get_or_init(|| Box::new(Query::parse(self.head.query().as_bytes())))
    }

    /// Status and fields of the response, if anybody has asked for them.
    pub(super) fn response(&self) -> Option<&response::Parts> {
        self.response.as_deref()
    }

    /// Status and fields of the response, to be changed.
    pub(super) fn response_mut(&mut self) -> &mut response::Parts {
        self.response.get_or_insert_with(|| {
            let (mut parts, ()) = http::Response::new(()).into_parts();
            parts.version = self.head.version;
            Box::new(parts)
        })
    }

    /// Puts another response in the place of this one.
    pub(super) fn set_response(&mut self, parts: response::Parts) {
        self.response = Some(Box::new(parts));
    }
}
