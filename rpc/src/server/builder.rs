//! The decisions about a server, until it is started.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::Server;
use super::acceptor::Acceptor;
use super::method::MethodTable;
use super::state::ServerState;
use crate::error::{EINVAL, RpcError};
use crate::limit::ConcurrencyLimiter;
use crate::limits::Limits;
use crate::registry::{DefaultRegistry, Registry};
use crate::service::Service;
use crate::socket::SOCKETS_MAX;
use crate::transport::Endpoint;

/// What a server is to be. Made by [`Server::builder`].
#[must_use = "a server serves once it is started"]
pub struct ServerBuilder<P> {
    services: Vec<Arc<dyn Service>>,
    limiters: HashMap<String, Box<dyn ConcurrencyLimiter>>,
    registry: Registry,
    limits: Limits,
    max_concurrency: usize,
    max_connections: usize,
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
            default: PhantomData,
        }
    }

    /// Adds a service.
    #[expect(
        clippy::should_implement_trait,
        reason = "the name that brpc users expect; nobody adds builders up"
    )]
    pub fn add(mut self, service: impl Service) -> Self {
        self.services.push(Arc::new(service));
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
        let endpoint = Endpoint::resolve(&address.to_string())?;
        let methods = MethodTable::new(self.services, self.limiters)?;
        let protocols: Arc<[_]> = self
            .registry
            .protocols()
            .iter()
            .copied()
            .filter(|protocol| protocol.server().is_some())
            .collect();
        if protocols.is_empty() {
            return Err(RpcError::new(EINVAL, "No protocol that a server can speak"));
        }
        let cannot_listen = |error: std::io::Error| {
            let error = RpcError::from(error);
            RpcError::new(error.code(), format!("Fail to listen on {endpoint}: {}", error.text()))
        };
        let listener = endpoint.listen().map_err(cannot_listen)?;
        let local = listener.local().map_err(cannot_listen)?;
        let state = ServerState::new(
            methods,
            protocols,
            self.limits,
            self.max_concurrency,
            self.max_connections,
            local,
        );
        let state = Arc::new(state);
        let acceptor = Acceptor::start(state.clone(), listener).map_err(cannot_listen)?;
        Ok(Server { state, acceptor, default: PhantomData })
    }
}

impl<P> fmt::Debug for ServerBuilder<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.services.iter().map(|service| service.descriptor().full_name).collect();
        f.debug_struct("ServerBuilder")
            .field("services", &names)
            .field("protocols", &self.registry.protocols())
            .field("limits", &self.limits)
            .field("max_concurrency", &self.max_concurrency)
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}
