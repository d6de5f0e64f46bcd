//! Lists of bthreads and traces of those that wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bthread::{BthreadInfo, BthreadState, Builder, Butex, JoinHandle, Runtime, TaskId, WaitsFor};

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).start().unwrap()
}

/// Looks at a bthread until it is as it must become.
fn until(id: TaskId, condition: impl Fn(&BthreadInfo) -> bool) -> BthreadInfo {
    loop {
        if let Some(info) = bthread::bthread(id).filter(|info| condition(info)) {
            return info;
        }
        std::thread::yield_now();
    }
}

fn waits(info: &BthreadInfo) -> bool {
    matches!(info.state, BthreadState::Waiting(_))
}

#[inline(never)]
fn waits_at_the_gate(gate: &Butex) {
    while gate.value().load(Ordering::Acquire) == 0 {
        let _ = gate.wait(0, None);
    }
    std::hint::black_box(gate);
}

fn at_the_gate(runtime: Runtime, name: &str, gate: &Arc<Butex>) -> JoinHandle<()> {
    let gate = gate.clone();
    Builder::new().name(name).spawn_on(runtime, move || waits_at_the_gate(&gate)).unwrap()
}

fn open(gate: &Butex) {
    gate.value().store(1, Ordering::Release);
    gate.wake_all();
}

#[test]
fn each_state_is_shown() {
    let runtime = runtime(1);
    let gate = Arc::new(Butex::new(0));
    let waiter = at_the_gate(runtime, "at the gate", &gate);
    let info = until(waiter.id(), waits);
    let address = std::ptr::from_ref(&*gate).addr();
    assert_eq!(info.state, BthreadState::Waiting(WaitsFor::Butex(address)));
    assert_eq!(info.name.as_deref(), Some("at the gate"));
    assert_eq!(info.home.unwrap().tag, runtime.tag());
    let id = waiter.id();
    let joiner = runtime.spawn(move || waiter.join().unwrap());
    assert_eq!(until(joiner.id(), waits).state, BthreadState::Waiting(WaitsFor::Join(id)));
    let sleeper = runtime.spawn(|| bthread::sleep(Duration::MAX));
    assert_eq!(until(sleeper.id(), waits).state, BthreadState::Waiting(WaitsFor::Sleep));

    let (tx, rx) = std::sync::mpsc::channel::<()>();
    let runner = runtime.spawn(move || rx.recv().unwrap_err());
    assert!(!until(runner.id(), |info| info.state == BthreadState::Running).interrupted);
    runtime.set_workers(1).unwrap();
    drop(tx);
    runner.join().unwrap();

    assert!(bthread::stop(sleeper.id()));
    open(&gate);
    joiner.join().unwrap();
    sleeper.join().unwrap();
    assert!(bthread::bthread(id).is_none());
}

#[test]
fn a_hundred_thousand_are_listed() {
    let runtime = runtime(2);
    let gate = Arc::new(Butex::new(0));
    let all: Vec<_> = (0..100_000)
        .map(|_| {
            let gate = gate.clone();
            runtime.spawn(move || waits_at_the_gate(&gate))
        })
        .collect();
    while gate.waiters() < all.len() {
        std::thread::yield_now();
    }
    let listed = bthread::bthreads();
    let address = std::ptr::from_ref(&*gate).addr();
    let waiting = |info: &&BthreadInfo| info.state == BthreadState::Waiting(WaitsFor::Butex(address));
    assert_eq!(listed.iter().filter(waiting).count(), all.len());
    open(&gate);
    all.into_iter().for_each(|one| one.join().unwrap());
}

#[test]
fn a_trace_shows_where_it_waits_and_ends_at_the_start() {
    let runtime = runtime(1);
    let gate = Arc::new(Butex::new(0));
    let waiter = at_the_gate(runtime, "traced", &gate);
    until(waiter.id(), waits);
    let trace = loop {
        if let Some(trace) = bthread::stack_trace(waiter.id()) {
            break trace;
        }
        std::thread::yield_now();
    };
    let text = trace.to_string();
    assert!(text.contains("waits_at_the_gate") && text.contains("Butex"), "{text}");
    assert!(trace.is_complete(), "{text}");
    open(&gate);
    let id = waiter.id();
    waiter.join().unwrap();
    assert!(bthread::stack_trace(id).is_none());
}

/// Traces are taken while the bthreads run: none may crash, and each is of a bthread that waited.
#[test]
fn traces_of_busy_bthreads_are_harmless() {
    let runtime = runtime(2);
    let gate = Arc::new(Butex::new(0));
    let busy: Vec<_> = (0..20)
        .map(|n| {
            let gate = gate.clone();
            runtime.spawn(move || {
                while gate.value().load(Ordering::Acquire) == 0 {
                    if n % 2 == 0 {
                        bthread::yield_now();
                    } else {
                        bthread::sleep(Duration::from_micros(20));
                    }
                }
            })
        })
        .collect();
    let mut seen = 0;
    while seen < 200 {
        for one in &busy {
            seen += usize::from(bthread::stack_trace(one.id()).is_some());
        }
        assert!(bthread::bthreads().len() >= busy.len());
    }
    open(&gate);
    busy.into_iter().for_each(|one| one.join().unwrap());
}
