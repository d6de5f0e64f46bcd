//! Says once for all protocols which requests run: the checks of `spec/protocols-baidu.md` §2.6 in their order, the
//! counts, and how a refusal is answered. Reading the body (row 10) is left to whoever knows its type.

use std::sync::Arc;

use iobuf::IoBuf;

use super::call::ServerCall;
use super::connection::{Origin, ServerConnection};
use super::method::{Limit, Method, MethodId, Target};
use super::state::ServerState;
use crate::builtin::{self, PageContext, PageId, PageReply};
use crate::error::{ELIMIT, ELOGOFF, ENOCODE, ENOMETHOD, EOVERCROWDED, EREQUEST, RpcError};
use crate::protocol::{AfterReply, IncomingRequest, OutgoingReply, ReplyToken, ServerSide};
use crate::service::MethodDescriptor;
use crate::socket::{FailOnUnwind, Overcrowded, Socket};
use crate::span::{self, Point, Span};
use crate::stream;
use crate::transport::Endpoint;
use crate::user_fields::UserFields;

/// Runs a request, or answers it with the reason why not. Runs the service in place.
pub(super) fn admit(
    socket: &Arc<Socket>,
    server: &Arc<ServerState>,
    origin: Origin,
    mut request: IncomingRequest,
    span: Option<Span>,
) {
    if let Ok(Target::Page(page)) = request.target {
        return serve_page(socket, server, origin, page, request);
    }
    if let Ok(Target::NoMethod(any)) = request.target {
        server.non_service_errors.add(1);
        return serve_help(socket, server, origin, any, request);
    }
    let method = match check(socket, server, &request) {
        Ok(method) => method,
        Err(error) => {
            let called = method_of(server, &request);
            if called.is_none() {
                server.non_service_errors.add(1);
            }
            let (refusal, after) =
                error_reply(socket, server, origin.side, request.token, called, &error, IoBuf::new());
            if let Some(span) = span {
                span.set_error(&error);
                span.set_response_size(refusal.len());
                span.reach(Point::Serialised);
            }
            let offered = request.extras.and_then(|extras| extras.streams);
            socket.write_refusal(match &offered {
                None => refusal,
                Some(offered) => stream::wrap_refusal(socket, offered, refusal),
            });
            return answered(socket, origin, after);
        }
    };
    let body_size = request.payload.len() - attachment_size(&request);
    let body = request.payload.cut(body_size);
    let running = span.as_ref().map(Span::run);
    let call = ServerCall::new(socket.clone(), origin, method, request, span);
    let method = server.methods.method(method);
    method.service.call(method.index, call, body);
    drop(running);
}

/// What the span of a request begins with.
pub(super) fn traced<'a>(
    socket: &'a Socket,
    server: &ServerState,
    request: &'a IncomingRequest,
    protocol: &'static str,
    request_size: usize,
) -> span::Request<'a> {
    span::Request {
        method: method_of(server, request).map_or("", |method| method.full_name),
        remote: socket.remote(),
        protocol,
        log_id: request.info.log_id,
        request_id: request.info.rare.as_ref().map_or("", |rare| &rare.request_id),
        request_size,
    }
}

fn serve_page(
    socket: &Arc<Socket>,
    server: &Arc<ServerState>,
    origin: Origin,
    page: PageId,
    request: IncomingRequest,
) {
    let Some(asked) = request.page else { return without_a_question(socket) };
    let _guard = FailOnUnwind(socket);
    let reply = builtin::serve(page, &page_context(socket, server, &identity(server, socket)), &asked);
    answer_with_page(socket, origin, request.token, reply);
}

/// Lists the methods of a service, or says that there is none.
fn serve_help(
    socket: &Arc<Socket>,
    server: &Arc<ServerState>,
    origin: Origin,
    any: MethodId,
    request: IncomingRequest,
) {
    let Some(asked) = request.page else { return without_a_question(socket) };
    let _guard = FailOnUnwind(socket);
    let local = identity(server, socket);
    let context = page_context(socket, server, &local);
    if context.may_read(&asked).is_ok() {
        let service = server.methods.method(any).service.descriptor();
        let reply = builtin::bad_method(&context, &asked, service, &asked.rest);
        return answer_with_page(socket, origin, request.token, reply);
    }
    let error = RpcError::new(ENOMETHOD, "Fail to find method");
    let (refusal, after) =
        error_reply(socket, server, origin.side, request.token, None, &error, IoBuf::new());
    socket.write_refusal(refusal);
    answered(socket, origin, after);
}

fn page_context<'a>(
    socket: &'a Arc<Socket>,
    server: &'a Arc<ServerState>,
    local: &'a Endpoint,
) -> PageContext<'a> {
    PageContext {
        server: &**server,
        remote: socket.remote(),
        local,
        is_internal: socket.owner::<ServerConnection>().is_internal,
    }
}

fn answer_with_page(socket: &Arc<Socket>, origin: Origin, token: ReplyToken, page: PageReply) {
    let mut out = IoBuf::new();
    let after = origin.side.write_page(token, page, &mut out);
    let _ = socket.write(out, Overcrowded::Ignore); // nobody is there any more to be told
    answered(socket, origin, after);
}

fn without_a_question(socket: &Arc<Socket>) {
    socket.set_failed(RpcError::internal("A request for a page does not say what it asks"));
}

/// A request is answered, all in one.
pub(super) fn answered(socket: &Arc<Socket>, origin: Origin, after: AfterReply) {
    if origin.is_serial {
        socket.answered(after);
    } else if after == AfterReply::Close {
        socket.close_when_written();
    }
}

fn method_of(server: &ServerState, request: &IncomingRequest) -> Option<&'static MethodDescriptor> {
    match request.target {
        Ok(Target::Method(id)) => Some(server.methods.method(id).descriptor),
        _ => None,
    }
}

/// Rows 1 to 8. With `Ok`, the call counts as running.
fn check(socket: &Socket, server: &ServerState, request: &IncomingRequest) -> Result<MethodId, RpcError> {
    if server.is_stopping() {
        return Err(stopping());
    }
    if !server.take_permit() {
        let text = format!("Reached server's max_concurrency={}", server.max_concurrency);
        return Err(RpcError::new(ELIMIT, text));
    }
    check_with_permit(socket, server, request).inspect_err(|_| server.return_permit())
}

fn check_with_permit(
    socket: &Socket,
    server: &ServerState,
    request: &IncomingRequest,
) -> Result<MethodId, RpcError> {
    let attachment_size = attachment_size(request);
    if attachment_size > request.payload.len() {
        let size = request.payload.len();
        let text = format!("attachment_size={attachment_size} is larger than request_size={size}");
        return Err(RpcError::new(EREQUEST, text));
    }
    let Target::Method(id) = request.target.clone()? else {
        return Err(RpcError::internal("A page was taken for a method"));
    };
    let method = server.methods.method(id);
    check_method(socket, server, method).inspect_err(|_| method.status.count_error())?;
    Ok(id)
}

fn check_method(socket: &Socket, server: &ServerState, method: &Method) -> Result<(), RpcError> {
    if socket.is_overcrowded() {
        return Err(RpcError::new(EOVERCROWDED, format!("Connection to {} is overcrowded", socket.remote())));
    }
    method.status.enter();
    let refusal = if server.is_stopping() {
        // Once more, now that whoever waits for running calls would wait for this one.
        stopping()
    } else if let Some(Err(concurrency)) = method.limit.as_ref().map(Limit::enter) {
        let name = method.descriptor.full_name;
        RpcError::new(ELIMIT, format!("Rejected by {name}'s ConcurrencyLimiter, concurrency={concurrency}"))
    } else {
        return Ok(());
    };
    leave(server, method);
    Err(refusal)
}

/// A call of this method runs no more; its answer is queued.
pub(super) fn leave(server: &ServerState, method: &Method) {
    if method.status.leave() == 0 {
        server.one_less();
    }
}

/// The answer to a request that does not run, or has failed.
pub(super) fn error_reply(
    socket: &Socket,
    server: &ServerState,
    side: &dyn ServerSide,
    token: ReplyToken,
    method: Option<&'static MethodDescriptor>,
    error: &RpcError,
    attachment: IoBuf,
) -> (IoBuf, AfterReply) {
    let code = if error.code() == 0 { ENOCODE } else { error.code() };
    let text = text_on_the_wire(&identity(server, socket), &RpcError::new(code, error.text()));
    let fields = UserFields::default();
    let reply = OutgoingReply { attachment, ..OutgoingReply::new(method, Err((code, &text)), &fields) };
    let mut out = IoBuf::new();
    let after = side.write_reply(token, reply, &mut out);
    (out, after)
}

fn attachment_size(request: &IncomingRequest) -> usize {
    usize::try_from(request.attachment_size).unwrap_or(0)
}

fn stopping() -> RpcError {
    RpcError::new(ELOGOFF, "Server is stopping")
}

/// Which server speaks: the address that the peer has reached, with the port that the server listens on.
fn identity(server: &ServerState, socket: &Socket) -> Endpoint {
    match (&server.local, socket.local()) {
        (Endpoint::Tcp(listening), Endpoint::Tcp(reached)) => {
            Endpoint::Tcp((reached.ip().to_canonical(), listening.port()).into())
        }
        (listening, _) => listening.clone(),
    }
}

/// Puts server and number in front of a text (`spec/protocols-baidu.md` §0.9).
fn text_on_the_wire(server: &Endpoint, error: &RpcError) -> String {
    match error.code() {
        ENOCODE => format!("[{server}]{}", error.text()),
        code => format!("[{server}][E{code}]{}", error.text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_texts_say_which_server_speaks() {
        let server = Endpoint::resolve("127.0.0.1:9301").unwrap();
        assert_eq!(text_on_the_wire(&server, &RpcError::new(1234, "boom")), "[127.0.0.1:9301][E1234]boom");
        assert_eq!(text_on_the_wire(&server, &RpcError::uncoded("boom")), "[127.0.0.1:9301]boom");
    }
}
