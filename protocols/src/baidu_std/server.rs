//! The server's half: frame to request, answer to frame.

use std::time::Duration;

use iobuf::IoBuf;
use rpc::UserFields;
use rpc::error::{EINTERNAL, ENOCODE, ENOMETHOD, ENOSERVICE, EREQUEST, ERESPONSE, ErrorCode, RpcError};
use rpc::protocol::{
    AfterReply, BodyContext, Frame, IncomingRequest, OutgoingReply, RareRequestInfo, ReplyToken, RequestInfo,
    ServerSide, WireError,
};
use rpc::server::{MethodId, NoRoute, Routes, Target};
use rpc::span::TraceContext;

use super::BaiduStd;
use super::codec::{
    Aux, Encoding, Kind, Meta, MetaToWrite, Request, TooLarge, description, text, write_frame,
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
        let method = find(routes, named.service_name, named.method_name);
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
        let token = ReplyToken { id: meta.correlation_id, bits: encoding.to_bits(), extra };
        frame.bytes.pop_front(meta_size);
        Ok(IncomingRequest {
            attachment_size,
            timeout,
            info,
            ..IncomingRequest::new(method.map(Target::Method), frame.bytes, token)
        })
    }

    fn decode_request(
        &self,
        token: &mut ReplyToken,
        body: IoBuf,
        context: &BodyContext<'_>,
    ) -> Result<IoBuf, RpcError> {
        if Encoding::from_bits(token.bits).is_readable() {
            return Ok(body);
        }
        let text = self.unreadable_request(token, context.method.request_type, body.len());
        Err(RpcError::new(EREQUEST, text))
    }

    fn write_reply(&self, mut token: ReplyToken, reply: OutgoingReply<'_>, out: &mut IoBuf) -> AfterReply {
        let checksum_value = token.extra.take().and_then(|extra| extra.downcast::<Vec<u8>>().ok());
        let meta = |kind, user_fields| MetaToWrite {
            kind,
            correlation_id: token.id,
            user_fields,
            checksum_value: checksum_value.as_ref().map_or(&[], |value| value),
        };
        let written = match reply.outcome {
            Ok(body) => {
                let meta = meta(Kind::Response { error_code: 0, error_text: "" }, reply.user_fields);
                write_frame(&meta, Some(body), reply.attachment, out)
            }
            Err((code, error_text)) => {
                let kind = Kind::Response { error_code: code_on_the_wire(code), error_text };
                write_frame(&meta(kind, reply.user_fields), None, IoBuf::new(), out)
            }
        };
        if written == Err(TooLarge) {
            let error_text = "The response is larger than a frame can be";
            let kind = Kind::Response { error_code: ERESPONSE.get(), error_text };
            // Without body, attachment and user fields there is nothing left that could be too large.
            let _ = write_frame(&meta(kind, &UserFields::default()), None, IoBuf::new(), out);
        }
        AfterReply::GoOn
    }

    fn unreadable_request(&self, token: &ReplyToken, request_type: &str, request_size: usize) -> String {
        let encoding = Encoding::from_bits(token.bits);
        format!("Fail to parse request={request_type}, {encoding}, request_size={request_size}")
    }
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
