//! The nodes, the links between them, the faults that are in force, and the packets on their way.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::Ground;
use super::fault::{FAULTS_MAX, Fault};
use super::link::{Carried, Condition, Link, LinkOptions};
use super::packet::Packet;
use super::queue::{Event, Queue};
use crate::Random;

/// The first port that connections leave from.
const CLIENT_PORT_FIRST: u16 = 40_000;

/// The time at which something is done, and who hears of it.
#[derive(Clone, Copy)]
pub(super) struct Moment<'a> {
    pub(super) now: Duration,
    pub(super) ground: &'a dyn Ground,
}

impl Moment<'_> {
    pub(super) fn trace(&self, line: fmt::Arguments<'_>) {
        self.ground.trace(line);
    }
}

/// A node, as the network knows it.
#[derive(Debug)]
pub(super) struct NodeEntry {
    pub(super) name: Arc<str>,
    pub(super) is_up: bool,
    /// How often it was down.
    pub(super) crashes: u64,
    next_port: u16,
}

impl NodeEntry {
    /// The port that follows the one drawn last; it may be taken.
    pub(super) fn next_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = port.checked_add(1).unwrap_or(CLIENT_PORT_FIRST);
        port
    }
}

pub(super) struct Wire {
    seed: u64,
    nodes: BTreeMap<Ipv4Addr, NodeEntry>,
    default_link: LinkOptions,
    set_links: BTreeMap<(Ipv4Addr, Ipv4Addr), LinkOptions>,
    /// Those that were used.
    links: BTreeMap<(Ipv4Addr, Ipv4Addr), Link>,
    faults: Vec<Fault>,
    pub(super) queue: Queue,
}

impl Wire {
    pub(super) fn new(seed: u64) -> Self {
        Wire {
            seed,
            nodes: BTreeMap::new(),
            default_link: LinkOptions::default(),
            set_links: BTreeMap::new(),
            links: BTreeMap::new(),
            faults: Vec::new(),
            queue: Queue::default(),
        }
    }

    pub(super) fn add_node(&mut self, name: &str, ip: Ipv4Addr) {
        let entry = NodeEntry { name: name.into(), is_up: true, crashes: 0, next_port: CLIENT_PORT_FIRST };
        self.nodes.insert(ip, entry);
    }

    pub(super) fn node(&self, ip: Ipv4Addr) -> Option<&NodeEntry> {
        self.nodes.get(&ip)
    }

    pub(super) fn node_mut(&mut self, ip: Ipv4Addr) -> Option<&mut NodeEntry> {
        self.nodes.get_mut(&ip)
    }

    pub(super) fn is_up(&self, ip: Ipv4Addr) -> bool {
        self.node(ip).is_some_and(|node| node.is_up)
    }

    pub(super) fn address_of(&self, name: &str) -> Option<Ipv4Addr> {
        self.nodes.iter().find(|(_, node)| &*node.name == name).map(|(ip, _)| *ip)
    }

    /// A node's name; its address if it has none.
    pub(super) fn name(&self, ip: Ipv4Addr) -> Arc<str> {
        self.node(ip).map_or_else(|| ip.to_string().into(), |node| node.name.clone())
    }

    pub(super) fn set_default_link(&mut self, options: LinkOptions) {
        for (ends, link) in &mut self.links {
            if ends.0 != ends.1 && !self.set_links.contains_key(ends) {
                link.options = options.clone();
            }
        }
        self.default_link = options;
    }

    pub(super) fn set_link(&mut self, from: Ipv4Addr, to: Ipv4Addr, options: LinkOptions) {
        if let Some(link) = self.links.get_mut(&(from, to)) {
            link.options = options.clone();
        }
        self.set_links.insert((from, to), options);
    }

    pub(super) fn link(&mut self, from: Ipv4Addr, to: Ipv4Addr) -> &mut Link {
        let Wire { seed, default_link, set_links, links, .. } = self;
        links.entry((from, to)).or_insert_with(|| {
            let options = match set_links.get(&(from, to)) {
                Some(options) => options.clone(),
                None if from == to => LinkOptions::loopback(),
                None => default_link.clone(),
            };
            let number = u64::from(from.to_bits()) << 32 | u64::from(to.to_bits());
            Link::new(options, Random::stream(*seed, "link", number))
        })
    }

    /// Sends a packet, which arrives not before `earliest`. When it does, if so.
    pub(super) fn send(&mut self, at: Moment<'_>, packet: Packet, earliest: Duration) -> Option<Duration> {
        let (from, to) = (packet.from, packet.to);
        let mut condition = Condition::default();
        if from != to {
            self.faults.iter().for_each(|fault| fault.apply(from, to, &mut condition));
        }
        let carried = self.link(from, to).carry(at.now, packet.payload(), &condition);
        let note = match carried {
            Carried::Arrives(_) => "",
            Carried::Lost => ": lost",
            Carried::CutOff => ": cut off",
        };
        if packet.is_shown() {
            at.trace(format_args!("{packet}{note}"));
        }
        let Carried::Arrives(arrival) = carried else { return None };
        let arrival = arrival.max(earliest);
        self.queue.push(arrival, Event::Packet(packet));
        Some(arrival)
    }

    /// Adds a lasting fault.
    pub(super) fn add_fault(&mut self, fault: Fault) {
        if self.faults.len() >= FAULTS_MAX {
            self.faults.remove(0);
        }
        self.faults.push(fault);
    }

    /// Removes one that is like it.
    pub(super) fn remove_fault(&mut self, fault: &Fault) -> bool {
        let found = self.faults.iter().position(|other| other == fault);
        found.map(|index| self.faults.remove(index)).is_some()
    }

    /// Removes those that are about the links between the two.
    pub(super) fn remove_faults_between(&mut self, a: Ipv4Addr, b: Ipv4Addr) {
        self.faults.retain(|fault| !fault.is_between(a, b));
    }

    pub(super) fn remove_faults(&mut self) {
        self.faults.clear();
    }
}
