//! All that the network knows: connections by their numbers, listeners by their ports. What programs ask of it is here, what
//! packets do to it in `traffic`.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bthread::poller::Readiness;
use iobuf::{IoBuf, IoPortal};
use rpc::transport::{Received, SocketOptions};

use super::Ground;
use super::endpoint::{Endpoint, Key, NewEndpoint, Phase, Side};
use super::fault::Fault;
use super::link::LinkOptions;
use super::packet::Body;
use super::queue::Event;
use super::signal::Signal;
use super::wire::{Moment, Wire};

/// Connections of which at least one side is open, of all nodes together.
pub const CONNECTIONS_MAX: usize = 1 << 16;

/// Connections of one listener that are being made or wait to be accepted: what comes beyond is not answered.
pub const BACKLOG_MAX: usize = 4096;

/// The first port that a listener gets who leaves it to the network.
const FREE_PORT_FIRST: u16 = 30_000;

/// The largest segments, of which each side of a connection has one for good: what an interface that cuts by itself takes,
/// what Ethernet has room for, and very little.
const SEGMENTS_MAX: [usize; 3] = [64 << 10, 1460, 512];

/// Both sides of a connection, by [`Side`]; `None` for one that has forgotten it.
pub(super) struct Connection {
    pub(super) label: Arc<str>,
    pub(super) sides: [Option<Endpoint>; 2],
    /// When what each side's node sent last arrives: later packets do not overtake it, also those that the node sends when
    /// it knows nothing of the connection any more.
    pub(super) last_arrivals: [Duration; 2],
}

impl Connection {
    pub(super) fn new(label: Arc<str>) -> Self {
        Connection { label, sides: [None, None], last_arrivals: [Duration::ZERO; 2] }
    }
}

/// A port that is listened at.
pub(super) struct Listening {
    pub(super) id: u64,
    pub(super) options: SocketOptions,
    pub(super) backlog_max: usize,
    /// Those that a SYN has come from, but not yet its confirmation.
    pub(super) coming: usize,
    pub(super) ready: VecDeque<Key>,
    pub(super) signal: Option<Arc<dyn Signal>>,
}

pub(crate) struct State {
    pub(super) wire: Wire,
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) listeners: BTreeMap<(Ipv4Addr, u16), Listening>,
    /// Connections made so far, of the run and of each pair.
    made: u64,
    made_between: BTreeMap<(Ipv4Addr, Ipv4Addr), u64>,
    serials: u64,
}

/// What accepting one gave.
pub(super) struct Accepted {
    pub(super) key: Key,
    pub(super) remote: SocketAddr,
}

fn code(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        State {
            wire: Wire::new(seed),
            connections: BTreeMap::new(),
            listeners: BTreeMap::new(),
            made: 0,
            made_between: BTreeMap::new(),
            serials: 0,
        }
    }

    pub(super) fn next_event(&self) -> Option<Duration> {
        self.wire.queue.next()
    }

    pub(super) fn deliver(&mut self, now: Duration, ground: &dyn Ground) {
        while let Some((now, event)) = self.wire.queue.pop(now) {
            let at = Moment { now, ground };
            match event {
                Event::Packet(packet) => self.arrived(at, packet),
                Event::Timer(key) => self.timer(at, key),
            }
        }
    }

    pub(super) fn add_node(&mut self, name: &str, ip: Ipv4Addr) {
        self.wire.add_node(name, ip);
    }

    pub(super) fn set_default_link(&mut self, options: LinkOptions) {
        self.wire.set_default_link(options);
    }

    pub(super) fn set_link(&mut self, from: Ipv4Addr, to: Ipv4Addr, options: LinkOptions) {
        self.wire.set_link(from, to, options);
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.len()
    }

    pub(super) fn open_connections(&self) -> Vec<String> {
        let side = |endpoint: &Option<Endpoint>| match endpoint {
            Some(endpoint) => {
                let (sent, unread) = (endpoint.sender.unacknowledged(), endpoint.receiver.unread());
                format!("{:?} with {sent} B sent and {unread} B unread", endpoint.phase)
            }
            None => "none".to_owned(),
        };
        let line = |connection: &Connection| {
            let [client, server] = &connection.sides;
            format!("{}: {}, {}", connection.label, side(client), side(server))
        };
        self.connections.values().map(line).collect()
    }

    pub(super) fn endpoint(&mut self, key: Key) -> Option<&mut Endpoint> {
        let connection = self.connections.get_mut(&key.connection)?;
        connection.sides[key.side as usize].as_mut().filter(|endpoint| endpoint.serial == key.serial)
    }

    /// The side of a connection, whatever its serial is.
    pub(super) fn key_of(&self, connection: u64, side: Side) -> Option<Key> {
        let endpoint = self.connections.get(&connection)?.sides[side as usize].as_ref()?;
        Some(Key { connection, side, serial: endpoint.serial })
    }

    pub(super) fn label(&self, key: Key) -> Arc<str> {
        self.connections
            .get(&key.connection)
            .map_or_else(|| "?".into(), |connection| connection.label.clone())
    }

    // --- nodes and faults

    pub(super) fn crash(&mut self, now: Duration, ground: &dyn Ground, ip: Ipv4Addr) {
        let Some(node) = self.wire.node_mut(ip) else { return };
        (node.is_up, node.crashes) = (false, node.crashes + 1);
        let at = Moment { now, ground };
        at.trace(format_args!("{} is off", self.wire.name(ip)));
        self.listeners.retain(|(node, _), _| *node != ip);
        for key in self.keys(|endpoint| endpoint.node == ip) {
            self.forget(key);
        }
    }

    pub(super) fn restart(&mut self, now: Duration, ground: &dyn Ground, ip: Ipv4Addr) {
        let Some(node) = self.wire.node_mut(ip) else { return };
        node.is_up = true;
        Moment { now, ground }.trace(format_args!("{} is on", self.wire.name(ip)));
    }

    pub(super) fn inject(&mut self, now: Duration, ground: &dyn Ground, fault: Fault) {
        let at = Moment { now, ground };
        at.trace(format_args!("fault: {}", fault.with_names(&|ip| self.wire.name(ip))));
        match fault {
            Fault::Heal { a, b } => self.wire.remove_faults_between(a, b),
            Fault::ResetConnections { a, b } => {
                let ends = [(a, b), (b, a)];
                for key in self.keys(|endpoint| ends.contains(&(endpoint.node, endpoint.peer))) {
                    self.reset(at, key);
                }
            }
            Fault::HalfOpen { a, b } => {
                for key in self.keys(|endpoint| (endpoint.node, endpoint.peer) == (a, b)) {
                    self.reset(at, key);
                }
            }
            lasting => self.wire.add_fault(lasting),
        }
    }

    pub(super) fn lift(&mut self, now: Duration, ground: &dyn Ground, fault: &Fault) {
        if self.wire.remove_fault(fault) {
            let fault = fault.with_names(&|ip| self.wire.name(ip));
            Moment { now, ground }.trace(format_args!("lifted: {fault}"));
        }
    }

    pub(super) fn heal(&mut self, now: Duration, ground: &dyn Ground) {
        Moment { now, ground }.trace(format_args!("healed"));
        self.wire.remove_faults();
    }

    /// The sides that `is_wanted`, in the order of their making.
    fn keys(&self, is_wanted: impl Fn(&Endpoint) -> bool) -> Vec<Key> {
        let mut keys = Vec::new();
        for (connection, Connection { sides, .. }) in &self.connections {
            for (side, endpoint) in [Side::Client, Side::Server].into_iter().zip(sides) {
                if let Some(endpoint) = endpoint.as_ref().filter(|endpoint| is_wanted(endpoint)) {
                    keys.push(Key { connection: *connection, side, serial: endpoint.serial });
                }
            }
        }
        keys
    }

    // --- listeners

    pub(super) fn listen(
        &mut self,
        ip: Ipv4Addr,
        port: u16,
        options: SocketOptions,
    ) -> io::Result<(u64, u16)> {
        if !self.wire.is_up(ip) {
            return Err(code(libc::ENETDOWN));
        }
        let free = |port: &u16| !self.listeners.contains_key(&(ip, *port));
        let port = match port {
            0 => (FREE_PORT_FIRST..=u16::MAX).find(free),
            port => Some(port).filter(free),
        };
        let port = port.ok_or_else(|| code(libc::EADDRINUSE))?;
        self.serials += 1;
        let listening = Listening {
            id: self.serials,
            options,
            backlog_max: BACKLOG_MAX,
            coming: 0,
            ready: VecDeque::new(),
            signal: None,
        };
        self.listeners.insert((ip, port), listening);
        Ok((self.serials, port))
    }

    pub(super) fn listening(&mut self, at: (Ipv4Addr, u16), id: u64) -> Option<&mut Listening> {
        self.listeners.get_mut(&at).filter(|listening| listening.id == id)
    }

    pub(super) fn accept(&mut self, at: Moment<'_>, port: (Ipv4Addr, u16), id: u64) -> io::Result<Accepted> {
        loop {
            let listening = self.listening(port, id).ok_or_else(|| code(libc::EINVAL))?;
            let key = listening.ready.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
            if let Some(endpoint) = self.endpoint(key) {
                let remote = endpoint.remote;
                at.trace(format_args!("{}: accepted", self.label(key)));
                return Ok(Accepted { key, remote });
            }
        }
    }

    /// Nobody listens there any more: those that were not accepted are reset.
    pub(super) fn stop_listening(&mut self, at: Moment<'_>, port: (Ipv4Addr, u16), id: u64) {
        if self.listening(port, id).is_none() {
            return;
        }
        let Some(listening) = self.listeners.remove(&port) else { return };
        let is_coming = |endpoint: &Endpoint| {
            let is_here = endpoint.local == SocketAddr::from(port);
            is_here && matches!(endpoint.phase, Phase::Opening { .. })
        };
        let coming = self.keys(is_coming).into_iter().filter(|key| key.side == Side::Server);
        for key in listening.ready.into_iter().chain(coming) {
            self.send_reset(at, key);
            self.forget(key);
        }
    }

    // --- connections

    /// Begins to connect.
    pub(super) fn connect(
        &mut self,
        at: Moment<'_>,
        (from, crashes): (Ipv4Addr, u64),
        (to, port): (Ipv4Addr, u16),
        options: &SocketOptions,
    ) -> io::Result<(Key, SocketAddr)> {
        if !self.wire.node(from).is_some_and(|node| node.is_up && node.crashes == crashes) {
            return Err(code(libc::ENETDOWN));
        }
        if self.wire.node(to).is_none() {
            return Err(code(libc::EHOSTUNREACH));
        }
        if self.connections.len() >= CONNECTIONS_MAX {
            return Err(code(libc::EMFILE));
        }
        let local_port = self.free_port(from)?;
        self.made += 1;
        let between = self.made_between.entry((from, to)).or_default();
        *between += 1;
        let label: Arc<str> = format!("{}->{} #{between}", self.wire.name(from), self.wire.name(to)).into();
        self.connections.insert(self.made, Connection::new(label));
        let key = self.open(at, self.made, Side::Client, (from, local_port), (to, port), options);
        self.send(at, key, Body::Syn { from_port: local_port, port }, None);
        Ok((key, (from, local_port).into()))
    }

    /// The next port that no connection of the node leaves from.
    fn free_port(&mut self, ip: Ipv4Addr) -> io::Result<u16> {
        for _ in 0..=u16::MAX {
            let Some(port) = self.wire.node_mut(ip).map(|node| node.next_port()) else { break };
            let local = SocketAddr::from((ip, port));
            let is_local = |connection: &Connection| {
                connection.sides[0].as_ref().is_some_and(|client| client.local == local)
            };
            if !self.connections.values().any(is_local) {
                return Ok(port);
            }
        }
        Err(code(libc::EADDRNOTAVAIL))
    }

    /// Makes one side.
    pub(super) fn open(
        &mut self,
        at: Moment<'_>,
        connection: u64,
        side: Side,
        local: (Ipv4Addr, u16),
        remote: (Ipv4Addr, u16),
        options: &SocketOptions,
    ) -> Key {
        self.serials += 1;
        let serial = self.serials;
        let segment_max = *self.wire.link(local.0, remote.0).random.pick(&SEGMENTS_MAX);
        let new = NewEndpoint { serial, side, local, remote, segment_max, options };
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.sides[side as usize] = Some(Endpoint::new(at.now, new));
        }
        Key { connection, side, serial }
    }

    pub(super) fn is_connected(&mut self, key: Key) -> io::Result<bool> {
        match self.endpoint(key).map(|endpoint| endpoint.phase) {
            Some(Phase::Opening { .. }) => Ok(false),
            Some(Phase::Open) => Ok(true),
            Some(Phase::Failed(error)) => Err(code(error)),
            None => Err(code(libc::ECONNRESET)),
        }
    }

    pub(super) fn read(
        &mut self,
        at: Moment<'_>,
        key: Key,
        into: &mut IoPortal,
        max: usize,
    ) -> io::Result<Received> {
        let endpoint = self.endpoint(key).ok_or_else(|| code(libc::ECONNRESET))?;
        let (node, peer, unread) = (endpoint.node, endpoint.peer, endpoint.receiver.unread());
        if unread == 0 || max == 0 {
            return match endpoint.phase {
                _ if max == 0 => Err(io::ErrorKind::InvalidInput.into()),
                // What came before a reset can be read behind it, as with Linux, the end too.
                Phase::Failed(error) if !endpoint.receiver.has_ended() => Err(code(error)),
                _ if endpoint.receiver.has_ended() || endpoint.is_shut => {
                    Ok(Received { bytes: 0, drained: true })
                }
                _ => Err(io::ErrorKind::WouldBlock.into()),
            };
        }
        let bytes = self.wire.link(node, peer).torn(unread.min(max));
        let Some(endpoint) = self.endpoint(key) else { return Err(code(libc::ECONNRESET)) };
        let tells =
            endpoint.receiver.read(bytes, |slice| into.append(slice)) && endpoint.phase == Phase::Open;
        let drained = bytes == unread && !endpoint.receiver.has_ended() && endpoint.phase == Phase::Open;
        if tells {
            self.send(at, key, Body::Ack, None);
        }
        Ok(Received { bytes, drained })
    }

    /// Copies from the front of `from`, and leaves it to the caller to drop that.
    pub(super) fn write(&mut self, at: Moment<'_>, key: Key, from: &IoBuf) -> io::Result<usize> {
        let endpoint = self.endpoint(key).ok_or_else(|| code(libc::EPIPE))?;
        match endpoint.phase {
            Phase::Failed(libc::ECONNRESET) => return Err(code(libc::EPIPE)),
            Phase::Failed(error) => return Err(code(error)),
            _ if endpoint.is_shut || endpoint.is_writing_shut => return Err(code(libc::EPIPE)),
            Phase::Opening { .. } | Phase::Open => {}
        }
        let room = endpoint.sender.room();
        let is_open = endpoint.phase == Phase::Open;
        if from.is_empty() {
            return Ok(0);
        }
        if room == 0 || !is_open {
            endpoint.sender.wait_for_room();
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (node, peer) = (endpoint.node, endpoint.peer);
        let taken = self.wire.link(node, peer).torn(from.len().min(room));
        let Some(endpoint) = self.endpoint(key) else { return Err(code(libc::EPIPE)) };
        let mut left = taken;
        for slice in from.slices() {
            let n = left.min(slice.len());
            endpoint.sender.push(&slice[..n]);
            left -= n;
            if left == 0 {
                break;
            }
        }
        self.pump(at, key);
        Ok(taken)
    }

    /// Has events told to `signal`, also of what is so already.
    pub(super) fn register(&mut self, key: Key, signal: Arc<dyn Signal>) {
        match self.endpoint(key) {
            Some(endpoint) => {
                let readiness = endpoint.readiness();
                endpoint.signal = Some(signal);
                if readiness != Readiness::new(false, false, false) {
                    endpoint.raise(readiness);
                }
            }
            None => signal.raise(Readiness::new(true, true, true)),
        }
    }

    /// Ends the direction to the peer: what was written is still sent. Whether it could be.
    pub(super) fn shut_down_writing(&mut self, at: Moment<'_>, key: Key) -> bool {
        let Some(endpoint) = self.endpoint(key) else { return false };
        if endpoint.is_shut || endpoint.phase != Phase::Open {
            return false;
        }
        endpoint.is_writing_shut = true;
        endpoint.sender.end();
        endpoint.raise(Readiness::new(false, true, false));
        self.pump(at, key);
        self.settle(key);
        true
    }

    /// Ends both directions: what was written is still sent.
    pub(super) fn shut_down(&mut self, at: Moment<'_>, key: Key) {
        let Some(endpoint) = self.endpoint(key).filter(|endpoint| !endpoint.is_shut) else { return };
        endpoint.is_shut = true;
        match endpoint.phase {
            Phase::Opening { .. } => {
                endpoint.fail(libc::ECONNABORTED);
                endpoint.raise(Readiness::new(true, true, true));
                at.trace(format_args!("{}: given up", self.label(key)));
            }
            Phase::Open => {
                endpoint.sender.end();
                endpoint.raise(Readiness::new(true, true, true));
                self.pump(at, key);
            }
            Phase::Failed(_) => {}
        }
        self.settle(key);
    }

    /// The program's handle is gone. Bytes that it did not read make that a reset, as with Linux; one that has not ended
    /// the direction before then never tells its end.
    pub(super) fn close(&mut self, at: Moment<'_>, key: Key) {
        let is_reset =
            |endpoint: &mut Endpoint| endpoint.receiver.unread() > 0 && endpoint.phase == Phase::Open;
        if self.endpoint(key).is_some_and(is_reset) {
            self.send_reset(at, key);
            return self.forget(key);
        }
        self.shut_down(at, key);
        let Some(endpoint) = self.endpoint(key) else { return };
        endpoint.closed_at = Some(at.now);
        self.settle(key);
    }
}
