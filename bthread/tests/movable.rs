//! Free movement: bthreads that go on on another worker than the one where they waited.
//!
//! Each closure here keeps nothing of its thread across a wait, which is what `movable` asks for.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use bthread::{Builder, Butex, JoinHandle, Runtime, sync};

fn runtime(workers: usize) -> Runtime {
    // SAFETY: the head of this file.
    let builder = unsafe { Runtime::builder().workers(workers).movable(true) };
    builder.blocked_after(None).start().unwrap()
}

#[inline(never)]
fn here() -> ThreadId {
    thread::current().id()
}

fn movable<T: Send + 'static>(runtime: Runtime, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    // SAFETY: the head of this file.
    unsafe { Builder::new().movable(true) }.spawn_on(runtime, f).unwrap()
}

/// A bthread that waits on one worker, which is then held, and is woken from another one.
fn moves_when(wait: impl FnOnce(&Butex) + Send + 'static) {
    let runtime = Runtime::builder().workers(2).blocked_after(None).start().unwrap();
    let gate = Arc::new(Butex::new(0));
    let (first_tx, first_rx) = mpsc::channel();
    let mover = movable(runtime, {
        let gate = gate.clone();
        move || {
            first_tx.send(here()).unwrap();
            wait(&gate);
            here()
        }
    });
    let first = first_rx.recv().unwrap();
    while gate.waiters() == 0 {
        thread::yield_now();
    }
    // Hold that worker, whichever it is: two bthreads that block until both have a worker.
    let barrier = Arc::new(std::sync::Barrier::new(2));
    let (free_tx, free_rx) = mpsc::channel::<()>();
    let free_rx = Arc::new(std::sync::Mutex::new(free_rx));
    let pair = [(); 2].map(|()| {
        let (barrier, free_rx, gate) = (barrier.clone(), free_rx.clone(), gate.clone());
        runtime.spawn(move || {
            barrier.wait();
            if here() == first {
                free_rx.lock().unwrap().recv().unwrap_err();
            } else {
                gate.value().store(1, Ordering::Release);
                gate.wake_all();
            }
        })
    });
    assert_ne!(mover.join().unwrap(), first);
    drop(free_tx);
    pair.into_iter().for_each(|one| one.join().unwrap());
}

fn wait_for(gate: &Butex, deadline: Option<Instant>) {
    while gate.value().load(Ordering::Acquire) == 0 {
        let _ = gate.wait(0, deadline);
    }
}

#[test]
fn it_goes_on_where_it_is_woken() {
    moves_when(|gate| wait_for(gate, None));
}

#[test]
fn a_deadline_stays_behind_without_harm() {
    moves_when(|gate| wait_for(gate, Some(Instant::now() + Duration::from_secs(3600))));
}

#[test]
fn the_default_stays_at_home_beside_it() {
    let runtime = runtime(2);
    // SAFETY: it takes the right away.
    let at_home = unsafe { Builder::new().movable(false) }
        .spawn_on(runtime, || {
            let home = here();
            (0..200).all(|_| {
                bthread::spawn(bthread::yield_now).join().unwrap();
                here() == home
            })
        })
        .unwrap();
    assert!(at_home.join().unwrap());
}

/// Everything at once: locks, joins, sleeps, yields and panics, between bthreads of both kinds and threads.
#[test]
fn a_mix_of_all_waits_loses_nothing() {
    let runtime = runtime(3);
    let sum = Arc::new(sync::Mutex::new(0u64));
    let changed = Arc::new(sync::Condvar::new());
    let workload = |n: u64| {
        let (sum, changed) = (sum.clone(), changed.clone());
        move || {
            for step in 0..40 {
                *sum.lock().unwrap() += 1;
                changed.notify_one();
                match (n + step) % 6 {
                    0 => bthread::yield_now(),
                    1 => drop(bthread::sleep(Duration::from_micros(20))),
                    2 => assert_eq!(bthread::spawn(move || n).join().unwrap(), n),
                    3 => assert!(bthread::spawn(|| std::panic::resume_unwind(Box::new(()))).join().is_err()),
                    4 => {
                        let guard = sum.lock().unwrap();
                        drop(changed.wait_timeout(guard, Duration::from_micros(50)).unwrap());
                    }
                    _ => bthread::scope(|scope| drop(scope.spawn(bthread::yield_now))),
                }
            }
        }
    };
    let mut all = Vec::new();
    for n in 0..60 {
        // SAFETY: the head of this file.
        let builder = unsafe { Builder::new().movable(n % 3 != 0) };
        all.push(builder.spawn_on(runtime, workload(n)).unwrap());
    }
    let threads: Vec<_> = (0..2).map(|n| thread::spawn(workload(n))).collect();
    all.into_iter().for_each(|one| one.join().unwrap());
    threads.into_iter().for_each(|one| one.join().unwrap());
    assert_eq!(*sum.lock().unwrap(), 62 * 40);
}

#[test]
fn a_lone_one_yields_without_end() {
    let runtime = runtime(1);
    movable(runtime, || (0..1000).for_each(|_| bthread::yield_now())).join().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let spinner = movable(runtime, {
        let stop = stop.clone();
        move || {
            while !stop.load(Ordering::Relaxed) {
                bthread::yield_now();
            }
        }
    });
    runtime.spawn(move || stop.store(true, Ordering::Relaxed)).join().unwrap();
    spinner.join().unwrap();
}

#[test]
fn wake_ups_from_threads_reach_the_movable() {
    let runtime = runtime(2);
    let butex = Arc::new(Butex::new(0));
    let count = Arc::new(AtomicUsize::new(0));
    let waiters: Vec<_> = (0..50)
        .map(|_| {
            let (butex, count) = (butex.clone(), count.clone());
            movable(runtime, move || {
                wait_for(&butex, None);
                count.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    butex.value().store(1, Ordering::Release);
    butex.wake_all();
    waiters.into_iter().for_each(|one| one.join().unwrap());
    assert_eq!(count.load(Ordering::Relaxed), 50);
}

/// With all stacks held by movable ones, those that are ready must run although nothing new can start.
#[test]
fn movable_ones_give_their_stacks_back_when_there_are_no_more() {
    // SAFETY: the head of this file.
    let builder = unsafe { Runtime::builder().workers(2).stacks_max(12).movable(true) };
    let runtime = builder.start().unwrap();
    for _ in 0..20 {
        let gate = Arc::new(Butex::new(0));
        let mut waiting = Vec::new();
        loop {
            let gate = gate.clone();
            match Builder::new().spawn_on(runtime, move || wait_for(&gate, None)) {
                Ok(handle) => waiting.push(handle),
                Err(_) => break,
            }
            thread::yield_now();
        }
        gate.value().store(1, Ordering::Release);
        gate.wake_all();
        waiting.into_iter().for_each(|handle| handle.join().unwrap());
    }
}
