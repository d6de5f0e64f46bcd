//! Connecting without waiting: the socket exists and takes writes at once, they leave when the connection stands.
//!
//! Owns whether the connection stands and the timer that gives up. Failing to connect is the socket's failure like
//! any other.

use std::io;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bthread::timer::{self, TimerHandle};
use iobuf::{IoBuf, IoPortal};

use super::{FailOnUnwind, Socket, SocketOwner, lock};
use crate::error::RpcError;
use crate::limits::Limits;
use crate::protocol::Protocol;
use crate::transport::{Connector, Endpoint, EventHandler, Received, Registration, SocketOptions, Transport};

/// How far connecting has come.
pub(super) struct Connecting {
    done: AtomicBool,
    timer: Mutex<Option<TimerHandle>>,
}

impl Connecting {
    /// Nothing to connect.
    pub(super) fn done() -> Self {
        Connecting { done: AtomicBool::new(true), timer: Mutex::new(None) }
    }

    fn begun() -> Self {
        Connecting { done: AtomicBool::new(false), timer: Mutex::new(None) }
    }

    pub(super) fn forget_timer(&self) {
        let timer = lock(&self.timer).take();
        if let Some(timer) = timer {
            timer.cancel();
        }
    }
}

/// The transport of a socket, which one that is to be connected has when somebody has begun to. Before it has none that
/// anybody could read from or write to, so that nothing is there.
pub(super) struct LateTransport(OnceLock<Box<dyn Transport>>);

impl LateTransport {
    pub(super) fn there(transport: Box<dyn Transport>) -> Self {
        LateTransport(transport.into())
    }
}

impl Deref for LateTransport {
    type Target = dyn Transport;

    fn deref(&self) -> &Self::Target {
        self.0.get().map_or(&NotBegun, |transport| &**transport)
    }
}

/// The transport of a socket before connecting has begun.
struct NotBegun;

impl Transport for NotBegun {
    fn read(&self, _: &mut IoPortal, _: usize) -> io::Result<Received> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn write(&self, _: &mut IoBuf) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn register(&self, _: Arc<dyn EventHandler>) -> io::Result<Registration> {
        Err(io::ErrorKind::NotConnected.into())
    }

    fn is_connected(&self) -> io::Result<bool> {
        Ok(false)
    }

    fn shutdown(&self) {}

    fn local(&self) -> io::Result<Endpoint> {
        Err(io::ErrorKind::NotConnected.into())
    }
}

impl Socket {
    /// A socket that is to connect to `remote`: [`connect`](Self::connect) it next, once; writes may come before or
    /// after. Makes no system call, so that it may be made under a lock.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) fn to_connect(
        remote: &Endpoint,
        protocols: Arc<[&'static dyn Protocol]>,
        limits: Limits,
        owner: Box<dyn SocketOwner>,
    ) -> Result<Arc<Self>, RpcError> {
        let late = LateTransport(OnceLock::new());
        let socket = Self::new(late, remote.clone(), protocols, limits, owner, Connecting::begun())?;
        socket.hold_writes_back();
        Ok(socket)
    }

    /// Begins to connect, for at most `timeout`. Never blocks; calls the owner if it fails, so no lock may be held.
    ///
    /// # Errors
    /// Those that are known at once, such as an address that no interface reaches: the socket has failed with it. Or it
    /// had failed before.
    pub(crate) fn connect(
        self: &Arc<Self>,
        connector: &dyn Connector,
        options: &SocketOptions,
        timeout: Duration,
    ) -> Result<(), RpcError> {
        // Those who wait for the connection would wait for one that nobody makes.
        let _guard = FailOnUnwind(self);
        let transport = connector.connect(&self.remote, options).map_err(|error| {
            let error = cannot_connect(&self.remote, error.into());
            self.set_failed(error.clone());
            error
        })?;
        if self.transport.0.set(transport).is_err() {
            return Err(RpcError::internal("A socket is connected once"));
        }
        if let Some(deadline) = bthread::clock::now().checked_add(timeout) {
            let id = self.id();
            let timer = timer::schedule(deadline, move || give_up(id, timeout));
            *lock(&self.connecting.timer) = Some(timer);
        }
        if let Some(error) = self.error() {
            // Whoever made it fail may have been too early for the transport and the timer.
            self.transport.shutdown();
            self.connecting.forget_timer();
            return Err(error.clone());
        }
        self.start()
    }

    /// Whether the connection stands or has stood: what was written to a socket that never connected was never sent.
    pub(crate) fn is_connected(&self) -> bool {
        // Acquire pairs with the swap in `try_to_finish_connecting`: the local address is set.
        self.connecting.done.load(Ordering::Acquire)
    }

    /// Looks whether the connection stands now, and lets the writes go if so. Called on events.
    pub(super) fn try_to_finish_connecting(self: &Arc<Self>) -> bool {
        match self.transport.is_connected() {
            Ok(true) => {}
            Ok(false) => return false,
            Err(error) => {
                self.set_failed(cannot_connect(&self.remote, error.into()));
                return false;
            }
        }
        if let Ok(local) = self.transport.local() {
            let _ = self.local.set(local); // another event's worker may have been faster
        }
        // AcqRel: pairs with the load in `is_connected`, and picks one of several workers.
        if !self.connecting.done.swap(true, Ordering::AcqRel) {
            self.connecting.forget_timer();
            self.owner.connected(self);
            self.let_writes_go();
        }
        true
    }
}

fn give_up(id: u64, timeout: Duration) {
    let Some(socket) = Socket::address(id) else { return };
    if !socket.is_connected() {
        let code = socket.owner.connect_timed_out();
        let text =
            format!("Fail to connect {}: not connected after {}ms", socket.remote, timeout.as_millis());
        socket.set_failed(RpcError::new(code, text));
    }
}

fn cannot_connect(remote: &Endpoint, error: RpcError) -> RpcError {
    RpcError::new(error.code(), format!("Fail to connect {remote}: {}", error.text()))
}
