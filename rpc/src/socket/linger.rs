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
            self.owner.lingers();
            self.lingering.goes_on.store(true, Ordering::SeqCst); // pairs with `Lingering::goes_on`
            return true;
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
        self.shut_down();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::RpcError;
    use crate::limits::Limits;
    use crate::protocol::{Frame, Protocol};
    use crate::socket::{Message, Overcrowded, SocketOwner};
    use crate::transport::{Endpoint, EventHandler, Readiness, Received, Registration, Transport};
    use iobuf::IoBuf;
    use std::sync::Weak;

    /// What a test knows of its connection.
    #[derive(Default)]
    struct Known {
        /// It ends in order before events are registered for; else while the reader is in the middle of its first read.
        ends_at_once: bool,
        reads: AtomicUsize,
        shutdowns: AtomicUsize,
        /// Lingering ones.
        lingering: AtomicUsize,
        lingered: AtomicUsize,
        fails: AtomicUsize,
        deregistrations: AtomicUsize,
        /// The reader is in the middle of its first read.
        reading: AtomicBool,
        /// The direction to the peer is being ended.
        ending: AtomicBool,
        socket: Mutex<Weak<Socket>>,
        /// References to the socket that are not its reader's.
        others: AtomicUsize,
    }

    fn until(is_so: impl Fn() -> bool) {
        while !is_so() {
            std::thread::yield_now();
        }
    }

    struct Registered(Arc<Known>);

    impl Drop for Registered {
        fn drop(&mut self) {
            self.0.deregistrations.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A peer that has gone, which the first read finds when the direction to it is being ended.
    struct Gone(Arc<Known>);

    impl Transport for Gone {
        fn read(&self, _: &mut IoPortal, _: usize) -> io::Result<Received> {
            self.0.reads.fetch_add(1, Ordering::SeqCst);
            self.0.reading.store(true, Ordering::SeqCst);
            until(|| self.0.ending.load(Ordering::SeqCst));
            Err(io::ErrorKind::ConnectionReset.into())
        }

        fn write(&self, from: &mut IoBuf) -> io::Result<usize> {
            Ok(from.pop_front(from.len()))
        }

        fn register(&self, _: Arc<dyn EventHandler>) -> io::Result<Registration> {
            if self.0.ends_at_once {
                let socket = lock(&self.0.socket).upgrade().unwrap();
                socket.close_when_written();
            }
            Ok(Registration::new(Registered(self.0.clone())))
        }

        fn is_connected(&self) -> io::Result<bool> {
            Ok(true)
        }

        fn shutdown_write(&self) -> bool {
            self.0.ending.store(true, Ordering::SeqCst);
            if self.0.ends_at_once {
                return true;
            }
            let socket = lock(&self.0.socket).clone();
            until(|| socket.strong_count() <= self.0.others.load(Ordering::SeqCst));
            true
        }

        fn shutdown(&self) {
            self.0.shutdowns.fetch_add(1, Ordering::SeqCst);
        }

        fn local(&self) -> io::Result<Endpoint> {
            Ok(Endpoint::Named("here".into()))
        }
    }

    struct Owner(Arc<Known>);

    impl SocketOwner for Owner {
        fn role(&self) -> Role {
            Role::Server
        }

        fn message(&self, _: &Arc<Socket>, _: Message) {}

        fn wants_stream(&self, _: &'static dyn Protocol, _: &Frame) -> bool {
            false
        }

        fn body_ended(&self, _: &Arc<Socket>, _: bool) {}

        fn peer_closed(&self, _: &Arc<Socket>) {}

        fn failed(&self, _: &Arc<Socket>, _: &RpcError) {
            self.0.fails.fetch_add(1, Ordering::SeqCst);
        }

        fn lingers(&self) {
            self.0.lingering.fetch_add(1, Ordering::SeqCst);
        }

        fn lingered(&self) {
            self.0.lingered.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn count(count: &AtomicUsize) -> usize {
        count.load(Ordering::SeqCst)
    }

    /// A connection that has written something.
    fn connection(known: Known) -> (Arc<Known>, Arc<Socket>) {
        let known = Arc::new(known);
        let transport = Box::new(Gone(known.clone()));
        let remote = Endpoint::Named("there".into());
        let owner = Box::new(Owner(known.clone()));
        let socket = Socket::accepted(transport, remote, Arc::new([]), Limits::default(), owner).unwrap();
        *lock(&known.socket) = Arc::downgrade(&socket);
        socket.write(IoBuf::from(vec![1]), Overcrowded::Ignore).unwrap();
        socket.send_deferred();
        (known, socket)
    }

    fn has_lingered(known: &Known) {
        until(|| count(&known.lingered) == 1);
        assert_eq!((count(&known.lingering), count(&known.fails)), (1, 1));
        assert_eq!((count(&known.deregistrations), count(&known.shutdowns)), (1, 1));
    }

    #[test]
    fn a_reader_that_finds_the_end_before_lingering_begins_leaves_its_role_to_another() {
        let (known, socket) = connection(Known::default());
        socket.start().unwrap();
        socket.read_on();
        until(|| known.reading.load(Ordering::SeqCst));
        known.others.store(1, Ordering::SeqCst); // that of the table is gone by then
        socket.close_when_written();
        has_lingered(&known);
        assert_eq!(count(&known.reads), 2, "the timer has ended it, as nobody has read on");
    }

    #[test]
    fn a_connection_lingers_that_ends_before_its_registration_is_there() {
        let (known, socket) = connection(Known { ends_at_once: true, ..Known::default() });
        socket.start().unwrap();
        assert_eq!(count(&known.lingering), 1);
        has_lingered(&known);
        socket.on_event(Readiness::new(true, false, true));
        assert_eq!(count(&known.lingered), 1);
    }
}
