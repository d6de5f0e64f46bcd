//! What packets and timers do to connections.

use bthread::poller::Readiness;

use std::time::Duration;

use super::endpoint::{Key, Phase, Side, Task};
use super::packet::{Body, Packet, Shape, way};
use super::state::{CONNECTIONS_MAX, Connection, State};
use super::wire::Moment;

/// How often an event of one kind tells of all that can be done, as the kernel's events do at times.
const MERGED_CHANCE: f64 = 0.5;

impl State {
    /// A packet is there.
    pub(super) fn arrived(&mut self, at: Moment<'_>, packet: Packet) {
        if !self.wire.is_up(packet.to) {
            if packet.is_shown() {
                at.trace(format_args!("{packet}: nobody is there"));
            }
            return;
        }
        let side = packet.sender.other();
        let key = self.key_of(packet.connection, side);
        if let Body::Syn { from_port, port } = packet.body {
            return self.asked_to_connect(at, &packet, key, (from_port, port));
        }
        let Some(key) = key.filter(|key| self.is_alive(*key)) else {
            if !matches!(packet.body, Body::Rst) {
                self.refuse(at, &packet);
            }
            return;
        };
        if let Some(endpoint) = self.endpoint(key) {
            endpoint.heard(at.now);
        }
        match packet.body {
            Body::Syn { .. } => {}
            Body::Rst => self.reset(at, key),
            Body::SynAck => {
                self.connected(at, key);
                self.acknowledged(at, key, &packet);
                self.send(at, key, Body::Ack, Some(packet.sent));
                self.pump(at, key);
            }
            Body::Segment { .. } | Body::Ack | Body::Probe => {
                if self.confirmed(key) {
                    self.acknowledged(at, key, &packet);
                    self.take_in(at, key, packet);
                    self.pump(at, key);
                    self.settle(key);
                }
            }
        }
    }

    fn is_alive(&mut self, key: Key) -> bool {
        self.endpoint(key).is_some_and(|endpoint| !matches!(endpoint.phase, Phase::Failed(_)))
    }

    /// Answers what belongs to no connection.
    fn refuse(&mut self, at: Moment<'_>, packet: &Packet) {
        let answer = Packet {
            connection: packet.connection,
            label: packet.label.clone(),
            sender: packet.sender.other(),
            from: packet.to,
            to: packet.from,
            sent: at.now,
            acknowledges: None,
            body: Body::Rst,
        };
        self.wire.send(at, answer, Duration::ZERO);
    }

    /// A SYN has come, perhaps again.
    fn asked_to_connect(&mut self, at: Moment<'_>, packet: &Packet, key: Option<Key>, ports: (u16, u16)) {
        if let Some(key) = key {
            if self.is_alive(key) {
                if let Some(endpoint) = self.endpoint(key) {
                    endpoint.asked_again(at.now);
                }
                self.send(at, key, Body::SynAck, Some(packet.sent));
            } else {
                self.refuse(at, packet);
            }
            return;
        }
        let (from_port, port) = ports;
        let is_known = self.connections.contains_key(&packet.connection);
        let has_room = is_known || self.connections.len() < CONNECTIONS_MAX;
        let Some(listening) = self.listeners.get_mut(&(packet.to, port)) else {
            at.trace(format_args!("{}: refused", packet.label));
            return self.refuse(at, packet);
        };
        if listening.coming + listening.ready.len() >= listening.backlog_max || !has_room {
            return at.trace(format_args!("{}: the backlog is full", packet.label));
        }
        listening.coming += 1;
        let options = listening.options.clone();
        let connection = || Connection { label: packet.label.clone(), sides: [None, None] };
        self.connections.entry(packet.connection).or_insert_with(connection);
        let (local, remote) = ((packet.to, port), (packet.from, from_port));
        let key = self.open(at, packet.connection, Side::Server, local, remote, &options);
        self.acknowledged(at, key, packet);
        self.send(at, key, Body::SynAck, Some(packet.sent));
    }

    /// The listener has answered the client's SYN.
    fn connected(&mut self, at: Moment<'_>, key: Key) {
        let label = self.label(key);
        let Some(endpoint) = self.endpoint(key) else { return };
        if matches!(endpoint.phase, Phase::Opening { .. }) {
            endpoint.phase = Phase::Open;
            endpoint.raise(Readiness::new(false, true, false));
            at.trace(format_args!("{label}: connected after {:?}", endpoint.age(at.now)));
        }
    }

    /// Whether a side stands, since its peer has shown that it knows of it.
    fn confirmed(&mut self, key: Key) -> bool {
        let Some(endpoint) = self.endpoint(key) else { return false };
        match endpoint.phase {
            Phase::Open => true,
            // The answer to its SYN was lost, and comes again.
            Phase::Opening { .. } if key.side == Side::Client => false,
            Phase::Opening { .. } => {
                endpoint.phase = Phase::Open;
                let port = (endpoint.node, endpoint.local.port());
                if let Some(listening) = self.listeners.get_mut(&port) {
                    listening.coming = listening.coming.saturating_sub(1);
                    listening.ready.push_back(key);
                    if let Some(signal) = &listening.signal {
                        signal.raise(Readiness::new(true, false, false));
                    }
                }
                self.settle(key);
                true
            }
            Phase::Failed(_) => false,
        }
    }

    /// Looks at what the packet says of the bytes that went the other way.
    fn acknowledged(&mut self, at: Moment<'_>, key: Key, packet: &Packet) {
        let Some(news) = packet.acknowledges else { return };
        let Some(endpoint) = self.endpoint(key) else { return };
        if endpoint.sender.acknowledged(at.now, news) {
            self.tell(key, Readiness::new(false, true, false));
        }
    }

    /// Takes the bytes of a packet, and answers it.
    fn take_in(&mut self, at: Moment<'_>, key: Key, packet: Packet) {
        let Packet { label, sender, sent, body, .. } = packet;
        match body {
            Body::Segment { at: offset, bytes, is_last } => {
                let shape = Shape { at: offset, len: bytes.len(), is_last };
                let way = way(sender);
                let Some(endpoint) = self.endpoint(key) else { return };
                if endpoint.is_shut && endpoint.receiver.is_news(offset, &bytes) {
                    at.trace(format_args!("{label} {way} {shape}: not wanted"));
                    self.send(at, key, Body::Rst, None);
                    return self.reset(at, key);
                }
                let arrival = endpoint.receiver.arrived(offset, bytes, is_last);
                let what = match (arrival.bytes, arrival.is_end) {
                    (0, false) => "arrived, brings nothing to read",
                    (0, true) | (_, true) => "arrived, the last",
                    (_, false) => "arrived",
                };
                at.trace(format_args!("{label} {way} {shape}: {what}"));
                if arrival.bytes > 0 || arrival.is_end {
                    self.tell(key, Readiness::new(true, false, arrival.is_end));
                }
                self.send(at, key, Body::Ack, Some(sent));
            }
            Body::Probe => {
                self.send(at, key, Body::Ack, Some(sent));
            }
            _ => {}
        }
    }

    /// Tells whoever has registered of something, and perhaps of the rest.
    fn tell(&mut self, key: Key, news: Readiness) {
        let Some(endpoint) = self.endpoint(key) else { return };
        let (node, peer, all) = (endpoint.node, endpoint.peer, endpoint.readiness());
        let merges = self.wire.link(node, peer).random.chance(MERGED_CHANCE);
        if let Some(endpoint) = self.endpoint(key) {
            endpoint.raise(if merges { all } else { news });
        }
    }

    /// Sends all that can be sent.
    pub(super) fn pump(&mut self, at: Moment<'_>, key: Key) {
        loop {
            let State { wire, connections, .. } = self;
            let Some(connection) = connections.get_mut(&key.connection) else { return };
            let endpoint = connection.sides[key.side as usize].as_mut();
            let Some(endpoint) = endpoint.filter(|endpoint| endpoint.serial == key.serial) else { return };
            if endpoint.phase != Phase::Open {
                return;
            }
            let link = wire.link(endpoint.node, endpoint.peer);
            let Some(outgoing) = endpoint.sender.segment(at.now, |n| link.torn(n)) else {
                endpoint.sender.settle(at.now);
                break;
            };
            if outgoing.is_again {
                at.trace(format_args!("{}: sends again from {}", connection.label, outgoing.at));
            }
            let body = Body::Segment { at: outgoing.at, bytes: outgoing.bytes, is_last: outgoing.is_last };
            self.send(at, key, body, None);
        }
        self.settle(key);
    }

    /// Sends one packet.
    pub(super) fn send(&mut self, at: Moment<'_>, key: Key, body: Body, echo: Option<Duration>) {
        let label = self.label(key);
        let Some(endpoint) = self.endpoint(key) else { return };
        let acknowledges = match body {
            Body::Rst => None,
            _ => Some(endpoint.receiver.acknowledge(echo)),
        };
        let packet = Packet {
            connection: key.connection,
            label,
            sender: key.side,
            from: endpoint.node,
            to: endpoint.peer,
            sent: at.now,
            acknowledges,
            body,
        };
        let earliest = endpoint.last_arrival;
        let arrival = self.wire.send(at, packet, earliest);
        if let (Some(endpoint), Some(arrival)) = (self.endpoint(key), arrival) {
            endpoint.last_arrival = arrival;
        }
        self.retime(key);
    }

    /// A side learns that there is no connection.
    pub(super) fn reset(&mut self, at: Moment<'_>, key: Key) {
        let label = self.label(key);
        let Some(endpoint) = self.endpoint(key) else { return };
        let code = match (endpoint.phase, key.side) {
            (Phase::Failed(_), _) => return,
            (Phase::Opening { .. }, Side::Server) => return self.vanish(at, key),
            (Phase::Opening { .. }, Side::Client) => libc::ECONNREFUSED,
            (Phase::Open, _) => libc::ECONNRESET,
        };
        endpoint.fail(code);
        endpoint.raise(Readiness::new(true, true, true));
        let node = endpoint.node;
        let what = if code == libc::ECONNRESET { "reset" } else { "refused" };
        at.trace(format_args!("{label}: {what} at {}", self.wire.name(node)));
        self.settle(key);
    }

    /// A side has waited for long enough.
    pub(super) fn timer(&mut self, at: Moment<'_>, key: Key) {
        let label = self.label(key);
        let Some(endpoint) = self.endpoint(key) else { return };
        endpoint.ticket = None;
        let ports = (endpoint.local.port(), endpoint.remote.port());
        match endpoint.due(at.now) {
            Task::Nothing => {}
            Task::OpenAgain => {
                let body = match key.side {
                    Side::Client => Body::Syn { from_port: ports.0, port: ports.1 },
                    Side::Server => Body::SynAck,
                };
                self.send(at, key, body, None);
            }
            Task::Send => self.pump(at, key),
            Task::Probe => self.send(at, key, Body::Probe, None),
            Task::Fail(code) => {
                endpoint.fail(code);
                endpoint.raise(Readiness::new(true, true, true));
                let node = endpoint.node;
                at.trace(format_args!("{label}: timed out at {}", self.wire.name(node)));
            }
            Task::Vanish => return self.vanish(at, key),
        }
        self.settle(key);
    }

    /// A side that nobody has, or has yet, is forgotten.
    fn vanish(&mut self, at: Moment<'_>, key: Key) {
        let Some(endpoint) = self.endpoint(key) else { return };
        let (node, port) = (endpoint.node, endpoint.local.port());
        if matches!(endpoint.phase, Phase::Opening { .. })
            && key.side == Side::Server
            && let Some(listening) = self.listeners.get_mut(&(node, port))
        {
            listening.coming = listening.coming.saturating_sub(1);
        }
        at.trace(format_args!("{}: forgotten at {}", self.label(key), self.wire.name(node)));
        self.forget(key);
    }

    /// To be called when something may have ended or begun: forgets a side that is done, and sets its timer.
    pub(super) fn settle(&mut self, key: Key) {
        if self.endpoint(key).is_some_and(|endpoint| endpoint.is_done()) {
            self.forget(key);
        } else {
            self.retime(key);
        }
    }

    fn retime(&mut self, key: Key) {
        let State { wire, connections, .. } = self;
        let Some(connection) = connections.get_mut(&key.connection) else { return };
        let endpoint = connection.sides[key.side as usize].as_mut();
        if let Some(endpoint) = endpoint.filter(|endpoint| endpoint.serial == key.serial) {
            let timer = endpoint.timer();
            wire.queue.retime(&mut endpoint.ticket, timer, key);
        }
    }

    /// Forgets a side; what comes for it is answered with a reset.
    pub(super) fn forget(&mut self, key: Key) {
        if self.endpoint(key).is_none() {
            return;
        }
        let Some(connection) = self.connections.get_mut(&key.connection) else { return };
        let side = connection.sides[key.side as usize].take();
        if connection.sides.iter().all(Option::is_none) {
            self.connections.remove(&key.connection);
        }
        if let Some(mut endpoint) = side {
            self.wire.queue.retime(&mut endpoint.ticket, None, key);
        }
    }
}
