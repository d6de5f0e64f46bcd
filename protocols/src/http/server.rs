//! The server's half: head to request, answer to bytes.

use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use iobuf::IoBuf;
use rpc::MethodDescriptor;
use rpc::builtin::{Form, PageReply, PageRequest, Query, Verb, is_cross_site};
use rpc::error::{ELOGOFF, ENOMETHOD, ErrorCode, RpcError};
use rpc::message::CompressType;
use rpc::protocol::{
    AfterReply, BodyContext, Frame, IncomingRequest, OutgoingReply, RareRequestInfo, ReplyToken, RequestInfo,
    ServerSide, WireError,
};
use rpc::server::{MethodId, Routes, Target};

use super::Http;
use super::codec::number;
use super::content::{self, Content};
use super::reply::{Body, Response};
use super::state::HttpState;
use super::{gzip, identity, status, trace, transcode};

/// Bytes of a path that an error text shows.
const PATH_SHOWN_MAX: usize = 1024;

/// What may be asked of the server as a whole.
const METHODS_OF_SERVER: &str = "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS";

impl ServerSide for Http {
    fn read_request(&self, mut frame: Frame, routes: &Routes<'_>) -> Result<IncomingRequest, WireError> {
        let mut state = frame
            .head
            .take()
            .and_then(|head| head.downcast::<HttpState>().ok())
            .ok_or(WireError::Malformed("A message without a head"))?;
        let info = read_fields(&mut state);
        let target = find(&mut state, routes);
        let mut attachment_size = 0;
        let page = match &target {
            Ok(Target::Page(_) | Target::NoMethod(_)) => Some(Box::new(page_request(&state, &frame.bytes))),
            Ok(Target::Method(id)) => {
                let options = routes.options(*id);
                state.options.bytes_to_base64 = options.encodes_bytes();
                state.options.single_repeated_to_array = options.converts_single_repeated();
                if !options.makes_messages_of_bodies() || has_no_message(*id, routes, &state, &frame.bytes) {
                    attachment_size = i32::try_from(frame.bytes.len()).unwrap_or(i32::MAX);
                }
                None
            }
            Ok(Target::Master(_)) | Err(_) => None,
        };
        let extras = identity::read(&state, routes);
        let token = ReplyToken { id: 0, bits: 0, extra: Some(state) };
        Ok(IncomingRequest {
            extras,
            page,
            body: frame.body,
            attachment_size,
            info,
            ..IncomingRequest::new(target, frame.bytes, token)
        })
    }

    fn wants_stream(&self, head: &Frame, routes: &Routes<'_>) -> bool {
        let state = head.head.as_ref().and_then(|head| head.downcast_ref::<HttpState>());
        let found = state.and_then(|state| routes.find_path(state.head.path()).ok());
        match found.map(|found| found.target) {
            Some(Target::Method(id)) => routes.options(id).reads_progressively(),
            _ => false,
        }
    }

    fn decode_request(
        &self,
        token: &mut ReplyToken,
        mut body: IoBuf,
        context: &BodyContext<'_>,
    ) -> Result<IoBuf, RpcError> {
        let Some(state) = state_of(token) else { return Ok(body) };
        if body.is_empty() {
            return Ok(body);
        }
        if state.head.fields.get("content-encoding").is_some_and(gzip::is_named) {
            body = gzip::inflate(&body, state.max_body_size)?;
        }
        transcode::request(context.method, state.content.unwrap_or(Content::Json), state.options, body)
    }

    fn write_reply(&self, mut token: ReplyToken, reply: OutgoingReply<'_>, out: &mut IoBuf) -> AfterReply {
        let Some(mut state) = token.extra.take().and_then(|extra| extra.downcast::<HttpState>().ok()) else {
            return AfterReply::Close;
        };
        if reply.encoding.compress == CompressType::GZIP {
            state.compress = true;
        }
        if let (true, Err((code, text))) = (reply.is_auth_failure, reply.outcome) {
            return identity::refuse(*state, code, text, out);
        }
        // The caller is to come back by another connection, which leads to whoever serves then.
        if reply.outcome.as_ref().is_err_and(|(code, _)| *code == ELOGOFF) {
            state.head.is_persistent = false;
        }
        if state.is_for_server {
            return write_options(&state, out);
        }
        match reply.outcome {
            Ok(message) => {
                let type_set = state.response().and_then(|parts| parts.headers.get(CONTENT_TYPE));
                let plain_type =
                    || type_set.map(|value| value.as_bytes()).or(state.type_of_body.map(str::as_bytes));
                if state.progressive.is_some() || !reply.attachment.is_empty() {
                    return write_body(&state, plain_type(), reply.attachment, out);
                }
                let mut wire = IoBuf::new();
                message.append_to(&mut wire);
                let Some(method) = reply.method.filter(|method| has_response(method, &wire)) else {
                    return write_body(&state, plain_type(), wire, out);
                };
                let content = match type_set {
                    Some(value) => Content::of(value.as_bytes()),
                    None => state.content,
                };
                let content = content.unwrap_or(Content::Json);
                match transcode::response(method, content, state.options, wire) {
                    Ok(body) => {
                        let asked = state.head.fields.get("content-type").filter(|_| state.content.is_some());
                        let content_type = type_set.map(|value| value.as_bytes()).or(asked);
                        write_body(&state, content_type.or(Some(b"application/json")), body, out)
                    }
                    Err(error) => write_error(&state, error.code(), &error.to_string(), IoBuf::new(), out),
                }
            }
            Err((code, text)) => write_error(&state, code, text, reply.attachment, out),
        }
    }

    fn write_page(&self, mut token: ReplyToken, page: PageReply, out: &mut IoBuf) -> AfterReply {
        let Some(state) = token.extra.take().and_then(|extra| extra.downcast::<HttpState>().ok()) else {
            return AfterReply::Close;
        };
        let more: Vec<_> = page.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let is_encoded = more.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-encoding"));
        let response = Response {
            status: StatusCode::from_u16(page.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            content_type: Some(page.content_type.as_bytes()),
            fields: None,
            more: &more,
            compress: !is_encoded,
            body: Body::Whole(page.body),
        };
        response.write(&state.head, out)
    }

    fn unreadable_request(&self, token: &ReplyToken, request_type: &str, request_size: usize) -> String {
        let state = token.extra.as_ref().and_then(|extra| extra.downcast_ref::<HttpState>());
        let kind = state.and_then(|state| state.content).unwrap_or(Content::Json).name();
        match request_size {
            0 => {
                format!("{request_type} needs to be created from a non-empty {kind}, it has required fields.")
            }
            _ => format!("Fail to parse http {kind} body as {request_type}"),
        }
    }
}

fn state_of(token: &mut ReplyToken) -> Option<&mut HttpState> {
    token.extra.as_mut()?.downcast_mut()
}

/// What the fields say about the request, all in one pass.
fn read_fields(state: &mut HttpState) -> RequestInfo {
    let mut info = RequestInfo::default();
    let (mut w3c, mut trace_id, mut span_id) = (None, None, None);
    for (name, value) in state.head.fields.iter() {
        match name.len() {
            6 if name.eq_ignore_ascii_case(b"log-id") => info.log_id = number(value),
            11 if name.eq_ignore_ascii_case(b"traceparent") => w3c = trace::read_w3c(value),
            12 if name.eq_ignore_ascii_case(b"content-type") => state.content = Content::of(value),
            12 if name.eq_ignore_ascii_case(b"x-request-id") => {
                let request_id = String::from_utf8_lossy(value).into_owned();
                info.rare = Some(Box::new(RareRequestInfo { request_id, ..RareRequestInfo::default() }));
            }
            12 if name.eq_ignore_ascii_case(b"x-bd-span-id") => span_id = Some(value),
            13 if name.eq_ignore_ascii_case(b"x-bd-trace-id") => trace_id = Some(value),
            _ => {}
        }
    }
    info.trace = w3c.or_else(|| trace::read_brpc(trace_id, span_id)).map(Box::new);
    info
}

/// Where the path leads. What is left of it goes to the state.
fn find(state: &mut HttpState, routes: &Routes<'_>) -> Result<Target, RpcError> {
    if state.head.path() == "*" {
        state.is_for_server = true;
        return Err(RpcError::new(ENOMETHOD, "OPTIONS of the server"));
    }
    let (target, unresolved) = match routes.find_path(state.head.path()) {
        Ok(found) => (found.target, found.unresolved.into_owned()),
        Err(_) => {
            let path = state.head.path();
            // Targets are ASCII, so it is cut between characters.
            let shown = path.get(..PATH_SHOWN_MAX).unwrap_or(path);
            return Err(RpcError::new(ENOMETHOD, format!("Fail to find method on `{shown}'")));
        }
    };
    state.unresolved = unresolved;
    Ok(target)
}

/// Whether a body is none of the request message, which has no fields.
fn has_no_message(method: MethodId, routes: &Routes<'_>, state: &HttpState, body: &IoBuf) -> bool {
    !body.is_empty() && state.content != Some(Content::Proto) && !routes.takes_message(method)
}

/// Whether a response message is written: methods in plain HTTP have none, or one without fields.
fn has_response(method: &MethodDescriptor, wire: &IoBuf) -> bool {
    match method.response_type {
        "" => false,
        _ if !wire.is_empty() => true,
        _ => method.response_descriptor().is_none_or(|message| message.fields().len() > 0),
    }
}

/// What a debug page is told of its request.
pub(super) fn page_request(state: &HttpState, body: &IoBuf) -> PageRequest {
    let head = &state.head;
    let field = |name| head.fields.get(name).and_then(|value| str::from_utf8(value).ok());
    let verb = match head.method {
        Method::GET => Verb::Get,
        Method::HEAD => Verb::Head,
        Method::POST => Verb::Post,
        _ => Verb::Other,
    };
    let mut query = Query::parse(head.query().as_bytes());
    if verb == Verb::Post && head.fields.get("content-type").is_some_and(content::is_form) {
        let size = body.len().min(rpc::builtin::QUERY_BYTES_MAX);
        let mut form = vec![0; size];
        body.copy_to(&mut form, 0);
        query.add_form(&form);
    }
    let origin = field("origin").map(str::to_owned);
    PageRequest {
        verb,
        path: decoded(head.path()),
        rest: decoded(&state.unresolved),
        form: Form::of(&query, field("user-agent")),
        query,
        host: head.host().to_owned(),
        is_cross_site: is_cross_site(field("sec-fetch-site"), origin.as_deref(), head.host()),
        origin,
        token: field("authorization").and_then(bearer).map(str::to_owned),
        accept: field("accept").map(str::to_owned),
        if_none_match: field("if-none-match").map(str::to_owned),
        body: body.clone(),
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn write_options(state: &HttpState, out: &mut IoBuf) -> AfterReply {
    let response = Response {
        status: StatusCode::OK,
        content_type: None,
        fields: None,
        more: &[("allow", METHODS_OF_SERVER)],
        compress: false,
        body: Body::Whole(IoBuf::new()),
    };
    response.write(&state.head, out)
}

fn write_body(state: &HttpState, content_type: Option<&[u8]>, body: IoBuf, out: &mut IoBuf) -> AfterReply {
    let parts = state.response();
    let response = Response {
        status: parts.map_or(StatusCode::OK, |parts| parts.status),
        content_type,
        fields: parts.map(|parts| &parts.headers),
        more: &[],
        compress: state.compress,
        body: match state.progressive {
            Some(framing) => Body::Parts(framing),
            None => Body::Whole(body),
        },
    };
    response.write(&state.head, out)
}

fn write_error(
    state: &HttpState,
    code: ErrorCode,
    text: &str,
    attachment: IoBuf,
    out: &mut IoBuf,
) -> AfterReply {
    let parts = state.response();
    let chosen = parts.map(|parts| parts.status).filter(|status| *status != StatusCode::OK);
    let number = code.to_string();
    let mut fields = parts.map(|parts| parts.headers.clone());
    let type_set = fields.as_mut().and_then(|fields| {
        if !state.keep_error_body {
            fields.remove(http::header::CONTENT_ENCODING);
        }
        fields.remove(CONTENT_TYPE)
    });
    let error_code = ("x-bd-error-code", &*number);
    // A text may quote the request: no browser is to find markup in it.
    let with_text = [error_code, ("x-content-type-options", "nosniff")];
    let (content_type, body, more) = match state.keep_error_body {
        true => (type_set.as_ref().map(|value| value.as_bytes()), attachment, &with_text[..1]),
        false => (Some(&b"text/plain"[..]), IoBuf::from(text), &with_text[..]),
    };
    let response = Response {
        status: chosen.unwrap_or_else(|| status::of_error(code)),
        content_type,
        fields: fields.as_ref(),
        more,
        compress: false,
        body: Body::Whole(body),
    };
    response.write(&state.head, out)
}
