//! Messages in the forms that HTTP bodies have them in, to protobuf and back.

use std::borrow::Cow;

use iobuf::IoBuf;
use rpc::MethodDescriptor;
use rpc::error::{EREQUEST, ERESPONSE, RpcError};
use rpc::json::{self, JsonError, JsonOptions};

use super::content::Content;
use super::state::BodyOptions;

fn options(chosen: BodyOptions) -> JsonOptions {
    let mut options = JsonOptions::default();
    options.bytes_to_base64 = chosen.bytes_to_base64;
    options.single_repeated_to_array = chosen.single_repeated_to_array;
    options.jsonify_empty_array = chosen.jsonify_empty_array;
    options.always_print_primitive_fields = chosen.always_print_primitive_fields;
    options
}

/// The bytes in one slice.
fn contiguous(body: &IoBuf) -> Cow<'_, [u8]> {
    let front = body.front();
    if front.len() == body.len() { front.into() } else { body.to_vec().into() }
}

/// Makes protobuf of the request message in `body`.
pub(super) fn request(
    method: &MethodDescriptor,
    content: Content,
    chosen: BodyOptions,
    body: IoBuf,
) -> Result<IoBuf, RpcError> {
    let (schema, message) = (method.schema, method.request_type);
    let unreadable = |error: JsonError| {
        let kind = content.name();
        RpcError::new(EREQUEST, format!("Fail to parse http {kind} body as {message}: {error}"))
    };
    match content {
        Content::Proto => Ok(body),
        Content::Json => {
            let (wire, _) = json::json_to_proto(schema, message, &contiguous(&body), &options(chosen))
                .map_err(unreadable)?;
            Ok(wire.into())
        }
        Content::ProtoJson => {
            json::proto_json_to_proto(schema, message, &contiguous(&body)).map(Into::into).map_err(unreadable)
        }
        Content::ProtoText => {
            json::text_to_proto(schema, message, &contiguous(&body)).map(Into::into).map_err(unreadable)
        }
    }
}

/// Makes a body of the response message in `wire`.
pub(super) fn response(
    method: &MethodDescriptor,
    content: Content,
    chosen: BodyOptions,
    wire: IoBuf,
) -> Result<IoBuf, RpcError> {
    let (schema, message) = (method.schema, method.response_type);
    let bytes = contiguous(&wire);
    let mut out = Vec::with_capacity(bytes.len() * 2);
    let written = match content {
        Content::Proto => return Ok(wire),
        Content::Json => json::proto_to_json(schema, message, &bytes, &options(chosen), &mut out),
        Content::ProtoJson => json::proto_to_proto_json(schema, message, &bytes, &mut out),
        Content::ProtoText => json::proto_to_text(schema, message, &bytes, &mut out),
    };
    written.map(|()| out.into()).map_err(|error| {
        RpcError::new(ERESPONSE, format!("Fail to write {message} as {}: {error}", content.name()))
    })
}
