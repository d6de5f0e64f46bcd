//! Messages in the forms that HTTP bodies have them in, to protobuf and back.

use std::borrow::Cow;

use iobuf::IoBuf;
use rpc::MethodDescriptor;
use rpc::error::{EREQUEST, ERESPONSE, ErrorCode, RpcError};
use rpc::json::{self, JsonOptions};
use rpc::schema::Schema;

use super::content::Content;
use super::state::BodyOptions;

/// Messages up to this size are copied rather than shared.
const COPIED_MAX: usize = 512;

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

/// The bytes as a buffer: few are copied into a block that is there, which costs less than a block of their own.
fn buffer(bytes: Vec<u8>) -> IoBuf {
    if bytes.len() <= COPIED_MAX { IoBuf::from(bytes.as_slice()) } else { bytes.into() }
}

/// Makes protobuf of the request message in `body`.
pub(super) fn request(
    method: &MethodDescriptor,
    content: Content,
    chosen: BodyOptions,
    body: IoBuf,
) -> Result<IoBuf, RpcError> {
    read(method.schema, method.request_type, content, chosen, body, EREQUEST)
}

/// Makes protobuf of the response message in `body`, at the client.
pub(super) fn reply(method: &MethodDescriptor, content: Content, body: IoBuf) -> Result<IoBuf, RpcError> {
    read(method.schema, method.response_type, content, BodyOptions::default(), body, ERESPONSE)
}

fn read(
    schema: &Schema,
    message: &str,
    content: Content,
    chosen: BodyOptions,
    body: IoBuf,
    code: ErrorCode,
) -> Result<IoBuf, RpcError> {
    let wire = match content {
        Content::Proto => return Ok(body),
        Content::Json => {
            json::json_to_proto(schema, message, &contiguous(&body), &options(chosen)).map(|(wire, _)| wire)
        }
        Content::ProtoJson => json::proto_json_to_proto(schema, message, &contiguous(&body)),
        Content::ProtoText => json::text_to_proto(schema, message, &contiguous(&body)),
    };
    wire.map(buffer).map_err(|error| {
        let kind = content.name();
        RpcError::new(code, format!("Fail to parse http {kind} body as {message}: {error}"))
    })
}

/// Makes a body of the response message in `wire`.
pub(super) fn response(
    method: &MethodDescriptor,
    content: Content,
    chosen: BodyOptions,
    wire: IoBuf,
) -> Result<IoBuf, RpcError> {
    write(method.schema, method.response_type, content, chosen, wire, ERESPONSE)
}

/// Makes a body of the request message in `wire`, at the client.
pub(super) fn call(method: &MethodDescriptor, content: Content, wire: IoBuf) -> Result<IoBuf, RpcError> {
    write(method.schema, method.request_type, content, BodyOptions::default(), wire, EREQUEST)
}

fn write(
    schema: &Schema,
    message: &str,
    content: Content,
    chosen: BodyOptions,
    wire: IoBuf,
    code: ErrorCode,
) -> Result<IoBuf, RpcError> {
    let bytes = contiguous(&wire);
    let mut out = Vec::with_capacity(bytes.len() * 2);
    let written = match content {
        Content::Proto => return Ok(wire),
        Content::Json => json::proto_to_json(schema, message, &bytes, &options(chosen), &mut out),
        Content::ProtoJson => json::proto_to_proto_json(schema, message, &bytes, &mut out),
        Content::ProtoText => json::proto_to_text(schema, message, &bytes, &mut out),
    };
    written.map(|()| buffer(out)).map_err(|error| {
        RpcError::new(code, format!("Fail to write {message} as {}: {error}", content.name()))
    })
}
