//! Variables under many threads: nothing written is lost, whoever ends or is dropped first.

use bvar::{Adder, Histogram, LatencyRecorder, LatencyUnit, Maxer, Miner, Variable};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;

static TOTAL: LazyLock<Adder<i64>> = LazyLock::new(Adder::new);

#[test]
fn totals_are_exact_after_all_threads_ended() {
    const THREADS: u64 = 16;
    const EACH: u64 = 20_000;
    let latency = Arc::new(LatencyRecorder::new(LatencyUnit::Micros));
    let (longest, shortest) = (Arc::new(Maxer::<i64>::new()), Arc::new(Miner::<i64>::new()));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (latency, longest, shortest) = (latency.clone(), longest.clone(), shortest.clone());
            thread::spawn(move || {
                for i in 0..EACH {
                    TOTAL.add(1);
                    latency.record(thread * EACH + i + 1);
                    longest.record((thread * EACH + i) as i64);
                    shortest.record(-((thread * EACH + i) as i64));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let all = THREADS * EACH;
    assert_eq!(TOTAL.get(), all as i64);
    assert_eq!((longest.get(), shortest.get()), (all as i64 - 1, -(all as i64 - 1)));
    let seen = latency.snapshot();
    assert_eq!((seen.count(), seen.sum(), seen.max()), (all, all * (all + 1) / 2, all));
    for percent in 1..=100 {
        let exact = all * percent / 100;
        let read = seen.percentile(percent as f64 / 100.0);
        // One rank more or less for the rounding of the ratio.
        assert!(read.abs_diff(exact) <= exact / 128 + 1, "p{percent}: {read}, exactly {exact}");
    }
}

#[test]
fn readers_see_sums_that_only_grow_while_threads_come_and_go() {
    let sum = Arc::new(Adder::<i64>::new());
    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (sum, done) = (sum.clone(), done.clone());
        thread::spawn(move || {
            let (mut last, mut reads) = (0, 0u64);
            // Acquire: pairs with the release below, so that the last read sees everything.
            while !done.load(Ordering::Acquire) {
                let now = sum.get();
                assert!(now >= last, "a value went missing: {now} after {last}");
                last = now;
                reads += 1;
            }
            (sum.get(), reads)
        })
    };
    for _ in 0..200 {
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let sum = sum.clone();
                thread::spawn(move || (0..100).for_each(|_| sum.add(1)))
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    }
    done.store(true, Ordering::Release);
    let (last, reads) = reader.join().unwrap();
    assert_eq!(last, 200 * 4 * 100);
    assert!(reads > 0);
}

#[test]
fn variables_come_and_go_under_threads_that_stay() {
    // Each thread makes, writes and drops its own variables while all share one more; ids go from hand to hand.
    let shared = Arc::new(Adder::<u64>::new());
    let threads: Vec<_> = (0..8u64)
        .map(|thread| {
            let shared = shared.clone();
            thread::spawn(move || {
                for round in 0..300 {
                    let (sum, max) = (Adder::<u64>::new(), Maxer::<u64>::new());
                    assert_eq!((sum.get(), max.get()), (0, 0), "thread {thread}, round {round}");
                    let histogram = Histogram::new();
                    for i in 0..=thread {
                        sum.add(i);
                        max.record(i);
                        histogram.record(i << 20);
                        shared.add(1);
                    }
                    assert_eq!((sum.get(), max.get()), (thread * (thread + 1) / 2, thread));
                    assert_eq!(histogram.distribution().count(), thread + 1);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(shared.get(), 300 * (1..=8).sum::<u64>());
}

#[test]
fn exposing_and_listing_run_in_parallel() {
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            thread::spawn(move || {
                for round in 0..200 {
                    let own = Adder::<i64>::new().expose(&format!("threads_own_{thread}")).unwrap();
                    own.add(round);
                    assert_eq!(bvar::describe(own.name()), Some(round.to_string()));
                    // Those of the others may be hidden between the list and the look-up.
                    bvar::names().iter().filter_map(|name| bvar::find(name)).for_each(|v| drop(v.value()));
                    let contested = Adder::<i64>::new().expose("threads_contested");
                    drop(contested);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(!bvar::names().iter().any(|name| name.starts_with("threads_")));
}
