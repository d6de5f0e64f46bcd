//! The client's half: request to frame, frame to reply.

use iobuf::IoBuf;
use rpc::error::{EREQUEST, ERESPONSE, RpcError};
use rpc::protocol::{ClientSide, Frame, IncomingReply, OutgoingRequest, WireError};

use super::BaiduStd;
use super::codec::{Encoding, FrameWriter, Meta, MetaFields, text, with_meta};

impl ClientSide for BaiduStd {
    fn write_request(&self, request: OutgoingRequest<'_>, out: &mut IoBuf) -> Result<(), RpcError> {
        let timeout_ms = request.timeout.map_or(0, |timeout| {
            i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
        });
        let mut writer = FrameWriter::new();
        writer.request(
            request.method.service_name(),
            request.method.name,
            request.log_id,
            request.request_id,
            timeout_ms,
        );
        let fields = MetaFields {
            correlation_id: request.correlation_id,
            user_fields: request.user_fields,
            checksum_value: &[],
        };
        writer
            .finish(fields, Some(request.body), request.attachment, out)
            .map_err(|_| RpcError::new(EREQUEST, "The request is larger than a frame can be"))
    }

    fn read_reply(&self, mut frame: Frame) -> Result<IncomingReply, WireError> {
        let meta_size = frame.meta_size as usize;
        let read = with_meta(&frame.bytes, meta_size, |meta| reply(&meta));
        let (mut reply, attachment_size) =
            read.map_err(|_| WireError::Malformed("RpcMeta cannot be parsed"))?;
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
        Some(RpcError::new(
            EREQUEST,
            format!("Fail to parse response, {}", meta.encoding),
        ))
    } else {
        None
    };
    let reply = IncomingReply {
        correlation_id: meta.correlation_id,
        error,
        body: IoBuf::new(),
        attachment: IoBuf::new(),
        user_fields: meta.user_fields(),
    };
    (reply, usize::try_from(meta.attachment_size).unwrap_or(0))
}
