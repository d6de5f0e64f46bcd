//! Plain HTTP requests over a channel: what a user sends who calls no service.

use http::{HeaderMap, Method, Uri, Version};
use iobuf::IoBuf;
use rpc::client::NeverSent;
use rpc::error::{EREQUEST, RpcError};
use rpc::protocol::Protocol;
use rpc::schema::Schema;
use rpc::{BodyReader, CallOptions, Channel, DefaultRegistry, MethodDescriptor, Reply};

use super::HTTP;
use super::codec::ResponseHead;

/// What stands for a method where none is called.
static NO_METHOD: MethodDescriptor = MethodDescriptor {
    name: "",
    full_name: "",
    request_type: "google.protobuf.Empty",
    response_type: "google.protobuf.Empty",
    schema: &Schema::NONE,
};

pub(super) fn is_raw(method: &'static MethodDescriptor) -> bool {
    std::ptr::eq(method, &NO_METHOD)
}

/// A request as the user has made it, without its body.
#[derive(Debug)]
pub(super) struct RawRequest {
    pub(super) method: Method,
    /// As it goes into the start line.
    pub(super) target: String,
    /// Where the URI has one; else the channel's goes into `Host`.
    pub(super) authority: Option<String>,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
}

impl RawRequest {
    fn new(parts: http::request::Parts) -> Result<Self, RpcError> {
        let invalid = |text: &str| RpcError::new(EREQUEST, format!("{}: {text}", parts.uri));
        let version = match parts.version {
            Version::HTTP_10 | Version::HTTP_11 => parts.version,
            other => return Err(invalid(&format!("{other:?} is not spoken here"))),
        };
        if parts.method == Method::CONNECT {
            return Err(invalid("a channel is no tunnel"));
        }
        if parts.uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(invalid("a user's name and password do not belong in a URI"));
        }
        Ok(RawRequest {
            target: target(&parts.uri, &parts.method),
            authority: parts.uri.authority().map(|authority| authority.as_str().to_owned()),
            version,
            method: parts.method,
            headers: parts.headers,
        })
    }
}

fn target(uri: &Uri, method: &Method) -> String {
    match uri.path_and_query().map(|target| target.as_str()) {
        Some("*") if method == Method::OPTIONS => "*".to_owned(),
        Some(target) if target.starts_with('/') => target.to_owned(),
        Some(target) => format!("/{target}"),
        None => "/".to_owned(),
    }
}

/// Plain HTTP requests over a [`Channel`] of the protocol `http`.
///
/// ```no_run
/// use protocols::http::Fetch;
///
/// let channel = rpc::Channel::<protocols::Bundled>::builder().protocol("http").connect("127.0.0.1:8000")?;
/// let request = http::Request::get("/health").body(iobuf::IoBuf::new()).expect("a path");
/// let response = channel.fetch(request)?;
/// println!("{} {:?}", response.status(), response.body());
/// # Ok::<(), rpc::RpcError>(())
/// ```
///
/// A request whose method is idempotent is tried again as calls are, see
/// [`RetryPolicy`](rpc::client::RetryPolicy); others, such as POST, are never sent twice unless their
/// [`CallOptions`] have a policy that wants it.
///
/// A response of any status is a response, not an error. The body of a GET is not sent; `Content-Length`,
/// `Transfer-Encoding` and `Expect` are left out of the headers, as the body itself says how long it is. Redirects are
/// not followed, and nothing is decompressed.
pub trait Fetch {
    /// Sends a request and waits for the response, body and all.
    ///
    /// *Blocking*: parks the bthread, or blocks the thread outside of bthreads, until the response or the deadline.
    ///
    /// # Errors
    /// [`EREQUEST`] for a request that HTTP/1 does not carry, and those of [`Channel::call`] but for what the server
    /// answered.
    fn fetch(&self, request: http::Request<IoBuf>) -> Result<http::Response<IoBuf>, RpcError> {
        self.fetch_with(CallOptions::default(), request)
    }

    /// As [`fetch`](Self::fetch), with options; of those the attachment and the protocol's own are the request's.
    ///
    /// *Blocking*: as [`fetch`](Self::fetch).
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    fn fetch_with(
        &self,
        options: CallOptions,
        request: http::Request<IoBuf>,
    ) -> Result<http::Response<IoBuf>, RpcError>;

    /// As [`fetch_with`](Self::fetch_with), until the head of the response is there; the body is read as it arrives.
    /// Dropping it before its end closes the connection.
    ///
    /// *Blocking*: as [`fetch`](Self::fetch), until the head.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    fn fetch_progressively(
        &self,
        options: CallOptions,
        request: http::Request<IoBuf>,
    ) -> Result<http::Response<ResponseBody>, RpcError>;
}

/// The body of a response that is read as it arrives.
#[derive(Debug)]
pub struct ResponseBody {
    /// What came together with the head, where that was all.
    whole: Option<IoBuf>,
    rest: Option<BodyReader>,
}

impl ResponseBody {
    /// The bytes that have arrived since the last call, at least one; `None` at the end.
    ///
    /// *Blocking*: as [`BodyReader::read`].
    ///
    /// # Errors
    /// As [`BodyReader::read`].
    pub fn read(&mut self, deadline: Option<std::time::Instant>) -> Result<Option<IoBuf>, RpcError> {
        match self.whole.take().filter(|whole| !whole.is_empty()) {
            Some(whole) => Ok(Some(whole)),
            None => self.rest.as_mut().map_or(Ok(None), |rest| rest.read(deadline)),
        }
    }
}

impl<P: DefaultRegistry> Fetch for Channel<P> {
    fn fetch_with(
        &self,
        options: CallOptions,
        request: http::Request<IoBuf>,
    ) -> Result<http::Response<IoBuf>, RpcError> {
        let (head, reply) = send(self, options, request)?;
        Ok(head.map(|()| reply.attachment))
    }

    fn fetch_progressively(
        &self,
        options: CallOptions,
        request: http::Request<IoBuf>,
    ) -> Result<http::Response<ResponseBody>, RpcError> {
        let (head, reply) = send(self, options.read_progressively(), request)?;
        Ok(head.map(|()| ResponseBody { whole: Some(reply.attachment), rest: reply.stream }))
    }
}

fn send<P: DefaultRegistry>(
    channel: &Channel<P>,
    options: CallOptions,
    request: http::Request<IoBuf>,
) -> Result<(http::Response<()>, Reply<()>), RpcError> {
    if channel.protocol_name() != HTTP.name() {
        let text = format!("A channel of the protocol {} cannot fetch", channel.protocol_name());
        return Err(RpcError::new(EREQUEST, text));
    }
    let (parts, body) = request.into_parts();
    let options = if parts.method.is_idempotent() { options } else { options.retry_policy_or(NeverSent) };
    let options = options.protocol_options(RawRequest::new(parts)?).request_attachment(body);
    let mut reply: Reply<()> = channel.call(&NO_METHOD, options, &())?;
    let head = reply.extra.take().and_then(|extra| extra.downcast::<ResponseHead>().ok());
    let head = head.ok_or_else(|| RpcError::internal("A reply without the head of a response"))?;
    let mut response = http::Response::new(());
    *response.status_mut() = head.status;
    *response.version_mut() = head.version;
    *response.headers_mut() = head.fields.to_header_map();
    Ok((response, reply))
}
