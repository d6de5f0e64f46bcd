//! The start of a server: what its builder has decided is checked, its ports are opened, and it serves.
//!
//! Owns the order: nothing that others can see (ports, files, variables) is done before what may be refused, and what
//! is done is undone when something behind it fails.

use std::fmt;
use std::sync::Arc;

use bthread::Runtime;

use super::Server;
use super::acceptor::Acceptor;
use super::builder::ServerBuilder;
use super::method::MethodTable;
use super::pid_file::PidFile;
use super::runs_on::RunsOn;
use super::state::{Decided, ServerState};
use super::variables::Variables;
use super::verification::Verification;
use super::worker_data::{Init, WorkerData};
use crate::error::{EINTERNAL, EINVAL, RpcError};
use crate::live;
use crate::protocol::Protocol;
use crate::registry::{DefaultRegistry, Registry};
use crate::transport::{Address, BoundListener, Endpoint, Listener, cannot_listen};

#[cfg(doc)]
use crate::server::handover;

/// A socket that listens, where it does, and whether it is for those who run the server.
type Opened = (Box<dyn Listener>, Endpoint, bool);

impl<P: DefaultRegistry> ServerBuilder<P> {
    /// Listens on `address` and serves. An address is `ip:port`, `host:port` (port 0 lets the system choose),
    /// `ip:first-last` for the first port of these that is free, `port` or `first-last` alone for all of IPv4, or
    /// `unix:path`.
    ///
    /// *Blocking*: blocks the thread while a host name is looked up, and while a `pid_file` is written; waits for
    /// [`bthread_init`](Self::bthread_init).
    ///
    /// # Errors
    /// [`EINVAL`] for an address that is none, services whose full or short names are the same, a limiter or options for
    /// a method that does not exist, a runtime or protocol that does not exist, or a registry without a protocol for
    /// servers; what [`bthread_init`](Self::bthread_init) gave; the system's error if it cannot listen (the last one for
    /// a range of ports), has no thread for [`num_threads`](Self::num_threads), or cannot write the `pid_file`.
    /// Whatever was opened is closed again, and another start may succeed.
    pub fn start(self, address: impl fmt::Display) -> Result<Server<P>, RpcError> {
        self.serve(Some(address.to_string()), Vec::new())
    }

    /// Serves what comes from `listener`, and listens nowhere but there and where else the builder was told to.
    ///
    /// *Blocking*: as [`start`](Self::start).
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_on(mut self, listener: impl Listener) -> Result<Server<P>, RpcError> {
        self.listeners.insert(0, Box::new(listener));
        self.serve(None, Vec::new())
    }

    /// As [`start`](Self::start), with sockets that listen already in place of an address: those of a test, of systemd
    /// ([`handover::inherited`]), or of the process before ([`handover::Takeover`]).
    ///
    /// *Blocking*: as [`start`](Self::start).
    ///
    /// # Errors
    /// As [`start`](Self::start); [`EINVAL`] without a listener that is for everybody, or with two that are
    /// [internal](BoundListener::internal).
    pub fn start_with(
        self,
        listeners: impl IntoIterator<Item = BoundListener>,
    ) -> Result<Server<P>, RpcError> {
        self.serve(None, listeners.into_iter().collect())
    }

    fn serve(self, address: Option<String>, bound: Vec<BoundListener>) -> Result<Server<P>, RpcError> {
        crate::process::show(self.registry.protocols());
        let protocols = protocols(&self.registry, &self.enabled_protocols)?;
        let default = if self.usercode_in_pthread { RunsOn::BlockingPool } else { RunsOn::Connection };
        let ignores = self.ignore_eovercrowded;
        let services = self
            .services
            .into_iter()
            .map(|(service, options)| (service, options.or_server(default, ignores)))
            .collect();
        let mut methods =
            MethodTable::new(services, self.limiters, &self.default_limiter, !self.pages.is_off())?;
        if let Some((master, options)) = self.master {
            methods.add_master(master, options);
        }
        let runtime = self.bthread_tag.map(runtime_of).transpose()?;

        let addresses = address.iter().chain(&self.others).map(|text| Address::resolve(text));
        let addresses: Vec<_> = addresses.collect::<Result<_, _>>()?;
        let internal = self.internal.as_deref().map(Address::resolve).transpose()?;
        let mut opened = Vec::new();
        for listener in bound {
            let is_internal = listener.is_internal;
            let listener = listener
                .listen(&self.listening.sockets)
                .map_err(|error| cannot_listen("a listener", error))?;
            opened.push(at(listener, is_internal)?);
        }
        for address in &addresses {
            opened.push(at(address.listen(&self.listening)?, false)?);
        }
        for listener in self.listeners {
            opened.push(at(listener, false)?);
        }
        if let Some(address) = &internal {
            opened.push(at(address.listen(&self.listening)?, true)?);
        }
        let local = |internal| {
            opened.iter().filter(move |(.., is)| *is == internal).map(|(_, endpoint, _)| endpoint.clone())
        };
        let (mut locals, mut internals) = (local(false), local(true));
        let no_port = || RpcError::new(EINVAL, "No listener that is for everybody");
        let (local, others) = (locals.next().ok_or_else(no_port)?, locals.collect());
        let internal = internals.next();
        if internals.next().is_some() {
            return Err(RpcError::new(EINVAL, "Two listeners are internal"));
        }

        let mut limits = self.limits;
        limits.idle_timeout = self.idle_timeout.or(limits.idle_timeout);
        let session_data = self.session_data.map(|(reserved, pool)| {
            pool.reserve(reserved);
            pool
        });
        let (reserved, factory) = self.thread_data.unzip();
        let is_pooled = factory.is_some() || self.bthread_init.is_some();
        let worker_data = if is_pooled { Some(WorkerData::new(factory)?) } else { None };
        let each_request = self.verify_each_request;
        let verification =
            self.authenticator.map(|authenticator| Verification { authenticator, each_request });
        let state = Arc::new(ServerState::new(Decided {
            methods,
            protocols,
            limits,
            max_concurrency: self.max_concurrency,
            max_connections: self.max_connections,
            local,
            others,
            internal,
            verification,
            interceptors: self.interceptors,
            session_data,
            worker_data,
            starts_ready: self.starts_ready,
            pages: self.pages,
            version: self.version,
            info_name: self.info_name,
        }));

        live::add_server(Arc::downgrade(&state));
        let pid_file = self.pid_file.map(PidFile::write).transpose()?;
        let preparation = Preparation {
            workers: self.num_threads,
            reserved: reserved.unwrap_or(0),
            init: self.bthread_init,
        };
        let served = state.clone();
        let serve = move || preparation.run(&served).and_then(|()| accept(&served, opened));
        let acceptors = if runtime.is_some() || is_pooled {
            let builder = bthread::Builder::new().name("server-start");
            let started = builder.runtime(runtime.unwrap_or_else(Runtime::current)).spawn(serve);
            let panicked = || RpcError::new(EINTERNAL, "The start of the server panicked");
            started.map_err(RpcError::from)?.join().map_err(|_| panicked())??
        } else {
            serve()?
        };
        let variables = Variables::expose(&state);
        Ok(Server::new(state, acceptors, pid_file, variables))
    }
}

/// What is done before the first connection is taken, in the server's runtime.
struct Preparation {
    workers: usize,
    reserved: usize,
    init: Option<(usize, Init)>,
}

impl Preparation {
    fn run(&self, state: &ServerState) -> Result<(), RpcError> {
        let runtime = Runtime::current();
        if runtime.workers() < self.workers {
            runtime.set_workers(self.workers)?;
        }
        if let Some(data) = &state.worker_data {
            data.reserve(self.reserved);
            if let Some((count, init)) = &self.init {
                data.init(*count, init)?;
            }
        }
        Ok(())
    }
}

/// Begins to take connections from all listeners.
fn accept(state: &Arc<ServerState>, opened: Vec<Opened>) -> Result<Vec<Arc<Acceptor>>, RpcError> {
    let mut acceptors: Vec<Arc<Acceptor>> = Vec::new();
    for (listener, local, is_internal) in opened {
        match Acceptor::start(state.clone(), listener, is_internal) {
            Ok(acceptor) => acceptors.push(acceptor),
            Err(error) => {
                // Nobody gets a handle to stop it with.
                acceptors.iter().for_each(|acceptor| acceptor.close());
                state.abandon();
                return Err(cannot_listen(local, error));
            }
        }
    }
    Ok(acceptors)
}

fn at(listener: Box<dyn Listener>, is_internal: bool) -> Result<Opened, RpcError> {
    let local = listener.local().map_err(|error| cannot_listen("a listener", error))?;
    Ok((listener, local, is_internal))
}

/// Those that servers can speak, and of these the ones that are named, if any are.
fn protocols(registry: &Registry, enabled: &str) -> Result<Arc<[&'static dyn Protocol]>, RpcError> {
    let speakable =
        |protocol: &&'static dyn Protocol| protocol.server().is_some() || protocol.stream().is_some();
    for name in enabled.split_ascii_whitespace() {
        if !registry.find(name).is_some_and(|protocol| speakable(&protocol)) {
            return Err(RpcError::new(EINVAL, format!("Unknown protocol={name} in enabled_protocols")));
        }
    }
    let is_enabled = |protocol: &&'static dyn Protocol| {
        let mut names = enabled.split_ascii_whitespace().peekable();
        names.peek().is_none() || names.any(|name| name.eq_ignore_ascii_case(protocol.name()))
    };
    let protocols: Arc<[_]> =
        registry.protocols().iter().copied().filter(speakable).filter(is_enabled).collect();
    if protocols.iter().all(|protocol| protocol.server().is_none()) {
        return Err(RpcError::new(EINVAL, "No protocol that a server can speak"));
    }
    Ok(protocols)
}

fn runtime_of(tag: u32) -> Result<Runtime, RpcError> {
    Runtime::by_tag(tag)
        .ok_or_else(|| RpcError::new(EINVAL, format!("No runtime has bthread_tag={tag} of the server")))
}
