//! One connection: its id, its life and its failure.
//!
//! A [`Socket`] is made connected (accepted) or connecting, works, fails once, and never comes back to life; whoever
//! wants to go on makes another one. The input side (one reader), the output side (many writers), connecting, the
//! events and the running of messages are each in a file of their own. Knows no wire format, and not whether it
//! belongs to a server or a client.

mod arrivals;
pub(crate) mod clock;
mod connect;
mod dispatch;
mod dump;
mod event;
mod gate;
mod linger;
mod read;
mod role;
#[cfg(test)]
mod role_model;
mod watch;
mod write;

use std::any::Any;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bthread::net::{TcpInfo, tcp_info};
use bthread::slab::Slab;

use crate::error::{EINTERNAL, ETIMEDOUT, ErrorCode, RpcError};
use crate::limits::Limits;
use crate::live::{self, Counted};
use crate::messenger::Messenger;
use crate::protocol::{Frame, Protocol, Role, StreamSide};
use crate::stream::ConnectionStreams;
use crate::transport::{Endpoint, Registration, Transport};

use connect::{Connecting, LateTransport};
use linger::Lingering;
use read::Input;
use watch::Rates;
use write::Output;

pub(crate) use watch::Totals;
pub(crate) use write::{Overcrowded, this_thread};

/// Connections in a process, of servers and clients together.
pub(crate) const SOCKETS_MAX: usize = 1 << 20;

/// All sockets that have not failed. The table's reference is what keeps an idle connection open.
static SOCKETS: LazyLock<Slab<Socket>> = LazyLock::new(|| Slab::new(SOCKETS_MAX));

/// One connection.
pub(crate) struct Socket {
    id: OnceLock<u64>,
    remote: Endpoint,
    local: OnceLock<Endpoint>,
    limits: Limits,
    protocols: Arc<[&'static dyn Protocol]>,
    owner: Box<dyn SocketOwner>,
    error: OnceLock<RpcError>,
    registered: Mutex<Registered>,
    connecting: Connecting,
    input: Input,
    output: Output,
    lingering: Lingering,
    created: SystemTime,
    rates: Mutex<Rates>,
    /// The tag of the one that it was made in.
    runtime: u32,
    _in_memory: Counted,
    /// Its streams, once it has had one.
    streams: OnceLock<Box<ConnectionStreams>>,
    transport: LateTransport,
}

/// Whether events come.
enum Registered {
    /// [`Socket::start`] has not come so far, though the first ones may have.
    NotYet,
    By(#[expect(dead_code, reason = "kept for its drop")] Registration),
    /// Nor will they.
    NoMore,
}

/// What a connection is for: gets its messages and its end.
pub(crate) trait SocketOwner: Any + Send + Sync {
    /// Which end of the connection this is.
    fn role(&self) -> Role;

    /// One message has arrived. At a server: in a bthread, which may block. At a client: in the reader, while it
    /// reads, so that it must not block, and with what the reader reads into locked.
    fn message(&self, socket: &Arc<Socket>, message: Message);

    /// Whether the body behind this head is wanted as it arrives. Must not block.
    fn wants_stream(&self, protocol: &'static dyn Protocol, head: &Frame) -> bool;

    /// A body that was read as it arrived has ended; `is_clean`: with its receiver still there, and no bytes behind it.
    /// Must not block.
    fn body_ended(&self, socket: &Arc<Socket>, is_clean: bool);

    /// The peer sends nothing more, and an answer may be due or going on. Must not block.
    fn peer_closed(&self, socket: &Arc<Socket>);

    /// Calls that wait for a reply on it, at a client.
    fn waiting_calls(&self) -> usize {
        0
    }

    /// Connecting has succeeded; called once, before anything is written. It may have failed meanwhile. Must not block. No
    /// lock is held.
    fn connected(&self, _: &Arc<Socket>) {}

    /// Connecting takes too long: what it is about to fail with. Must not block. No lock is held.
    fn connect_timed_out(&self) -> ErrorCode {
        ETIMEDOUT
    }

    /// The connection has failed; called once. Must not block. No lock is held.
    fn failed(&self, socket: &Arc<Socket>, error: &RpcError);

    /// Before [`failed`](Self::failed), if the connection is to wait for the peer's end behind it, see `linger`. Must not
    /// block, and not call the socket.
    fn lingers(&self) {}

    /// And does not wait for it any more. Must not block. No lock is held.
    fn lingered(&self) {}
}

/// One message as the messenger cut it.
pub(crate) struct Message {
    /// An index of the socket's protocols.
    protocol: u32,
    pub(crate) frame: Frame,
    /// When the read that completed it returned.
    pub(crate) received: Instant,
    /// When the read that brought its first byte returned.
    pub(crate) began: Instant,
    /// Whoever answers says so with [`Socket::answered`].
    pub(crate) is_serial: bool,
    /// Nothing had come behind it when it was cut.
    pub(crate) is_last: bool,
    /// It came inside of a frame of a stream.
    pub(crate) in_stream: bool,
    /// It is the first one of its connection.
    pub(crate) is_first: bool,
}

impl Socket {
    /// A socket over a connection that is there.
    pub(crate) fn accepted(
        transport: Box<dyn Transport>,
        remote: Endpoint,
        protocols: Arc<[&'static dyn Protocol]>,
        limits: Limits,
        owner: Box<dyn SocketOwner>,
    ) -> Result<Arc<Self>, RpcError> {
        let local = transport.local()?;
        let transport = LateTransport::there(transport);
        let socket = Self::new(transport, remote, protocols, limits, owner, Connecting::done())?;
        let _ = socket.local.set(local); // a new cell is empty
        Ok(socket)
    }

    fn new(
        transport: LateTransport,
        remote: Endpoint,
        protocols: Arc<[&'static dyn Protocol]>,
        limits: Limits,
        owner: Box<dyn SocketOwner>,
        connecting: Connecting,
    ) -> Result<Arc<Self>, RpcError> {
        let socket = Arc::new(Socket {
            id: OnceLock::new(),
            remote,
            local: OnceLock::new(),
            limits,
            input: Input::new(Messenger::new(&protocols, owner.role(), limits)),
            protocols,
            owner,
            error: OnceLock::new(),
            registered: Mutex::new(Registered::NotYet),
            connecting,
            output: Output::new(),
            lingering: Lingering::default(),
            created: bthread::clock::wall(),
            rates: Mutex::default(),
            runtime: watch::here(),
            _in_memory: live::SOCKETS.count(),
            streams: OnceLock::new(),
            transport,
        });
        // First: once it is in the table somebody may fail it, and take it out of the watch.
        watch::add(socket.runtime);
        let Some(id) = SOCKETS.insert(socket.clone()) else {
            watch::remove(socket.runtime);
            return Err(RpcError::new(EINTERNAL, format!("More than {SOCKETS_MAX} connections")));
        };
        let _ = socket.id.set(id); // a new cell is empty
        Ok(socket)
    }

    /// Begins to receive events. Called once, when everybody who must know of the socket does.
    pub(crate) fn start(self: &Arc<Self>) -> Result<(), RpcError> {
        match self.transport.register(self.clone()) {
            Ok(registration) => {
                let mut registered = lock(&self.registered);
                // Events may have come already, and what they led to may have ended it.
                let late = match *registered {
                    Registered::NoMore => Some(registration),
                    _ => {
                        *registered = Registered::By(registration);
                        None
                    }
                };
                drop(registered);
                drop(late);
            }
            Err(error) => {
                let error = RpcError::from(error);
                self.set_failed(error.clone());
                return Err(error);
            }
        }
        Ok(())
    }

    /// The socket that an id names, unless it has failed.
    pub(crate) fn address(id: u64) -> Option<Arc<Self>> {
        SOCKETS.get(id)
    }

    /// Its id, for as long as it has not failed.
    pub(crate) fn id(&self) -> u64 {
        self.id.get().copied().unwrap_or_default()
    }

    /// The peer's address.
    pub(crate) fn remote(&self) -> &Endpoint {
        &self.remote
    }

    /// This side's address; the peer's until it is connected.
    pub(crate) fn local(&self) -> &Endpoint {
        self.local.get().unwrap_or(&self.remote)
    }

    /// What the connection may hold.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// All sockets of the process that have not failed.
    pub(crate) fn all() -> impl Iterator<Item = Arc<Self>> {
        SOCKETS.iter()
    }

    /// How many that are.
    pub(crate) fn count() -> usize {
        SOCKETS.len()
    }

    /// For how long nothing has come, if something ever has.
    pub(crate) fn silent_for(&self) -> Option<Duration> {
        let last = self.input.traffic.last_at.load(Ordering::Relaxed); // a statistic
        (last != 0).then(|| Duration::from_millis(clock::millis(bthread::clock::now()).saturating_sub(last)))
    }

    /// Calls that wait for a reply on it; 0 at a server.
    pub(crate) fn waiting_calls(&self) -> usize {
        self.owner.waiting_calls()
    }

    /// Streams on it that have not ended.
    pub(crate) fn stream_count(&self) -> usize {
        self.streams.get().map_or(0, |streams| streams.count())
    }

    /// The tag of the runtime that it was made in.
    pub(crate) fn runtime(&self) -> u32 {
        self.runtime
    }

    /// When it was made.
    pub(crate) fn created(&self) -> SystemTime {
        self.created
    }

    /// Which end of the connection this is.
    pub(crate) fn role(&self) -> Role {
        self.owner.role()
    }

    /// Its way to the peer, for pages alone, if it is one of the system's.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.transport.descriptor()
    }

    /// What the system knows of it, if it is a TCP connection.
    pub(crate) fn tcp_info(&self) -> Option<TcpInfo> {
        match self.remote {
            Endpoint::Tcp(_) => tcp_info(self.descriptor()?).ok(),
            Endpoint::Unix(_) | Endpoint::Named(_) => None,
        }
    }

    /// The protocol that its peer has spoken last, once it has.
    pub(crate) fn protocol_name(&self) -> Option<&'static str> {
        self.input.protocol_name(&self.protocols)
    }

    /// The protocol of a message.
    pub(crate) fn protocol_of(&self, message: &Message) -> &'static dyn Protocol {
        self.protocols[message.protocol as usize]
    }

    /// Who reads and writes the frames of streams on this connection.
    pub(crate) fn stream_side(&self) -> Option<&'static dyn StreamSide> {
        self.protocols.iter().find_map(|protocol| protocol.stream())
    }

    /// What is known of the connection's streams.
    pub(crate) fn streams(&self) -> &ConnectionStreams {
        self.streams.get_or_init(Box::default)
    }

    /// What the connection is for.
    ///
    /// # Panics
    /// If it is not for a `T`.
    pub(crate) fn owner<T: SocketOwner>(&self) -> &T {
        let owner: &dyn Any = &*self.owner;
        owner.downcast_ref().expect("a socket is only asked for its owner by the side that made it")
    }

    /// Why it failed.
    pub(crate) fn error(&self) -> Option<&RpcError> {
        self.error.get()
    }

    /// Ends the connection, once: later calls change nothing and return false. The descriptor is shut down at once
    /// and closed with the last reference; whatever waits for the connection ends with `error`, what is queued to be
    /// written is dropped. Never blocks; calls the owner, so no lock may be held.
    pub(crate) fn set_failed(self: &Arc<Self>, error: RpcError) -> bool {
        self.end(error, false)
    }

    /// As [`set_failed`](Self::set_failed); `in_order`: all is written, and the peer is given the time to read it.
    fn end(self: &Arc<Self>, error: RpcError, in_order: bool) -> bool {
        if self.error.set(error).is_err() {
            return false;
        }
        drop(SOCKETS.remove(self.id()));
        watch::remove(self.runtime);
        let lingers = in_order && self.try_to_linger();
        if !lingers {
            self.shut_down();
        }
        self.connecting.forget_timer();
        self.stop_writing();
        if let Some(error) = self.error.get() {
            self.input.fail_body(error);
            self.owner.failed(self, error);
            fence(Ordering::SeqCst); // pairs with the fence in `StreamState::bind`
            if let Some(streams) = self.streams.get() {
                streams.fail(error);
            }
        }
        if lingers {
            self.linger();
        }
        true
    }

    /// Ends both directions, and the events. No lock may be held.
    fn shut_down(&self) {
        let registered = std::mem::replace(&mut *lock(&self.registered), Registered::NoMore);
        drop(registered);
        self.transport.shutdown();
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Socket{{id={} addr={}}}", self.id(), self.remote)
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.id())
            .field("remote", &self.remote)
            .field("error", &self.error.get())
            .finish_non_exhaustive()
    }
}

/// Ends a connection if whoever serves it panics, as nobody else would take over.
pub(crate) struct FailOnUnwind<'a>(pub(crate) &'a Arc<Socket>);

impl Drop for FailOnUnwind<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set_failed(RpcError::new(EINTERNAL, "Nobody is there to serve the connection: a panic"));
        }
    }
}

/// Locks a mutex whose data is valid after each of its statements, so that a panic elsewhere does not spoil it.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
