//! Runtimes that run out of stacks: what was accepted runs, and spawning works again once stacks have come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bthread::{Builder, Butex, JoinHandle, Runtime};

/// Spawns bthreads that wait for `gate` until the runtime refuses one.
fn fill(runtime: Runtime, gate: &Arc<Butex>) -> Vec<JoinHandle<()>> {
    let mut waiting = Vec::new();
    loop {
        let gate = gate.clone();
        let wait = move || {
            while gate.value().load(Ordering::Acquire) == 0 {
                let _ = gate.wait(0, None);
            }
        };
        match Builder::new().spawn_on(runtime, wait) {
            Ok(handle) => waiting.push(handle),
            Err(_) => return waiting,
        }
        std::thread::yield_now();
    }
}

fn open(gate: &Butex, waiting: Vec<JoinHandle<()>>) {
    gate.value().store(1, Ordering::Release);
    gate.wake_all();
    waiting.into_iter().for_each(|handle| handle.join().unwrap());
}

/// Spawns once the runtime takes it.
fn spawn_at_last(runtime: Runtime) -> JoinHandle<()> {
    loop {
        match Builder::new().spawn_on(runtime, || ()) {
            Ok(handle) => return handle,
            Err(_) => std::thread::yield_now(),
        }
    }
}

#[test]
fn a_worker_that_never_sleeps_recovers() {
    let runtime = Runtime::builder().workers(1).stacks_max(8).start().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let busy = runtime.spawn(move || {
        while !stopped.load(Ordering::Acquire) {
            bthread::yield_now();
        }
    });
    let gate = Arc::new(Butex::new(0));
    let waiting = fill(runtime, &gate);
    open(&gate, waiting);
    spawn_at_last(runtime).join().unwrap();
    stop.store(true, Ordering::Release);
    busy.join().unwrap();
}

#[test]
fn an_idle_worker_does_not_keep_what_another_one_needs() {
    for _ in 0..10 {
        let runtime = Runtime::builder().workers(2).stacks_max(8).start().unwrap();
        let gate = Arc::new(Butex::new(0));
        let waiting = fill(runtime, &gate);
        open(&gate, waiting);
        for _ in 0..20 {
            spawn_at_last(runtime).join().unwrap();
        }
    }
}

#[test]
fn all_that_was_accepted_runs() {
    let runtime = Runtime::builder().workers(4).stacks_max(24).start().unwrap();
    let ended = Arc::new(AtomicUsize::new(0));
    let mut accepted = 0;
    while accepted < 5000 {
        let ended = ended.clone();
        let task = move || {
            match accepted % 3 {
                0 => bthread::yield_now(),
                1 => drop(bthread::sleep(Duration::from_micros(100))),
                _ => {}
            }
            ended.fetch_add(1, Ordering::Release);
        };
        match Builder::new().spawn_on(runtime, task) {
            Ok(_detached) => accepted += 1,
            Err(_) => std::thread::yield_now(),
        }
    }
    while ended.load(Ordering::Acquire) < accepted {
        std::thread::yield_now();
    }
}

#[test]
fn a_runtime_without_two_stacks_for_each_worker_is_refused() {
    let error = Runtime::builder().workers(4).stacks_max(7).start().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(Runtime::builder().workers(4).stacks_max(8).start().is_ok());
}
