//! The poller: descriptors whose readiness the workers look at. It has no thread of its own: an idle worker waits
//! here, a busy one looks in between tasks, and whoever sees an event handles it (`design.md` §2 tells why).

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Token};

use crate::simulation;
use crate::slab::Slab;
use crate::sys::{self, EVENTS_MAX, Event, WaitMask};

/// Descriptors registered at a time, per runtime.
pub const DESCRIPTORS_MAX: usize = 1 << 22;

/// Of a source that has none.
const NO_DESCRIPTOR: RawFd = -1;

/// Gets the events of one descriptor.
pub trait EventHandler: Send + Sync + 'static {
    /// The descriptor has become ready since the last event. Called between two tasks of a worker, outside of any
    /// bthread and of any lock, possibly by several workers at a time: it must not block and should be short; spawn
    /// a bthread ([`spawn_next`](crate::spawn_next)) for the work itself. A panic is caught and reported like that
    /// of a thread. May still be called once after the [`Registration`] is gone.
    fn on_event(self: Arc<Self>, ready: Readiness);
}

/// What a descriptor has become ready for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Readiness(u32);

impl Readiness {
    /// For event sources that are no descriptors: there are bytes to read, room to write, and `is_read_closed` if nothing
    /// comes behind what is there.
    pub const fn new(is_readable: bool, is_writable: bool, is_read_closed: bool) -> Self {
        let readable = if is_readable { libc::EPOLLIN as u32 } else { 0 };
        let writable = if is_writable { libc::EPOLLOUT as u32 } else { 0 };
        let closed = if is_read_closed { libc::EPOLLRDHUP as u32 } else { 0 };
        Readiness(readable | writable | closed)
    }

    /// From the flags of epoll, which are those of `poll` too.
    pub(crate) fn from_flags(flags: u32) -> Self {
        Readiness(flags)
    }

    pub(crate) fn flags(self) -> u32 {
        self.0
    }

    /// Reading gives bytes, end of stream or an error without waiting.
    pub fn is_readable(self) -> bool {
        self.0 & (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32 != 0
    }

    /// Writing takes bytes or gives an error without waiting.
    pub fn is_writable(self) -> bool {
        self.0 & (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) as u32 != 0
    }

    /// The peer has shut its writing side, or the descriptor has failed: after what is there now, reading gives the
    /// end of stream or an error.
    pub fn is_read_closed(self) -> bool {
        self.0 & (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32 != 0
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness")
            .field("readable", &self.is_readable())
            .field("writable", &self.is_writable())
            .field("read_closed", &self.is_read_closed())
            .finish()
    }
}

/// Registers a descriptor with the runtime of the caller (outside of bthreads: the global one), for reading and
/// writing at once, edge-triggered: an event comes when the descriptor becomes ready, and none again until the
/// handler's side has read or written until `WouldBlock`. If it is ready already, an event comes soon.
///
/// Drop the [`Registration`] before the descriptor is closed. Never blocks.
///
/// # Errors
/// Those of `epoll_ctl`; `OutOfMemory` beyond [`DESCRIPTORS_MAX`].
pub fn register(fd: impl AsFd, handler: Arc<dyn EventHandler>) -> io::Result<Registration> {
    crate::runtime::current().poller().register(fd.as_fd(), handler)
}

/// Keeps a descriptor registered; dropping it ends that.
#[derive(Debug)]
#[must_use = "dropping the registration ends it"]
pub struct Registration {
    poller: &'static Poller,
    id: u64,
    fd: RawFd,
}

impl Registration {
    /// Makes an event, in a simulation.
    pub(crate) fn raise(&self, readiness: Readiness) {
        if let Events::Simulated(simulated) = &self.poller.events {
            simulated.raise(self.id, readiness);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // First, so that events miss from here on; dropped last, since the handler's destructor may panic.
        let _handler = self.poller.handlers.remove(self.id);
        if let Events::System(mio) = &self.poller.events {
            // Fails only for a descriptor that is closed already, which needs no deregistration.
            let _ = mio.registry().deregister(&mut SourceFd(&self.fd));
        }
        self.poller.registered.fetch_sub(1, Ordering::Relaxed); // a hint; pairs with nothing
    }
}

/// One epoll descriptor, or what stands for it in a simulation, and the handlers behind it.
pub(crate) struct Poller {
    events: Events,
    handlers: Slab<dyn EventHandler>,
    registered: AtomicUsize,
}

enum Events {
    System(mio::Poll),
    Simulated(&'static simulation::Events),
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Poller {
            events: match simulation::is_simulated() {
                false => Events::System(mio::Poll::new()?),
                true => Events::Simulated(Box::leak(Box::default())), // a runtime lives for ever
            },
            handlers: Slab::new(DESCRIPTORS_MAX),
            registered: AtomicUsize::new(0),
        })
    }

    pub(crate) fn register(
        &'static self,
        fd: BorrowedFd<'_>,
        handler: Arc<dyn EventHandler>,
    ) -> io::Result<Registration> {
        let Events::System(mio) = &self.events else {
            let message = "a descriptor takes no part in a simulation";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        };
        let id = self.handlers.insert(handler).ok_or(io::ErrorKind::OutOfMemory)?;
        let fd = fd.as_raw_fd();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = mio.registry().register(&mut SourceFd(&fd), Token(id as usize), interest) {
            self.handlers.remove(id);
            return Err(error);
        }
        self.registered.fetch_add(1, Ordering::Relaxed); // a hint; pairs with nothing
        Ok(Registration { poller: self, id, fd })
    }

    pub(crate) fn register_source(&'static self, handler: Arc<dyn EventHandler>) -> io::Result<Registration> {
        let Events::Simulated(_) = &self.events else {
            let message = "only a simulation has sources of its own";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        };
        let id = self.handlers.insert(handler).ok_or(io::ErrorKind::OutOfMemory)?;
        self.registered.fetch_add(1, Ordering::Relaxed); // a hint; pairs with nothing
        Ok(Registration { poller: self, id, fd: NO_DESCRIPTOR })
    }

    /// Whether a look could find anything.
    pub(crate) fn is_watching(&self) -> bool {
        // A hint; pairs with nothing. In a simulation a look is where a busy worker gives way.
        self.registered.load(Ordering::Relaxed) != 0 || matches!(self.events, Events::Simulated(_))
    }

    /// Waits for events or a wake-up of the calling worker.
    pub(crate) fn wait(
        &self,
        events: &mut [Event; EVENTS_MAX],
        timeout: Option<Duration>,
        mask: Option<&WaitMask>,
    ) -> usize {
        match &self.events {
            // It fails only for a bad descriptor or bad memory.
            Events::System(mio) => sys::wait(sys::borrow(mio), events, timeout, mask)
                .expect("waiting on the runtime's own epoll descriptor"),
            Events::Simulated(simulated) => simulated.wait(events, timeout),
        }
    }

    /// Hands one event to its handler; a stale one ends here.
    pub(crate) fn deliver(&self, event: Event) {
        if let Some(handler) = self.handlers.get(event.token) {
            handler.on_event(Readiness(event.flags));
        }
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A snapshot for people; pairs with nothing.
        f.debug_struct("Poller")
            .field("registered", &self.registered.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}
