//! What goes wrong in a run, as a plan: which fault, of whom, when and for how long.
//!
//! A fault of somebody who suffers one already is left out, so that the end of one never ends another one, and plans can
//! be shortened.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use sim::{Fault, LinkOptions, Random, World};

use crate::site::{Ailment, Site, sleep_until};

/// Which faults a workload can do with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kinds {
    /// Crashes and restarts of nodes.
    pub(crate) crashes: bool,
    /// Faults of connections and links.
    pub(crate) network: bool,
    /// Nodes that are stopped or slow.
    pub(crate) nodes: bool,
}

impl Kinds {
    pub(crate) const ALL: Kinds = Kinds { crashes: true, network: true, nodes: true };
    pub(crate) const NODES: Kinds = Kinds { crashes: false, network: false, nodes: true };
}

/// A fault of one site, or between two, by their places in the list of sites.
#[derive(Clone, Copy, Debug)]
enum What {
    Ailment(usize, Ailment),
    Partition(usize, usize),
    OneWay(usize, usize),
    HalfOpen(usize, usize),
    Reset(usize, usize),
    Slow(usize, usize, Duration),
    Lossy(usize, usize),
}

impl What {
    fn draw(random: &mut Random, sites: usize, kinds: Kinds) -> Self {
        let a = random.below(sites as u64) as usize;
        let b = (a + 1 + random.below(sites as u64 - 1) as usize) % sites;
        let of_node = |random: &mut Random| match random.below(if kinds.crashes { 4 } else { 2 }) {
            0 => What::Ailment(a, Ailment::Paused),
            1 => What::Ailment(a, Ailment::Slow(Duration::from_micros(random.between(20, 2000)))),
            _ => What::Ailment(a, Ailment::Crashed),
        };
        let of_network = |random: &mut Random| match random.below(8) {
            0 | 1 => What::Reset(a, b),
            2 | 3 => What::Partition(a, b),
            4 => What::OneWay(a, b),
            5 => What::HalfOpen(a, b),
            6 => What::Slow(a, b, Duration::from_millis(random.between(1, 300))),
            _ => What::Lossy(a, b),
        };
        match (kinds.nodes, kinds.network) {
            (true, true) if random.chance(0.5) => of_node(random),
            (true, false) => of_node(random),
            _ => of_network(random),
        }
    }
}

/// One fault of a plan.
#[derive(Clone, Copy, Debug)]
struct Planned {
    at: Duration,
    lasts: Duration,
    what: What,
}

/// The faults of a run over these sites.
pub(crate) struct Faults {
    planned: Vec<Planned>,
    sites: Vec<Arc<Site>>,
    world: World,
}

impl Faults {
    /// Draws up to `most` faults that begin within `span`.
    pub(crate) fn draw(
        world: &World,
        name: &str,
        most: usize,
        span: Duration,
        sites: &[Arc<Site>],
        kinds: Kinds,
    ) -> Self {
        let planned = world.plan(name, most, |random| Planned {
            at: Duration::from_micros(random.below(span.as_micros() as u64)),
            lasts: Duration::from_millis(*random.pick(&[1, 20, 100, 400, 1500, 4000])),
            what: What::draw(random, sites.len(), kinds),
        });
        Faults { planned, sites: sites.to_vec(), world: world.clone() }
    }

    pub(crate) fn are_none(&self) -> bool {
        self.planned.is_empty()
    }

    /// Makes them, and has all well at the end. For a bthread of the world.
    pub(crate) fn run(self, start: Duration) {
        let mut turns: Vec<_> = (self.planned.iter().enumerate())
            .flat_map(|(n, fault)| [(fault.at, n, true), (fault.at + fault.lasts, n, false)])
            .collect();
        turns.sort_by_key(|(time, n, begins)| (*time, *n, !*begins));
        let (mut suffering, mut begun) = (HashSet::new(), HashSet::new());
        for (time, n, begins) in turns {
            sleep_until(&self.world, start + time);
            let what = self.planned[n].what;
            let whom = Self::whom(what);
            if begins && suffering.insert(whom) {
                begun.insert(n);
                self.begin(what);
            } else if !begins && begun.remove(&n) {
                suffering.remove(&whom);
                self.end(what);
            }
        }
    }

    fn whom(what: What) -> (usize, usize) {
        match what {
            What::Ailment(site, _) => (site, site),
            What::Partition(a, b)
            | What::OneWay(a, b)
            | What::HalfOpen(a, b)
            | What::Reset(a, b)
            | What::Slow(a, b, _)
            | What::Lossy(a, b) => (a.min(b), a.max(b)),
        }
    }

    fn begin(&self, what: What) {
        match what {
            What::Ailment(site, ailment) => self.sites[site].fall_ill(ailment),
            what => self.world.network().inject(self.fault(what)),
        }
    }

    fn end(&self, what: What) {
        match what {
            What::Ailment(site, _) => self.sites[site].recover(),
            // They are over as soon as they have begun.
            What::HalfOpen(..) | What::Reset(..) => {}
            what => self.world.network().lift(&self.fault(what)),
        }
    }

    fn fault(&self, what: What) -> Fault {
        let ip = |site: usize| self.sites[site].node.ip();
        match what {
            // A node without a network, for who asks for one.
            What::Ailment(site, _) => Fault::Isolate { node: ip(site) },
            What::Partition(a, b) => Fault::Partition { a: ip(a), b: ip(b) },
            What::OneWay(from, to) => Fault::OneWay { from: ip(from), to: ip(to) },
            What::HalfOpen(a, b) => Fault::HalfOpen { a: ip(a), b: ip(b) },
            What::Reset(a, b) => Fault::ResetConnections { a: ip(a), b: ip(b) },
            What::Slow(from, to, latency) => {
                Fault::SlowLink { from: ip(from), to: ip(to), latency, bandwidth: Some(SLOW_BANDWIDTH) }
            }
            What::Lossy(from, to) => Fault::Lossy { from: ip(from), to: ip(to), loss: LOSSY },
        }
    }
}

/// Bytes a second of a link that a fault has slowed down.
const SLOW_BANDWIDTH: u64 = 1_000_000;

/// How many packets a lossy link loses.
const LOSSY: f64 = 0.2;

/// Links as they are without a fault.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    /// The longest way of a packet.
    pub(crate) latency_max: Duration,
    /// Bytes a second.
    pub(crate) bandwidth: Option<u64>,
    pub(crate) is_lossy: bool,
}

impl Links {
    /// Draws the options of all links of the run, and sets them.
    pub(crate) fn draw(world: &World, random: &mut Random) -> Self {
        let shortest = Duration::from_micros(*random.pick(&[5, 50, 50, 500, 5_000]));
        let latency_max = shortest * *random.pick(&[1, 2, 4]) + Duration::from_micros(1);
        let bandwidth = *random.pick(&[None, None, Some(100_000_000), Some(10_000_000)]);
        let loss = *random.pick(&[0.0, 0.0, 0.0, 0.01]);
        let tear = *random.pick(&[0.0, 0.05, 0.3]);
        let options = LinkOptions { latency: shortest..latency_max, bandwidth, loss, tear };
        world.network().set_default_link(options);
        Links { latency_max, bandwidth, is_lossy: loss > 0.0 }
    }

    /// How long so many bytes and their answer of so many are on the way, alone on the link: no more of them at a time
    /// than a socket keeps.
    pub(crate) fn round_trip(&self, there: usize, back: usize) -> Duration {
        let bytes = (there + back) as f64;
        let sending =
            self.bandwidth.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(bytes / rate as f64));
        let windows = 1 + (there + back) / (sim::BUFFER_DEFAULT / 2);
        2 * self.latency_max * u32::try_from(windows).unwrap_or(u32::MAX) + sending
    }
}
