//! What each peer does for a measure.

use crate::many;
use crate::write::{LATENCIES, latencies, nanos};
use bvar::{Adder, IntRecorder, LatencyRecorder, LatencyUnit, Maxer, SpeedLimit};
use prometheus::{Histogram, HistogramOpts, IntCounter};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The peers that this program has in it; the first is the one that the others are compared with.
pub(crate) const NAMES: &[&str] = &["bobbin", "atomics", "prometheus"];

/// The figure of a measure, `None` if the peer has nothing of the kind.
pub(crate) fn figure(peer: &str, key: &str, count: usize, threads: usize) -> Option<f64> {
    match peer {
        "bobbin" => bobbin(key, count, threads),
        "atomics" => atomics(key, count, threads),
        "prometheus" => prometheus(key, count, threads),
        other => panic!("no peer {other}"),
    }
}

/// Calls `n` times, with each of the latencies in turn.
fn each_latency(latencies: &[u64], n: usize, record: impl Fn(u64)) {
    let latencies: &[u64; LATENCIES] = latencies.try_into().expect("so many");
    (0..n).for_each(|i| record(black_box(latencies[i % LATENCIES])));
}

fn bobbin(key: &str, count: usize, threads: usize) -> Option<f64> {
    let latencies = latencies();
    Some(match key {
        "adder" => {
            let sum = Adder::<i64>::new();
            nanos(count, threads, |n| (0..n).for_each(|_| black_box(&sum).add(black_box(1))))
        }
        "maxer" => {
            let max = Maxer::<u64>::new();
            nanos(count, threads, |n| each_latency(&latencies, n, |latency| max.record(latency)))
        }
        "average" => {
            let average = IntRecorder::new();
            nanos(count, threads, |n| each_latency(&latencies, n, |latency| average.record(latency as i64)))
        }
        "latency" => {
            let recorder = LatencyRecorder::new(LatencyUnit::Micros);
            nanos(count, threads, |n| each_latency(&latencies, n, |latency| recorder.record(latency)))
        }
        "collectable" => {
            let limit: &'static SpeedLimit = Box::leak(Box::new(SpeedLimit::new(1000)));
            limit_to_one_of_16(limit);
            nanos(count, threads, |n| {
                (0..n).for_each(|_| {
                    black_box(black_box(limit).is_collectable());
                })
            })
        }
        "tick" => many::tick(count, false),
        "tick-busy" => many::tick(count, true),
        "walk" => many::walk(count),
        "series" => many::series(count),
        _ => return None,
    })
}

/// Submits more than is expected until few are taken.
fn limit_to_one_of_16(limit: &'static SpeedLimit) {
    struct Nothing;
    impl bvar::Collected for Nothing {
        fn dump(self: Box<Self>) {}
    }
    while limit.ratio().weight() < 16.0 {
        bvar::Collector::global().submit(Box::new(Nothing), limit);
    }
}

fn atomics(key: &str, count: usize, threads: usize) -> Option<f64> {
    let latencies = latencies();
    let word = AtomicU64::new(0);
    // Relaxed: counters.
    Some(match key {
        "adder" => nanos(count, threads, |n| {
            (0..n).for_each(|_| {
                black_box(&word).fetch_add(black_box(1), Relaxed);
            });
        }),
        "maxer" => nanos(count, threads, |n| {
            each_latency(&latencies, n, |it| {
                word.fetch_max(it, Relaxed);
            })
        }),
        // Count, sum, maximum and one of 64 buckets.
        "latency" => {
            let buckets: Vec<AtomicU64> = (0..64).map(|_| AtomicU64::new(0)).collect();
            let (sum, max) = (AtomicU64::new(0), AtomicU64::new(0));
            nanos(count, threads, |n| {
                each_latency(&latencies, n, |latency| {
                    word.fetch_add(1, Relaxed);
                    sum.fetch_add(latency, Relaxed);
                    max.fetch_max(latency, Relaxed);
                    buckets[latency.leading_zeros() as usize].fetch_add(1, Relaxed);
                });
            })
        }
        _ => return None,
    })
}

fn prometheus(key: &str, count: usize, threads: usize) -> Option<f64> {
    let latencies = latencies();
    Some(match key {
        "adder" => {
            let counter = IntCounter::new("bench", "bench").expect("a counter");
            nanos(count, threads, |n| (0..n).for_each(|_| black_box(&counter).inc_by(black_box(1))))
        }
        "latency" => {
            let histogram = Histogram::with_opts(HistogramOpts::new("bench", "bench")).expect("a histogram");
            nanos(count, threads, |n| each_latency(&latencies, n, |it| histogram.observe(it as f64)))
        }
        _ => return None,
    })
}
