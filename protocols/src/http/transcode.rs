//! Messages in the forms that HTTP bodies have them in, to protobuf and back.

use std::borrow::Cow;

use iobuf::IoBuf;
use rpc::MethodDescriptor;
use rpc::error::{EREQUEST, ERESPONSE, ErrorCode, RpcError};
use rpc::json::{self, JsonError, JsonOptions};
use rpc::schema::Schema;

use super::content::Content;

/// Messages up to this size are copied rather than shared.
const COPIED_MAX: usize = 512;

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
    options: JsonOptions,
    body: IoBuf,
) -> Result<IoBuf, RpcError> {
    read(method.schema, method.request_type, content, options, body, EREQUEST)
}

/// Makes protobuf of the response message in `body`, at the client.
pub(super) fn reply(method: &MethodDescriptor, content: Content, body: IoBuf) -> Result<IoBuf, RpcError> {
    read(method.schema, method.response_type, content, JsonOptions::default(), body, ERESPONSE)
}

fn read(
    schema: &Schema,
    message: &str,
    content: Content,
    options: JsonOptions,
    body: IoBuf,
    code: ErrorCode,
) -> Result<IoBuf, RpcError> {
    let wire = match content {
        Content::Proto => return Ok(body),
        Content::Json => {
            json::json_to_proto(schema, message, &contiguous(&body), &options).map(|(wire, _)| wire)
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
    options: JsonOptions,
    wire: IoBuf,
) -> Result<IoBuf, RpcError> {
    write(method.schema, method.response_type, content, options, wire, ERESPONSE)
}

/// Makes a body of the request message in `wire`, at the client.
pub(super) fn call(method: &MethodDescriptor, content: Content, wire: IoBuf) -> Result<IoBuf, RpcError> {
    write(method.schema, method.request_type, content, JsonOptions::default(), wire, EREQUEST)
}

fn write(
    schema: &Schema,
    message: &str,
    content: Content,
    options: JsonOptions,
    wire: IoBuf,
    code: ErrorCode,
) -> Result<IoBuf, RpcError> {
    let written = match content {
        Content::Proto => return Ok(wire),
        Content::Json => text(&wire, |bytes, out| json::proto_to_json(schema, message, bytes, &options, out)),
        Content::ProtoJson => {
            text(&wire, |bytes, out| json::proto_to_proto_json(schema, message, bytes, out))
        }
        Content::ProtoText => text(&wire, |bytes, out| json::proto_to_text(schema, message, bytes, out)),
    };
    written.map(buffer).map_err(|error| {
        RpcError::new(code, format!("Fail to write {message} as {}: {error}", content.name()))
    })
}

/// What `print` makes of the message.
fn text(
    wire: &IoBuf,
    print: impl FnOnce(&[u8], &mut Vec<u8>) -> Result<(), JsonError>,
) -> Result<Vec<u8>, JsonError> {
    let mut out = Vec::with_capacity(wire.len() * 2);
    print(&contiguous(wire), &mut out).map(|()| out)
}
