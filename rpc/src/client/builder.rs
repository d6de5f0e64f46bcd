//! The decisions about a channel, until it is connected.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::backup::BackupRequestPolicy;
use super::channel::{Channel, ChannelState};
use super::retry::RetryPolicy;
use super::retry_budget::{Purse, RetryBudget};
use super::way::{Connections, Identity, Way};
use crate::auth::Authenticator;
use crate::error::{EINVAL, RpcError};
use crate::limits::Limits;
use crate::protocol::{ConnectionType, Protocol};
use crate::registry::{DefaultRegistry, Registry};
use crate::transport::{Connector, Endpoint, SocketOptions, System};

/// How long a call may take by default (brpc: `timeout_ms`).
pub const TIMEOUT_DEFAULT: Duration = Duration::from_millis(500);
/// How long connecting may take by default (brpc: `connect_timeout_ms`).
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_millis(200);
/// How often a call is tried again by default (brpc: `max_retry`).
pub const MAX_RETRY_DEFAULT: u32 = 3;

/// What a channel is to be. Made by [`Channel::builder`].
#[must_use = "a channel calls once it is connected"]
pub struct ChannelBuilder<P> {
    registry: Registry,
    protocol: Option<String>,
    connection_type: Option<String>,
    timeout: Duration,
    connect_timeout: Duration,
    max_retry: u32,
    deliver_timeout: Option<bool>,
    retry_policy: Option<Arc<dyn RetryPolicy>>,
    retry_budget: RetryBudget,
    backup_request: Option<Duration>,
    backup_request_policy: Option<Arc<dyn BackupRequestPolicy>>,
    authenticator: Option<Arc<dyn Authenticator>>,
    limits: Limits,
    socket_options: SocketOptions,
    connection_group: String,
    connector: Option<Arc<dyn Connector>>,
    default: PhantomData<fn() -> P>,
}

impl<P: DefaultRegistry> ChannelBuilder<P> {
    pub(super) fn new() -> Self {
        ChannelBuilder {
            registry: P::registry(),
            protocol: None,
            connection_type: None,
            timeout: TIMEOUT_DEFAULT,
            connect_timeout: CONNECT_TIMEOUT_DEFAULT,
            max_retry: MAX_RETRY_DEFAULT,
            deliver_timeout: None,
            retry_policy: None,
            retry_budget: RetryBudget::default(),
            backup_request: None,
            backup_request_policy: None,
            authenticator: None,
            limits: Limits::default(),
            socket_options: SocketOptions::default(),
            connection_group: String::new(),
            connector: None,
            default: PhantomData,
        }
    }

    /// The protocol, by its name in the registry; some take a parameter behind a colon (`http:proto`). Default: the
    /// first one there that channels can speak.
    pub fn protocol(mut self, name: impl Into<String>) -> Self {
        self.protocol = Some(name.into());
        self
    }

    /// Chooses from the protocols of this registry. Default: all that came with `P`.
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// How calls share connections, by brpc's name: `single` for all calls, `pooled` for one call at a time and kept for
    /// the next, `short` for one call. Default: the protocol's.
    pub fn connection_type(mut self, name: impl Into<String>) -> Self {
        self.connection_type = Some(name.into());
        self
    }

    /// How long a call may take, all its attempts together. [`Duration::MAX`]: for ever. Default: 500 ms.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long connecting may take. [`Duration::MAX`]: as long as the system tries. Default: 200 ms.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How often a call is tried again, a backup request included; see [`RetryPolicy`] for what is tried again. Default:
    /// 3.
    pub fn max_retry(mut self, max: u32) -> Self {
        self.max_retry = max;
        self
    }

    /// Decides what is tried again, and when. Default: what [is retriable](RpcError::is_retriable), at once.
    pub fn retry_policy(mut self, policy: impl RetryPolicy) -> Self {
        self.retry_policy = Some(Arc::new(policy));
        self
    }

    /// How many retries there may be for all calls, so that they do not make a failure worse. Retries of what was never
    /// sent do not count, nor do backup requests. Default: [`RETRY_RATIO_DEFAULT`](super::RETRY_RATIO_DEFAULT) for a
    /// call and [`RETRY_RESERVE_DEFAULT`](super::RETRY_RESERVE_DEFAULT) at once; brpc has no such limit
    /// ([`RetryBudget::unlimited`]).
    pub fn retry_budget(mut self, budget: RetryBudget) -> Self {
        self.retry_budget = budget;
        self
    }

    /// Sends calls a second time that have no reply after this time, see
    /// [`CallOptions::backup_request`](super::CallOptions::backup_request) (brpc: `backup_request_ms`). Default: never.
    pub fn backup_request(mut self, after: Duration) -> Self {
        self.backup_request = Some(after);
        self
    }

    /// Decides about backup requests. Default: all are made that [`backup_request`](Self::backup_request) asks for.
    pub fn backup_request_policy(mut self, policy: impl BackupRequestPolicy) -> Self {
        self.backup_request_policy = Some(Arc::new(policy));
        self
    }

    /// Says on each connection who calls, on protocols that carry it (brpc: `auth`). Default: nobody does.
    pub fn auth(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticator = Some(Arc::new(authenticator));
        self
    }

    /// Whether servers are told how long their caller still waits, on protocols that carry it. Default: as the flag
    /// `baidu_std_protocol_deliver_timeout_ms` says, which is on, unlike brpc's.
    pub fn deliver_timeout(mut self, deliver: bool) -> Self {
        self.deliver_timeout = Some(deliver);
        self
    }

    /// What one connection may hold.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What the system is told about its connections: keep-alive, buffers, the address and device they leave from.
    pub fn socket_options(mut self, options: SocketOptions) -> Self {
        self.socket_options = options;
        self
    }

    /// Channels share connections, or the pools of them, if everything is the same that makes connections differ: address,
    /// protocol, type, limits, options, connector, authenticator, and this name, whose case matters and the spaces around
    /// which do not. Default: empty.
    pub fn connection_group(mut self, name: &str) -> Self {
        self.connection_group = name.trim().to_owned();
        self
    }

    /// What makes its connections, and understands its address, in place of the system's sockets.
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connector = Some(connector);
        self
    }

    /// A channel to the server at `address` (`ip:port`, `host:port`, `unix:path`, `http://host:port`). Nothing is sent
    /// before the first call, so a server that is not there shows then.
    ///
    /// *Blocking*: blocks the thread while a host name is looked up.
    ///
    /// # Errors
    /// [`EINVAL`] for an address that is none, a protocol that the registry does not have or channels cannot speak,
    /// a connection type that the protocol does not have, and a retry budget with a ratio that is none.
    pub fn connect(self, address: impl fmt::Display) -> Result<Channel<P>, RpcError> {
        crate::process::show(self.registry.protocols());
        crate::server::look_for_file::<P>();
        let address = address.to_string();
        let authority = without_scheme(&address)?;
        let remote = self.connector.as_deref().unwrap_or(&System).resolve(&authority)?;
        let authority = match remote {
            Endpoint::Tcp(_) => authority,
            Endpoint::Unix(_) | Endpoint::Named(_) => UNIX_AUTHORITY.to_owned(),
        };
        let (protocol, parameter) = self.find_protocol()?;
        let side = protocol.client().ok_or_else(|| {
            RpcError::new(EINVAL, format!("protocol={} is not for channels", protocol.name()))
        })?;
        let connection_type = self.choose_connection_type(protocol)?;
        let way = Way {
            remote,
            protocols: [&[protocol], protocol.companions()].concat().into(),
            connect_timeout: self.connect_timeout,
            limits: self.limits,
            socket_options: self.socket_options,
            group: self.connection_group,
            identities: (self.connector.iter().map(Identity::of))
                .chain(self.authenticator.iter().map(Identity::of))
                .collect(),
            connector: self.connector,
        };
        Ok(Channel::new(ChannelState {
            side,
            protocol: protocol.name(),
            parameter,
            authority,
            connections: Connections::new(connection_type, way),
            timeout: self.timeout,
            max_retry: self.max_retry,
            deliver_timeout: self.deliver_timeout,
            retry_policy: self.retry_policy,
            purse: Purse::new(self.retry_budget)?,
            backup_request: self.backup_request,
            backup_request_policy: self.backup_request_policy,
            authenticator: self.authenticator,
        }))
    }

    /// The protocol, and what stands behind its name.
    fn find_protocol(&self) -> Result<(&'static dyn Protocol, String), RpcError> {
        let found = match &self.protocol {
            Some(wanted) => {
                let (name, parameter) = wanted.split_once(':').unwrap_or((wanted, ""));
                self.registry
                    .find(name)
                    .map(|protocol| (protocol, parameter.to_owned()))
                    .ok_or_else(|| format!("Unknown protocol={wanted}"))
            }
            None => {
                let mut protocols = self.registry.protocols().iter().copied();
                protocols
                    .find(|protocol| protocol.client().is_some())
                    .map(|protocol| (protocol, String::new()))
                    .ok_or_else(|| "No protocol for channels".into())
            }
        };
        found.map_err(|text| RpcError::new(EINVAL, text))
    }

    fn choose_connection_type(&self, protocol: &dyn Protocol) -> Result<ConnectionType, RpcError> {
        let known = protocol.connection_types();
        let wanted = match &self.connection_type {
            Some(name) => name.parse()?,
            None => {
                *known.first().ok_or_else(|| RpcError::internal("A protocol without connection types"))?
            }
        };
        if known.contains(&wanted) {
            return Ok(wanted);
        }
        let (name, wanted) = (protocol.name(), wanted.name());
        Err(RpcError::new(EINVAL, format!("protocol={name} does not support connection_type={wanted}")))
    }
}

impl<P> fmt::Debug for ChannelBuilder<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelBuilder")
            .field("protocol", &self.protocol)
            .field("connection_type", &self.connection_type)
            .field("timeout", &self.timeout)
            .field("max_retry", &self.max_retry)
            .finish_non_exhaustive()
    }
}

/// An address as it may be given as a URL: `http://host/path` is `host:80`.
fn without_scheme(address: &str) -> Result<String, RpcError> {
    let Some((scheme, rest)) = address.split_once("://") else {
        return Ok(address.to_owned());
    };
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(RpcError::new(
            EINVAL,
            format!("{scheme}:// is not spoken: only http:// (there is no TLS yet)"),
        ));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let has_port =
        authority.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    Ok(if has_port { authority.to_owned() } else { format!("{authority}:{HTTP_PORT}") })
}

/// What servers are called that are reached by a path, where a protocol wants the name of a host.
const UNIX_AUTHORITY: &str = "localhost";

/// The port of URLs that name none.
const HTTP_PORT: u16 = 80;
