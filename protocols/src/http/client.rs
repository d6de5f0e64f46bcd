//! The client's half: a call or a plain request to bytes, a response to a reply (`spec/protocols-http.md` §14).

use std::borrow::Cow;

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use iobuf::IoBuf;
use rpc::error::{EHTTP, EREQUEST, ERESPONSE, ErrorCode, RpcError};
use rpc::message::{Body, CompressType, Encoding};
use rpc::protocol::{AfterReply, ClientSide, Frame, IncomingReply, OutgoingRequest, WireError};
use rpc::{Limits, MethodDescriptor};

use super::Http;
use super::codec::{HINT_HEAD, HeadWriter, ResponseHead};
use super::content::Content;
use super::fetch::{self, RawRequest};
use super::gzip::COMPRESS_THRESHOLD;
use super::{flags, gzip, identity, trace, transcode};

/// Bytes of a body that the text of an error shows (brpc: `http_max_error_length`).
const ERROR_BODY_MAX: usize = 2048;

/// Bytes that a compressed response may become, whatever it was.
const INFLATED_MAX: usize = rpc::limits::MAX_BODY_SIZE_DEFAULT;

/// What is sent as `User-Agent` where the user gave none.
const USER_AGENT: &str = concat!("bobbin/", env!("CARGO_PKG_VERSION"));

impl ClientSide for Http {
    /// What HTTP has of it is gzip; what a message is serialised as is in the channel's parameter.
    fn encode_request(
        &self,
        _: &'static MethodDescriptor,
        _: &dyn Body,
        encoding: Encoding,
    ) -> Result<Option<IoBuf>, RpcError> {
        let others = Encoding { compress: CompressType::NONE, ..encoding };
        if matches!(encoding.compress, CompressType::NONE | CompressType::GZIP)
            && others == Encoding::default()
        {
            return Ok(None);
        }
        Err(RpcError::new(EREQUEST, "Requests over HTTP are compressed with gzip or not, and nothing else"))
    }

    fn write_request(&self, request: OutgoingRequest<'_>, out: &mut IoBuf) -> Result<(), RpcError> {
        match raw(&request) {
            Some(raw) => {
                write_raw(raw, &request, out);
                Ok(())
            }
            None => write_call(&request, out),
        }
    }

    fn reply_hint(&self, request: &OutgoingRequest<'_>) -> Option<u64> {
        let is_head = raw(request).is_some_and(|raw| raw.method == Method::HEAD);
        Some(if is_head { HINT_HEAD } else { 0 })
    }

    fn read_reply(&self, mut frame: Frame) -> Result<IncomingReply, WireError> {
        let head = frame.head.take().and_then(|head| head.downcast::<ResponseHead>().ok());
        let head = head.ok_or(WireError::Malformed("A response without a head"))?;
        let after = if head.is_persistent { AfterReply::GoOn } else { AfterReply::Close };
        Ok(IncomingReply {
            attachment: frame.bytes,
            stream: frame.body,
            after,
            extra: Some(head),
            ..IncomingReply::new(0)
        })
    }

    fn decode_reply(
        &self,
        method: &'static MethodDescriptor,
        reply: &mut IncomingReply,
        _: &Limits,
    ) -> Result<(), RpcError> {
        if fetch::is_raw(method) {
            return Ok(());
        }
        let head = reply.extra.as_ref().and_then(|extra| extra.downcast_ref::<ResponseHead>());
        let head = head.ok_or_else(|| RpcError::internal("A reply without the head of a response"))?;
        let body = std::mem::take(&mut reply.attachment);
        if !head.status.is_success() {
            return Err(failure(head, body));
        }
        let body = match head.fields.get("content-encoding") {
            None => body,
            Some(coding) if gzip::is_named(coding) => {
                reply.encoding.compress = CompressType::GZIP;
                gzip::inflate(&body, INFLATED_MAX).map_err(|error| RpcError::new(ERESPONSE, error.text()))?
            }
            Some(coding) => {
                let text = format!("A response in Content-Encoding \"{}\"", coding.escape_ascii());
                return Err(RpcError::new(ERESPONSE, text));
            }
        };
        if body.is_empty() {
            return Ok(()); // a message without fields
        }
        let kind = head.fields.get("content-type").unwrap_or_default();
        let content = Content::of(kind).ok_or_else(|| {
            let kind = kind.escape_ascii();
            RpcError::new(ERESPONSE, format!("The response has Content-Type \"{kind}\", which is no message"))
        })?;
        reply.encoding.content = content.form();
        reply.body = transcode::reply(method, content, body)?;
        Ok(())
    }

    fn unreadable_reply(&self, response_type: &str, _: Encoding, response_size: usize) -> RpcError {
        let text = format!("Fail to parse response={response_type}, response_size={response_size}");
        RpcError::new(ERESPONSE, text)
    }
}

fn raw<'a>(request: &OutgoingRequest<'a>) -> Option<&'a RawRequest> {
    request.options.and_then(|options| options.downcast_ref())
}

/// What a status that is not 2xx makes of a call. A server's own number counts if it sent one, and if the user wants it.
fn failure(head: &ResponseHead, body: IoBuf) -> RpcError {
    let mut shown = vec![0; body.len().min(ERROR_BODY_MAX)];
    body.copy_to(&mut shown, 0);
    let (status, shown) = (head.status, String::from_utf8_lossy(&shown));
    let reason = status.canonical_reason().unwrap_or("Unknown");
    let separator = if shown.is_empty() { "" } else { ": " };
    let text = format!("{:?} {} {reason}{separator}{shown}", head.version, status.as_u16());
    let sent = || str::from_utf8(head.fields.get("x-bd-error-code")?).ok()?.trim().parse().ok();
    let code = if flags::USE_HTTP_ERROR_CODE.get() { sent().filter(|code| *code != 0) } else { None };
    RpcError::new(code.map_or(EHTTP, ErrorCode::new), text)
}

/// The request of a call: `POST /package.Service/Method` with the message in the channel's form.
fn write_call(request: &OutgoingRequest<'_>, out: &mut IoBuf) -> Result<(), RpcError> {
    let method = request.method;
    let kind = match request.parameter {
        "" => Cow::Borrowed("application/json"),
        parameter if parameter.contains('/') => Cow::Borrowed(parameter),
        parameter => Cow::Owned(format!("application/{parameter}")),
    };
    let content = Content::of(kind.as_bytes()).ok_or_else(|| {
        RpcError::new(EREQUEST, format!("A request message cannot be sent as Content-Type {kind}"))
    })?;
    let kind = HeaderValue::from_str(&kind)
        .map_err(|_| RpcError::new(EREQUEST, format!("Content-Type {kind:?} cannot be sent")))?;
    if request.reads_progressively {
        return Err(RpcError::new(EREQUEST, "A response with a message is not read as it arrives: fetch it"));
    }
    if !request.attachment.is_empty() {
        return Err(RpcError::new(EREQUEST, "A request with a message has no attachment over HTTP"));
    }
    let mut wire = IoBuf::new();
    request.body.append_to(&mut wire);
    let mut body = transcode::call(method, content, wire)?;
    let is_compressed = request.encoding.compress == CompressType::GZIP && body.len() >= COMPRESS_THRESHOLD;
    if is_compressed {
        body = gzip::deflate(&body);
    }
    let target = format!("/{}/{}", method.service_name(), method.name);
    let mut head = HeadWriter::request(&Method::POST, &target, Version::HTTP_11);
    head.length(body.len() as u64);
    head.field("Host", request.authority.as_bytes());
    head.header(&http::header::CONTENT_TYPE, &kind);
    if is_compressed {
        head.field("Content-Encoding", b"gzip");
    }
    write_ids(request, &HeaderMap::new(), &mut head)?;
    head.field("Accept", b"*/*");
    head.field("User-Agent", USER_AGENT.as_bytes());
    head.finish(out);
    out.append_buf(body);
    Ok(())
}

/// A request as the user has made it.
fn write_raw(raw: &RawRequest, request: &OutgoingRequest<'_>, out: &mut IoBuf) {
    let target = raw.target.as_str();
    let body = if raw.method == Method::GET { IoBuf::new() } else { request.attachment.clone() };
    let mut head = HeadWriter::request(&raw.method, target, raw.version);
    let has_body = !body.is_empty() || matches!(raw.method, Method::POST | Method::PUT | Method::PATCH);
    if has_body {
        head.length(body.len() as u64);
    }
    match (raw.headers.get(HOST), &raw.authority) {
        (Some(host), _) => head.header(&HOST, host),
        (None, Some(authority)) => head.field("Host", authority.as_bytes()),
        (None, None) => head.field("Host", request.authority.as_bytes()),
    }
    // What says where the body ends is ours to say, and nobody waits for a go-ahead.
    let is_ours = |name: &HeaderName| [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT].contains(name);
    for (name, value) in raw.headers.iter().filter(|(name, _)| !is_ours(name)) {
        head.header(name, value);
    }
    // Ids of calls are HTTP fields already where the user makes the request.
    let _ = write_ids(request, &raw.headers, &mut head);
    if raw.version == Version::HTTP_10 && !raw.headers.contains_key(http::header::CONNECTION) {
        head.field("Connection", b"keep-alive");
    }
    if !raw.headers.contains_key(http::header::ACCEPT) {
        head.field("Accept", b"*/*");
    }
    if !raw.headers.contains_key(http::header::USER_AGENT) {
        head.field("User-Agent", USER_AGENT.as_bytes());
    }
    head.finish(out);
    out.append_buf(body);
}

/// The ids that go along with a call, those that the user's fields do not say.
fn write_ids(
    request: &OutgoingRequest<'_>,
    given: &HeaderMap,
    head: &mut HeadWriter,
) -> Result<(), RpcError> {
    if let Some(id) = request.log_id
        && !given.contains_key("log-id")
    {
        head.field("log-id", id.to_string().as_bytes());
    }
    if !request.request_id.is_empty() && !given.contains_key("x-request-id") {
        let id = HeaderValue::try_from(request.request_id)
            .map_err(|_| RpcError::new(EREQUEST, "The request id cannot be sent in a header"))?;
        head.field("x-request-id", id.as_bytes());
    }
    if let Some(context) = request.trace
        && !given.contains_key("traceparent")
    {
        trace::write(&context, head);
    }
    identity::write(request.credential, given, head)
}
