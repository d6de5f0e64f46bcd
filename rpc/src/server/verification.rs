//! Who is let in: one verdict for each connection, by the first call on it (`spec/rpc-core.md` §2.5, §20), or one for
//! each call where the server wants that.
//!
//! Owns that no call is looked at before the verdict, however many of them came in one read and whoever runs them. How
//! a refusal looks on the wire is the protocol's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use bthread::sync::OnceLock;

use crate::auth::{AuthContext, Authenticator};
use crate::error::{EINTERNAL, ERPCAUTH, RpcError};
use crate::protocol::IncomingRequest;
use crate::socket::Socket;

/// What the text of a refusal begins with.
const REFUSED: &str = "Fail to authenticate";

/// What a server asks of its callers.
pub(super) struct Verification {
    pub(super) authenticator: Box<dyn Authenticator>,
    /// Each call is verified by what it brings itself.
    pub(super) each_request: bool,
}

/// What a call may do.
pub(super) enum Verdict {
    /// It runs; with the identity that is its own, where that is not the connection's.
    Passes(Option<Box<AuthContext>>),
    /// It is answered with the error, and the connection is closed.
    Refused(RpcError),
    /// The connection ends for another call's sake.
    Dropped,
}

/// A connection's verdict.
pub(super) struct Verified {
    /// `None` in it: the peer was refused.
    verdict: OnceLock<Option<AuthContext>>,
    /// The message that comes next is the one to be verified: those before it were none.
    is_next: AtomicBool,
}

impl Verified {
    pub(super) fn new() -> Self {
        Verified { verdict: OnceLock::new(), is_next: AtomicBool::new(false) }
    }

    /// Whether what the next call brings is of interest.
    pub(super) fn is_open(&self) -> bool {
        self.verdict.get().is_none()
    }

    /// Who the peer is, once it is let in.
    pub(super) fn context(&self) -> Option<&AuthContext> {
        self.verdict.get()?.as_ref()
    }

    /// A message was not one to be verified, such as one for a page; `is_first` of the connection. Its protocol answers
    /// in order, so that there is no other at the same time.
    pub(super) fn pass_over(&self, is_first: bool) {
        if is_first {
            self.is_next.store(true, Ordering::Relaxed); // the next message is cut later, by whoever is told to
        }
    }

    /// Nothing will be verified: those who wait are to go.
    pub(super) fn give_up(&self) {
        let _ = self.verdict.set(None); // unless there is one
    }

    /// What becomes of a call; `is_first` of the connection.
    ///
    /// *Blocking*: those that are not first wait for the verdict on the one that is, parking the bthread.
    pub(super) fn judge(
        &self,
        verification: &Verification,
        socket: &Socket,
        request: &mut IncomingRequest,
        is_first: bool,
    ) -> Verdict {
        if verification.each_request {
            return match verify(verification, socket, request) {
                Ok(context) => Verdict::Passes(Some(Box::new(context))),
                Err(error) => Verdict::Refused(error),
            };
        }
        // Relaxed: see `pass_over`.
        if is_first || self.is_next.swap(false, Ordering::Relaxed) {
            return match verify(verification, socket, request) {
                Ok(context) => {
                    // Refused if the connection has failed meanwhile: then nobody is known any more.
                    match self.verdict.set(Some(context)) {
                        Ok(()) => Verdict::Passes(None),
                        Err(_) => Verdict::Dropped,
                    }
                }
                Err(error) => {
                    self.give_up();
                    Verdict::Refused(error)
                }
            };
        }
        if self.verdict.wait().is_some() { Verdict::Passes(None) } else { Verdict::Dropped }
    }
}

/// Asks the authenticator. One that panics lets nobody in.
fn verify(
    verification: &Verification,
    socket: &Socket,
    request: &mut IncomingRequest,
) -> Result<AuthContext, RpcError> {
    let credential = request.extras.as_mut().and_then(|extras| extras.credential.take()).unwrap_or_default();
    let verify = || verification.authenticator.verify_credential(&credential, socket.remote());
    // What it leaves half done is its own; nobody is let in by it.
    let said = catch_unwind(AssertUnwindSafe(verify));
    let said = said.unwrap_or_else(|_| Err(RpcError::new(EINTERNAL, "")));
    said.map_err(|error| {
        let text = match error.text() {
            "" => REFUSED.to_owned(),
            text => format!("{REFUSED}: {text}"),
        };
        RpcError::new(ERPCAUTH, text)
    })
}
