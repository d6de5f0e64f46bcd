//! What is measured, and what Bobbin's figures shall be.

use crate::peer::Peer;
use crate::{held, idle, scaling, tail};

/// One thing to measure.
pub(crate) struct Measure {
    /// Its name on the command line.
    pub(crate) key: &'static str,
    /// Operations in a full run.
    pub(crate) count: usize,
    /// Operations in a quick one.
    pub(crate) quick: usize,
    pub(crate) rounds_max: usize,
    /// With one worker, whatever was asked for.
    pub(crate) one_worker: bool,
    /// Done once before with the operations divided by this, unless 0, so that memory and caches are warm.
    pub(crate) warm_up: usize,
    /// The operations that a count stands for.
    pub(crate) operations: fn(usize) -> usize,
    /// What its figures are, in this order.
    pub(crate) rows: &'static [Row],
    pub(crate) run: fn(&dyn Peer, usize) -> Option<Vec<f64>>,
}

/// A figure of a measure.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// All of these shall hold.
    pub(crate) targets: &'static [Target],
}

/// What a figure shall be.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// At most this.
    Most(f64),
    /// At most that of a peer, times a factor, with the factor in words.
    Times(&'static str, f64, &'static str),
    /// At most that of a peer and so much more.
    Plus(&'static str, f64),
}

use Target::{Most, Plus, Times};

/// What is not said.
pub(crate) const ONE: Measure = Measure {
    key: "",
    count: 0,
    quick: 0,
    rounds_max: usize::MAX,
    one_worker: false,
    warm_up: 10,
    operations: |n| n,
    rows: &[],
    run: |_, _| None,
};

pub(crate) fn one(figure: Option<f64>) -> Option<Vec<f64>> {
    figure.map(|figure| vec![figure])
}

/// Tasks that contend for a mutex.
pub(crate) const CONTENDERS: usize = 8;

/// All of them, in the order of the table.
pub(crate) const MEASURES: &[Measure] = &[
    Measure {
        key: "spawn-join",
        count: 200_000,
        quick: 20_000,
        rows: &[Row {
            name: "spawn + join, one after another, ns",
            targets: &[Most(100.0), Times("tokio", 1.0 / 3.0, "1/3")],
        }],
        run: |peer, n| one(peer.spawn_join(n)),
        ..ONE
    },
    Measure {
        key: "spawn-many",
        count: 200_000,
        quick: 20_000,
        rows: &[Row { name: "spawn 1000, join all, per task, ns", targets: &[Most(80.0)] }],
        run: |peer, n| one(peer.spawn_many(n, 1000)),
        ..ONE
    },
    Measure {
        key: "yield",
        count: 2_000_000,
        quick: 100_000,
        one_worker: true,
        rows: &[Row { name: "yield between two, per switch, ns", targets: &[Most(20.0)] }],
        run: |peer, n| one(peer.yields(n, 2)),
        ..ONE
    },
    Measure {
        key: "ping-pong",
        count: 1_000_000,
        quick: 50_000,
        one_worker: true,
        rows: &[Row { name: "ping-pong, one worker, one way, ns", targets: &[Most(50.0)] }],
        run: |peer, n| one(peer.ping_pong(n, 1)),
        ..ONE
    },
    Measure {
        key: "ping-pong-home",
        count: 200_000,
        quick: 20_000,
        rows: &[Row { name: "ping-pong, two workers, each side at home, ns", targets: &[] }],
        run: |peer, n| one(peer.ping_pong(n, 1)),
        ..ONE
    },
    Measure {
        key: "ping-pong-free",
        count: 200_000,
        quick: 20_000,
        rows: &[Row { name: "ping-pong, all workers, free movement, ns", targets: &[Most(100.0)] }],
        run: |peer, n| one(peer.ping_pong_free(n, 1)),
        ..ONE
    },
    Measure {
        key: "mutex",
        count: 5_000_000,
        quick: 100_000,
        rows: &[Row { name: "mutex, uncontended, ns", targets: &[Most(6.0)] }],
        run: |peer, n| one(peer.mutex(n, 1)),
        ..ONE
    },
    Measure {
        key: "mutex-contended",
        count: 2_000_000,
        quick: 100_000,
        rows: &[Row { name: "mutex, 8 tasks contend, ns", targets: &[Most(10.0)] }],
        run: |peer, n| one(peer.mutex(n, CONTENDERS)),
        ..ONE
    },
    Measure {
        key: "timer",
        count: 500_000,
        quick: 50_000,
        rows: &[Row { name: "timer add + cancel, ns", targets: &[Most(40.0)] }],
        run: |peer, n| one(peer.timer(n)),
        ..ONE
    },
    Measure {
        key: "queue-1",
        count: 2_000_000,
        quick: 100_000,
        rows: &[Row { name: "execution queue, 1 producer, per item, ns", targets: &[Most(15.0)] }],
        run: |peer, n| one(peer.queue(n, 1)),
        ..ONE
    },
    Measure {
        key: "queue-4",
        count: 2_000_000,
        quick: 100_000,
        rows: &[Row { name: "execution queue, 4 producers, per item, ns", targets: &[Most(60.0)] }],
        run: |peer, n| one(peer.queue(n, 4)),
        ..ONE
    },
    Measure {
        key: "wake",
        count: 1000,
        quick: 200,
        rows: &[
            Row {
                name: "wake from an OS thread, all asleep, same CPU, ns",
                targets: &[Plus("threads", 1000.0)],
            },
            Row { name: "… another CPU, ns", targets: &[Plus("threads", 1000.0)] },
        ],
        warm_up: 0, // it binds threads to CPUs
        operations: |n| 2 * n,
        run: |peer, n| peer.wake(n),
        ..ONE
    },
    Measure {
        key: "sleepers",
        count: 10_000,
        quick: 10_000,
        warm_up: 1,
        rows: &[
            Row { name: "10,000 sleep 10 ms: wall beyond the 10 ms, per task, ns", targets: &[Most(700.0)] },
            Row { name: "… CPU time, per task, ns", targets: &[] },
        ],
        run: |peer, n| peer.sleepers(n),
        ..ONE
    },
    Measure {
        key: "waiters",
        count: 1_000_000,
        quick: 100_000,
        rounds_max: 1,
        warm_up: 0,
        rows: &[
            Row { name: "1,000,000 wait: until all do, s", targets: &[Most(15.0)] },
            Row { name: "… resident, GiB", targets: &[Most(6.0)] },
            Row { name: "… page tables, GiB", targets: &[] },
            Row { name: "… all woken and joined, s", targets: &[] },
        ],
        run: |peer, n| peer.waiters(n),
        ..ONE
    },
    Measure {
        key: "idle",
        count: 1,
        quick: 1,
        rounds_max: 3,
        warm_up: 0,
        rows: &[
            Row { name: "idle: wake-ups a second", targets: &[Most(0.0)] },
            Row { name: "… CPU time in a second, µs", targets: &[Most(0.0)] },
        ],
        run: |peer, _| Some(idle::cost(peer)),
        ..ONE
    },
    Measure {
        key: "tail",
        count: 60_000,
        quick: 12_000,
        warm_up: 0,
        rows: &[
            Row { name: "1% burn 5 ms, load 60%: start delay of the others, p50, µs", targets: &[] },
            Row { name: "… p99, µs", targets: &[Times("tokio", 1.0, "1")] },
            Row { name: "… p99.9, µs", targets: &[] },
            Row { name: "… (by which the generator was late, p99, µs)", targets: &[] },
        ],
        run: |peer, n| Some(tail::delays(peer, n)),
        ..ONE
    },
    Measure {
        key: "held",
        count: 1,
        quick: 1,
        warm_up: 0,
        rows: &[Row {
            name: "all workers held for 1 s: a new task starts after, ms",
            targets: &[Most(20.0)],
        }],
        run: |peer, _| one(Some(held::start_delay(peer))),
        ..ONE
    },
];

/// The measure of that name.
pub(crate) fn by_key(key: &str) -> Option<&'static Measure> {
    MEASURES.iter().find(|measure| measure.key == key).or_else(|| scaling::by_key(key))
}
