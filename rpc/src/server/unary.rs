//! From bytes to a user's function and back: what the generated code of a service calls for each of its methods.

use std::any::Any;
use std::marker::PhantomData;
use std::panic::{self, AssertUnwindSafe};

use iobuf::IoBuf;

use super::call::ServerCall;
use crate::error::{EINTERNAL, RpcError};
use crate::message::{MessageBody, ProtoMessage};

/// Answers a call with what `f` returns for the request in `body`.
///
/// A body that is no `Req` is answered with [`EREQUEST`](crate::error::EREQUEST), and a panic of `f` with
/// [`EINTERNAL`] and the text of the panic.
///
/// *Blocking*: as `f` does.
pub fn unary<Req, Resp>(
    mut call: ServerCall,
    body: IoBuf,
    f: impl FnOnce(&mut ServerCall, Req) -> Result<Resp, RpcError>,
) where
    Req: ProtoMessage,
    Resp: ProtoMessage,
{
    let request = match call.read(body) {
        Ok(request) => request,
        Err(error) => return call.fail(error),
    };
    // What `f` leaves half done is its own; the call is answered and dropped.
    match panic::catch_unwind(AssertUnwindSafe(|| f(&mut call, request))) {
        // Not with `succeed`, which would move the call.
        Ok(Ok(response)) => call.answer(Ok(&MessageBody(&response))),
        Ok(Err(error)) => call.answer(Err(&error)),
        Err(panic) => call.answer(Err(&panicked(&*panic))),
    }
}

/// Hands the request in `body` to `f` with a [`Responder`] to answer it, now or later.
///
/// A body that is no `Req` is answered with [`EREQUEST`](crate::error::EREQUEST). If `f` panics while it has the
/// responder, the call is answered with [`EINTERNAL`]; the panic goes no further.
///
/// *Blocking*: as `f` does.
pub fn unary_async<Req, Resp>(mut call: ServerCall, body: IoBuf, f: impl FnOnce(Req, Responder<Resp>))
where
    Req: ProtoMessage,
    Resp: ProtoMessage,
{
    let request = match call.read(body) {
        Ok(request) => request,
        Err(error) => return call.fail(error),
    };
    let responder = Responder { call, response: PhantomData };
    // The unwinding drops the responder, which answers. What else `f` leaves half done is its own.
    drop(panic::catch_unwind(AssertUnwindSafe(|| f(request, responder))));
}

/// Answers one call of an asynchronous service: keep it, send it anywhere, and [`send`](Self::send) when the answer is
/// there. Dropped without that, it answers with [`EINTERNAL`].
///
/// A server that is joined waits for all responders that are still around.
#[derive(Debug)]
#[must_use = "a dropped responder answers with an error"]
pub struct Responder<T> {
    call: ServerCall,
    response: PhantomData<fn(T)>,
}

impl<T: ProtoMessage> Responder<T> {
    /// What came with the request.
    pub fn call(&self) -> &ServerCall {
        &self.call
    }

    /// What came with the request and goes with the response.
    pub fn call_mut(&mut self) -> &mut ServerCall {
        &mut self.call
    }

    /// Answers. Never blocks.
    pub fn send(self, result: Result<T, RpcError>) {
        let socket = self.call.socket().clone();
        match result {
            Ok(response) => self.call.succeed(&response),
            Err(error) => self.call.fail(error),
        }
        // The sender goes on and may not wait for long, or block its thread.
        socket.send_deferred();
    }
}

fn panicked(panic: &(dyn Any + Send)) -> RpcError {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    RpcError::new(EINTERNAL, format!("The service panicked: {}", text.unwrap_or("(no text)")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_panic_is_told() {
        let caught = |f: fn()| panicked(&*panic::catch_unwind(f).unwrap_err()).to_string();
        assert_eq!(caught(|| panic!("boom")), "[E2001]The service panicked: boom");
        assert_eq!(caught(|| panic!("boom {}", 1)), "[E2001]The service panicked: boom 1");
        assert_eq!(caught(|| panic::panic_any(1)), "[E2001]The service panicked: (no text)");
    }
}
