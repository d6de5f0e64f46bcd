//! The decisions about a server, until it is started.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::Server;
use super::acceptor::Acceptor;
use super::method::MethodTable;
use super::options::ServiceOptions;
use super::state::{Decided, ServerState};
use super::variables::Variables;
use crate::builtin::PageOptions;
use crate::error::{EINVAL, RpcError};
use crate::limit::ConcurrencyLimiter;
use crate::limits::Limits;
use crate::registry::{DefaultRegistry, Registry};
use crate::service::Service;
use crate::socket::SOCKETS_MAX;
use crate::transport::{Endpoint, Listener};

/// What a server is to be. Made by [`Server::builder`].
#[must_use = "a server serves once it is started"]
pub struct ServerBuilder<P> {
    services: Vec<(Arc<dyn Service>, ServiceOptions)>,
    limiters: HashMap<String, Box<dyn ConcurrencyLimiter>>,
    registry: Registry,
    limits: Limits,
    max_concurrency: usize,
    max_connections: usize,
    internal: Option<String>,
    pages: PageOptions,
    version: Option<String>,
    info_name: Option<String>,
    default: PhantomData<fn() -> P>,
}

impl<P: DefaultRegistry> ServerBuilder<P> {
    pub(super) fn new() -> Self {
        ServerBuilder {
            services: Vec::new(),
            limiters: HashMap::new(),
            registry: P::registry(),
            limits: Limits::default(),
            max_concurrency: 0,
            max_connections: SOCKETS_MAX,
            internal: None,
            pages: PageOptions::new(),
            version: None,
            info_name: None,
            default: PhantomData,
        }
    }

    /// Adds a service.
    #[expect(
        clippy::should_implement_trait,
        reason = "the name that brpc users expect; nobody adds builders up"
    )]
    pub fn add(self, service: impl Service) -> Self {
        let options = service.options();
        self.add_with(service, options)
    }

    /// Adds a service with options in place of its own ([`Service::options`]). Begin with those where it has some: the
    /// paths of an `HttpService` are among them.
    pub fn add_with(mut self, service: impl Service, options: ServiceOptions) -> Self {
        self.services.push((Arc::new(service), options));
        self
    }

    /// Also listens on `address` (`ip:port`), for those who run the server: debug pages are shown there alone then.
    /// Default: there is no such port, and pages are shown as [`pages`](Self::pages) says.
    pub fn internal_port(mut self, address: impl fmt::Display) -> Self {
        self.internal = Some(address.to_string());
        self
    }

    /// Who sees the debug pages, and who changes something through them. Default: this machine alone.
    pub fn pages(mut self, options: PageOptions) -> Self {
        self.pages = options;
        self
    }

    /// What `/version` says. Default: the names of the services, joined by `+`.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// What the names of the server's variables begin with, behind `rpc_server_`. Default: the port.
    pub fn server_info_name(mut self, name: impl Into<String>) -> Self {
        self.info_name = Some(name.into());
        self
    }

    /// Speaks the protocols of this registry, of those that servers can speak. Default: all that came with `P`.
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// The most requests that may run at a time, of all methods together; more are answered with
    /// [`ELIMIT`](crate::error::ELIMIT). Default: 0, no limit.
    pub fn max_concurrency(mut self, max: usize) -> Self {
        self.max_concurrency = max;
        self
    }

    /// Limits the concurrency of one method, named as `"example.EchoService.Echo"`; calls beyond are answered with
    /// [`ELIMIT`](crate::error::ELIMIT). Default: no limit.
    pub fn limit_method(mut self, full_name: impl Into<String>, limiter: impl ConcurrencyLimiter) -> Self {
        self.limiters.insert(full_name.into(), Box::new(limiter));
        self
    }

    /// The most connections open at a time; more are closed when they come. Default: as many as a process can have,
    /// 2^20.
    pub fn max_connections(mut self, max: usize) -> Self {
        self.max_connections = max;
        self
    }

    /// What one connection may hold.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Listens on `address` (`ip:port`, `host:port`, `unix:path`; port 0 lets the system choose) and serves.
    ///
    /// *Blocking*: blocks the thread while a host name is looked up.
    ///
    /// # Errors
    /// [`EINVAL`] for an address that is none, services whose full or short names are the same, a limiter for a method
    /// that does not exist, or a registry without a protocol for servers; the system's error if it cannot listen.
    pub fn start(self, address: impl fmt::Display) -> Result<Server<P>, RpcError> {
        crate::process::show(self.registry.protocols());
        let endpoint = Endpoint::resolve(&address.to_string())?;
        let internal = self.internal.as_deref().map(Endpoint::resolve).transpose()?;
        let methods = MethodTable::new(self.services, self.limiters, !self.pages.is_off())?;
        let protocols: Arc<[_]> = self
            .registry
            .protocols()
            .iter()
            .copied()
            .filter(|protocol| protocol.server().is_some() || protocol.stream().is_some())
            .collect();
        if protocols.iter().all(|protocol| protocol.server().is_none()) {
            return Err(RpcError::new(EINVAL, "No protocol that a server can speak"));
        }
        let (listener, local) = listen(&endpoint)?;
        let internal = internal.as_ref().map(listen).transpose()?;
        let (internal_listener, internal) = internal.unzip();
        let state = Arc::new(ServerState::new(Decided {
            methods,
            protocols,
            limits: self.limits,
            max_concurrency: self.max_concurrency,
            max_connections: self.max_connections,
            local,
            internal,
            pages: self.pages,
            version: self.version,
            info_name: self.info_name,
        }));
        let accept = |listener, is_internal| Acceptor::start(state.clone(), listener, is_internal);
        let acceptor = accept(listener, false).map_err(|error| cannot_listen(&state.local, error))?;
        let mut acceptors = vec![acceptor];
        if let (Some(listener), Some(internal)) = (internal_listener, &state.internal) {
            let acceptor = accept(listener, true).map_err(|error| {
                acceptors[0].close(); // nobody has a handle to stop it with
                cannot_listen(internal, error)
            })?;
            acceptors.push(acceptor);
        }
        let _variables = Variables::expose(&state);
        Ok(Server { state, acceptors, _variables, default: PhantomData })
    }
}

fn listen(endpoint: &Endpoint) -> Result<(Box<dyn Listener>, Endpoint), RpcError> {
    let listener = endpoint.listen().map_err(|error| cannot_listen(endpoint, error))?;
    let local = listener.local().map_err(|error| cannot_listen(endpoint, error))?;
    Ok((listener, local))
}

fn cannot_listen(endpoint: &Endpoint, error: std::io::Error) -> RpcError {
    let error = RpcError::from(error);
    RpcError::new(error.code(), format!("Fail to listen on {endpoint}: {}", error.text()))
}

impl<P> fmt::Debug for ServerBuilder<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.services.iter().map(|(service, _)| service.descriptor().full_name).collect();
        f.debug_struct("ServerBuilder")
            .field("services", &names)
            .field("protocols", &self.registry.protocols())
            .field("limits", &self.limits)
            .field("max_concurrency", &self.max_concurrency)
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}
