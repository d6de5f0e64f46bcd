//! Placeholder of the network.
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::random::Random;

/// The network.
#[derive(Debug)]
pub struct Network {}

impl Network {
    pub(crate) fn new(_random: Random) -> Self {
        Network {}
    }
    pub(crate) fn add_node(&self, _ip: Ipv4Addr) {}
    pub(crate) fn crash(&self, _ip: Ipv4Addr) {}
    pub(crate) fn restart(&self, _ip: Ipv4Addr) {}
    pub(crate) fn next_event(&self) -> Option<Duration> {
        None
    }
    pub(crate) fn deliver(&self, _now: Duration) {}
}
