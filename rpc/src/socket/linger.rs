//! The orderly end of a server's connection. Its last bytes are written, the peer may not have read them, and may send
//! more: if both directions were ended then, the system would answer that with a reset, and throw away the bytes that
//! are still on their way.
//!
//! So the direction to the peer is ended alone, and what comes is read and thrown away until the peer has ended its own or
//! [`LINGER_TIMEOUT`] is over. For everybody else the socket has failed already. Owns how many do so at a time. It must
//! never keep what it reads, nor answer it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bthread::timer::{self, TimerHandle};
use iobuf::IoPortal;

use super::{Socket, lock};
use crate::protocol::Role;

/// How long a peer has to read what was written last, and to end its side. A connection that has carried nothing for so
/// long is not waited for.
pub(crate) const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections of a process that wait for the ends of their peers at a time; others are ended at once.
const LINGERING_MAX: usize = 4096;
/// What is read at a time, to be thrown away.
const DISCARD_BYTES: usize = 64 << 10;
/// After so many bytes other bthreads may run.
const TURN_BYTES_MAX: usize = 4 << 20;

/// Those that do.
static LINGERING: AtomicUsize = AtomicUsize::new(0);

/// Whether a socket that has failed waits for its peer's end.
#[derive(Default)]
pub(super) struct Lingering {
    goes_on: AtomicBool,
    timer: Mutex<Option<TimerHandle>>,
}

/// How far throwing away went.
pub(super) enum Discarded {
    /// There is nothing more at the moment.
    Dry,
    /// There may be more, but it is somebody else's turn.
    Full,
    /// The peer has ended its side.
    End,
}

impl Lingering {
    pub(super) fn goes_on(&self) -> bool {
        self.goes_on.load(Ordering::SeqCst) // pairs with the store in `try_to_linger` and the swap in `stop_lingering`
    }
}

impl Socket {
    /// Called once, while the socket fails, if everything is written: ends the direction to the peer, and returns whether
    /// the rest is to wait for the peer's end. Then [`linger`](Self::linger) follows.
    pub(super) fn try_to_linger(self: &Arc<Self>) -> bool {
        // Who was told nothing misses nothing.
        if self.owner.role() != Role::Server
            || self.is_peer_closed()
            || self.totals().out_bytes == 0
            || self.has_carried_nothing_for(LINGER_TIMEOUT)
        {
            return false;
        }
        // Relaxed: a count of its own.
        if LINGERING.fetch_add(1, Ordering::Relaxed) < LINGERING_MAX && self.transport.shutdown_write() {
            let registration = lock(&self.registration);
            if registration.is_some() {
                self.owner.lingers();
                self.lingering.goes_on.store(true, Ordering::SeqCst); // pairs with `Lingering::goes_on`
                return true;
            }
        }
        LINGERING.fetch_sub(1, Ordering::Relaxed); // as above
        false
    }

    /// Begins to wait for the peer's end.
    pub(super) fn linger(self: &Arc<Self>) {
        if let Some(deadline) = bthread::clock::now().checked_add(LINGER_TIMEOUT) {
            let socket = self.clone();
            let timer = timer::schedule(deadline, move || socket.stop_lingering());
            *lock(&self.lingering.timer) = Some(timer);
        }
        if !self.lingering.goes_on() {
            self.forget_linger_timer(); // somebody was faster
        }
        self.read_on();
    }

    /// Ends both directions now. Never blocks; no lock may be held.
    pub(super) fn stop_lingering(&self) {
        // SeqCst pairs with `Lingering::goes_on`; one of several does the rest.
        if !self.lingering.goes_on.swap(false, Ordering::SeqCst) {
            return;
        }
        let registration = lock(&self.registration).take();
        drop(registration);
        self.transport.shutdown();
        self.forget_linger_timer();
        LINGERING.fetch_sub(1, Ordering::Relaxed); // as in `try_to_linger`
        self.owner.lingered();
    }

    fn forget_linger_timer(&self) {
        let timer = lock(&self.lingering.timer).take();
        if let Some(timer) = timer {
            timer.cancel();
        }
    }

    /// Throws away what is there. The reader's.
    pub(super) fn discard(&self, portal: &mut IoPortal) -> Discarded {
        let mut bytes = 0;
        let discarded = loop {
            portal.clear();
            match self.transport.read(portal, DISCARD_BYTES) {
                Ok(received) if received.bytes == 0 => break Discarded::End,
                Ok(received) => bytes += received.bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Discarded::Dry,
                Err(_) => break Discarded::End, // whatever it is, nothing more comes
            }
            if bytes >= TURN_BYTES_MAX {
                break Discarded::Full;
            }
        };
        portal.clear();
        portal.return_cached_blocks();
        discarded
    }
}
