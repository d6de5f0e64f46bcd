//! The server's half: frame to request, answer to frame.

use std::time::Duration;

use iobuf::IoBuf;
use rpc::UserFields;
use rpc::error::{EINTERNAL, ENOCODE, ENOMETHOD, ENOSERVICE, ERESPONSE, ErrorCode, RpcError};
use rpc::protocol::{
    Frame, IncomingRequest, OutgoingReply, RareRequestInfo, ReplyToken, RequestInfo, ServerSide, WireError,
};
use rpc::server::{MethodId, NoRoute, Routes};

use super::BaiduStd;
use super::codec::{Encoding, FrameWriter, Meta, MetaFields, TooLarge, text, with_meta};

impl ServerSide for BaiduStd {
    fn read_request(&self, mut frame: Frame, routes: &Routes<'_>) -> Result<IncomingRequest, WireError> {
        let meta_size = frame.meta_size as usize;
        let read = with_meta(&frame.bytes, meta_size, |meta| request(&meta, routes));
        let mut request = read.map_err(|_| WireError::Malformed("RpcMeta cannot be parsed"))??;
        frame.bytes.pop_front(meta_size);
        request.payload = frame.bytes;
        Ok(request)
    }

    fn write_reply(&self, mut token: ReplyToken, reply: OutgoingReply<'_>, out: &mut IoBuf) {
        let checksum_value = token
            .extra
            .take()
            .and_then(|extra| extra.downcast::<Vec<u8>>().ok());
        let fields = |user_fields| MetaFields {
            correlation_id: token.id,
            user_fields,
            checksum_value: checksum_value.as_ref().map_or(&[], |value| value),
        };
        let mut writer = FrameWriter::new();
        let written = match reply.outcome {
            Ok(body) => {
                writer.response(0, "");
                writer.finish(fields(reply.user_fields), Some(body), reply.attachment, out)
            }
            Err((code, text)) => {
                writer.response(code_on_the_wire(code), text);
                writer.finish(fields(reply.user_fields), None, IoBuf::new(), out)
            }
        };
        if written == Err(TooLarge) {
            let mut writer = FrameWriter::new();
            writer.response(ERESPONSE.get(), "The response is larger than a frame can be");
            // Without body, attachment and user fields there is nothing left that could be too large.
            let _ = writer.finish(fields(&UserFields::default()), None, IoBuf::new(), out);
        }
    }

    fn unreadable_request(&self, token: &ReplyToken, request_type: &str, request_size: usize) -> String {
        let encoding = Encoding::from_bits(token.bits);
        format!("Fail to parse request={request_type}, {encoding}, request_size={request_size}")
    }
}

/// Everything of a request but its payload.
fn request(meta: &Meta<'_>, routes: &Routes<'_>) -> Result<IncomingRequest, WireError> {
    let named = meta.request.unwrap_or_default();
    let user_fields = meta.user_fields();
    let rare = (!named.request_id.is_empty() || !user_fields.is_empty()).then(|| {
        Box::new(RareRequestInfo {
            request_id: text(named.request_id),
            user_fields,
        })
    });
    let checksum_value = meta.checksum_value;
    Ok(IncomingRequest {
        method: find(routes, name(named.service_name)?, name(named.method_name)?),
        payload: IoBuf::new(),
        attachment_size: meta.attachment_size,
        is_readable: meta.encoding.is_readable(),
        timeout: u64::try_from(named.timeout_ms)
            .ok()
            .filter(|ms| *ms > 0)
            .map(Duration::from_millis),
        info: RequestInfo {
            log_id: named.log_id,
            rare,
        },
        token: ReplyToken {
            id: meta.correlation_id,
            bits: meta.encoding.to_bits(),
            extra: if checksum_value.is_empty() {
                None
            } else {
                Some(Box::new(checksum_value.to_vec()))
            },
        },
    })
}

fn name(bytes: &[u8]) -> Result<&str, WireError> {
    str::from_utf8(bytes).map_err(|_| WireError::Malformed("a name is not UTF-8"))
}

fn find(routes: &Routes<'_>, service: &str, method: &str) -> Result<MethodId, RpcError> {
    routes.find(service, method).map_err(|missing| match missing {
        NoRoute::Service => RpcError::new(ENOSERVICE, format!("Fail to find service={service}")),
        NoRoute::Method => RpcError::new(ENOMETHOD, format!("Fail to find method={service}/{method}")),
    })
}

/// A failure without a number is EINTERNAL here.
fn code_on_the_wire(code: ErrorCode) -> i32 {
    if code == ENOCODE {
        EINTERNAL.get()
    } else {
        code.get()
    }
}
