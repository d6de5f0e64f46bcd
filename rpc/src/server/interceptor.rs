//! What a server asks before it runs a call: the user's own yes or no (`spec/rpc-core.md` §20).
//!
//! Owns the trait and the form of its refusal; the admission decides when it is asked.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::call::ServerCall;
use crate::error::{EINTERNAL, RpcError};

/// What stands before the text of a refusal.
const REFUSED: &str = "Reject by Interceptor: ";

/// Looks at each call before its service does, and may refuse it. Given to
/// [`ServerBuilder::interceptor`](super::ServerBuilder::interceptor); functions of this form are interceptors:
///
/// ```
/// use rpc::{RpcError, ServerCall, error::EREJECT};
///
/// let named = |call: &ServerCall| match call.request_id() {
///     "" => Err(RpcError::new(EREJECT, "Without a request id")),
///     _ => Ok(()),
/// };
/// # fn is_interceptor(_: impl rpc::server::Interceptor) {}
/// # is_interceptor(named);
/// ```
pub trait Interceptor: Send + Sync + 'static {
    /// Whether a call may run. Asked when the limits have let it pass and before its message is decoded; not for debug
    /// pages. The call counts as running, and its refusal as an error of the method.
    ///
    /// *Blocking*: may park the bthread; the call waits for it.
    ///
    /// # Errors
    /// It may not: the caller gets the number, and the text behind `Reject by Interceptor: `.
    fn accept(&self, call: &ServerCall) -> Result<(), RpcError>;
}

impl<F: Fn(&ServerCall) -> Result<(), RpcError> + Send + Sync + 'static> Interceptor for F {
    fn accept(&self, call: &ServerCall) -> Result<(), RpcError> {
        self(call)
    }
}

/// Asks all of them in their order, up to the first that refuses. One that panics has refused.
pub(super) fn ask(interceptors: &[Box<dyn Interceptor>], call: &ServerCall) -> Result<(), RpcError> {
    for interceptor in interceptors {
        // What it leaves half done is its own; the call is answered.
        let said = catch_unwind(AssertUnwindSafe(|| interceptor.accept(call)));
        let error = match said {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error,
            Err(_) => RpcError::new(EINTERNAL, "it panicked"),
        };
        return Err(RpcError::new(error.code(), format!("{REFUSED}{}", error.text())));
    }
    Ok(())
}
