//! One way to a server with the connections to it, shared by all channels to which it is the same.
//!
//! Owns the connection that calls share or the unused ones that they take turns with, and does what
//! [`Life`](super::life::Life) says: connects, refuses, looks for a server that is away. Nothing is connected or fails
//! under its lock.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bthread::timer;

use super::connection::{ClientConnection, Use};
use super::flags;
use super::life::{Check, End, Generation, Life, Phase, Sharing, Wanted};
use super::outcome::Failure;
use super::pool::{IDLE_ROUNDS, Pool};
use super::way::Way;
use crate::error::{EHOSTDOWN, ENETUNREACH, ERESPONSE, ETIMEDOUT, EUNUSED, ErrorCode, RpcError};
use crate::protocol::ConnectionType;
use crate::socket::{Socket, lock};
use crate::starting;

/// After connecting has failed, calls fail at once with [`EHOSTDOWN`] for so long, instead of trying again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// The way to a server and the connections to it (brpc: the main socket).
pub(super) struct Entry {
    way: Way,
    kind: ConnectionType,
    state: Mutex<State>,
}

struct State {
    life: Life,
    /// The connection whose number is [`Life::current`].
    current: Option<Arc<Socket>>,
    pool: Pool<Arc<Socket>>,
    /// When connecting failed last.
    failed_at: Option<Instant>,
}

impl State {
    fn ended(&mut self, which: Generation, how: End) -> Option<Check> {
        let check = self.life.ended(which, how);
        if check.is_some() {
            self.failed_at = Some(bthread::clock::now());
        }
        if self.life.current().is_none() {
            self.current = None;
        }
        check
    }

    /// The connection that calls use, unless it is known to be dead.
    fn usable(&self) -> Option<&Arc<Socket>> {
        let is_for_calls = matches!(self.life.phase(), Phase::Connecting(_) | Phase::Up(_));
        self.current.as_ref().filter(|socket| is_for_calls && socket.error().is_none())
    }

    /// Takes note of a failure that is on its way here.
    fn bury(&mut self) -> Option<Check> {
        let dead = self.current.as_ref().filter(|socket| socket.error().is_some())?;
        let (which, how) = (self.life.current()?, end_of(dead));
        self.ended(which, how)
    }

    fn pauses(&self) -> bool {
        self.failed_at
            .is_some_and(|when| bthread::clock::now().saturating_duration_since(when) < RECONNECT_PAUSE)
    }
}

/// How a socket has failed.
fn end_of(socket: &Socket) -> End {
    if socket.is_connected() {
        return End::Lost;
    }
    match socket.error().map(RpcError::code) {
        Some(ETIMEDOUT) => End::TimedOut,
        Some(code) if code == EUNUSED || code == crate::error::ECANCELED => End::GivenUp,
        _ => End::Unreachable,
    }
}

impl Entry {
    pub(super) fn new(kind: ConnectionType, way: Way) -> Self {
        let sharing = match kind {
            ConnectionType::Single => Sharing::Shared,
            ConnectionType::Pooled | ConnectionType::Short => Sharing::Exclusive,
        };
        let state = State { life: Life::new(sharing), current: None, pool: Pool::default(), failed_at: None };
        Entry { way, kind, state: Mutex::new(state) }
    }

    pub(super) fn way(&self) -> &Way {
        &self.way
    }

    /// Whether calls share a connection, which lives on when they have ended.
    pub(super) fn is_shared(&self) -> bool {
        self.kind == ConnectionType::Single
    }

    /// A connection for a call, which may still be connecting; never waits for that.
    pub(super) fn socket(self: &Arc<Self>, connect_timeout: Duration) -> Result<Arc<Socket>, Failure> {
        let found = match self.kind {
            ConnectionType::Single => self.shared(),
            ConnectionType::Pooled => self.unused(),
            ConnectionType::Short => None,
        };
        match found {
            Some(socket) => Ok(socket),
            None => self.open(connect_timeout),
        }
    }

    /// The connection that calls share, if there is one.
    pub(super) fn shared(&self) -> Option<Arc<Socket>> {
        lock(&self.state).usable().cloned()
    }

    /// A connection that is there and that nobody uses.
    fn unused(&self) -> Option<Arc<Socket>> {
        loop {
            let socket = lock(&self.state).pool.pop()?;
            // Bytes that came while nobody asked are no answer to what is asked next.
            if socket.has_unread_bytes() {
                socket.set_failed(RpcError::new(ERESPONSE, "Bytes came that no call waits for"));
            } else if socket.error().is_none() && !socket.is_peer_closed() {
                return Some(socket);
            }
        }
    }

    /// Makes a connection for a call, if it may, unless somebody has just made one for all.
    fn open(self: &Arc<Self>, timeout: Duration) -> Result<Arc<Socket>, Failure> {
        let (opened, check) = {
            let mut state = lock(&self.state);
            let buried = state.bury();
            let pauses = state.pauses();
            match state.life.want(pauses) {
                Wanted::Join => match &state.current {
                    Some(socket) => return Ok(socket.clone()),
                    None => (Err(RpcError::internal("No connection to join")), buried),
                },
                Wanted::Connect(which) => {
                    let (made, check) = self.make(&mut state, which, false);
                    (made, check.or(buried))
                }
                Wanted::Refused => {
                    let text = format!("Not connected to {} yet", self.way.remote);
                    (Err(RpcError::new(EHOSTDOWN, text)), buried)
                }
            }
        };
        self.schedule(check);
        let socket = opened.map_err(Failure::unsent)?;
        self.way.connect(&socket, timeout).map_err(Failure::unsent)?;
        Ok(socket)
    }

    /// A socket that is to be connected once the lock is free.
    fn make(
        self: &Arc<Self>,
        state: &mut State,
        which: Generation,
        is_check: bool,
    ) -> (Result<Arc<Socket>, RpcError>, Option<Check>) {
        let how = match self.kind {
            ConnectionType::Single => Use::shared(),
            ConnectionType::Pooled | ConnectionType::Short => Use::exclusive(is_check),
        };
        let owner = ClientConnection::new(Arc::downgrade(self), which, how);
        let way = &self.way;
        match Socket::to_connect(&way.remote, way.protocols.clone(), way.limits, Box::new(owner)) {
            Ok(socket) => {
                if self.kind == ConnectionType::Single {
                    state.current = Some(socket.clone());
                }
                (Ok(socket), None)
            }
            Err(error) => (Err(error), state.ended(which, End::GivenUp)),
        }
    }

    /// A connection of this entry stands.
    pub(super) fn connected(self: &Arc<Self>, socket: &Arc<Socket>, which: Generation, is_check: bool) {
        lock(&self.state).life.connected(which);
        if is_check {
            self.give_back(socket);
        }
    }

    /// Connecting takes too long.
    pub(super) fn connect_timed_out(&self) -> ErrorCode {
        let is_away = lock(&self.state).life.timed_out(flags::timeouts_as_unreachable());
        if is_away { ENETUNREACH } else { ETIMEDOUT }
    }

    /// A connection of this entry has failed.
    pub(super) fn ended(self: &Arc<Self>, socket: &Arc<Socket>, which: Generation) {
        let check = {
            let mut state = lock(&self.state);
            state.pool.remove(|unused| Arc::ptr_eq(unused, socket));
            state.ended(which, end_of(socket))
        };
        self.schedule(check);
    }

    /// The peer leaves: new calls are to have another connection.
    pub(super) fn drained(&self, which: Generation) {
        let mut state = lock(&self.state);
        if state.life.drained(which) {
            state.current = None;
        }
    }

    /// Takes a connection back whose call has its reply.
    pub(super) fn give_back(self: &Arc<Self>, socket: &Arc<Socket>) {
        let (is_kept, begins) = {
            let mut state = lock(&self.state);
            let is_kept = self.kind == ConnectionType::Pooled
                && state.life.phase() != Phase::Closed
                && state.pool.len() < flags::max_pool_size()
                && socket.error().is_none();
            (is_kept, is_kept && state.pool.push(socket.clone()))
        };
        if !is_kept {
            socket.set_failed(RpcError::new(EUNUSED, "The connection is not needed any more"));
        }
        if begins {
            self.schedule_round();
        }
    }

    /// Whether a connection waits for its next call: if so, it is taken out.
    pub(super) fn take_unused(&self, socket: &Arc<Socket>) -> bool {
        let mut is_unused = false;
        lock(&self.state).pool.remove(|unused| {
            let is_it = Arc::ptr_eq(unused, socket);
            is_unused |= is_it;
            is_it
        });
        is_unused
    }

    fn schedule_round(self: &Arc<Self>) {
        let entry = Arc::downgrade(self);
        // Looked at again now and then if there is none, as the flag may change.
        let timeout = flags::idle_timeout().unwrap_or(Duration::from_secs(30));
        timer::schedule(bthread::clock::now() + timeout / IDLE_ROUNDS, move || {
            if let Some(entry) = entry.upgrade() {
                starting::start(entry, |entry| entry.end_round());
            }
        }); // never cancelled
    }

    fn end_round(self: &Arc<Self>) {
        let (old, goes_on) = {
            let mut state = lock(&self.state);
            let old = match flags::idle_timeout() {
                Some(_) => state.pool.end_round(flags::reserves_one()),
                None => Vec::new(),
            };
            (old, state.pool.goes_on())
        };
        for socket in old {
            socket.set_failed(RpcError::new(EUNUSED, "The connection was unused for long"));
        }
        if goes_on {
            self.schedule_round();
        }
    }

    fn schedule(self: &Arc<Self>, check: Option<Check>) {
        let Some(Check { token, failures }) = check else { return };
        let Some(pause) = flags::check_pause(failures) else { return };
        let entry = Arc::downgrade(self);
        timer::schedule(bthread::clock::now() + pause, move || {
            if let Some(entry) = entry.upgrade() {
                starting::start(Arc::new((entry, token)), |due| due.0.look_for_server(due.1));
            }
        }); // never cancelled
    }

    /// Tries to reach a server that was not there.
    fn look_for_server(self: &Arc<Self>, token: u64) {
        let (made, check) = {
            let mut state = lock(&self.state);
            let Some(which) = state.life.due(token) else { return };
            self.make(&mut state, which, true)
        };
        self.schedule(check);
        if let Ok(socket) = made {
            let _ = self.way.connect(&socket, self.way.connect_timeout); // `ended` is told if it fails
        }
    }

    pub(super) fn is_checking(&self) -> bool {
        matches!(lock(&self.state).life.phase(), Phase::Checking(_))
    }

    /// For how long nothing has come, if there is a connection on which something could.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        let state = lock(&self.state);
        let socket = state.current.as_ref().or(state.pool.last())?;
        socket.silent_for()
    }

    /// Closes the connections that no call uses; those that a call uses close behind it. No more are made.
    pub(super) fn close(&self) {
        let (current, unused) = {
            let mut state = lock(&self.state);
            state.life.close();
            (state.current.take(), state.pool.take_all())
        };
        for socket in current.into_iter().chain(unused) {
            socket.set_failed(RpcError::new(EUNUSED, "The channel was dropped"));
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = lock(&self.state).life.phase();
        f.debug_struct("Entry")
            .field("remote", &self.way.remote)
            .field("phase", &phase)
            .finish_non_exhaustive()
    }
}
