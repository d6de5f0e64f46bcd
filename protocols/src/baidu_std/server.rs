//! The server's half: frame to request, answer to frame.

use std::time::Duration;

use iobuf::IoBuf;
use rpc::error::{EINTERNAL, ENOCODE, ENOMETHOD, ENOSERVICE, EREQUEST, ERESPONSE, ErrorCode, RpcError};
use rpc::message::{Body, Encoding};
use rpc::protocol::{
    AfterReply, BodyContext, Frame, GenericRequest, IncomingRequest, OutgoingReply, RareRequestInfo,
    ReplyToken, RequestExtras, RequestInfo, ServerSide, WireError,
};
use rpc::server::{MethodId, NoRoute, Routes, Target};
use rpc::span::TraceContext;
use rpc::{MethodDescriptor, UserFields};

use super::BaiduStd;
use super::body::{self, Summed, Unfit};
use super::codec::{
    Aux, Form, FormToWrite, Kind, Meta, MetaToWrite, Numbers, Request, TooLarge, description, from_bits,
    text, to_bits, write_frame,
};

/// Bytes of a name that an error text shows: a request of one long name must not make a reply, and its copies on the
/// way, several times as long.
const NAME_SHOWN_MAX: usize = 1024;

impl ServerSide for BaiduStd {
    fn read_request(&self, mut frame: Frame, routes: &Routes<'_>) -> Result<IncomingRequest, WireError> {
        let meta_size = frame.meta_size as usize;
        let (mut aux, mut meta) = (Aux::new(), Meta::default());
        description(&frame.bytes, meta_size, &mut aux)
            .and_then(|bytes| meta.merge(bytes))
            .map_err(|_| WireError::Malformed("RpcMeta cannot be parsed"))?;
        let named = meta.request.unwrap_or_default();
        let (target, generic) = match routes.master() {
            Some(master) => (Ok(master), Some(generic(&named, meta.encoding))),
            None => (find(routes, named.service_name, named.method_name).map(Target::Method), None),
        };
        let timeout = u64::try_from(named.timeout_ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis);
        let [trace, span, parent] = named.trace;
        let trace = TraceContext::from_brpc(trace, span, parent).map(Box::new);
        let info = RequestInfo { log_id: named.log_id, trace, rare: rare(&meta, &named) };
        let (attachment_size, encoding) = (meta.attachment_size, meta.encoding);
        let extra = if meta.checksum_value.is_empty() {
            None
        } else {
            Some(Box::new(meta.checksum_value.to_vec()) as _)
        };
        let token = ReplyToken { id: meta.correlation_id, bits: to_bits(encoding), extra };
        let extras = extras(&mut meta, generic);
        frame.bytes.pop_front(meta_size);
        Ok(IncomingRequest {
            attachment_size,
            timeout,
            info,
            extras,
            ..IncomingRequest::new(target, frame.bytes, token)
        })
    }

    fn decode_request(
        &self,
        token: &mut ReplyToken,
        body: IoBuf,
        context: &BodyContext<'_>,
    ) -> Result<IoBuf, RpcError> {
        if token.bits == to_bits(Encoding::default()) {
            return Ok(body);
        }
        let BodyContext { method, attachment, limits } = *context;
        let summed = Summed { attachment, value: checksum_value(token) };
        let (encoding, size) = (from_bits(token.bits), body.len());
        body::decode(method.schema, method.request_type, encoding, body, summed, limits.max_body_size)
            .map_err(|Unfit| {
                RpcError::new(EREQUEST, self.unreadable_request(token, method.request_type, size))
            })
    }

    fn is_intact(&self, token: &ReplyToken, body: &IoBuf, attachment: &IoBuf) -> bool {
        let sum = body::checksum(from_bits(token.bits).checksum, body, attachment);
        sum.is_none_or(|sum| sum == checksum_value(token))
    }

    fn request_encoding(&self, token: &ReplyToken) -> Encoding {
        from_bits(token.bits)
    }

    fn encode_reply(
        &self,
        method: &'static MethodDescriptor,
        body: &dyn Body,
        encoding: Encoding,
    ) -> Result<Option<IoBuf>, RpcError> {
        body::encode(method.schema, method.response_type, encoding, body).map_err(|Unfit| {
            let (message, form) = (method.response_type, Form(encoding));
            RpcError::new(ERESPONSE, format!("Fail to serialize response={message}, {form}"))
        })
    }

    fn write_reply(&self, mut token: ReplyToken, reply: OutgoingReply<'_>, out: &mut IoBuf) -> AfterReply {
        let leftover = token.extra.take().and_then(|extra| extra.downcast::<Vec<u8>>().ok());
        let leftover = leftover.as_ref().map_or(&[][..], |value| value);
        if let (true, Err((code, error_text))) = (reply.is_auth_failure, reply.outcome) {
            return write_not_let_in(token.id, code, error_text, out);
        }
        let meta = |kind, user_fields, form| MetaToWrite {
            kind,
            correlation_id: token.id,
            user_fields,
            credential: None,
            streams: reply.streams,
            form,
        };
        let plain = FormToWrite::Whole(Numbers::default(), leftover);
        let sum;
        let written = match reply.outcome {
            Ok(body) => {
                let kind = Kind::Response { error_code: 0, error_text: "" };
                if reply.encoding == Encoding::default() {
                    let meta = meta(kind, reply.user_fields, plain);
                    write_frame(&meta, Some(body), reply.attachment, out)
                } else {
                    let mut encoded = IoBuf::new();
                    body.append_to(&mut encoded);
                    sum = body::checksum(reply.encoding.checksum, &encoded, &reply.attachment);
                    let value = sum.as_ref().map_or(leftover, |sum| sum);
                    let form = FormToWrite::Whole(Numbers::of(reply.encoding).unwrap_or_default(), value);
                    write_frame(&meta(kind, reply.user_fields, form), Some(&encoded), reply.attachment, out)
                }
            }
            Err((code, error_text)) => {
                let kind = Kind::Response { error_code: code_on_the_wire(code), error_text };
                write_frame(&meta(kind, reply.user_fields, plain), None, IoBuf::new(), out)
            }
        };
        if written == Err(TooLarge) {
            let error_text = "The response is larger than a frame can be";
            let kind = Kind::Response { error_code: ERESPONSE.get(), error_text };
            // Without body, attachment and user fields there is nothing left that could be too large.
            let _ = write_frame(&meta(kind, &UserFields::default(), plain), None, IoBuf::new(), out);
        }
        AfterReply::GoOn
    }

    fn unreadable_request(&self, token: &ReplyToken, request_type: &str, request_size: usize) -> String {
        let encoding = Form(from_bits(token.bits));
        format!("Fail to parse request={request_type}, {encoding}, request_size={request_size}")
    }
}

/// What a request is checked with, as it came; empty if nothing did.
fn checksum_value(token: &ReplyToken) -> &[u8] {
    let value = token.extra.as_ref().and_then(|extra| extra.downcast_ref::<Vec<u8>>());
    value.map_or(&[], |value| value)
}

/// The answer to those who are not let in: number, text and correlation id alone (§2.4). Nothing follows it.
fn write_not_let_in(id: u64, code: ErrorCode, error_text: &str, out: &mut IoBuf) -> AfterReply {
    let meta = MetaToWrite {
        kind: Kind::Response { error_code: code_on_the_wire(code), error_text },
        correlation_id: id,
        user_fields: &UserFields::default(),
        credential: None,
        streams: None,
        form: FormToWrite::Unsaid,
    };
    // A text that does not fit in a frame is none.
    let _ = write_frame(&meta, None, IoBuf::new(), out);
    AfterReply::Close
}

/// What fewer requests have still.
fn extras(meta: &mut Meta<'_>, generic: Option<GenericRequest>) -> Option<Box<RequestExtras>> {
    if meta.authentication_data.is_none() && meta.streams.is_none() && generic.is_none() {
        return None;
    }
    let credential = meta.authentication_data.map(<[u8]>::to_vec);
    let streams = meta.streams.take().map(|streams| *streams);
    Some(Box::new(RequestExtras { credential, streams, generic }))
}

/// What a request names, for the service that takes everything.
fn generic(named: &Request<'_>, encoding: Encoding) -> GenericRequest {
    GenericRequest { service_name: text(named.service_name), method_name: text(named.method_name), encoding }
}

/// What few requests have.
fn rare(meta: &Meta<'_>, named: &Request<'_>) -> Option<Box<RareRequestInfo>> {
    let user_fields = meta.user_fields();
    if named.request_id.is_empty() && user_fields.is_empty() {
        return None;
    }
    Some(Box::new(RareRequestInfo { request_id: text(named.request_id), user_fields }))
}

fn find(routes: &Routes<'_>, service: &[u8], method: &[u8]) -> Result<MethodId, RpcError> {
    routes.find(service, method).map_err(|missing| match missing {
        NoRoute::Service => RpcError::new(ENOSERVICE, format!("Fail to find service={}", shown(service))),
        NoRoute::Method => {
            RpcError::new(ENOMETHOD, format!("Fail to find method={}/{}", shown(service), shown(method)))
        }
    })
}

/// A name as an error text shows it: whole, unless it is none that anybody would give.
fn shown(name: &[u8]) -> String {
    match name.split_at_checked(NAME_SHOWN_MAX) {
        Some((beginning, rest)) if !rest.is_empty() => format!("{}...", text(beginning)),
        _ => text(name),
    }
}

/// A failure without a number is EINTERNAL here.
fn code_on_the_wire(code: ErrorCode) -> i32 {
    if code == ENOCODE { EINTERNAL.get() } else { code.get() }
}

/// The token of a request whose body has this form; with the right checksum if there is an attachment.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzzed_token(encoding: Encoding, body: &IoBuf, attachment: Option<&IoBuf>) -> ReplyToken {
    let sum = attachment.and_then(|attachment| body::checksum(encoding.checksum, body, attachment));
    let extra = sum.map(|sum| Box::new(sum.to_vec()) as _);
    ReplyToken { id: 0, bits: to_bits(encoding), extra }
}
