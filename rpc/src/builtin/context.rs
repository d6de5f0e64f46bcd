//! What pages see of the server that shows them, and of the connection that asks. Owns the list of what a server must tell;
//! must never change anything.

use std::fmt;
use std::time::SystemTime;

use super::access::{self, Denied, Peer};
use super::options::PageOptions;
use super::request::PageRequest;
use crate::limits::Limits;
use crate::service::{MethodDescriptor, ServiceDescriptor};
use crate::transport::Endpoint;

/// What a server tells its pages. Each answer is a snapshot.
pub(crate) trait ServerView: Send + Sync {
    /// Where it listens.
    fn listening(&self) -> &Endpoint;
    /// Where it listens for those who run it, if there.
    fn internal(&self) -> Option<&Endpoint>;
    /// What was decided about the pages.
    fn options(&self) -> &PageOptions;
    /// As set, else the names of the services, joined by `+`.
    fn version(&self) -> String;
    /// When it started.
    fn started(&self) -> SystemTime;
    /// New requests are refused.
    fn is_stopping(&self) -> bool;
    /// Requests should be sent its way.
    fn is_ready(&self) -> bool;
    /// Open connections, those of the internal port included.
    fn connection_count(&self) -> usize;
    /// The most there may be.
    fn max_connections(&self) -> usize;
    /// Requests running now.
    fn concurrency(&self) -> usize;
    /// The most there may be; 0: no limit.
    fn max_concurrency(&self) -> usize;
    /// Requests that failed before they belonged to a method.
    fn non_service_errors(&self) -> i64;
    /// What one connection may hold.
    fn limits(&self) -> Limits;
    /// The names of the protocols that its ports speak.
    fn protocols(&self) -> Vec<&'static str>;
    /// The user's services, in the order in which they were added.
    fn services(&self) -> Vec<ServiceInfo>;
    /// At most `max` of this server's connections, in the order of their ids.
    fn connections(&self, max: usize) -> Vec<ConnectionInfo>;
    /// At most `max` of the process's client connections, in the order of their ids, and how many there are.
    fn channel_connections(&self, max: usize) -> (Vec<ConnectionInfo>, usize);
    /// Everything about one connection of the process, in brpc's order and with its names (`spec/builtin-services.md`
    /// §12); a value may have several lines. None if it is gone.
    fn socket(&self, id: u64) -> Option<Vec<(&'static str, String)>>;
    /// How many sockets there are in the process, and how many there may be.
    fn socket_counts(&self) -> (usize, usize);
    /// Whether, and how, the connections of the port are secured: `"none"`, or a line about TLS.
    fn transport_security(&self) -> String;
}

/// One service of the user.
#[derive(Clone)]
pub(crate) struct ServiceInfo {
    pub(crate) descriptor: &'static ServiceDescriptor,
    pub(crate) methods: Vec<MethodInfo>,
}

/// One method of it.
#[derive(Clone)]
pub(crate) struct MethodInfo {
    pub(crate) descriptor: &'static MethodDescriptor,
    /// The paths that lead to it beside its name.
    pub(crate) paths: Vec<String>,
    /// What its variables' names begin with, without the `_` behind: `rpc_server_8002_example_echo_service_echo`.
    pub(crate) variables: String,
    /// The limit now, if it has a limiter.
    pub(crate) max_concurrency: Option<usize>,
}

/// One row of `/connections`.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionInfo {
    pub(crate) id: u64,
    /// None while it is broken and checked for health.
    pub(crate) created: Option<SystemTime>,
    pub(crate) remote: Endpoint,
    pub(crate) local: Option<Endpoint>,
    pub(crate) is_secured: bool,
    /// None until the first message was understood.
    pub(crate) protocol: Option<&'static str>,
    /// Connections to the same peer that this row stands for.
    pub(crate) pooled: Option<usize>,
    /// None for one that is virtual or broken.
    pub(crate) descriptor: Option<i32>,
    /// None while it is broken.
    pub(crate) traffic: Option<Traffic>,
    /// Round trip and its variation in microseconds, as the system measures them.
    pub(crate) rtt: Option<(u32, u32)>,
    /// Of a client: errors lately, and how often it was isolated.
    pub(crate) breaker: Option<(u32, u32)>,
}

/// Bytes and messages of the last second and the last minute.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) in_bytes_second: u64,
    pub(crate) in_messages_second: u64,
    pub(crate) in_bytes_minute: u64,
    pub(crate) in_messages_minute: u64,
    pub(crate) out_bytes_second: u64,
    pub(crate) out_messages_second: u64,
    pub(crate) out_bytes_minute: u64,
    pub(crate) out_messages_minute: u64,
}

/// Whom a page answers, and for which server.
#[derive(Clone, Copy)]
pub(crate) struct PageContext<'a> {
    pub(crate) server: &'a dyn ServerView,
    /// The other end of the connection.
    pub(crate) remote: &'a Endpoint,
    /// The address that was reached, with the port that the server listens on.
    pub(crate) local: &'a Endpoint,
    /// The connection came by the internal port.
    pub(crate) is_internal: bool,
}

impl PageContext<'_> {
    /// The server, as texts name it.
    pub(crate) fn identity(&self) -> &dyn fmt::Display {
        self.local
    }

    fn peer(&self) -> Peer {
        if self.is_internal { Peer::Internal } else { Peer::of(self.remote) }
    }

    /// Whether whoever asks may see the pages.
    pub(crate) fn may_read(&self, request: &PageRequest) -> Result<(), Denied> {
        access::may_read(self.peer(), &request.host, self.server.internal().is_some(), self.server.options())
    }

    /// Whether whoever asks may change something.
    pub(crate) fn may_change(&self, request: &PageRequest) -> Result<(), Denied> {
        access::may_change(self.peer(), request, self.server.options().secret())
    }
}
