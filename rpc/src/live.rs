//! What of this process's connections, calls and streams is alive: to see at the end of a test that nothing was left
//! behind.
//!
//! Owns the counts of objects that are in memory. Looks at everything else where it is kept, so that what is looked at
//! pays nothing for it; only reads.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::protocol::Role;
use crate::server::ServerState;
use crate::socket::{Socket, lock};
use crate::stream::live_streams;
use crate::transport::Endpoint;

/// A connection that has not failed; of a channel also while it is being connected.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Connection {
    /// The id of its socket, as on `/connections`.
    pub id: u64,
    /// Which end of it this is.
    pub role: Role,
    /// The tag of the runtime that it was made in.
    pub runtime: u32,
    /// This side's address; the peer's until it is connected.
    pub local: Endpoint,
    /// The peer's address.
    pub remote: Endpoint,
    /// Its connecting is over.
    pub is_connected: bool,
    /// Calls of channels that wait for a reply on it; 0 at a server.
    pub waiting_calls: usize,
    /// Streams on it that have not ended.
    pub streams: usize,
    /// Bytes that are queued to be written.
    pub unwritten: usize,
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Connection { id, role, runtime, local, remote, is_connected, waiting_calls, streams, unwritten } =
            self;
        write!(
            f,
            "{role:?} {id} {local} to {remote}: runtime={runtime} connected={is_connected} waiting_calls={waiting_calls} \
             streams={streams} unwritten={unwritten}"
        )
    }
}

/// How much there is of everything, in the whole process. A snapshot: what comes and goes meanwhile may be missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Connections that have not failed, of servers and channels together.
    pub sockets: usize,
    /// Connections in memory: those, and the failed ones that something still holds.
    pub sockets_in_memory: usize,
    /// Attempts of calls that wait for a reply. A call that waits before its next attempt is not among them.
    pub client_calls: usize,
    /// Calls that servers have begun and not answered; those of stopped servers as well.
    pub server_calls: usize,
    /// Streams that have not ended.
    pub streams: usize,
    /// Streams in memory: those, and the ended ones that something still holds.
    pub streams_in_memory: usize,
    /// Servers in memory: running ones, and stopped ones that a call or a connection still holds.
    pub servers: usize,
}

/// The connections that have not failed, in the order of their places in the table, which a run that is repeated fills the
/// same way. Looks at each one: a microsecond for a few of them. Never blocks.
pub fn connections() -> Vec<Connection> {
    let of = |socket: Arc<Socket>| Connection {
        id: socket.id(),
        role: socket.role(),
        runtime: socket.runtime(),
        local: socket.local().clone(),
        remote: socket.remote().clone(),
        is_connected: socket.is_connected(),
        waiting_calls: socket.waiting_calls(),
        streams: socket.stream_count(),
        unwritten: socket.unwritten(),
    };
    Socket::all().map(of).collect()
}

/// How much there is of everything. Looks at each connection and at each method of each server. Never blocks.
pub fn counts() -> Counts {
    let servers = servers();
    Counts {
        sockets: Socket::count(),
        sockets_in_memory: SOCKETS.get(),
        client_calls: Socket::all().map(|socket| socket.waiting_calls()).sum(),
        server_calls: servers.iter().map(|server| server.running_calls()).sum(),
        streams: live_streams(),
        streams_in_memory: STREAMS.get(),
        servers: servers.len(),
    }
}

/// Objects of one kind that are in memory.
pub(crate) struct InMemory(AtomicUsize);

pub(crate) static SOCKETS: InMemory = InMemory(AtomicUsize::new(0));
pub(crate) static STREAMS: InMemory = InMemory(AtomicUsize::new(0));

impl InMemory {
    /// One more, until what this returns is dropped.
    pub(crate) fn count(&'static self) -> Counted {
        self.0.fetch_add(1, Ordering::Relaxed); // a count for people, as in `get` and `drop`; pairs with nothing
        Counted(self)
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// An object that is in memory has one.
pub(crate) struct Counted(&'static InMemory);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed); // as above
    }
}

/// The servers that were started. Those that are gone are taken out when one comes.
static SERVERS: Mutex<Vec<Weak<ServerState>>> = Mutex::new(Vec::new());

/// From now on its calls are counted.
pub(crate) fn add_server(server: Weak<ServerState>) {
    let mut servers = lock(&SERVERS);
    servers.retain(|server| server.strong_count() > 0);
    servers.push(server);
}

/// None is dropped under the lock.
fn servers() -> Vec<Arc<ServerState>> {
    lock(&SERVERS).iter().filter_map(Weak::upgrade).collect()
}
