//! Placeholder of the network.
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

/// What the network is told by the world.
pub(crate) trait Ground: Send + Sync + 'static {
    /// Virtual time, since the run began.
    fn now(&self) -> Duration;
    /// Takes a line of the trace.
    fn trace(&self, line: fmt::Arguments<'_>);
}

/// The network.
#[derive(Debug, Clone)]
pub struct Network {}

impl Network {
    pub(crate) fn new(_seed: u64, ground: Box<dyn Ground>) -> Self {
        let _ = (ground.now(), |line: fmt::Arguments<'_>| ground.trace(line));
        Network {}
    }
    pub(crate) fn add_node(&self, _name: &str, _ip: Ipv4Addr) {}
    pub(crate) fn crash(&self, _ip: Ipv4Addr) {}
    pub(crate) fn restart(&self, _ip: Ipv4Addr) {}
    pub(crate) fn next_event(&self) -> Option<Duration> {
        None
    }
    pub(crate) fn deliver(&self, _now: Duration) {}
}
