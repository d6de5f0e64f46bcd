//! The decisions about a server, until it is started.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::flags;
use super::interceptor::Interceptor;
use super::master::{BaiduMasterService, Master, MasterOptions};
use super::options::ServiceOptions;
use super::session_data::SessionDataPool;
use super::worker_data::{Factory, Init};
use crate::auth::Authenticator;
use crate::builtin::PageOptions;
use crate::error::RpcError;
use crate::limit::ConcurrencyLimiter;
use crate::limits::Limits;
use crate::registry::{DefaultRegistry, Registry};
use crate::service::Service;
use crate::socket::SOCKETS_MAX;
use crate::transport::{ListenOptions, Listener, SocketOptions};

#[cfg(doc)]
use super::{RunsOn, Server};

/// As [`from_specification`](crate::limit::from_specification) has it.
const UNLIMITED: &str = "unlimited";

/// What a server is to be. Made by [`Server::builder`].
#[must_use = "a server serves once it is started"]
pub struct ServerBuilder<P> {
    pub(super) services: Vec<(Arc<dyn Service>, ServiceOptions)>,
    pub(super) limiters: HashMap<String, Box<dyn ConcurrencyLimiter>>,
    pub(super) default_limiter: String,
    pub(super) master: Option<(Arc<dyn Service>, MasterOptions)>,
    pub(super) registry: Registry,
    pub(super) limits: Limits,
    pub(super) max_concurrency: usize,
    pub(super) max_connections: usize,
    pub(super) internal: Option<String>,
    /// Where it listens beside the address that it is started with.
    pub(super) others: Vec<String>,
    pub(super) listeners: Vec<Box<dyn Listener>>,
    pub(super) listening: ListenOptions,
    pub(super) enabled_protocols: String,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) ignore_eovercrowded: bool,
    pub(super) usercode_in_pthread: bool,
    pub(super) pid_file: Option<PathBuf>,
    pub(super) starts_ready: bool,
    pub(super) num_threads: usize,
    pub(super) bthread_tag: Option<u32>,
    pub(super) bthread_init: Option<(usize, Init)>,
    pub(super) session_data: Option<(usize, SessionDataPool)>,
    pub(super) thread_data: Option<(usize, Factory)>,
    pub(super) interceptors: Vec<Box<dyn Interceptor>>,
    pub(super) authenticator: Option<Box<dyn Authenticator>>,
    pub(super) verify_each_request: bool,
    pub(super) pages: PageOptions,
    pub(super) version: Option<String>,
    pub(super) info_name: Option<String>,
    default: PhantomData<fn() -> P>,
}

impl<P: DefaultRegistry> ServerBuilder<P> {
    pub(super) fn new() -> Self {
        ServerBuilder {
            services: Vec::new(),
            limiters: HashMap::new(),
            default_limiter: UNLIMITED.to_owned(),
            master: None,
            registry: P::registry(),
            limits: Limits::default(),
            listeners: Vec::new(),
            max_concurrency: 0,
            max_connections: SOCKETS_MAX,
            internal: None,
            others: Vec::new(),
            listening: ListenOptions::default(),
            enabled_protocols: String::new(),
            idle_timeout: None,
            ignore_eovercrowded: false,
            usercode_in_pthread: flags::usercode_in_pthread(),
            pid_file: None,
            starts_ready: true,
            num_threads: 0,
            bthread_tag: None,
            bthread_init: None,
            session_data: None,
            thread_data: None,
            interceptors: Vec::new(),
            authenticator: None,
            verify_each_request: false,
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

    /// Hands all baidu_std requests to `service`, undecoded; services are reached by other protocols alone then. With
    /// the options by default: see [`baidu_master_service_with`](Self::baidu_master_service_with).
    pub fn baidu_master_service(self, service: impl BaiduMasterService) -> Self {
        self.baidu_master_service_with(service, MasterOptions::default())
    }

    /// As [`baidu_master_service`](Self::baidu_master_service), with these options.
    pub fn baidu_master_service_with(
        mut self,
        service: impl BaiduMasterService,
        options: MasterOptions,
    ) -> Self {
        self.master = Some((Arc::new(Master(service)), options));
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

    /// Limits the concurrency of each method that [`limit_method`](Self::limit_method) does not name, each by itself, as
    /// [`from_specification`](crate::limit::from_specification) understands it: `unlimited`, a number, `auto`,
    /// `timeout`. Default: `unlimited`.
    pub fn method_max_concurrency(mut self, specification: impl fmt::Display) -> Self {
        self.default_limiter = specification.to_string();
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

    /// What the system is told about its connections: keep-alive and buffers.
    pub fn socket_options(mut self, options: SocketOptions) -> Self {
        self.listening.sockets = options;
        self
    }

    /// Also serves what comes from `listener`, as on its port. May be called again for more.
    pub fn listen_on(mut self, listener: impl Listener) -> Self {
        self.listeners.push(Box::new(listener));
        self
    }

    /// Also listens on `address`, which is one as [`start`](Self::start) takes them; all ports speak all protocols. Any
    /// number of them.
    pub fn also_listen(mut self, address: impl fmt::Display) -> Self {
        self.others.push(address.to_string());
        self
    }

    /// Lets other servers, of this process or others that say so too, listen on the same ports at the same time; the
    /// system spreads the connections over them. Default: the flag `reuse_port`, no.
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.listening.reuse_port = reuse;
        self
    }

    /// Whether a port can be listened on while connections of its last user linger. Default: the flag `reuse_addr`, yes.
    pub fn reuse_addr(mut self, reuse: bool) -> Self {
        self.listening.reuse_address = reuse;
        self
    }

    /// Takes the path of a Unix socket over though somebody may listen there. Default: the flag `reuse_uds_path`, no; a
    /// path that nobody listens at any more is taken over in any case.
    pub fn reuse_uds_path(mut self, reuse: bool) -> Self {
        self.listening.reuse_path = reuse;
        self
    }

    /// Speaks these protocols alone, of those of its registry: their names with spaces between them (brpc:
    /// `enabled_protocols`). Connections that begin with others are closed. Default: empty, all.
    pub fn enabled_protocols(mut self, names: impl Into<String>) -> Self {
        self.enabled_protocols = names.into();
        self
    }

    /// Closes connections on which nothing was read or written for so long. It counts more than what the
    /// [limits](Self::limits) say.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// Serves requests though the answers to their connections pile up: see [`ServiceOptions::ignore_eovercrowded`].
    /// Default: no.
    pub fn ignore_eovercrowded(mut self, ignore: bool) -> Self {
        self.ignore_eovercrowded = ignore;
        self
    }

    /// Runs the methods of services that do not say where on threads that may block: see [`RunsOn::BlockingPool`].
    /// Default: the flag `usercode_in_pthread`, no.
    pub fn usercode_in_pthread(mut self, blocking: bool) -> Self {
        self.usercode_in_pthread = blocking;
        self
    }

    /// Writes the number of the process into this file when it has started, and removes it when it is joined. Folders
    /// are made where they are missing. Default: none.
    pub fn pid_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.pid_file = Some(path.into());
        self
    }

    /// Whether it serves as soon as it is started. Else `/health` answers 503 and calls are answered with
    /// [`ELOGOFF`](crate::error::ELOGOFF), which clients take elsewhere, until [`Server::set_ready`] says so. Default: yes.
    pub fn starts_ready(mut self, ready: bool) -> Self {
        self.starts_ready = ready;
        self
    }

    /// Has at least so many workers in the server's runtime. Default: 0, as many as there are.
    pub fn num_threads(mut self, workers: usize) -> Self {
        self.num_threads = workers;
        self
    }

    /// Serves in the runtime with this [tag](bthread::Runtime::tag) (brpc: `bthread_tag`): its workers read the
    /// connections and run the services. Default: the runtime of whoever starts the server.
    pub fn bthread_tag(mut self, tag: u32) -> Self {
        self.bthread_tag = Some(tag);
        self
    }

    /// Runs `init` so many times in a bthread of the server's runtime before it serves, for so many bthreads to come: each
    /// time it fills pooled [bthread-locals](bthread::local) of its own, which one of the bthreads that serve takes
    /// over. At most 2^17 times or so, [`POOL_TABLES_MAX`](bthread::local::POOL_TABLES_MAX). The server does not start if
    /// one of them fails.
    pub fn bthread_init(
        mut self,
        count: usize,
        init: impl Fn() -> Result<(), RpcError> + Send + Sync + 'static,
    ) -> Self {
        self.bthread_init = Some((count, Box::new(init)));
        self
    }

    /// Keeps objects that calls borrow, one each: [`ServerCall::session_local_data`](super::ServerCall::session_local_data).
    /// `make` makes one when none is free, in the bthread of a call; `reserved` of them are made at the start. Up to 65536
    /// free ones are kept; those are dropped when the server is joined.
    pub fn session_local_data<T: Any + Send>(
        mut self,
        reserved: usize,
        make: impl Fn() -> T + Send + Sync + 'static,
    ) -> Self {
        self.session_data = Some((reserved, SessionDataPool::new(make)));
        self
    }

    /// Keeps an object for each bthread that serves calls:
    /// [`ServerCall::thread_local_data`](super::ServerCall::thread_local_data). `make` makes one in a bthread that has taken none
    /// over from one that has ended; `reserved` of them are made at the start. They are dropped with the server.
    pub fn thread_local_data<T: Any + Send>(
        mut self,
        reserved: usize,
        make: impl Fn() -> T + Send + Sync + 'static,
    ) -> Self {
        self.thread_data = Some((reserved, Box::new(move || Box::new(make()) as _)));
        self
    }

    /// Asks `interceptor` whether a call may run, behind those that were given before it.
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.interceptors.push(Box::new(interceptor));
        self
    }

    /// Lets callers in that `authenticator` knows: the first call of each connection is verified before anything of it,
    /// or behind it, is looked at. A caller that is refused is told
    /// [`ERPCAUTH`](crate::error::ERPCAUTH) (403 over HTTP, where the `Authorization` field is the credential), and its
    /// connection is closed. Debug pages are left to [`pages`](Self::pages). Default: everybody is let in.
    pub fn auth(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticator = Some(Box::new(authenticator));
        self
    }

    /// Verifies each request by the credential that it brings itself, for callers behind a proxy that share connections.
    /// Bobbin's channels, like brpc's, send it with the first alone. Default: no.
    pub fn verify_each_request(mut self, each: bool) -> Self {
        self.verify_each_request = each;
        self
    }
}

impl<P> fmt::Debug for ServerBuilder<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.services.iter().map(|(service, _)| service.descriptor().full_name).collect();
        f.debug_struct("ServerBuilder")
            .field("services", &names)
            .field("protocols", &self.registry.protocols())
            .field("has_master", &self.master.is_some())
            .field("limits", &self.limits)
            .field("max_concurrency", &self.max_concurrency)
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}
