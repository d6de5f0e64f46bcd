//! Connecting without waiting: the socket exists and takes writes at once, they leave when the connection stands.
//!
//! Owns whether the connection stands and the timer that gives up. Failing to connect is the socket's failure like
//! any other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bthread::timer::{self, TimerHandle};

use super::{Socket, SocketOwner, lock};
use crate::error::{ETIMEDOUT, RpcError};
use crate::limits::Limits;
use crate::protocol::Protocol;
use crate::transport::Endpoint;

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

impl Socket {
    /// A socket that connects to `remote`. [`start`](Self::start) it next; writes may come before or after.
    ///
    /// # Errors
    /// Those that the system reports at once, such as an address that no interface reaches.
    pub(crate) fn connecting(
        remote: &Endpoint,
        timeout: Duration,
        protocols: Arc<[&'static dyn Protocol]>,
        limits: Limits,
        owner: Box<dyn SocketOwner>,
    ) -> Result<Arc<Self>, RpcError> {
        let transport = remote.connect().map_err(|error| cannot_connect(remote, error.into()))?;
        let socket = Self::new(transport, remote.clone(), protocols, limits, owner, Connecting::begun())?;
        socket.hold_writes_back();
        if let Some(deadline) = Instant::now().checked_add(timeout) {
            let id = socket.id();
            let timer = timer::schedule(deadline, move || give_up(id, timeout));
            *lock(&socket.connecting.timer) = Some(timer);
        }
        Ok(socket)
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
            self.let_writes_go();
        }
        true
    }
}

fn give_up(id: u64, timeout: Duration) {
    let Some(socket) = Socket::address(id) else { return };
    if !socket.is_connected() {
        let text =
            format!("Fail to connect {}: not connected after {}ms", socket.remote, timeout.as_millis());
        socket.set_failed(RpcError::new(ETIMEDOUT, text));
    }
}

fn cannot_connect(remote: &Endpoint, error: RpcError) -> RpcError {
    RpcError::new(error.code(), format!("Fail to connect {remote}: {}", error.text()))
}
