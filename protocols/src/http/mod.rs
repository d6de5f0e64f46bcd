//! HTTP/1.0 and 1.1: services by URL, plain HTTP handlers, the debug pages (`spec/protocols-http.md`; RFC 9110, 9112).
//!
//! It shares ports with the other protocols: the first bytes tell it from them.
//!
//! | Feature of servers | |
//! |---|---|
//! | `/Service/Method`, `/package.Service/Method`, restful mappings, debug pages | yes |
//! | bodies: JSON, protobuf, its canonical JSON and its text format | yes, by `Content-Type` |
//! | plain HTTP: [`HttpService`], or [`HttpCall`] in any service | yes |
//! | keep-alive, pipelining | yes; answers leave in the order of the requests |
//! | chunked bodies, read whole or as they arrive, written in parts ([`ProgressiveAttachment`], [`EventStream`]) | yes |
//! | `Expect: 100-continue` | answered once, where the body has not arrived with the head |
//! | gzip | both ways; inflated within bounds |
//! | HEAD, OPTIONS, `Connection: close`, HTTP/1.0 | yes; the connection is really closed |
//! | `log-id`, `x-request-id`, `traceparent`, `x-bd-trace-id` | read |
//! | CONNECT, upgrades, transfer codings other than chunked | refused with 501, ignored, refused with 501 |
//!
//! | Feature of channels | |
//! |---|---|
//! | stubs, as `http`, `http:proto`, `http:proto-json`, `http:proto-text` | a POST to `/package.Service/Method` |
//! | requests of one's own: [`Fetch`] | any method, status, body; nothing is followed, decompressed or kept |
//! | connections | `pooled` or `short`; one that is closed behind its answer is not kept |
//! | answers by length, chunked, or up to the end of the connection; interim ones | yes; read over |
//! | answers read as they arrive: [`Fetch::fetch_progressively`] | yes |
//! | gzip | inflated for stubs |
//! | failed calls | [`EHTTP`](rpc::error::EHTTP) with the status, or the server's number with the flag `use_http_error_code` |
//! | redirects, cookies, caches, proxies, uploads in parts | no |
//!
//! What other readers might understand in another way is refused with 400 and the end of the connection: two ways of
//! saying where a body ends, lone line feeds, blanks in front of a colon, fields that go on in the next line, more than
//! one `Host`. The text of each bound is beside it: heads 80 KiB and 100 fields, targets 64 KiB, lines of chunks 4 KiB,
//! trailers 16 KiB (checked, and dropped).

mod call;
mod client;
pub(crate) mod codec;
mod content;
mod event_stream;
mod fetch;
pub(crate) mod flags;
mod gzip;
mod identity;
mod progressive;
mod reply;
mod server;
mod service;
pub(crate) mod state;
mod status;
#[cfg(test)]
mod tests;
mod trace;
mod transcode;

use rpc::Limits;
use rpc::protocol::{ClientSide, Codec, ConnectionType, Protocol, Role, ServerSide};

use codec::{Lenience, RequestCodec, ResponseCodec};

pub use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};

pub use call::HttpCall;
pub use event_stream::{Event, EventStream};
pub use fetch::{Fetch, ResponseBody};
pub use gzip::{COMPRESS_THRESHOLD, INFLATE_RATIO_MAX, INFLATED_FREE};
pub use progressive::ProgressiveAttachment;
pub use service::{HttpService, IntoResponse};

/// The protocol as a value, for registries.
pub static HTTP: Http = Http::new();

/// The protocol. Stateless; what it is lenient about is decided when it is made, in a static of one's own that takes
/// the place of [`HTTP`] in a registry:
///
/// ```
/// use protocols::http::Http;
/// static LENIENT: Http = Http::new().allow_missing_host(true);
/// let registry = protocols::registry().with(&LENIENT);
/// # assert!(registry.find("http").is_some());
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Http {
    lenience: Lenience,
}

impl Http {
    /// The protocol, lenient about nothing.
    pub const fn new() -> Self {
        Http { lenience: Lenience { missing_host: false, both_lengths: false } }
    }

    /// Whether HTTP/1.1 requests without `Host` are accepted, against RFC 9112 §3.2 (brpc:
    /// `allow_http_1_1_request_without_host`, where the default is yes). Default: no, they are answered with 400.
    pub const fn allow_missing_host(mut self, allow: bool) -> Self {
        self.lenience.missing_host = allow;
        self
    }

    /// Whether `Transfer-Encoding: chunked` counts where a `Content-Length` came with it (brpc:
    /// `allow_chunked_length`). The connection is closed behind the answer. Default: no, such requests are answered
    /// with 400, as somebody in between may have seen another end of the body.
    pub const fn allow_chunked_length(mut self, allow: bool) -> Self {
        self.lenience.both_lengths = allow;
        self
    }
}

impl Default for Http {
    fn default() -> Self {
        Http::new()
    }
}

impl Protocol for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn codec(&self, role: Role, limits: &Limits) -> Box<dyn Codec> {
        match role {
            Role::Server => Box::new(RequestCodec::new(limits.max_body_size, self.lenience)),
            Role::Client => Box::new(ResponseCodec::new(limits.max_body_size, self.lenience)),
        }
    }

    fn server(&self) -> Option<&dyn ServerSide> {
        Some(self)
    }

    fn client(&self) -> Option<&dyn ClientSide> {
        Some(self)
    }

    fn connection_types(&self) -> &'static [ConnectionType] {
        &[ConnectionType::Pooled, ConnectionType::Short]
    }
}

/// Reads any bytes as each of the fields that are looked into; the body of a fuzz target.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn check_fields(value: &[u8]) {
    let _ = trace::read_w3c(value);
    let _ = trace::read_brpc(Some(value), Some(value));
    let _ = gzip::is_accepted(value);
    let _ = content::Content::of(value);
    let _ = content::is_form(value);
}
