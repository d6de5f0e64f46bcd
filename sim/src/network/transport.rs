//! A node's handle of one side of a connection.

use std::io;
use std::sync::Arc;

use bthread::poller::EventHandler;
use iobuf::{IoBuf, IoPortal};
use rpc::transport::{Endpoint, Received, Registration, Transport};

use super::Shared;
use super::endpoint::Key;
use super::signal::Signal;
use super::wire::Moment;

/// What the socket of a real node would be; dropping it closes that.
pub(super) struct SimTransport {
    network: Arc<Shared>,
    key: Key,
    local: std::net::SocketAddr,
}

impl SimTransport {
    pub(super) fn new(network: Arc<Shared>, key: Key, local: std::net::SocketAddr) -> Self {
        SimTransport { network, key, local }
    }
}

impl Transport for SimTransport {
    fn read(&self, into: &mut IoPortal, max: usize) -> io::Result<Received> {
        self.network.with(|state, now, ground| state.read(Moment { now, ground }, self.key, into, max))
    }

    fn write(&self, from: &mut IoBuf) -> io::Result<usize> {
        let bytes = &*from;
        let taken =
            self.network.with(|state, now, ground| state.write(Moment { now, ground }, self.key, bytes))?;
        // Outside of the lock: that may run what the bytes' owner wants to be done at their end.
        from.pop_front(taken);
        Ok(taken)
    }

    fn register(&self, handler: Arc<dyn EventHandler>) -> io::Result<Registration> {
        let signal = (self.network.make_signal)(handler)?;
        self.network.with(|state, _, _| state.register(self.key, signal.clone()));
        Ok(Registration::new(Registered { network: self.network.clone(), key: self.key, _signal: signal }))
    }

    fn is_connected(&self) -> io::Result<bool> {
        self.network.with(|state, _, _| state.is_connected(self.key))
    }

    fn shutdown_write(&self) -> bool {
        self.network.with(|state, now, ground| state.shut_down_writing(Moment { now, ground }, self.key))
    }

    fn shutdown(&self) {
        self.network.with(|state, now, ground| state.shut_down(Moment { now, ground }, self.key));
    }

    fn local(&self) -> io::Result<Endpoint> {
        Ok(Endpoint::Tcp(self.local))
    }
}

impl Drop for SimTransport {
    fn drop(&mut self) {
        self.network.with(|state, now, ground| state.close(Moment { now, ground }, self.key));
    }
}

/// Ends the events of one side. It has the signal too, so that the network never drops the last handle of one under its
/// lock, and with it something of a user's.
struct Registered {
    network: Arc<Shared>,
    key: Key,
    _signal: Arc<dyn Signal>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.network.with(|state, _, _| {
            if let Some(endpoint) = state.endpoint(self.key) {
                endpoint.signal = None;
            }
        });
    }
}
