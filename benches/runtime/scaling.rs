//! How cost grows: with the workers, and with the tasks.
//!
//! Each cell is the median of nanoseconds for one operation, and, behind it, the wake-ups by a system call for one
//! operation, where the runtime counts them, or else how often a thread went to sleep.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::Options;
use crate::measures::{self, CONTENDERS, Measure, Row, one};
use crate::peer::{Peer, per};
use crate::run::{Outcome, Program};
use crate::table::{median, number, print_line};

const WORKERS: &[usize] = &[1, 2, 4, 8, 16];
const TASKS: &[usize] = &[1, 10, 100, 1000, 10_000, 100_000, 1_000_000];
const PAIRS: usize = 64;
/// Operations for small numbers of tasks.
const OPERATIONS: usize = 200_000;
/// The peers that are shown.
const SHOWN: &[&str] = &["bobbin", "tokio"];

const ONE: Measure = Measure { count: OPERATIONS, quick: OPERATIONS / 10, rounds_max: 3, ..measures::ONE };

/// What is measured with 1 to 16 workers.
const BY_WORKERS: &[Measure] = &[
    Measure {
        key: "workers-spawn-join",
        rows: &[Row { name: "spawn + join, one after another", targets: &[] }],
        run: |peer, n| one(peer.spawn_join(n)),
        ..ONE
    },
    Measure {
        key: "workers-spawn-many",
        rows: &[Row { name: "spawn 1000, join all", targets: &[] }],
        run: |peer, n| one(peer.spawn_many(n, 1000)),
        ..ONE
    },
    Measure {
        key: "workers-spawn-outside",
        rows: &[Row { name: "started from one OS thread at full speed", targets: &[] }],
        run: |peer, n| one(Some(from_outside(peer, n))),
        ..ONE
    },
    Measure {
        key: "workers-yield",
        rows: &[Row { name: "64 tasks yield", targets: &[] }],
        run: |peer, n| one(peer.yields(n, PAIRS)),
        ..ONE
    },
    Measure {
        key: "workers-ping-pong",
        rows: &[Row { name: "64 pairs, ping-pong, at home", targets: &[] }],
        run: |peer, n| one(peer.ping_pong(n, PAIRS)),
        ..ONE
    },
    Measure {
        key: "workers-ping-pong-free",
        rows: &[Row { name: "64 pairs, ping-pong, free movement", targets: &[] }],
        run: |peer, n| one(peer.ping_pong_free(n, PAIRS)),
        ..ONE
    },
    Measure {
        key: "workers-mutex",
        rows: &[Row { name: "mutex, 8 tasks contend", targets: &[] }],
        run: |peer, n| one(peer.mutex(n, CONTENDERS)),
        ..ONE
    },
    Measure {
        key: "workers-queue",
        rows: &[Row { name: "execution queue, 4 producers", targets: &[] }],
        run: |peer, n| one(peer.queue(n, 4)),
        ..ONE
    },
];

/// What is measured with 1 to 1,000,000 tasks; their count is the number of tasks.
const BY_TASKS: &[Measure] = &[
    Measure {
        key: "tasks-spawn",
        rows: &[Row { name: "spawn all, join all", targets: &[] }],
        operations: |tasks| tasks.max(OPERATIONS),
        run: |peer, tasks| one(peer.spawn_many(tasks.max(OPERATIONS), tasks)),
        ..ONE
    },
    Measure {
        key: "tasks-yield",
        rows: &[Row { name: "all yield in turn", targets: &[] }],
        operations: |tasks| OPERATIONS.max(4 * tasks),
        run: |peer, tasks| one(peer.yields(OPERATIONS.max(4 * tasks), tasks)),
        ..ONE
    },
    Measure {
        key: "tasks-sleep",
        rows: &[Row { name: "all sleep 10 ms, beyond the 10 ms", targets: &[] }],
        run: |peer, tasks| peer.sleepers(tasks),
        ..ONE
    },
    Measure {
        key: "tasks-wait",
        rows: &[Row { name: "all wait, are woken and joined", targets: &[] }],
        run: |peer, tasks| {
            let figures = peer.waiters(tasks)?;
            Some(vec![(figures[0] + figures[3]) * 1e9 / tasks as f64])
        },
        ..ONE
    },
];

/// The measures of this table, by key.
pub(crate) fn by_key(key: &str) -> Option<&'static Measure> {
    BY_WORKERS.iter().chain(BY_TASKS).find(|measure| measure.key == key)
}

pub(crate) fn print(options: &Options) {
    println!(
        "ns per operation (wake-ups by a system call per operation; *: times that a thread went to sleep)\n"
    );
    let shown = || options.peers.iter().filter(|peer| SHOWN.contains(&peer.name.as_str()));
    for peer in shown() {
        let columns: Vec<_> =
            WORKERS.iter().map(|workers| (*workers, format!("{workers} workers"))).collect();
        let run = |measure: &Measure, workers| {
            let count = if options.quick { measure.quick } else { measure.count };
            cell(options, peer, measure, count, workers)
        };
        print_table(options, &peer.name, BY_WORKERS, &columns, run);
    }
    for peer in shown() {
        let most = if options.quick { 10_000 } else { usize::MAX };
        let columns: Vec<_> = TASKS
            .iter()
            .filter(|tasks| **tasks <= most)
            .map(|tasks| (*tasks, format!("{tasks} tasks")))
            .collect();
        let head = format!("{}, {} workers", peer.name, options.workers);
        print_table(options, &head, BY_TASKS, &columns, |measure, tasks| {
            cell(options, peer, measure, tasks, options.workers)
        });
    }
}

fn print_table(
    options: &Options,
    name: &str,
    measures: &[Measure],
    columns: &[(usize, String)],
    run: impl Fn(&Measure, usize) -> String,
) {
    let mut head = vec![name];
    head.extend(columns.iter().map(|(_, title)| title.as_str()));
    print_line(&head);
    print_line(&vec!["---"; head.len()]);
    for measure in measures.iter().filter(|measure| options.wants(measure)) {
        let mut cells = vec![measure.rows[0].name.to_owned()];
        cells.extend(columns.iter().map(|(value, _)| run(measure, *value)));
        print_line(&cells);
    }
    println!();
}

fn cell(options: &Options, peer: &Program, measure: &Measure, count: usize, workers: usize) -> String {
    let mut rounds = Vec::new();
    for _ in 0..options.rounds.min(measure.rounds_max) {
        match peer.run(measure, count, workers) {
            Outcome::Figures(figures) => rounds.push(figures),
            Outcome::Nothing => return String::new(),
            Outcome::Failed => return "fails".to_owned(),
        }
    }
    let median_of = |pick: fn(&Vec<f64>) -> f64| median(rounds.iter().map(pick).collect()).expect("a round");
    // What every child adds comes last: wake-ups and sleeps.
    let figure = median_of(|figures| figures[0]);
    let wakeups = median_of(|figures| figures[figures.len() - 2]);
    let sleeps = median_of(|figures| figures[figures.len() - 1]);
    let calls = if wakeups.is_nan() { format!("{sleeps:.3}*") } else { format!("{wakeups:.3}") };
    format!("{} ({calls})", number(figure))
}

/// Starts tasks that do nothing from the calling thread, as fast as it can.
fn from_outside(peer: &dyn Peer, n: usize) -> f64 {
    let ended = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    for _ in 0..n {
        let ended = ended.clone();
        peer.start(Box::new(move || {
            ended.fetch_add(1, Ordering::Release); // pairs with the load below
        }));
    }
    while ended.load(Ordering::Acquire) < n {
        std::thread::yield_now();
    }
    per(start, n)
}
