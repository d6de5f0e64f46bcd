//! Says once for all protocols which requests run: the checks of `spec/protocols-baidu.md` §2.6 in their order, the
//! counts, and how a refusal is answered. Reading the body (row 10) is left to whoever knows its type.

use std::sync::Arc;
use std::time::{Duration, Instant};

use iobuf::IoBuf;

use super::call::ServerCall;
use super::congestion::Congestion;
use super::connection::{Origin, ServerConnection};
use super::method::{Method, MethodId, MethodStatus, Target};
use super::rejections::Rejection;
use super::runs_on::{Here, RunsOn};
use super::state::{Permit, Phase, ServerState};
use super::{interceptor, runs_on};
use crate::auth::AuthContext;
use crate::builtin::{self, PageContext, PageId, PageReply};
use crate::error::{ELIMIT, ELOGOFF, ENOCODE, ENOMETHOD, EOVERCROWDED, EREQUEST, ERPCTIMEDOUT, RpcError};
use crate::protocol::{AfterReply, IncomingRequest, OutgoingReply, ReplyToken, ServerSide};
use crate::service::MethodDescriptor;
use crate::socket::{FailOnUnwind, Overcrowded, Socket};
use crate::span::{self, Point, Span};
use crate::stream;
use crate::transport::Endpoint;
use crate::user_fields::UserFields;

/// Runs a request, or answers it with the reason why not. Runs the service in place. Takes out of the request what it
/// needs: a request is large, and is left where it was read.
pub(super) fn admit(
    socket: &Arc<Socket>,
    server: &Arc<ServerState>,
    origin: Origin,
    request: &mut IncomingRequest,
    span: Option<Span>,
    identity: Option<Box<AuthContext>>,
) {
    if let Ok(Target::Page(page)) = request.target {
        return serve_page(socket, server, origin, page, request);
    }
    if let Ok(Target::NoMethod(any)) = request.target {
        server.non_service_errors.add(1);
        return serve_help(socket, server, origin, any, request);
    }
    let admitted = match check(socket, server, origin, request) {
        Ok(admitted) => admitted,
        Err(error) => {
            let called = method_of(server, request);
            if called.is_none() {
                server.non_service_errors.add(1);
            }
            let token = std::mem::take(&mut request.token);
            let (refusal, after) =
                error_reply(socket, server, origin.side, token, called, &error, IoBuf::new());
            if let Some(span) = span {
                span.set_error(&error);
                span.set_response_size(refusal.len());
                span.reach(Point::Serialised);
            }
            let offered = request.extras.take().and_then(|extras| extras.streams);
            socket.write_refusal(match &offered {
                None => refusal,
                Some(offered) => stream::wrap_refusal(socket, offered, refusal),
            });
            return answered(socket, origin, after);
        }
    };
    let body_size = request.payload.len() - attachment_size(request);
    let body = request.payload.cut(body_size);
    let id = admitted.method;
    // As with brpc, the service that takes everything is not asked about.
    let is_master = matches!(request.target, Ok(Target::Master(_)));
    let interceptors = if is_master { &[][..] } else { &server.interceptors };
    let method = server.methods.method(id);
    if identity.is_none() && interceptors.is_empty() && method.runs_on == RunsOn::Connection {
        let request_id = request.info.rare.as_ref().map_or("", |rare| &rare.request_id);
        let _here = Here::enter(server, span.as_ref(), admitted.deadline, request.info.log_id, request_id);
        // Made where it is handed over: moving it would take as long as half of its making.
        let call = ServerCall::new(socket.clone(), origin, request, admitted, span);
        return method.service.call(method.index, call, body);
    }
    let mut call = ServerCall::new(socket.clone(), origin, request, admitted, span);
    if let Some(identity) = identity {
        call.call_extras_mut().auth_context = Some(identity);
    }
    match interceptor::ask(interceptors, &call) {
        Ok(()) => runs_on::run(server, id, call, body),
        Err(error) => call.fail(error),
    }
}

/// Answers a request of a peer that is not let in, and ends its connection.
pub(super) fn refuse_peer(socket: &Arc<Socket>, origin: Origin, token: ReplyToken, error: &RpcError) {
    let fields = UserFields::default();
    let outcome = Err((error.code(), error.text()));
    let reply = OutgoingReply { is_auth_failure: true, ..OutgoingReply::new(None, outcome, &fields) };
    let mut out = IoBuf::new();
    let _guard = FailOnUnwind(socket);
    let _ = origin.side.write_reply(token, reply, &mut out); // it ends here, whatever the protocol would do
    socket.write_refusal(out);
    socket.close_when_written();
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
    request: &mut IncomingRequest,
) {
    let Some(asked) = request.page.take() else { return without_a_question(socket) };
    let _guard = FailOnUnwind(socket);
    let reply = builtin::serve(page, &page_context(socket, server, &identity(server, socket)), &asked);
    answer_with_page(socket, origin, std::mem::take(&mut request.token), reply);
}

/// Lists the methods of a service, or says that there is none.
fn serve_help(
    socket: &Arc<Socket>,
    server: &Arc<ServerState>,
    origin: Origin,
    any: MethodId,
    request: &mut IncomingRequest,
) {
    let token = std::mem::take(&mut request.token);
    let Some(asked) = request.page.take() else { return without_a_question(socket) };
    let _guard = FailOnUnwind(socket);
    let local = identity(server, socket);
    let context = page_context(socket, server, &local);
    if context.may_read(&asked).is_ok() {
        let service = server.methods.method(any).service.descriptor();
        let reply = builtin::bad_method(&context, &asked, service, &asked.rest);
        return answer_with_page(socket, origin, token, reply);
    }
    let error = RpcError::new(ENOMETHOD, "Fail to find method");
    let (refusal, after) = error_reply(socket, server, origin.side, token, None, &error, IoBuf::new());
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
        Ok(Target::Method(id) | Target::Master(id)) => Some(server.methods.method(id).descriptor),
        _ => None,
    }
}

/// What is decided about a request that runs. The call counts as running.
pub(super) struct Admitted {
    pub(super) method: MethodId,
    pub(super) permit: Permit,
    /// When its caller stops waiting, if it said so.
    pub(super) deadline: Option<Instant>,
    /// When it began to run; looked at where there is a deadline or a limit.
    pub(super) started: Option<Instant>,
}

/// Why a request does not run, and what is counted for it, if that is not an error of its own.
struct Refused(RpcError, Option<Rejection>);

impl From<RpcError> for Refused {
    fn from(error: RpcError) -> Self {
        Refused(error, None)
    }
}

/// Rows 1 to 8.
fn check(
    socket: &Socket,
    server: &ServerState,
    origin: Origin,
    request: &IncomingRequest,
) -> Result<Admitted, RpcError> {
    check_all(socket, server, origin, request).map_err(|Refused(error, why)| {
        if let Some(why) = why {
            server.rejections.count(why);
        }
        error
    })
}

fn check_all(
    socket: &Socket,
    server: &ServerState,
    origin: Origin,
    request: &IncomingRequest,
) -> Result<Admitted, Refused> {
    match server.phase() {
        Phase::Serving => {}
        Phase::Starting => {
            let error = RpcError::new(ELOGOFF, "Server is not ready");
            return Err(Refused(error, Some(Rejection::Stopping)));
        }
        Phase::Stopping => return Err(stopping()),
    }
    let permit = server.take_permit().map_err(|max| {
        let error = RpcError::new(ELIMIT, format!("Reached server's max_concurrency={max}"));
        Refused(error, Some(Rejection::ServerLimit))
    })?;
    check_with_permit(socket, server, origin, permit, request).inspect_err(|_| server.return_permit(permit))
}

fn check_with_permit(
    socket: &Socket,
    server: &ServerState,
    origin: Origin,
    permit: Permit,
    request: &IncomingRequest,
) -> Result<Admitted, Refused> {
    let attachment_size = attachment_size(request);
    if attachment_size > request.payload.len() {
        let size = request.payload.len();
        let text = format!("attachment_size={attachment_size} is larger than request_size={size}");
        return Err(RpcError::new(EREQUEST, text).into());
    }
    let (Target::Method(id) | Target::Master(id)) = request.target.clone()? else {
        return Err(RpcError::internal("A page was taken for a method").into());
    };
    let method = server.methods.method(id);
    let started = check_method(socket, server, origin, method, request.timeout)
        .inspect_err(|_| method.status.count_error())?;
    let deadline = request.timeout.and_then(|timeout| origin.received.checked_add(timeout));
    Ok(Admitted { method: id, permit, deadline, started })
}

/// With `Ok`, the call counts as running; since when, if its caller says how long it waits.
fn check_method(
    socket: &Socket,
    server: &ServerState,
    origin: Origin,
    method: &Method,
    timeout: Option<Duration>,
) -> Result<Option<Instant>, Refused> {
    if socket.is_overcrowded() && !method.ignores_eovercrowded {
        let error = RpcError::new(EOVERCROWDED, format!("Connection to {} is overcrowded", socket.remote()));
        return Err(Refused(error, Some(Rejection::Overcrowded)));
    }
    // Who says nothing of how long he waits, and calls a method without a limit, gets his answer whenever that is.
    let is_timed = timeout.is_some() || method.limit.is_some();
    let started = is_timed
        .then(|| check_wait(origin.received, &server.congestion, &method.status, timeout))
        .transpose()?;
    method.status.enter();
    let refusal = if server.is_stopping() {
        // Once more, now that whoever waits for running calls would wait for this one.
        stopping()
    } else if let Some(Err((concurrency, exceeded))) = method.limit.as_ref().map(|limit| limit.enter(timeout))
    {
        let name = method.descriptor.full_name;
        match exceeded {
            Some(exceeded) => {
                let text =
                    format!("Rejected by {name}'s ConcurrencyLimiter, concurrency={concurrency}, {exceeded}");
                Refused(RpcError::new(ELIMIT, text), Some(Rejection::MethodLimit))
            }
            None => RpcError::internal(format!("{name}'s ConcurrencyLimiter panicked")).into(),
        }
    } else {
        return Ok(started);
    };
    leave(server, method);
    Err(refusal)
}

/// Dead work is not begun: the answer to a request that has waited here for so long would come too late. Under more load
/// than there is time for, all that is run would be late otherwise.
fn check_wait(
    received: Instant,
    congestion: &Congestion,
    status: &MethodStatus,
    timeout: Option<Duration>,
) -> Result<Instant, Refused> {
    let now = bthread::clock::now();
    let waited = now.saturating_duration_since(received);
    congestion.note(waited, now);
    let run = status.fast_run();
    if let Some(timeout) = timeout {
        let left = timeout.saturating_sub(waited);
        // One that has hardly waited is run whatever the estimate says, so that a wrong one is mended.
        if left.is_zero() || (left <= run && waited >= timeout / 2) {
            let text =
                format!("Not run: {}us of timeout={}us are over", waited.as_micros(), timeout.as_micros());
            return Err(Refused(RpcError::new(ERPCTIMEDOUT, text), Some(Rejection::Expired)));
        }
    }
    if let Some(max) = congestion.wait_max(run, timeout)
        && waited > max
    {
        let text = format!("Server is congested: waited {}us, max={}us", waited.as_micros(), max.as_micros());
        return Err(Refused(RpcError::new(ELIMIT, text), Some(Rejection::Congestion)));
    }
    Ok(now)
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
    let text = text_on_the_wire(&shown_identity(server, socket), &RpcError::new(code, error.text()));
    let fields = UserFields::default();
    let reply = OutgoingReply { attachment, ..OutgoingReply::new(method, Err((code, &text)), &fields) };
    let mut out = IoBuf::new();
    let after = side.write_reply(token, reply, &mut out);
    (out, after)
}

fn attachment_size(request: &IncomingRequest) -> usize {
    usize::try_from(request.attachment_size).unwrap_or(0)
}

fn stopping() -> Refused {
    Refused(RpcError::new(ELOGOFF, "Server is stopping"), Some(Rejection::Stopping))
}

/// Which server speaks: the address that the peer has reached, with the port that the server listens on.
fn identity(server: &ServerState, socket: &Socket) -> Endpoint {
    let is_internal = socket.owner::<ServerConnection>().is_internal;
    match (&server.local, socket.local()) {
        // Pages lead people to the port for everybody.
        (Endpoint::Tcp(listening), Endpoint::Tcp(reached)) if is_internal => {
            Endpoint::Tcp((reached.ip().to_canonical(), listening.port()).into())
        }
        (listening, _) if is_internal => listening.clone(),
        (_, Endpoint::Tcp(reached)) => Endpoint::Tcp((reached.ip().to_canonical(), reached.port()).into()),
        (_, reached) => reached.clone(),
    }
}

/// Which server speaks, as its callers are told: not by its address if those who run it are to be told alone what it
/// shows of itself.
fn shown_identity(server: &ServerState, socket: &Socket) -> String {
    let identity = identity(server, socket).to_string();
    if server.internal.is_some() || server.pages.is_off() { hidden(&identity) } else { identity }
}

/// As brpc hides an address: the MD5 of it, the low half of each byte before the high one.
fn hidden(identity: &str) -> String {
    md5::compute(identity).iter().map(|byte| format!("{:02X}", byte.rotate_left(4))).collect()
}

/// Puts server and number in front of a text (`spec/protocols-baidu.md` §0.9).
fn text_on_the_wire(server: &str, error: &RpcError) -> String {
    match error.code() {
        ENOCODE => format!("[{server}]{}", error.text()),
        code => format!("[{server}][E{code}]{}", error.text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_would_be_late_is_not_begun() {
        let (status, ms) = (MethodStatus::new(), Duration::from_millis);
        let check = |waited, timeout| {
            check_wait(Instant::now() - waited, &Congestion::new(Instant::now()), &status, Some(timeout))
                .is_ok()
        };
        assert!(check(ms(0), ms(60_000)) && check(ms(30_000), ms(60_000)));
        assert!(!check(ms(100), ms(100)) && !check(ms(200), ms(100)), "late already");
        status.measure_run(ms(20_000));
        assert!(check(ms(30_000), ms(60_000)));
        assert!(!check(ms(50_000), ms(60_000)), "late when it has run");
        assert!(check(ms(0), ms(10_000)), "it has not waited: perhaps the others were slow ones");
        assert!(!check(ms(9_000), ms(10_000)));
    }

    #[test]
    fn the_estimate_of_a_run_stays_with_the_fast_ones() {
        let (status, us) = (MethodStatus::new(), Duration::from_micros);
        for _ in 0..1000 {
            (0..4).for_each(|_| status.measure_run(us(100)));
            status.measure_run(us(5_000));
        }
        assert!((us(50)..us(500)).contains(&status.fast_run()), "{:?}", status.fast_run());
    }

    #[test]
    fn error_texts_say_which_server_speaks() {
        let server = "127.0.0.1:9301";
        assert_eq!(text_on_the_wire(server, &RpcError::new(1234, "boom")), "[127.0.0.1:9301][E1234]boom");
        assert_eq!(text_on_the_wire(server, &RpcError::uncoded("boom")), "[127.0.0.1:9301]boom");
        assert_eq!(hidden("127.0.0.1:9315"), "55FC4B1D0C8BA930BC6F40D491965C99");
    }
}
