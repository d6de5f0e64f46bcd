//! The gate before one direction of a descriptor: a count of the edges that the poller has seen, to wait on.
//!
//! Whoever wants to read or write
//! 1. takes the count ([`look`](Gate::look)),
//! 2. tries the system call,
//! 3. on `WouldBlock` waits until the count is another one ([`wait`](Gate::wait)), and starts again.
//!
//! Each edge changes the count and wakes everybody. An edge before step 1 is one whose cause step 2 sees; one after
//! it makes step 3 return at once. So none is lost, however many wait and wherever they are.

use std::io;
use std::time::Instant;

use crate::atomic::Ordering;
use crate::butex::{Butex, Manner, WaitResult};

/// Nobody gets through any more. The other bits are the count.
const CLOSED: u32 = 1;
/// One edge.
const EDGE: u32 = 2;

/// Counts the edges of one direction. 2^31 of them between a look and its wait would go unseen.
pub(crate) struct Gate(Butex);

/// How a wait at a gate ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Passed {
    /// There may have been an edge.
    Edge,
    /// The deadline has passed.
    TimedOut,
    /// The bthread was interrupted.
    Interrupted,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Gate(Butex::new(0))
    }

    /// The count. An error (`EBADF`) once the gate is closed.
    pub(crate) fn look(&self) -> io::Result<u32> {
        // Acquire pairs with the Release in `edge` and `close`: a system call after this sees the edge's cause.
        let seen = self.0.value().load(Ordering::Acquire);
        if seen & CLOSED == 0 { Ok(seen) } else { Err(io::Error::from_raw_os_error(libc::EBADF)) }
    }

    /// Waits for an edge, or the close, since the look that gave `seen`. *Blocking*: parks the bthread or blocks the
    /// thread.
    pub(crate) fn wait(&self, seen: u32, deadline: Option<Instant>) -> Passed {
        match self.0.wait_as(seen, Manner::io(deadline)) {
            WaitResult::Woken | WaitResult::Mismatch => Passed::Edge,
            WaitResult::TimedOut => Passed::TimedOut,
            WaitResult::Interrupted => Passed::Interrupted,
        }
    }

    /// There was an edge. Never blocks.
    pub(crate) fn edge(&self) {
        self.0.value().fetch_add(EDGE, Ordering::Release); // pairs with the Acquire in `look`
        self.0.wake_all();
    }

    /// Lets nobody through from here on, and wakes those who wait. Never blocks.
    pub(crate) fn close(&self) {
        self.0.value().fetch_or(CLOSED, Ordering::Release); // pairs with the Acquire in `look`
        self.0.wake_all();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_edge_between_the_look_and_the_wait_is_not_lost() {
        let gate = Gate::new();
        let seen = gate.look().unwrap();
        gate.edge();
        assert_eq!(gate.wait(seen, None), Passed::Edge);
    }

    #[test]
    fn a_gate_stays_closed_whatever_comes() {
        let gate = Gate::new();
        let seen = gate.look().unwrap();
        gate.close();
        gate.edge();
        assert_eq!(gate.wait(seen, None), Passed::Edge);
        assert_eq!(gate.look().unwrap_err().raw_os_error(), Some(libc::EBADF));
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::atomic::AtomicU32;
    use loom::sync::Arc;

    /// `data` stands for the socket's buffer in the kernel: filled before the edge that tells of it.
    struct Socket {
        gate: Gate,
        data: AtomicU32,
    }

    impl Socket {
        /// Takes one byte as `Watched` does; false once it is closed.
        fn read(&self) -> bool {
            loop {
                let Ok(seen) = self.gate.look() else { return false };
                let take = |bytes: u32| bytes.checked_sub(1);
                if self.data.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                    return true;
                }
                self.gate.wait(seen, None);
            }
        }
    }

    #[test]
    fn loom_no_edge_is_lost() {
        crate::atomic::model(|| {
            let socket = Arc::new(Socket { gate: Gate::new(), data: AtomicU32::new(0) });
            let peer = loom::thread::spawn({
                let socket = socket.clone();
                move || {
                    for _ in 0..2 {
                        socket.data.fetch_add(1, Ordering::Relaxed);
                        socket.gate.edge();
                    }
                }
            });
            assert!(socket.read());
            assert!(socket.read());
            peer.join().unwrap();
        });
    }

    #[test]
    fn loom_one_edge_feeds_two_readers() {
        crate::atomic::model(|| {
            let socket = Arc::new(Socket { gate: Gate::new(), data: AtomicU32::new(0) });
            let reader = loom::thread::spawn({
                let socket = socket.clone();
                move || assert!(socket.read())
            });
            let peer = loom::thread::spawn({
                let socket = socket.clone();
                move || {
                    socket.data.fetch_add(2, Ordering::Relaxed);
                    socket.gate.edge();
                }
            });
            assert!(socket.read());
            reader.join().unwrap();
            peer.join().unwrap();
        });
    }

    #[test]
    fn loom_a_close_ends_every_wait() {
        crate::atomic::model(|| {
            let socket = Arc::new(Socket { gate: Gate::new(), data: AtomicU32::new(0) });
            let closer = loom::thread::spawn({
                let socket = socket.clone();
                move || {
                    socket.gate.edge();
                    socket.gate.close();
                }
            });
            assert!(!socket.read());
            closer.join().unwrap();
        });
    }
}
