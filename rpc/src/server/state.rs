//! A running server, as its connections and calls see it. Decided once by the builder; only counts and the phase
//! change.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bthread::{Butex, WaitResult, planted};
use bvar::Adder;

use super::congestion::Congestion;
use super::connection::ServerConnection;
use super::interceptor::Interceptor;
use super::method::{Method, MethodTable};
use super::rejections::Rejections;
use super::session_data::SessionDataPool;
use super::verification::Verification;
use super::worker_data::WorkerData;
use crate::builtin::PageOptions;
use crate::error::{ECLOSE, ELOGOFF, EUNUSED, RpcError};
use crate::limits::Limits;
use crate::protocol::Protocol;
use crate::socket::{Socket, lock};
use crate::transport::{Endpoint, Transport};

/// How long a server that ends waits for peers to take the replies that are already there.
pub(crate) const LAST_REPLIES_TIMEOUT: Duration = Duration::from_secs(10);

/// What the builder has decided about a server.
pub(crate) struct Decided {
    pub(super) methods: MethodTable,
    pub(super) protocols: Arc<[&'static dyn Protocol]>,
    pub(super) limits: Limits,
    /// 0: no limit. What it is at the start.
    pub(super) max_concurrency: usize,
    pub(super) max_connections: usize,
    /// Where it listens.
    pub(super) local: Endpoint,
    /// Where it listens for those who run it.
    pub(super) internal: Option<Endpoint>,
    /// Where it listens beside that.
    pub(super) others: Vec<Endpoint>,
    pub(super) verification: Option<Verification>,
    /// Asked in this order.
    pub(super) interceptors: Vec<Box<dyn Interceptor>>,
    pub(super) session_data: Option<SessionDataPool>,
    pub(super) worker_data: Option<WorkerData>,
    /// It serves as soon as it is started.
    pub(super) starts_ready: bool,
    pub(super) pages: PageOptions,
    pub(super) version: Option<String>,
    /// Stands for the port in the names of its variables.
    pub(super) info_name: Option<String>,
}

/// The right to run, of one call. Given back with [`ServerState::return_permit`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Permit {
    /// The server had a limit when it was taken.
    is_counted: bool,
}

/// A running server.
pub(crate) struct ServerState {
    decided: Decided,
    pub(super) started: SystemTime,
    /// Requests that failed before they belonged to a method.
    pub(super) non_service_errors: Arc<Adder<i64>>,
    pub(super) congestion: Congestion,
    /// Requests that were not run.
    pub(super) rejections: Rejections,
    /// The most calls at a time; 0: no limit.
    max_concurrency: AtomicUsize,
    /// Calls that run or are about to and have a permit; none is taken where there is no limit.
    concurrency: AtomicUsize,
    /// A [`Phase`].
    phase: AtomicU8,
    /// What it says of itself to whoever sends requests its way.
    ready: AtomicBool,
    /// Bumped when a stopping server has one thing less to wait for.
    less_to_do: Butex,
    /// The ids of the sockets that have not failed; in order, so that they are closed in an order that does not depend on
    /// chance.
    connections: Mutex<BTreeSet<u64>>,
    /// Connections that have ended, and whose peers have not yet.
    lingering: AtomicUsize,
}

/// What becomes of new requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// They are refused, as it is not ready yet.
    Starting,
    /// They are served.
    Serving,
    /// They are refused, as it ends.
    Stopping,
}

impl Deref for ServerState {
    type Target = Decided;

    fn deref(&self) -> &Decided {
        &self.decided
    }
}

impl ServerState {
    pub(super) fn new(decided: Decided) -> Self {
        let phase = if decided.starts_ready { Phase::Serving } else { Phase::Starting };
        ServerState {
            phase: AtomicU8::new(phase as u8),
            ready: AtomicBool::new(decided.starts_ready),
            max_concurrency: AtomicUsize::new(decided.max_concurrency),
            decided,
            started: bthread::clock::wall(),
            non_service_errors: Arc::new(Adder::new()),
            congestion: Congestion::new(bthread::clock::origin()),
            rejections: Rejections::new(),
            concurrency: AtomicUsize::new(0),
            less_to_do: Butex::new(0),
            connections: Mutex::default(),
            lingering: AtomicUsize::new(0),
        }
    }

    /// What becomes of new requests.
    pub(super) fn phase(&self) -> Phase {
        // SeqCst pairs with `stop`, see `MethodStatus::enter`.
        match self.phase.load(Ordering::SeqCst) {
            phase if phase == Phase::Serving as u8 => Phase::Serving,
            phase if phase == Phase::Starting as u8 => Phase::Starting,
            _ => Phase::Stopping,
        }
    }

    /// Whether new requests are refused for good.
    pub(super) fn is_stopping(&self) -> bool {
        self.phase() == Phase::Stopping
    }

    /// Says that it is ready, or that nothing more should be sent its way. The first time that it is, it begins to
    /// serve.
    pub(super) fn set_ready(&self, ready: bool) {
        if ready {
            let (starting, serving) = (Phase::Starting as u8, Phase::Serving as u8);
            // AcqRel: whoever finds it serving finds what was made ready before. It fails where it serves or stops.
            let _ = self.phase.compare_exchange(starting, serving, Ordering::AcqRel, Ordering::Relaxed);
        }
        self.ready.store(ready, Ordering::Relaxed); // for people and load balancers
    }

    /// Whether requests should be sent its way.
    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed) && !self.is_stopping() // see `set_ready`
    }

    pub(super) fn stop(&self) {
        self.phase.store(Phase::Stopping as u8, Ordering::SeqCst); // pairs with `phase`
        self.for_each_connection(|socket| {
            let tail = socket.owner::<ServerConnection>().tail();
            if tail.is_some_and(|tail| tail.ends_with_server()) {
                socket.set_failed(RpcError::new(ELOGOFF, "Server is stopping"));
            }
        });
    }

    /// The most calls at a time; 0: no limit.
    pub(super) fn max_concurrency(&self) -> usize {
        self.max_concurrency.load(Ordering::Relaxed) // a setting, nothing is published with it
    }

    pub(super) fn set_max_concurrency(&self, max: usize) {
        self.max_concurrency.store(max, Ordering::Relaxed); // as above
    }

    /// Takes one of the server's permits, if it has a limit; with an error there are none left.
    pub(super) fn take_permit(&self) -> Result<Permit, usize> {
        let max = self.max_concurrency();
        if max == 0 {
            return Ok(Permit { is_counted: false });
        }
        let permit = Permit { is_counted: true };
        // Relaxed: a count of its own, nothing is published through it.
        if self.concurrency.fetch_add(1, Ordering::Relaxed) < max {
            return Ok(permit);
        }
        self.return_permit(permit);
        Err(max)
    }

    pub(super) fn return_permit(&self, permit: Permit) {
        if permit.is_counted {
            self.concurrency.fetch_sub(1, Ordering::Relaxed); // as in `take_permit`
        }
    }

    /// A stopping server has one call or connection less.
    pub(super) fn one_less(&self) {
        if self.is_stopping() {
            self.less_to_do.value().fetch_add(1, Ordering::Release); // pairs with the load in `wait_until`
            self.less_to_do.wake_all();
        }
    }

    /// Serves a connection that was accepted, or closes it if the server has enough or is stopping.
    pub(super) fn serve(
        self: &Arc<Self>,
        transport: Box<dyn Transport>,
        remote: Endpoint,
        is_internal: bool,
    ) -> Result<(), RpcError> {
        let owner = Box::new(ServerConnection::new(self.clone(), is_internal));
        let socket = Socket::accepted(transport, remote, self.protocols.clone(), self.limits, owner)?;
        let count = {
            let mut connections = lock(&self.connections);
            connections.insert(socket.id());
            connections.len()
        };
        // After it is in the set: whoever stops the server finds it there, or it finds the server stopping.
        if self.is_stopping() {
            socket.set_failed(RpcError::new(ELOGOFF, "Server is stopping"));
        } else if count > self.max_connections {
            let text = format!("Reached server's max_connections={}", self.max_connections);
            socket.set_failed(RpcError::new(EUNUSED, text));
        } else {
            socket.start()?;
        }
        Ok(())
    }

    /// Ends all connections of a server that could not be started.
    pub(super) fn abandon(&self) {
        self.stop();
        let error = RpcError::new(ECLOSE, "The server could not be started");
        self.for_each_connection(|socket| {
            socket.set_failed(error.clone());
        });
    }

    /// A connection has failed.
    pub(super) fn forget(&self, id: u64) {
        lock(&self.connections).remove(&id);
        self.one_less();
    }

    /// A connection waits for its peer's end; called before it is forgotten.
    pub(super) fn one_lingers(&self) {
        self.lingering.fetch_add(1, Ordering::SeqCst); // pairs with the load in `drain`
    }

    /// It does not any more.
    pub(super) fn one_lingered(&self) {
        self.lingering.fetch_sub(1, Ordering::SeqCst); // as above
        self.one_less();
    }

    /// Calls that run.
    pub(crate) fn running_calls(&self) -> usize {
        self.methods.concurrency()
    }

    pub(super) fn connection_count(&self) -> usize {
        lock(&self.connections).len()
    }

    /// Waits until no call runs and every reply is written, then closes all connections, and waits for their peers' ends:
    /// the process may end next, and the system would reset those that are still sending.
    pub(super) fn drain(&self) {
        self.wait_until(None, || self.running_calls() == 0);
        self.for_each_connection(|socket| socket.close_when_written());
        let deadline = bthread::clock::now() + LAST_REPLIES_TIMEOUT;
        let is_over = || self.connection_count() == 0 && self.lingering.load(Ordering::SeqCst) == 0;
        if !self.wait_until(Some(deadline), is_over) {
            let error = RpcError::new(ECLOSE, "The peer did not take its replies before the server ended");
            self.for_each_connection(|socket| {
                socket.set_failed(error.clone());
            });
        }
        if let Some(pool) = &self.session_data {
            pool.clear();
        }
    }

    /// What the names of a method's variables begin with.
    pub(super) fn variables_of(&self, method: &Method) -> String {
        let name = format!("{}_{}", self.variables(), method.descriptor.full_name);
        bvar::normalize_name(&name)
    }

    /// What the names of the server's variables begin with: `rpc_server_8000`.
    pub(super) fn variables(&self) -> String {
        match (&self.info_name, &self.local) {
            (Some(name), _) => format!("rpc_server_{name}"),
            (None, Endpoint::Tcp(address)) => format!("rpc_server_{}", address.port()),
            (None, Endpoint::Unix(path)) => format!("rpc_server_{}", path.display()),
            (None, Endpoint::Named(name)) => format!("rpc_server_{name}"),
        }
    }

    pub(super) fn connection_ids(&self) -> Vec<u64> {
        lock(&self.connections).iter().copied().collect()
    }

    fn for_each_connection(&self, act: impl Fn(&Arc<Socket>)) {
        self.connection_ids().into_iter().filter_map(Socket::address).for_each(|socket| act(&socket));
    }

    /// Waits for a condition that [`one_less`](Self::one_less) is called for; false if the deadline came first.
    fn wait_until(&self, deadline: Option<Instant>, is_so: impl Fn() -> bool) -> bool {
        loop {
            // Acquire pairs with the bump in `one_less`; loaded before the look, so that none is missed.
            let seen = self.less_to_do.value().load(Ordering::Acquire);
            if is_so() {
                return true;
            }
            if self.less_to_do.wait(seen, deadline) == WaitResult::TimedOut || planted!(HastyStop) {
                return is_so();
            }
        }
    }
}
