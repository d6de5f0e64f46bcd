//! The decisions about a channel, until it is connected.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use super::channel::{Channel, ChannelState};
use super::connection::SingleConnection;
use crate::error::{EINVAL, RpcError};
use crate::limits::Limits;
use crate::protocol::{ConnectionType, Protocol};
use crate::registry::{DefaultRegistry, Registry};
use crate::transport::Endpoint;

/// How long a call may take by default (brpc: `timeout_ms`).
pub const TIMEOUT_DEFAULT: Duration = Duration::from_millis(500);
/// How long connecting may take by default (brpc: `connect_timeout_ms`).
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_millis(200);
/// How often a call is tried again by default (brpc: `max_retry`).
pub const MAX_RETRY_DEFAULT: u32 = 3;

/// What a channel is to be. Made by [`Channel::builder`].
#[derive(Debug)]
#[must_use = "a channel calls once it is connected"]
pub struct ChannelBuilder<P> {
    registry: Registry,
    protocol: Option<String>,
    connection_type: Option<String>,
    timeout: Duration,
    connect_timeout: Duration,
    max_retry: u32,
    deliver_timeout: bool,
    limits: Limits,
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
            deliver_timeout: false,
            limits: Limits::default(),
            default: PhantomData,
        }
    }

    /// The protocol, by its name in the registry. Default: the first one there that channels can speak.
    pub fn protocol(mut self, name: impl Into<String>) -> Self {
        self.protocol = Some(name.into());
        self
    }

    /// Chooses from the protocols of this registry. Default: all that came with `P`.
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// How calls share connections, by brpc's name. Only `single` is there so far. Default: the protocol's.
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

    /// How often a call that was never sent is tried again. Default: 3.
    pub fn max_retry(mut self, max: u32) -> Self {
        self.max_retry = max;
        self
    }

    /// Whether servers are told how long their caller still waits, on protocols that carry it. Default: no, as in brpc,
    /// which has a flag for it.
    pub fn deliver_timeout(mut self, deliver: bool) -> Self {
        self.deliver_timeout = deliver;
        self
    }

    /// What one connection may hold.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// A channel to the server at `address` (`ip:port`, `host:port`, `unix:path`). Nothing is sent before the first
    /// call, so a server that is not there shows then.
    ///
    /// *Blocking*: blocks the thread while a host name is looked up.
    ///
    /// # Errors
    /// [`EINVAL`] for an address that is none, a protocol that the registry does not have or channels cannot speak,
    /// and a connection type that the protocol does not have.
    pub fn connect(self, address: impl fmt::Display) -> Result<Channel<P>, RpcError> {
        crate::span::register();
        let remote = Endpoint::resolve(&address.to_string())?;
        let protocol = self.find_protocol()?;
        let side = protocol.client().ok_or_else(|| {
            RpcError::new(EINVAL, format!("protocol={} is not for channels", protocol.name()))
        })?;
        self.check_connection_type(protocol)?;
        Ok(Channel::new(ChannelState {
            side,
            protocol: protocol.name(),
            connection: SingleConnection::new(remote, protocol, self.connect_timeout, self.limits),
            timeout: self.timeout,
            max_retry: self.max_retry,
            deliver_timeout: self.deliver_timeout,
        }))
    }

    fn find_protocol(&self) -> Result<&'static dyn Protocol, RpcError> {
        let found = match &self.protocol {
            Some(name) => self.registry.find(name).ok_or_else(|| format!("Unknown protocol={name}")),
            None => {
                let mut protocols = self.registry.protocols().iter().copied();
                protocols
                    .find(|protocol| protocol.client().is_some())
                    .ok_or_else(|| "No protocol for channels".into())
            }
        };
        found.map_err(|text| RpcError::new(EINVAL, text))
    }

    fn check_connection_type(&self, protocol: &dyn Protocol) -> Result<(), RpcError> {
        let wanted = match &self.connection_type {
            Some(name) => name.parse()?,
            None => ConnectionType::Single,
        };
        let (name, wanted_name) = (protocol.name(), wanted.name());
        if !protocol.connection_types().contains(&wanted) {
            let text = format!("protocol={name} does not support connection_type={wanted_name}");
            return Err(RpcError::new(EINVAL, text));
        }
        if wanted != ConnectionType::Single {
            let text = format!("connection_type={wanted_name} is not there yet; connection_type=single is");
            return Err(RpcError::new(EINVAL, text));
        }
        Ok(())
    }
}
