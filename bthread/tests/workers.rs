//! Workers that come and go while bthreads run, and what is bound to them.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ThreadId};

use bthread::{Butex, CpuSet, Runtime};

fn wait_for(gate: &Butex) {
    while gate.value().load(Ordering::Acquire) == 0 {
        let _ = gate.wait(0, None);
    }
}

fn open(gate: &Butex) {
    gate.value().store(1, Ordering::Release);
    gate.wake_all();
}

/// The threads that so many bthreads run on when all of them have to run at the same time.
fn meet(runtime: Runtime, bthreads: usize) -> HashSet<ThreadId> {
    let barrier = Arc::new(std::sync::Barrier::new(bthreads));
    let all: Vec<_> = (0..bthreads)
        .map(|_| {
            let barrier = barrier.clone();
            runtime.spawn(move || {
                barrier.wait(); // blocks the worker itself
                thread::current().id()
            })
        })
        .collect();
    all.into_iter().map(|one| one.join().unwrap()).collect()
}

#[test]
fn more_workers_start_at_once() {
    let runtime = Runtime::builder().workers(1).blocked_after(None).start().unwrap();
    runtime.set_workers(4).unwrap();
    assert_eq!(runtime.workers(), 4);
    assert_eq!(meet(runtime, 4).len(), 4);
}

#[test]
fn what_has_started_on_a_worker_that_rests_ends_there() {
    let runtime = Runtime::builder().workers(3).blocked_after(None).start().unwrap();
    let gate = Arc::new(Butex::new(0));
    let waiting: Vec<_> = (0..60)
        .map(|_| {
            let gate = gate.clone();
            runtime.spawn(move || {
                let home = thread::current().id();
                wait_for(&gate);
                bthread::sleep(std::time::Duration::from_millis(1));
                home == thread::current().id()
            })
        })
        .collect();
    while gate.waiters() < 60 {
        thread::yield_now();
    }
    runtime.set_workers(1).unwrap();
    // New ones run on the one that is left, also those that bthreads of the others start.
    let threads: HashSet<_> =
        (0..100).map(|_| runtime.spawn(|| thread::current().id()).join().unwrap()).collect();
    open(&gate);
    assert!(waiting.into_iter().all(|one| one.join().unwrap()));
    assert!(threads.len() <= 3);
    let settled: HashSet<_> =
        (0..100).map(|_| runtime.spawn(|| thread::current().id()).join().unwrap()).collect();
    assert_eq!(settled.len(), 1);
    runtime.set_workers(3).unwrap();
    assert_eq!(meet(runtime, 3).len(), 3);
    assert_eq!(runtime.stats().threads, 3, "those at rest were called back");
}

#[test]
fn the_number_changes_while_all_are_busy() {
    let runtime = Runtime::builder().workers(2).start().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..8)
        .map(|_| {
            let stop = stop.clone();
            runtime.spawn(move || {
                let mut sum = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    sum += bthread::spawn(|| 1).join().unwrap();
                    bthread::yield_now();
                }
                sum
            })
        })
        .collect();
    for workers in [5, 1, 3, 1, 7, 2, 1, 4] {
        runtime.set_workers(workers).unwrap();
        for _ in 0..50 {
            runtime.spawn(bthread::yield_now).join().unwrap();
        }
    }
    stop.store(true, Ordering::Relaxed);
    assert!(busy.into_iter().all(|one| one.join().unwrap() > 0));
}

#[test]
fn numbers_out_of_range_are_refused() {
    let runtime = Runtime::builder().workers(1).start().unwrap();
    for workers in [0, 1025] {
        let refused = Runtime::builder().workers(workers).start().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert_eq!(runtime.set_workers(workers).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(runtime.workers(), 1);
}

#[test]
fn workers_are_bound_to_their_cpus() {
    let allowed = || {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("Cpus_allowed_list:")).unwrap();
        line.split_once(':').unwrap().1.trim().parse::<CpuSet>().unwrap()
    };
    let cpus = allowed();
    let runtime = Runtime::builder().workers(1).cpus(cpus.clone()).start().unwrap();
    let bound = runtime.spawn(allowed).join().unwrap();
    assert_eq!(bound.iter().collect::<Vec<_>>(), [cpus.iter().next().unwrap()]);
}

#[test]
fn runtimes_are_found_by_their_tag() {
    let runtime = Runtime::builder().workers(1).start().unwrap();
    assert_eq!(Runtime::by_tag(runtime.tag()).unwrap().tag(), runtime.tag());
    assert!(bthread::runtimes().iter().any(|one| one.tag() == runtime.tag()));
    assert!(Runtime::by_tag(u32::MAX).is_none());
}
