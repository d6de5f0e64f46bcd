//! Takes connections from a listener until it is closed. It must never stop for a failed accept, and never spin on
//! one either.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bthread::poller::{EventHandler, Readiness};

use super::state::ServerState;
use crate::socket::lock;
use crate::starting;
use crate::transport::{Listener, Registration};

/// After so many connections an acceptor lets other bthreads run.
const ACCEPTED_PER_TURN_MAX: usize = 128;
/// How long to wait for descriptors or memory when there are none left.
const RESOURCES_PAUSE: Duration = Duration::from_millis(100);

/// A listener at work.
pub(super) struct Acceptor {
    server: Arc<ServerState>,
    /// It listens on the internal port.
    is_internal: bool,
    /// `None` once closed. Locked for one accept at a time.
    listener: Mutex<Option<Box<dyn Listener>>>,
    registration: Mutex<Option<Registration>>,
    /// Events since the loop has last looked; 0 exactly while there is no loop.
    events: AtomicU32,
}

/// What a turn of the loop found.
enum Turn {
    Dry,
    Full,
    NoResources,
    Closed,
}

impl Acceptor {
    /// Begins to accept connections for `server`.
    pub(super) fn start(
        server: Arc<ServerState>,
        listener: Box<dyn Listener>,
        is_internal: bool,
    ) -> io::Result<Arc<Self>> {
        let acceptor = Arc::new(Acceptor {
            server,
            is_internal,
            listener: Mutex::new(Some(listener)),
            registration: Mutex::new(None),
            events: AtomicU32::new(0),
        });
        let registration = match lock(&acceptor.listener).as_deref() {
            Some(listener) => Some(listener.register(acceptor.clone())?),
            None => None,
        };
        *lock(&acceptor.registration) = registration;
        Ok(acceptor)
    }

    /// Shows the listener to `f`, unless it is closed. No accept goes on meanwhile.
    pub(super) fn with_listener<R>(&self, f: impl FnOnce(&dyn Listener) -> R) -> Option<R> {
        lock(&self.listener).as_deref().map(f)
    }

    /// Whether it listens on the internal port.
    pub(super) fn is_internal(&self) -> bool {
        self.is_internal
    }

    /// Closes the listener, at once. Never blocks for longer than an accept takes.
    pub(super) fn close(&self) {
        let registration = lock(&self.registration).take();
        drop(registration);
        let listener = lock(&self.listener).take();
        drop(listener);
    }

    fn accept_until_dry(self: Arc<Self>) {
        loop {
            // Acquire pairs with the fetch_add of the events that are taken care of now.
            let seen = self.events.load(Ordering::Acquire);
            match self.accept_some() {
                Turn::Closed => return,
                // AcqRel pairs with the fetch_add that starts the next loop.
                Turn::Dry if self.events.fetch_sub(seen, Ordering::AcqRel) == seen => return,
                Turn::Dry => {}
                Turn::Full => bthread::yield_now(),
                Turn::NoResources => {
                    let again = move || starting::start(self, Self::accept_until_dry);
                    bthread::timer::schedule(bthread::clock::now() + RESOURCES_PAUSE, again); // never cancelled
                    return;
                }
            }
        }
    }

    fn accept_some(&self) -> Turn {
        for _ in 0..ACCEPTED_PER_TURN_MAX {
            let accepted = match &*lock(&self.listener) {
                Some(listener) => listener.accept(),
                None => return Turn::Closed,
            };
            match accepted {
                // A connection that cannot be served is closed, which is all that its peer can be told.
                Ok((transport, remote)) => drop(self.server.serve(transport, remote, self.is_internal)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Dry,
                Err(error) if is_exhaustion(&error) => return Turn::NoResources,
                // The connection was gone before it was accepted.
                Err(_) => {}
            }
        }
        Turn::Full
    }
}

impl EventHandler for Acceptor {
    fn on_event(self: Arc<Self>, _: Readiness) {
        // AcqRel pairs with the loop's fetch_sub.
        if self.events.fetch_add(1, Ordering::AcqRel) == 0 {
            starting::start(self, Self::accept_until_dry);
        }
    }
}

fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lack_of_resources_is_waited_for() {
        assert!(is_exhaustion(&io::Error::from_raw_os_error(libc::EMFILE)));
        assert!(!is_exhaustion(&io::Error::from_raw_os_error(libc::ECONNABORTED)));
    }
}
