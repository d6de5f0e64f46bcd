//! The client's half: request to frame, frame to reply.

use iobuf::IoBuf;
use rpc::error::{EREQUEST, ERESPONSE, RpcError};
use rpc::protocol::{ClientSide, Frame, IncomingReply, OutgoingRequest, WireError};
use rpc::span::SpanId;

use super::BaiduStd;
use super::codec::{Aux, Encoding, Kind, Meta, MetaToWrite, description, text, write_frame};

impl ClientSide for BaiduStd {
    fn write_request(&self, request: OutgoingRequest<'_>, out: &mut IoBuf) -> Result<(), RpcError> {
        let timeout_ms = request.timeout.map_or(0, |timeout| {
            // It is an int32, and 0 would be none at all.
            timeout.as_millis().clamp(1, i32::MAX as u128) as u32
        });
        let meta = MetaToWrite {
            kind: Kind::Request {
                service_name: request.method.service_name(),
                method_name: request.method.name,
                log_id: request.log_id,
                request_id: request.request_id,
                timeout_ms,
                trace: request.trace.map_or([0; 3], |trace| {
                    let id = |id: Option<SpanId>| id.map_or(0, SpanId::to_u64);
                    [trace.trace_id.low(), id(trace.span_id), id(trace.parent_id)]
                }),
            },
            correlation_id: request.correlation_id,
            user_fields: request.user_fields,
            checksum_value: &[],
        };
        write_frame(&meta, Some(request.body), request.attachment, out)
            .map_err(|_| RpcError::new(EREQUEST, "The request is larger than a frame can be"))
    }

    fn read_reply(&self, mut frame: Frame) -> Result<IncomingReply, WireError> {
        let meta_size = frame.meta_size as usize;
        let (mut aux, mut meta) = (Aux::new(), Meta::default());
        description(&frame.bytes, meta_size, &mut aux)
            .and_then(|bytes| meta.merge(bytes))
            .map_err(|_| WireError::Malformed("RpcMeta cannot be parsed"))?;
        let (mut reply, attachment_size) = reply(&meta);
        frame.bytes.pop_front(meta_size);
        let size = frame.bytes.len();
        match size.checked_sub(attachment_size) {
            Some(body_size) => {
                reply.body = frame.bytes.cut(body_size);
                reply.attachment = frame.bytes;
            }
            None => {
                let text = format!("attachment_size={attachment_size} is larger than response_size={size}");
                reply.error.get_or_insert_with(|| RpcError::new(ERESPONSE, text));
            }
        }
        Ok(reply)
    }

    /// EREQUEST rather than ERESPONSE, as in brpc (§2.7).
    fn unreadable_reply(&self, response_type: &str, response_size: usize) -> RpcError {
        let encoding = Encoding::default();
        let text =
            format!("Fail to parse response={response_type}, {encoding}, response_size={response_size}");
        RpcError::new(EREQUEST, text)
    }
}

/// Everything of a reply but its payload, and the size of the attachment.
fn reply(meta: &Meta<'_>) -> (IncomingReply, usize) {
    let response = meta.response.unwrap_or_default();
    let error = if response.error_code != 0 {
        Some(RpcError::new(response.error_code, text(response.error_text)))
    } else if !meta.encoding.is_readable() {
        Some(RpcError::new(EREQUEST, format!("Fail to parse response, {}", meta.encoding)))
    } else {
        None
    };
    let user_fields = meta.user_fields();
    let reply = IncomingReply { error, user_fields, ..IncomingReply::new(meta.correlation_id) };
    (reply, usize::try_from(meta.attachment_size).unwrap_or(0))
}
