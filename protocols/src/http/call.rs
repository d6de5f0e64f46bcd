//! What HTTP adds to a call: the request's head and query, the response's, and bodies that go on.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Version, request, response};
use rpc::ServerCall;
use rpc::builtin::Query;

use super::event_stream::EventStream;
use super::progressive::{Framing, ProgressiveAttachment};
use super::state::HttpState;

/// What a [`ServerCall`] has beside the rest when it came by HTTP. All of it is `None`, empty or without effect when it
/// came by another protocol.
///
/// A service written in plain HTTP declares messages without fields and uses
/// [`request_attachment`](ServerCall::request_attachment) and
/// [`response_attachment`](ServerCall::response_attachment) for the bodies, or is an
/// [`HttpService`](super::HttpService).
///
/// ```
/// use protocols::http::HttpCall;
/// use rpc::ServerCall;
///
/// fn greet(call: &mut ServerCall) {
///     let name = call.query().and_then(|query| query.get("name")).unwrap_or("you").to_owned();
///     if let Some(response) = call.http_response() {
///         response.headers.insert("content-type", "text/plain".parse().unwrap());
///     }
///     call.response_attachment().append(format!("hello {name}\n").as_bytes());
/// }
/// ```
pub trait HttpCall {
    /// Method, target, version and fields of the request. Made from the bytes of the head by the first call.
    fn http_request(&self) -> Option<&request::Parts>;

    /// What is left of the path behind the names of service and method, or what the `*` of a restful mapping stands
    /// for; not percent-decoded, without slashes around it or doubled in it.
    fn unresolved_path(&self) -> &str;

    /// The pairs of the query string, percent-decoded and bounded.
    fn query(&self) -> Option<&Query>;

    /// Status and fields of the response, to be changed. `Content-Length`, `Transfer-Encoding` and `Date` come by
    /// themselves. A status that is set here counts if the call succeeds, and, unless it is 200, also if it fails.
    fn http_response(&mut self) -> Option<&mut response::Parts>;

    /// Sends the body with gzip, if the client accepts it and the body has at least
    /// [`COMPRESS_THRESHOLD`](super::COMPRESS_THRESHOLD) bytes. Default: it is sent as it is.
    fn compress_response(&mut self, compress: bool);

    /// Sends the response attachment as the body also if the call fails, instead of the text of the error (brpc:
    /// `manage_http_body_on_error`).
    fn keep_error_body(&mut self, keep: bool);

    /// Has fields without a value written to the JSON of this response: empty repeated ones as `[]`, and scalars with
    /// their defaults. Default: they are left out.
    fn print_in_json(&mut self, empty_arrays: bool, defaults: bool);

    /// Lets the body of the response be written in parts, during the call and after it. The response attachment and
    /// message are not sent then. `None` for the second time.
    fn progressive(&mut self) -> Option<ProgressiveAttachment>;

    /// As [`progressive`](Self::progressive), for server-sent events; sets their `Content-Type`.
    fn event_stream(&mut self) -> Option<EventStream>;
}

impl HttpCall for ServerCall {
    fn http_request(&self) -> Option<&request::Parts> {
        self.protocol_state::<HttpState>().map(HttpState::parts)
    }

    fn unresolved_path(&self) -> &str {
        self.protocol_state::<HttpState>().map_or("", |state| &state.unresolved)
    }

    fn query(&self) -> Option<&Query> {
        self.protocol_state::<HttpState>().map(HttpState::query)
    }

    fn http_response(&mut self) -> Option<&mut response::Parts> {
        self.protocol_state_mut::<HttpState>().map(HttpState::response_mut)
    }

    fn compress_response(&mut self, compress: bool) {
        if let Some(state) = self.protocol_state_mut::<HttpState>() {
            state.compress = compress;
        }
    }

    fn keep_error_body(&mut self, keep: bool) {
        if let Some(state) = self.protocol_state_mut::<HttpState>() {
            state.keep_error_body = keep;
        }
    }

    fn print_in_json(&mut self, empty_arrays: bool, defaults: bool) {
        if let Some(state) = self.protocol_state_mut::<HttpState>() {
            state.options.jsonify_empty_array = empty_arrays;
            state.options.always_print_primitive_fields = defaults;
        }
    }

    fn progressive(&mut self) -> Option<ProgressiveAttachment> {
        let head = &self.protocol_state::<HttpState>()?.head;
        let framing = match head.version {
            _ if head.method == http::Method::HEAD => Framing::None,
            Version::HTTP_10 => Framing::Raw,
            _ => Framing::Chunked,
        };
        let tail = self.hold()?;
        self.protocol_state_mut::<HttpState>()?.progressive = Some(framing);
        Some(ProgressiveAttachment::new(tail, framing))
    }

    fn event_stream(&mut self) -> Option<EventStream> {
        let body = self.progressive()?;
        let response = self.http_response()?;
        response.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        response.headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
        Some(EventStream::new(body))
    }
}
