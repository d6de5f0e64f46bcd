//! The loads that servers are compared under, and what Bobbin's should reach.

use crate::load::Figures;

/// Key of the row that the one with sleepers is compared with.
const BESIDE_SLEEPERS: &str = "open-10k";

pub(crate) struct Row {
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    /// For `baidu_load`.
    pub(crate) load: &'static [&'static str],
    /// What an echo carries, for the volume.
    pub(crate) bytes: u64,
    pub(crate) target: Target,
}

pub(crate) enum Target {
    /// p50, at most so many times the floor's.
    P50(f64),
    /// Calls a second, at least so many times the floor's.
    Qps(f64),
    /// ... and so many times what any other server answers.
    QpsAndPeers(f64, f64),
    /// ... and p99.9 at most so many times the floor's.
    QpsAndP999(f64, f64),
    /// p50 and p99, at most so many times the floor's.
    Latencies(f64),
    /// p99, at most so many times that of the same server without sleepers. The floor cannot sleep.
    P99BesideSleepers(f64),
}

/// What a target is judged by.
pub(crate) struct Measured<'a> {
    pub(crate) bobbin: Figures,
    pub(crate) floor: Option<Figures>,
    pub(crate) peers: &'a [Figures],
    /// Bobbin's figures of rows that were measured before, by their keys.
    pub(crate) before: &'a [(&'static str, Figures)],
}

impl Target {
    /// What should be reached, and how far it is; `None`: it cannot be said.
    pub(crate) fn judge(&self, measured: &Measured<'_>) -> (String, Option<bool>) {
        let Measured { bobbin, floor, peers, before } = measured;
        let of_floor = |pick: fn(&Figures) -> f64| floor.as_ref().map(|floor| pick(bobbin) / pick(floor));
        let qps = |least: f64| of_floor(|figures| figures.qps).map(|ratio| ratio >= least);
        let at_most = |pick: fn(&Figures) -> f64, most: f64| of_floor(pick).map(|ratio| ratio <= most);
        let both = |a: Option<bool>, b: Option<bool>| Some(a? && b?);
        match *self {
            Target::P50(most) => (format!("p50 ≤ {most} × loop"), at_most(|figures| figures.p50, most)),
            Target::Qps(least) => (format!("≥ {least} × loop"), qps(least)),
            Target::QpsAndPeers(least, times) => {
                let met = peers.iter().all(|peer| bobbin.qps >= times * peer.qps);
                let text = format!("≥ {least} × loop, ≥ {times} × others");
                (text, both(qps(least), (!peers.is_empty()).then_some(met)))
            }
            Target::QpsAndP999(least, most) => {
                let text = format!("≥ {least} × loop, p99.9 ≤ {most} × loop");
                (text, both(qps(least), at_most(|figures| figures.p999, most)))
            }
            Target::Latencies(most) => {
                let met = both(at_most(|figures| figures.p50, most), at_most(|figures| figures.p99, most));
                (format!("p50 and p99 ≤ {most} × loop"), met)
            }
            Target::P99BesideSleepers(most) => {
                let without = before.iter().find(|(key, _)| *key == BESIDE_SLEEPERS);
                let met = without.map(|(_, without)| bobbin.p99 <= most * without.p99);
                (format!("p99 ≤ {most} × without sleepers"), met)
            }
        }
    }

    /// Whether the floor takes part.
    pub(crate) fn has_floor(&self) -> bool {
        !matches!(self, Target::P99BesideSleepers(_))
    }
}

const MESSAGE: u64 = 16;

pub(crate) const ROWS: &[Row] = &[
    Row {
        key: "1x1",
        title: "1 connection, 1 in flight",
        load: &["conns=1", "depth=1"],
        bytes: MESSAGE,
        target: Target::P50(1.1),
    },
    Row {
        key: "1x64",
        title: "1 × 64",
        load: &["conns=1", "depth=64"],
        bytes: MESSAGE,
        target: Target::QpsAndPeers(0.5, 4.0),
    },
    Row {
        key: "50x1",
        title: "50 × 1",
        load: &["conns=50", "depth=1"],
        bytes: MESSAGE,
        target: Target::QpsAndP999(0.85, 2.0),
    },
    Row {
        key: "50x16",
        title: "50 × 16",
        load: &["conns=50", "depth=16"],
        bytes: MESSAGE,
        target: Target::QpsAndPeers(0.4, 8.0),
    },
    Row {
        key: "50x4-1k",
        title: "50 × 4, 1 KiB",
        load: &["conns=50", "depth=4", "size=1024"],
        bytes: 1 << 10,
        target: Target::Qps(0.5),
    },
    Row {
        key: "8x2-64k",
        title: "8 × 2, 64 KiB attachment",
        load: &["conns=8", "depth=2", "attach=65536"],
        bytes: 64 << 10,
        target: Target::Qps(0.95),
    },
    Row {
        key: "4x1-1m",
        title: "4 × 1, 1 MiB attachment",
        load: &["conns=4", "depth=1", "attach=1048576"],
        bytes: 1 << 20,
        target: Target::Qps(0.95),
    },
    Row {
        key: "open-10k",
        title: "open loop, 10,000/s on 50 connections",
        load: &["conns=50", "rate=10000"],
        bytes: MESSAGE,
        target: Target::Latencies(1.3),
    },
    Row {
        key: "open-30k",
        title: "open loop, 30,000/s",
        load: &["conns=50", "rate=30000"],
        bytes: MESSAGE,
        target: Target::Latencies(1.3),
    },
    Row {
        key: "sleepers",
        title: "10,000/s, 1% of them asleep for 5 ms (not in the latencies)",
        load: &["conns=50", "rate=10000", "slow_pct=1", "slow_us=5000"],
        bytes: MESSAGE,
        target: Target::P99BesideSleepers(1.2),
    },
];
