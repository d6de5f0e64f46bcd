//! The simulated network: links between nodes, TCP connections over them, and what goes wrong there. It knows no scheduler
//! and no clock of its own: it is told the time, and tells when something happens next.
//!
//! A connection is what Linux would make of it, in the parts that a program can see: a handshake, bytes in segments that
//! are acknowledged, sent again with a growing pause and given up in the end, buffers and a receive window that fill, FIN
//! and RST. There is no congestion control. What has been sent stays on its way when its sender stops, and a node that is
//! paused still acknowledges: that is its kernel's work, which goes on.
//!
//! All of it is behind one lock. Under it events are raised and trace lines written, but nothing of a user is called and
//! nothing of a user's is dropped.

mod chaos;
mod connector;
mod endpoint;
mod fault;
mod link;
mod listener;
mod packet;
mod queue;
mod receiver;
mod sender;
mod signal;
mod state;
#[cfg(test)]
mod tests;
mod traffic;
mod transport;
mod wire;

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rpc::transport::{Connector, SocketOptions};

pub use chaos::{Chaos, Trouble};
pub use endpoint::{BUFFER_DEFAULT, BUFFER_MAX, BUFFER_MIN};
pub use fault::{FAULTS_MAX, Fault};
pub use link::{HEADER_BYTES, LINK_QUEUE_MAX, LinkOptions};
pub use listener::SimListener;
pub use sender::{
    RETRANSMISSION_PAUSE_MAX, RETRANSMISSION_PAUSE_MIN, RETRANSMISSION_TIME_MAX, SEGMENTS_IN_FLIGHT_MAX,
};
pub use state::{BACKLOG_MAX, CONNECTIONS_MAX};

use connector::SimConnector;
use state::State;

/// What the network is told by the world. Both methods are called under the network's lock, and must not call it.
pub(crate) trait Ground: Send + Sync + 'static {
    /// Virtual time, since the run began.
    fn now(&self) -> Duration;
    /// Takes a line of the trace.
    fn trace(&self, line: fmt::Arguments<'_>);
}

/// The network of a world. A cheap handle.
#[derive(Clone)]
pub struct Network(Arc<Shared>);

pub(crate) struct Shared {
    ground: Box<dyn Ground>,
    make_signal: signal::MakeSignal,
    state: Mutex<State>,
}

impl Network {
    /// A network without nodes, whose chance is drawn from `seed`.
    pub(crate) fn new(seed: u64, ground: Box<dyn Ground>) -> Self {
        Self::with_signals(seed, ground, signal::of_runtime)
    }

    fn with_signals(seed: u64, ground: Box<dyn Ground>, make_signal: signal::MakeSignal) -> Self {
        Network(Arc::new(Shared { ground, make_signal, state: Mutex::new(State::new(seed)) }))
    }

    /// When something happens next, if nobody does anything; that may be in the past.
    pub(crate) fn next_event(&self) -> Option<Duration> {
        self.0.lock().next_event()
    }

    /// Lets happen what happens until `now`.
    pub(crate) fn deliver(&self, now: Duration) {
        self.0.lock().deliver(now, &*self.0.ground);
    }

    /// A node that is up. Its name is what the trace and [`Connector::resolve`] know it by.
    pub(crate) fn add_node(&self, name: &str, ip: Ipv4Addr) {
        self.0.lock().add_node(name, ip);
    }

    /// The node's power is cut: it answers nothing any more, all that it knew of connections is gone, and its sockets are
    /// dead. Its peers learn nothing.
    pub(crate) fn crash(&self, ip: Ipv4Addr) {
        self.with(|state, now, ground| state.crash(now, ground, ip));
    }

    /// The node is back, with nothing in it.
    pub(crate) fn restart(&self, ip: Ipv4Addr) {
        self.with(|state, now, ground| state.restart(now, ground, ip));
    }

    /// Listens at a port of a node; 0: one that is free. What is accepted has `options`.
    ///
    /// # Errors
    /// `AddrInUse`; `NetworkDown` for a node that is down or unknown.
    pub(crate) fn listen(&self, ip: Ipv4Addr, port: u16, options: SocketOptions) -> io::Result<SimListener> {
        SimListener::new(self.0.clone(), ip, port, options)
    }

    /// The connector of a node, as it is up now: a node that has crashed needs another when it is back.
    pub(crate) fn connector(&self, ip: Ipv4Addr) -> Arc<dyn Connector> {
        Arc::new(SimConnector::new(self.0.clone(), ip))
    }

    /// Says what all links are like that have not been [set](Self::set_link), those that are there too. *Blocking*:
    /// neither parks nor blocks, as all methods here.
    pub fn set_default_link(&self, options: LinkOptions) {
        self.0.lock().set_default_link(options);
    }

    /// Says what the link from one node to another is like. Packets on their way stay as they are.
    pub fn set_link(&self, from: Ipv4Addr, to: Ipv4Addr, options: LinkOptions) {
        self.0.lock().set_link(from, to, options);
    }

    /// Lets something go wrong, from now on. Packets on their way still arrive.
    pub fn inject(&self, fault: Fault) {
        self.with(|state, now, ground| state.inject(now, ground, fault));
    }

    /// Ends one lasting fault that is like `fault`, if there is one.
    pub fn lift(&self, fault: &Fault) {
        self.with(|state, now, ground| state.lift(now, ground, fault));
    }

    /// Ends all lasting faults.
    pub fn heal(&self) {
        self.with(|state, now, ground| state.heal(now, ground));
    }

    /// Connections of which at least one side is open.
    pub fn connections(&self) -> usize {
        self.0.lock().connections()
    }

    /// The names of the connections of which at least one side is open, in the order of their making, and how much each
    /// side holds: for the search for leaks.
    pub fn open_connections(&self) -> Vec<String> {
        self.0.lock().open_connections()
    }

    fn with<T>(&self, f: impl FnOnce(&mut State, Duration, &dyn Ground) -> T) -> T {
        self.0.with(f)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is one of this code, which the run reports; what is there is looked at all the same.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, f: impl FnOnce(&mut State, Duration, &dyn Ground) -> T) -> T {
        let mut state = self.lock();
        f(&mut state, self.ground.now(), &*self.ground)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("connections", &self.connections()).finish_non_exhaustive()
    }
}
