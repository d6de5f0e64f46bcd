//! Waiting on descriptors (`spec/bthread.md` §8): once on any descriptor ([`wait`]), or often on one that stays
//! registered ([`Watched`]), which is what [`net`](crate::net) is made of.
//!
//! Owns the protocol between system calls that would block and the poller's edges; never touches the bytes.
//!
//! A wait parks the bthread, or blocks the thread outside of bthreads. [`interrupt`](crate::interrupt) and
//! [`stop`](crate::stop) end it with [`io::ErrorKind::Interrupted`], a deadline with [`io::ErrorKind::TimedOut`].

use std::cell::Cell;
use std::fmt;
use std::io;
use std::ops::BitOr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::butex::{Butex, Manner, WaitResult};
use crate::gate::{Gate, Passed};
use crate::poller::{self, EventHandler, Readiness, Registration};
use crate::{sys, worker};

/// Calls on one worker that did not wait, failed ones included, after which the caller lets other bthreads run: a peer that
/// always has something to say must not hold up a worker.
const TURN_CALLS: u32 = 64;

/// What to wait for. Errors and hang-ups always end a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interest(u32);

impl Interest {
    /// Reading gives bytes, a connection, end of stream or an error.
    pub const READABLE: Interest = Interest((libc::EPOLLIN | libc::EPOLLRDHUP) as u32);
    /// Writing takes bytes or gives an error.
    pub const WRITABLE: Interest = Interest(libc::EPOLLOUT as u32);

    /// The events of the kernel that end such a wait.
    fn flags(self) -> u32 {
        self.0 | (libc::EPOLLERR | libc::EPOLLHUP) as u32
    }
}

impl BitOr for Interest {
    type Output = Interest;

    /// Either of the two.
    fn bitor(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }
}

/// Waits until reading from the descriptor would not wait. As [`wait`].
///
/// # Errors
/// As [`wait`].
pub fn wait_readable(fd: impl AsFd, deadline: Option<Instant>) -> io::Result<()> {
    wait(fd, Interest::READABLE, deadline).map(drop)
}

/// Waits until writing to the descriptor would not wait. As [`wait`].
///
/// # Errors
/// As [`wait`].
pub fn wait_writable(fd: impl AsFd, deadline: Option<Instant>) -> io::Result<()> {
    wait(fd, Interest::WRITABLE, deadline).map(drop)
}

/// Waits until the descriptor is ready for what is asked, and says what it is ready for; at once if it is ready
/// already, even when the deadline has passed. brpc: `bthread_fd_wait`, `bthread_fd_timedwait`.
///
/// For any descriptor, in blocking mode or not, and any number of waiters: what epoll cannot watch (files,
/// directories) is always ready, as with `poll`. Costs up to three system calls; whoever waits often on one
/// descriptor uses a [`Watched`]. *Blocking*: parks the calling bthread, or blocks the calling thread.
///
/// # Errors
/// `TimedOut` when the deadline has passed, `Interrupted`, `EBADF` for a descriptor that is not open, `OutOfMemory`
/// beyond [`DESCRIPTORS_MAX`](crate::poller::DESCRIPTORS_MAX), those of `epoll_ctl` and `dup`.
///
/// ```
/// use std::io::{Read, Write};
/// let (mut reader, mut writer) = std::io::pipe()?;
/// bthread::spawn(move || writer.write_all(b"x"));
/// bthread::fd::wait_readable(&reader, None)?;
/// let mut byte = [0];
/// reader.read_exact(&mut byte)?;
/// assert_eq!(&byte, b"x");
/// # std::io::Result::Ok(())
/// ```
pub fn wait(fd: impl AsFd, interest: Interest, deadline: Option<Instant>) -> io::Result<Readiness> {
    let fd = fd.as_fd();
    let ready = sys::poll_now(fd, interest.flags())?;
    if ready != 0 {
        return Ok(Readiness::from_flags(ready));
    }
    let once = Arc::new(Once { flags: interest.flags(), ready: Butex::new(0) });
    let _registration = register_once(fd, &once)?;
    loop {
        let ready = once.ready.value().load(Ordering::Acquire); // pairs with the Release in `on_event`
        if ready != 0 {
            return Ok(Readiness::from_flags(ready));
        }
        match once.ready.wait_as(0, Manner::io(deadline)) {
            WaitResult::Woken | WaitResult::Mismatch => {}
            WaitResult::TimedOut => return Err(io::ErrorKind::TimedOut.into()),
            WaitResult::Interrupted => return Err(io::ErrorKind::Interrupted.into()),
        }
    }
}

/// One wait; its word is what the descriptor has become ready for.
struct Once {
    flags: u32,
    ready: Butex,
}

impl EventHandler for Once {
    fn on_event(self: Arc<Self>, ready: Readiness) {
        let ready = ready.flags() & self.flags;
        if ready != 0 {
            self.ready.value().fetch_or(ready, Ordering::Release); // pairs with the Acquire in `wait`
            self.ready.wake_all();
        }
    }
}

/// A registration and, where the descriptor itself is registered already, the copy that it is for. In this order: the
/// registration ends before the copy is closed.
struct OnceRegistration {
    _registration: Registration,
    _copy: Option<OwnedFd>,
}

fn register_once(fd: BorrowedFd<'_>, once: &Arc<Once>) -> io::Result<OnceRegistration> {
    match poller::register(fd, once.clone()) {
        // Somebody else waits on it too, or a `Watched` is open: epoll takes each number once.
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
            let copy = fd.try_clone_to_owned()?;
            Ok(OnceRegistration { _registration: poller::register(&copy, once.clone())?, _copy: Some(copy) })
        }
        other => other.map(|registration| OnceRegistration { _registration: registration, _copy: None }),
    }
}

/// A descriptor that stays registered, for many waits by any number of bthreads and threads at a time.
///
/// System calls are tried first, and waited for only when they say `WouldBlock`. After 64 calls in a row without
/// a wait the caller gives way to other bthreads once.
///
/// ```
/// use std::io::{Read, Write};
/// use bthread::fd::Watched;
/// let (reader, mut writer) = std::io::pipe()?;
/// let reader = Watched::new(reader)?;
/// bthread::spawn(move || writer.write_all(b"x"));
/// let mut byte = [0];
/// assert_eq!(reader.with_readable(None, |mut reader| reader.read(&mut byte))?, 1);
/// # std::io::Result::Ok(())
/// ```
pub struct Watched<T: AsFd> {
    // Before `io`: it ends before the descriptor is closed.
    registration: Registration,
    gates: Arc<Gates>,
    io: T,
}

struct Gates {
    read: Gate,
    write: Gate,
}

impl EventHandler for Gates {
    fn on_event(self: Arc<Self>, ready: Readiness) {
        if ready.is_readable() {
            self.read.edge();
        }
        if ready.is_writable() {
            self.write.edge();
        }
    }
}

impl<T: AsFd> Watched<T> {
    /// Puts the descriptor into non-blocking mode (and with it whatever shares its open file description, such as
    /// copies in other processes) and registers it with the caller's runtime. Never blocks.
    ///
    /// # Errors
    /// `EPERM` for what epoll cannot watch (files, directories: see [`fs`](crate::fs)), `EEXIST` when this descriptor
    /// number is watched already (watch a copy), `OutOfMemory` beyond
    /// [`DESCRIPTORS_MAX`](crate::poller::DESCRIPTORS_MAX), those of `fcntl` and `epoll_ctl`.
    pub fn new(io: T) -> io::Result<Self> {
        sys::set_nonblocking(io.as_fd())?;
        Self::from_nonblocking(io)
    }

    /// As [`new`](Self::new), for a descriptor that is in non-blocking mode already. In blocking mode its system
    /// calls would hold up the worker.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_nonblocking(io: T) -> io::Result<Self> {
        let gates = Arc::new(Gates { read: Gate::new(), write: Gate::new() });
        let registration = poller::register(&io, gates.clone())?;
        Ok(Watched { registration, gates, io })
    }

    /// What is watched.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// Ends the registration and gives back what was watched, in non-blocking mode. Never blocks.
    pub fn into_inner(self) -> T {
        drop(self.registration);
        self.io
    }

    /// Calls `call`, which reads, accepts or the like, until it gives something else than `WouldBlock`, which is
    /// returned; in between waits until the descriptor is readable again. It is called once more at the deadline.
    /// *Blocking*: parks the calling bthread, or blocks the calling thread.
    ///
    /// # Errors
    /// Those of `call`; `TimedOut`, `Interrupted`; `EBADF` after a [`close`](Self::close).
    pub fn with_readable<R>(
        &self,
        deadline: Option<Instant>,
        call: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.repeat(&self.gates.read, || deadline, call)
    }

    /// As [`with_readable`](Self::with_readable), for a call that writes or connects.
    ///
    /// # Errors
    /// As [`with_readable`](Self::with_readable).
    pub fn with_writable<R>(
        &self,
        deadline: Option<Instant>,
        call: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.repeat(&self.gates.write, || deadline, call)
    }

    /// Waits until reading would not wait; at once if so already. *Blocking*: parks the calling bthread, or blocks
    /// the calling thread.
    ///
    /// # Errors
    /// `TimedOut`, `Interrupted`; `EBADF` after a [`close`](Self::close).
    pub fn wait_readable(&self, deadline: Option<Instant>) -> io::Result<Readiness> {
        self.with_readable(deadline, |io| poll(io, Interest::READABLE))
    }

    /// Waits until writing would not wait; at once if so already. *Blocking*: parks the calling bthread, or blocks
    /// the calling thread.
    ///
    /// # Errors
    /// As [`wait_readable`](Self::wait_readable).
    pub fn wait_writable(&self, deadline: Option<Instant>) -> io::Result<Readiness> {
        self.with_writable(deadline, |io| poll(io, Interest::WRITABLE))
    }

    /// Ends all waits on this object, those of now and those to come, with `EBADF`. The descriptor itself stays open
    /// until the object is dropped, so its number cannot become another's while somebody still uses it. brpc:
    /// `bthread_close`. Never blocks.
    pub fn close(&self) {
        self.gates.read.close();
        self.gates.write.close();
    }

    /// Whether a [`close`](Self::close) was called. Never blocks.
    pub fn is_closed(&self) -> bool {
        self.gates.read.look().is_err()
    }

    /// As `with_readable`; the deadline is asked for at the first wait.
    pub(crate) fn repeat_read<R>(
        &self,
        deadline: impl FnOnce() -> Option<Instant>,
        call: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.repeat(&self.gates.read, deadline, call)
    }

    /// As `with_writable`; the deadline is asked for at the first wait.
    pub(crate) fn repeat_write<R>(
        &self,
        deadline: impl FnOnce() -> Option<Instant>,
        call: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.repeat(&self.gates.write, deadline, call)
    }

    fn repeat<R>(
        &self,
        gate: &Gate,
        deadline: impl FnOnce() -> Option<Instant>,
        mut call: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        // Errors that come at once count as well: a loop that goes on after them must not hold up its worker.
        let mut seen = gate.look().inspect_err(|_| take_turn())?;
        let mut result = call(&self.io);
        if !would_block(&result) {
            take_turn();
            return result;
        }
        let deadline = deadline();
        while would_block(&result) {
            let passed = gate.wait(seen, deadline);
            if passed == Passed::Interrupted {
                return Err(io::ErrorKind::Interrupted.into());
            }
            seen = gate.look()?;
            // At the deadline too: its cause may be there while no worker has had the time to look.
            result = call(&self.io);
            if passed == Passed::TimedOut && would_block(&result) {
                take_turn(); // a deadline that had passed was no wait
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        result
    }
}

impl<T: AsFd> AsFd for Watched<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl<T: AsFd> AsRawFd for Watched<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.io.as_fd().as_raw_fd()
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.io).finish()
    }
}

fn would_block<R>(result: &io::Result<R>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

fn poll(io: &impl AsFd, interest: Interest) -> io::Result<Readiness> {
    match sys::poll_now(io.as_fd(), interest.flags())? {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        ready => Ok(Readiness::from_flags(ready)),
    }
}

/// Counts a call that did not wait; gives way when it is time. Does nothing on plain threads, which the kernel
/// preempts.
fn take_turn() {
    thread_local!(static CALLS: Cell<u32> = const { Cell::new(0) });
    #[inline(never)]
    fn is_over() -> bool {
        let calls = CALLS.get() + 1;
        CALLS.set(calls % TURN_CALLS);
        calls == TURN_CALLS
    }
    if is_over() {
        worker::yield_now();
    }
}
