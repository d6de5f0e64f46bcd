//! Messages in the forms that HTTP bodies have them in, to protobuf and back: [`rpc::json`] with the words that errors
//! have for it here.

use iobuf::IoBuf;
use rpc::MethodDescriptor;
use rpc::error::{EREQUEST, ERESPONSE, ErrorCode, RpcError};
use rpc::json::{JsonOptions, content_to_proto, proto_to_content};
use rpc::schema::Schema;

use super::content::Content;

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
    content_to_proto(schema, message, content.form(), &options, body).map_err(|error| {
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
    proto_to_content(schema, message, content.form(), &options, wire).map_err(|error| {
        RpcError::new(code, format!("Fail to write {message} as {}: {error}", content.name()))
    })
}
