//! The client's half: request to frame, frame to reply.

use iobuf::IoBuf;
use rpc::error::{EREQUEST, ERESPONSE, RpcError};
use rpc::message::{Body, Encoding};
use rpc::protocol::{ClientSide, Frame, IncomingReply, OutgoingRequest, WireError};
use rpc::span::SpanId;
use rpc::{Limits, MethodDescriptor};

use super::BaiduStd;
use super::body::{self, Summed, Unfit};
use super::codec::{
    Aux, Form, FormToWrite, Kind, Meta, MetaToWrite, Numbers, description, text, write_frame,
};
use super::flags::USE_FULLNAME;

impl ClientSide for BaiduStd {
    fn encode_request(
        &self,
        method: &'static MethodDescriptor,
        body: &dyn Body,
        encoding: Encoding,
    ) -> Result<Option<IoBuf>, RpcError> {
        body::encode(method.schema, method.request_type, encoding, body)
            .map_err(|Unfit| unserializable(method, encoding))
    }

    fn has_generic_calls(&self) -> bool {
        true
    }

    fn write_request(&self, mut request: OutgoingRequest<'_>, out: &mut IoBuf) -> Result<(), RpcError> {
        let (method, encoding) = (request.method, request.encoding);
        if encoding == Encoding::default() {
            let body = request.body;
            return write(request, body, &[], out);
        }
        let mut encoded = IoBuf::new();
        match request.is_encoded {
            true => request.body.append_to(&mut encoded),
            false => match self.encode_request(method, request.body, encoding)? {
                Some(body) => encoded = body,
                None => request.body.append_to(&mut encoded),
            },
        }
        let sum = body::checksum(encoding.checksum, &encoded, &request.attachment);
        let attachment = std::mem::take(&mut request.attachment);
        let request = OutgoingRequest { attachment, ..request };
        write(request, &encoded, sum.as_ref().map_or(&[], |sum| sum), out)
    }

    fn read_reply(&self, mut frame: Frame) -> Result<IncomingReply, WireError> {
        let meta_size = frame.meta_size as usize;
        let (mut aux, mut meta) = (Aux::new(), Meta::default());
        description(&frame.bytes, meta_size, &mut aux)
            .and_then(|bytes| meta.merge(bytes))
            .map_err(|_| WireError::Malformed("RpcMeta cannot be parsed"))?;
        let (mut reply, attachment_size) = reply(&mut meta);
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

    fn decode_reply(
        &self,
        method: &'static MethodDescriptor,
        reply: &mut IncomingReply,
        limits: &Limits,
    ) -> Result<(), RpcError> {
        let (encoding, size) = (reply.encoding, reply.body.len());
        if encoding == Encoding::default() {
            return Ok(());
        }
        let value = reply.extra.take().and_then(|extra| extra.downcast::<ChecksumValue>().ok());
        let value = value.as_ref().map_or(&[][..], |value| &value.0);
        let summed = Summed { attachment: &reply.attachment, value };
        let body = std::mem::take(&mut reply.body);
        reply.body =
            body::decode(method.schema, method.response_type, encoding, body, summed, limits.max_body_size)
                .map_err(|Unfit| self.unreadable_reply(method.response_type, encoding, size))?;
        Ok(())
    }

    /// EREQUEST rather than ERESPONSE, as in brpc (§2.7).
    fn unreadable_reply(&self, response_type: &str, encoding: Encoding, response_size: usize) -> RpcError {
        let form = Form(encoding);
        let text = format!("Fail to parse response={response_type}, {form}, response_size={response_size}");
        RpcError::new(EREQUEST, text)
    }
}

/// What a reply is to be checked with; as it came.
struct ChecksumValue(Vec<u8>);

/// Appends a request with this body to `out`.
fn write(
    request: OutgoingRequest<'_>,
    body: &dyn Body,
    checksum_value: &[u8],
    out: &mut IoBuf,
) -> Result<(), RpcError> {
    let encoding = request.encoding;
    let form = match Numbers::of(encoding) {
        // As brpc does where it has no descriptor.
        Some(numbers) if request.generic.is_some() && !body::has_checksum(encoding) => {
            FormToWrite::Unchecked(numbers)
        }
        Some(numbers) => FormToWrite::Whole(numbers, checksum_value),
        None => return Err(unserializable(request.method, encoding)),
    };
    let timeout_ms = request.timeout.map_or(0, |timeout| {
        // It is an int32, and 0 would be none at all.
        timeout.as_millis().clamp(1, i32::MAX as u128) as u32
    });
    let (service_name, method_name) = match request.generic {
        Some(named) => named,
        None => (request.method.service_name(), request.method.name),
    };
    let meta = MetaToWrite {
        kind: Kind::Request {
            service_name: if USE_FULLNAME.get() { service_name } else { short_name(service_name) },
            method_name,
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
        credential: request.credential,
        streams: request.streams,
        form,
    };
    write_frame(&meta, Some(body), request.attachment, out)
        .map_err(|_| RpcError::new(EREQUEST, "The request is larger than a frame can be"))
}

/// The name of a service without its package.
fn short_name(service_name: &str) -> &str {
    service_name.rsplit('.').next().unwrap_or(service_name)
}

fn unserializable(method: &MethodDescriptor, encoding: Encoding) -> RpcError {
    let (message, form) = (method.request_type, Form(encoding));
    RpcError::new(EREQUEST, format!("Fail to serialize request={message}, {form}"))
}

/// Everything of a reply but its payload, and the size of the attachment.
fn reply(meta: &mut Meta<'_>) -> (IncomingReply, usize) {
    let response = meta.response.unwrap_or_default();
    let has_failed = response.error_code != 0;
    let error = has_failed.then(|| RpcError::new(response.error_code, text(response.error_text)));
    let user_fields = meta.user_fields();
    let (encoding, streams) = (meta.encoding, meta.streams.take());
    let mut reply =
        IncomingReply { error, user_fields, encoding, streams, ..IncomingReply::new(meta.correlation_id) };
    if body::has_checksum(encoding) {
        reply.extra = Some(Box::new(ChecksumValue(meta.checksum_value.to_vec())));
    }
    (reply, usize::try_from(meta.attachment_size).unwrap_or(0))
}
