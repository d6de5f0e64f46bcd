//! Who a caller is, over HTTP: the credential is the `Authorization` field, as it stands there
//! (`spec/protocols-http.md` §10).
//!
//! Owns where it is found and written, and the answer to those who are not let in.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use iobuf::IoBuf;
use rpc::error::{EREQUEST, ErrorCode, RpcError};
use rpc::protocol::{AfterReply, RequestExtras};
use rpc::server::Routes;

use super::codec::HeadWriter;
use super::reply::{Body, Response};
use super::state::HttpState;

/// What the caller identifies itself with, for servers that ask.
pub(super) fn read(state: &HttpState, routes: &Routes<'_>) -> Option<Box<RequestExtras>> {
    if !routes.wants_credential() {
        return None;
    }
    let credential = state.head.fields.get("authorization")?.to_vec();
    Some(Box::new(RequestExtras { credential: Some(credential), ..RequestExtras::default() }))
}

/// Writes a channel's credential, unless the caller has written one.
pub(super) fn write(
    credential: Option<&[u8]>,
    given: &HeaderMap,
    head: &mut HeadWriter,
) -> Result<(), RpcError> {
    let Some(credential) = credential.filter(|_| !given.contains_key(AUTHORIZATION)) else { return Ok(()) };
    let value = HeaderValue::from_bytes(credential)
        .map_err(|_| RpcError::new(EREQUEST, "The credential cannot be sent in a header"))?;
    head.header(&AUTHORIZATION, &value);
    Ok(())
}

/// The answer to those who are not let in. Nothing follows it, whatever was asked for.
pub(super) fn refuse(mut state: HttpState, code: ErrorCode, text: &str, out: &mut IoBuf) -> AfterReply {
    state.head.is_persistent = false;
    let number = code.to_string();
    let response = Response {
        status: StatusCode::FORBIDDEN,
        content_type: Some(b"text/plain"),
        fields: None,
        // The text may quote the request: no browser is to find markup in it.
        more: &[("x-bd-error-code", &number), ("x-content-type-options", "nosniff")],
        compress: false,
        body: Body::Whole(IoBuf::from(format!("[{number}]{text}"))),
    };
    response.write(&state.head, out)
}
