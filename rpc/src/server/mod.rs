//! Servers: listen, admit, run services, answer, and end in order.
//!
//! [`ServerBuilder`] decides, [`Server`] runs and has no setters. The way of a request: `acceptor` → `connection` → the
//! protocol's `ServerSide` → `admission` → the service, with a [`ServerCall`] → the protocol again → the socket.

mod acceptor;
mod admission;
mod builder;
mod call;
mod call_extras;
mod cancellation;
mod congestion;
mod connection;
mod dummy;
mod flags;
pub mod handover;
mod interceptor;
mod master;
mod method;
mod options;
mod pid_file;
mod quit;
mod rejections;
mod restful;
mod runs_on;
mod session_data;
mod start;
mod state;
mod tail;
mod unary;
mod variables;
mod verification;
mod view;
mod worker_data;

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use crate::error::{EINVAL, RpcError};
use crate::registry::DefaultRegistry;
use crate::socket::lock;
use crate::transport::Endpoint;

use acceptor::Acceptor;
use method::Method;
use pid_file::PidFile;
use variables::Variables;

pub use builder::ServerBuilder;
pub use call::ServerCall;
pub use cancellation::CancelReason;
pub(crate) use dummy::look_for_file;
pub use dummy::{DUMMY_SERVER_FILE, DUMMY_SERVER_LOOK_PERIOD, dummy_server_address, start_dummy_server_at};
pub(crate) use flags::register_flags;
pub use interceptor::Interceptor;
pub use master::{BaiduMasterService, MasterCall, MasterOptions};
pub use method::{MethodId, MethodReport, NoRoute, PathMatch, Routes, Target};
pub use options::ServiceOptions;
pub use quit::{ask_to_quit, watch_quit_signals};
pub use runs_on::{BLOCKING_CALLS_WAITING_MAX, RunsOn};
pub(crate) use state::ServerState;
pub use tail::Tail;
pub use unary::{Responder, unary, unary_async};

/// A running server. Dropping it stops and joins it.
///
/// `P` names the protocols that it speaks by default; users of the facade never see the parameter.
pub struct Server<P: DefaultRegistry> {
    state: Arc<ServerState>,
    /// Of all ports.
    acceptors: Vec<Arc<Acceptor>>,
    /// Until it is joined.
    pid_file: Mutex<Option<PidFile>>,
    /// Held, not looked at.
    _variables: Variables,
    default: PhantomData<fn() -> P>,
}

impl<P: DefaultRegistry> Server<P> {
    /// Begins to decide what a server is to be.
    pub fn builder() -> ServerBuilder<P> {
        ServerBuilder::new()
    }

    fn new(
        state: Arc<ServerState>,
        acceptors: Vec<Arc<Acceptor>>,
        pid_file: Option<PidFile>,
        variables: Variables,
    ) -> Self {
        let pid_file = Mutex::new(pid_file);
        Server { state, acceptors, pid_file, _variables: variables, default: PhantomData }
    }

    /// Where it listens, with the port that the system chose if it was to choose one.
    pub fn local_addr(&self) -> &Endpoint {
        &self.state.local
    }

    /// All addresses where it listens for everybody: [`local_addr`](Self::local_addr), and those of
    /// [`also_listen`](ServerBuilder::also_listen) in their order.
    pub fn local_addrs(&self) -> impl Iterator<Item = &Endpoint> {
        std::iter::once(&self.state.local).chain(&self.state.others)
    }

    /// Says whether requests should be sent to this server: `/health` answers 503 if not. A server that was not
    /// [ready at its start](ServerBuilder::starts_ready) begins to serve when it is the first time; one that is not ready
    /// any more goes on serving what comes nevertheless, until it is [stopped](Self::stop), so that nothing fails before
    /// whoever spreads the load has noticed. Never blocks.
    pub fn set_ready(&self, ready: bool) {
        self.state.set_ready(ready);
    }

    /// Whether requests should be sent to this server: not before it is [ready](Self::set_ready), and not once it is
    /// stopped.
    pub fn is_ready(&self) -> bool {
        self.state.is_ready()
    }

    /// Where it listens for those who run it, if it does: see
    /// [`ServerBuilder::internal_port`].
    pub fn internal_addr(&self) -> Option<&Endpoint> {
        self.state.internal.as_ref()
    }

    /// Connections that are open now.
    pub fn connection_count(&self) -> usize {
        self.state.connection_count()
    }

    /// What has been counted of each method, in the order in which services were added.
    ///
    /// *Blocking*: blocks the thread for as long as it takes to add up what all threads have counted.
    pub fn method_reports(&self) -> Vec<MethodReport> {
        self.state.methods.methods().iter().map(|method| method.report()).collect()
    }

    /// The most requests that may run at a time; 0: no limit.
    pub fn max_concurrency(&self) -> usize {
        self.state.max_concurrency()
    }

    /// Changes the most requests that may run at a time; 0: no limit. Those that run while there is none are not counted
    /// when there is one again.
    pub fn set_max_concurrency(&self, max: usize) {
        self.state.set_max_concurrency(max);
    }

    /// The most calls of a method that its limiter admits at present; none if it has no limiter or that goes by no number.
    pub fn method_max_concurrency(&self, full_name: &str) -> Option<usize> {
        self.method(full_name)?.max_concurrency()
    }

    /// Changes the number of a method that was limited to a number when the server was started, at least to 1.
    ///
    /// # Errors
    /// [`EINVAL`] for a method that there is not, and one that has no such limit.
    pub fn set_method_max_concurrency(&self, full_name: &str, max: usize) -> Result<(), RpcError> {
        let is_set = self.method(full_name).is_some_and(|method| method.set_max_concurrency(max));
        let text = || format!("Fail to set max_concurrency: method={full_name} is not limited to a number");
        if is_set { Ok(()) } else { Err(RpcError::new(EINVAL, text())) }
    }

    fn method(&self, full_name: &str) -> Option<&Method> {
        self.state.methods.methods().iter().find(|method| method.descriptor.full_name == full_name)
    }

    /// Ends the taking of connections and requests: the listener is closed, new requests on connections that are open
    /// are answered with [`ELOGOFF`](crate::error::ELOGOFF), running ones go on. Never blocks; may be called again.
    pub fn stop(&self) {
        // In this order: whoever comes now finds nobody listening, or the next process, rather than a server that stops.
        self.acceptors.iter().for_each(|acceptor| acceptor.close());
        self.state.stop();
    }

    /// Stops, waits until all running requests are answered and their peers have taken the answers (those for 10
    /// seconds at most), and closes the connections.
    ///
    /// *Blocking*: parks the bthread, or blocks the thread outside of bthreads. Called from within one of the
    /// server's own requests it never returns.
    pub fn join(&self) {
        self.stop();
        self.state.drain();
        let pid_file = lock(&self.pid_file).take();
        drop(pid_file);
    }

    /// Serves until the process is asked to quit by SIGINT, SIGTERM, [`ask_to_quit`] or, with the flag
    /// `graceful_quit_on_sighup`, SIGHUP, then joins. A second signal ends the process at once. See
    /// [`watch_quit_signals`].
    ///
    /// *Blocking*: as [`join`](Self::join).
    ///
    /// # Panics
    /// If the system has no descriptors or no thread left to watch the signals with.
    pub fn run_until_asked_to_quit(&self) {
        quit::watch_quit_signals().expect("SIGINT and SIGTERM can be watched");
        quit::wait_until_asked();
        self.join();
    }
}

impl<P: DefaultRegistry> Drop for Server<P> {
    fn drop(&mut self) {
        self.join();
    }
}

impl<P: DefaultRegistry> fmt::Debug for Server<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("local_addr", &self.state.local)
            .field("connections", &self.state.connection_count())
            .finish_non_exhaustive()
    }
}
