//! A node's port that is listened at.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bthread::poller::{EventHandler, Readiness};
use rpc::transport::{Endpoint, Listener, Registration, SocketOptions, Transport};

use super::Shared;
use super::signal::Signal;
use super::transport::SimTransport;
use super::wire::Moment;

/// Listens at a port of a simulated node until it is dropped: for
/// [`ServerBuilder::start_on`](rpc::ServerBuilder::start_on). What it has not handed out by then is reset. At most
/// [`BACKLOG_MAX`](super::BACKLOG_MAX) connections wait for it.
pub struct SimListener {
    network: Arc<Shared>,
    at: (Ipv4Addr, u16),
    id: u64,
}

impl SimListener {
    pub(super) fn new(
        network: Arc<Shared>,
        ip: Ipv4Addr,
        port: u16,
        options: SocketOptions,
    ) -> io::Result<Self> {
        let (id, port) = network.with(|state, _, _| state.listen(ip, port, options))?;
        Ok(SimListener { network, at: (ip, port), id })
    }

    /// The port, which the network has chosen if it was to.
    pub fn port(&self) -> u16 {
        self.at.1
    }

    /// Has less room for connections that wait.
    #[cfg(test)]
    pub(super) fn set_backlog_max(&self, backlog_max: usize) {
        self.network.with(|state, _, _| {
            if let Some(listening) = state.listening(self.at, self.id) {
                listening.backlog_max = backlog_max;
            }
        });
    }
}

impl Listener for SimListener {
    fn accept(&self) -> io::Result<(Box<dyn Transport>, Endpoint)> {
        let accepted =
            self.network.with(|state, now, ground| state.accept(Moment { now, ground }, self.at, self.id))?;
        let transport = SimTransport::new(self.network.clone(), accepted.key, self.at.into());
        Ok((Box::new(transport), Endpoint::Tcp(accepted.remote)))
    }

    fn register(&self, handler: Arc<dyn EventHandler>) -> io::Result<Registration> {
        let signal = (self.network.make_signal)(handler)?;
        self.network.with(|state, _, _| {
            if let Some(listening) = state.listening(self.at, self.id) {
                listening.signal = Some(signal.clone());
                if !listening.ready.is_empty() {
                    signal.raise(Readiness::new(true, false, false));
                }
            }
        });
        let (network, at, id) = (self.network.clone(), self.at, self.id);
        Ok(Registration::new(Registered { network, at, id, _signal: signal }))
    }

    fn local(&self) -> io::Result<Endpoint> {
        Ok(Endpoint::Tcp(SocketAddr::from(self.at)))
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.network
            .with(|state, now, ground| state.stop_listening(Moment { now, ground }, self.at, self.id));
    }
}

impl fmt::Debug for SimListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimListener").field(&SocketAddr::from(self.at)).finish()
    }
}

/// Ends the events of a listener; has the signal for the same reason as that of a connection.
struct Registered {
    network: Arc<Shared>,
    at: (Ipv4Addr, u16),
    id: u64,
    _signal: Arc<dyn Signal>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.network.with(|state, _, _| {
            if let Some(listening) = state.listening(self.at, self.id) {
                listening.signal = None;
            }
        });
    }
}
