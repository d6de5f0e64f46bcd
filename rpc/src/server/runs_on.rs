//! Where the code of a method runs: at once in the bthread that has read the request, in another runtime, or on a thread
//! that may block.
//!
//! Owns the way there. A call that cannot be brought there is answered.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bthread::BLOCKING_THREADS_MAX;
use iobuf::IoBuf;

use super::call::ServerCall;
use super::method::{Method, MethodId};
use super::rejections::Rejection;
use super::state::ServerState;
use crate::context::{self, EnteredContext};
use crate::error::{ELIMIT, ERPCTIMEDOUT, RpcError};
use crate::socket::lock;
use crate::span::{Running, Span};

/// Calls that wait for a thread of the blocking pool, in a process; more are answered with
/// [`ELIMIT`]. Ten for each thread that there can be, as brpc has it.
pub const BLOCKING_CALLS_WAITING_MAX: usize = 10 * BLOCKING_THREADS_MAX;

/// Where the code of a method runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunsOn {
    /// In the bthread of the connection, which costs nothing. What waits by bthread's means holds up nobody.
    #[default]
    Connection,
    /// In a bthread of its own in the runtime with this tag (brpc: `bthread_tag`; see
    /// [`Runtime::tag`](bthread::Runtime::tag)).
    Runtime(u32),
    /// On a thread of the [blocking pool](bthread::spawn_blocking), for code that blocks its thread (brpc:
    /// `usercode_in_pthread`). At most [`BLOCKING_CALLS_WAITING_MAX`] calls wait for one.
    BlockingPool,
}

static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Runs a call that was admitted.
pub(super) fn run(server: &ServerState, id: MethodId, call: ServerCall, body: IoBuf) {
    match server.methods.method(id).runs_on {
        RunsOn::Connection => run_here(server, server.methods.method(id), call, body),
        RunsOn::Runtime(tag) => {
            let parcel = Parcel::new(id, call, body);
            let taken = parcel.clone();
            let spawned = bthread::Builder::new().tag(tag).spawn(move || taken.open());
            if let Err(error) = spawned {
                parcel.refuse(format!("No bthread with bthread_tag={tag}: {error}"));
            }
        }
        RunsOn::BlockingPool => {
            // Relaxed: a count of its own, nothing is published through it.
            if WAITING.fetch_add(1, Ordering::Relaxed) >= BLOCKING_CALLS_WAITING_MAX {
                WAITING.fetch_sub(1, Ordering::Relaxed);
                let text = format!("Reached {BLOCKING_CALLS_WAITING_MAX} calls that wait for a thread");
                return call.fail(RpcError::new(ELIMIT, text));
            }
            let parcel = Parcel::new(id, call, body);
            let taken = parcel.clone();
            let spawned = bthread::try_spawn_blocking(move || {
                WAITING.fetch_sub(1, Ordering::Relaxed); // as above
                taken.open();
            });
            if let Err(error) = spawned {
                WAITING.fetch_sub(1, Ordering::Relaxed); // as above
                parcel.refuse(format!("No thread for a call: {error}"));
            }
        }
    }
}

fn run_here(server: &ServerState, method: &Method, call: ServerCall, body: IoBuf) {
    let _here = Here::enter(server, call.recorded(), call.deadline(), call.log_id(), call.request_id());
    method.service.call(method.index, call, body);
}

/// The calling bthread runs a method: what it is given for that, until this is dropped.
pub(super) struct Here {
    /// Ends before the span does.
    _context: Option<EnteredContext>,
    _running: Option<Running>,
}

impl Here {
    #[inline]
    pub(super) fn enter(
        server: &ServerState,
        span: Option<&Span>,
        deadline: Option<Instant>,
        log_id: Option<u64>,
        request_id: &str,
    ) -> Self {
        if let Some(data) = &server.worker_data {
            data.enter();
        }
        let _running = span.map(Span::run);
        Here { _context: context::serve(deadline, log_id, request_id), _running }
    }
}

/// A call on its way.
struct Parcel {
    method: MethodId,
    call: Mutex<Option<(ServerCall, IoBuf)>>,
}

impl Parcel {
    fn new(method: MethodId, call: ServerCall, body: IoBuf) -> Arc<Self> {
        Arc::new(Parcel { method, call: Mutex::new(Some((call, body))) })
    }

    fn open(&self) {
        let taken = lock(&self.call).take();
        if let Some((call, body)) = taken {
            let server = call.server().clone();
            // Dead work is not begun, however long it has waited here.
            if call.deadline().is_some_and(|deadline| bthread::clock::now() >= deadline) {
                server.rejections.count(Rejection::Expired);
                return call.fail(RpcError::new(ERPCTIMEDOUT, "Not run: its time is over"));
            }
            run_here(&server, server.methods.method(self.method), call, body);
        }
    }

    fn refuse(&self, text: String) {
        let taken = lock(&self.call).take();
        if let Some((call, _)) = taken {
            call.fail(RpcError::new(ELIMIT, text));
        }
    }
}
