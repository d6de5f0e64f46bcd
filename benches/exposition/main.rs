//! What it costs to show everything: a dump of 100,000 variables (target: 100 ms) and a scrape of 10,000 (target:
//! 5 ms), a tenth of them latency recorders' figures. Prints the best and the median of several runs.
//!
//!     cargo bench -p bobbin-benches --bench exposition

use bvar::dump::{DumpOptions, dump_exposed};
use bvar::{Adder, Exposed, LatencyRecorder, LatencyUnit, Variable, prometheus};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

const RUNS: usize = 15;

fn measure(what: &str, mut run: impl FnMut() -> usize) {
    let mut bytes = 0;
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            bytes = run();
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("{what}: best {:.2?}, median {:.2?}, {bytes} bytes", times[0], times[RUNS / 2]);
}

fn adders(count: usize) -> Vec<Exposed<Adder<i64>>> {
    let adder = |i| {
        let adder = Adder::new().expose(&format!("bench_exposition_adder_{i}")).expect("the name is new");
        adder.add(i as i64);
        adder
    };
    (0..count).map(adder).collect()
}

fn scrape(options: prometheus::Options) -> usize {
    let mut text = String::new();
    prometheus::write(&mut text, options);
    black_box(&text).len()
}

fn main() {
    let recorders: Vec<_> = (0..100)
        .map(|i| {
            let recorder = LatencyRecorder::new(LatencyUnit::Micros);
            (0..1000).for_each(|latency| recorder.record(latency * 7 % 5000));
            recorder.expose(&format!("rpc_server_bench_{i}")).expect("the name is new")
        })
        .collect();
    let few = adders(10_000 - bvar::count());
    println!("{} variables", bvar::count());
    measure("scrape, text", || scrape(prometheus::Options::default()));
    let open = prometheus::Options { format: prometheus::Format::OpenMetrics, ..Default::default() };
    measure("scrape, OpenMetrics", || scrape(open));
    drop((few, recorders));

    let many = adders(100_000);
    println!("{} variables", bvar::count());
    measure("dump", || {
        let mut bytes = 0;
        let all = dump_exposed(&DumpOptions::default(), |name, value| {
            bytes += black_box(name).len() + black_box(value).len();
            ControlFlow::Continue(())
        });
        assert_eq!(all, Ok(bvar::count()));
        bytes
    });
    drop(many);
}
