//! The lines of `docs/bthread-checklist.md` that no other file tests, and that the tests which that file names exist.
#![allow(unsafe_code)] // one test asks for a descriptor that is not open

mod mixed;

use std::collections::HashSet;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bthread::call_id::{CallId, destroy_on_error};
use bthread::fd::{self, Interest, Watched};
use bthread::local::Key;
use bthread::sync::{Barrier, Condvar, Mutex};
use bthread::{
    Batch, BthreadState, Builder, Butex, LocalPool, Runtime, Slept, StackClass, TaskId, WaitResult, WaitsFor,
    bthread_local, current_id, spawn, spawn_urgent, timer, yield_now,
};
use mixed::{Either, far, join_all, start_all, until};

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).start().unwrap()
}

fn pass(gate: &Butex) {
    while gate.value().load(Ordering::Acquire) == 0 {
        let _ = gate.wait(0, None);
    }
}

fn open(gate: &Butex) {
    gate.value().store(1, Ordering::Release);
    gate.wake_all();
}

fn state(id: TaskId) -> Option<BthreadState> {
    bthread::bthread(id).map(|info| info.state)
}

/// Every test that the list names is there, and no line is left open.
#[test]
fn the_list_names_tests_that_exist() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = std::fs::read_to_string(package.join("../docs/bthread-checklist.md")).unwrap();
    let mut named = 0;
    for test in list.split('`').skip(1).step_by(2) {
        let Some((file, function)) = test.split_once("::").filter(|(file, _)| file.ends_with(".rs")) else {
            continue;
        };
        let source = std::fs::read_to_string(package.join(file)).unwrap_or_else(|_| panic!("no {file}"));
        assert!(source.contains(&format!("fn {function}(")), "{file} has no {function}");
        named += 1;
    }
    assert!(named > 100, "{named}: is it the right file?");
    let rows = list.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Behaviour"));
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").collect();
        assert!(cells.len() == 2 && cells.iter().all(|cell| !cell.trim().is_empty()), "{row}");
    }
}

/// In a process of its own, where nothing has started a runtime yet.
#[test]
fn before_the_first_bthread_all_but_timers_works_without_a_runtime() {
    const CHILD: &str = "BOBBIN_TEST_BEFORE_THE_FIRST";
    const NAME: &str = "before_the_first_bthread_all_but_timers_works_without_a_runtime";
    if std::env::var_os(CHILD).is_none() {
        let program = std::env::current_exe().unwrap();
        let output = Command::new(program).args([NAME, "--exact"]).env(CHILD, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    bthread_local! { static LOCAL: std::cell::Cell<u32> = const { std::cell::Cell::new(1) }; }
    let start = Instant::now();
    assert_eq!(bthread::sleep(Duration::from_millis(1)), Slept::Full);
    assert!(start.elapsed() >= Duration::from_millis(1));
    yield_now();
    assert_eq!(current_id(), None);
    LOCAL.set(2);
    let key = Key::create().unwrap();
    key.set(3).unwrap();
    assert_eq!((LOCAL.get(), key.get()), (2, Some(3)));
    assert_eq!(Butex::new(0).wait(0, Some(Instant::now() + Duration::from_millis(1))), WaitResult::TimedOut);
    drop(Mutex::new(()).lock().unwrap());
    assert!(bthread::join(TaskId::from_u64(1 << 32)).is_err(), "never given");
    assert!(bthread::bthreads().is_empty() && bthread::runtimes().is_empty());
    let (tx, rx) = mpsc::channel();
    let _ = timer::schedule(Instant::now(), move || tx.send(()).unwrap());
    rx.recv().unwrap();
    assert_eq!((bthread::runtimes().len(), current_id()), (1, None));
    assert!(spawn(|| current_id().is_some()).join().unwrap());
    assert_eq!((LOCAL.get(), key.get(), current_id()), (2, Some(3), None));
}

#[test]
fn a_stop_does_not_end_a_join() {
    let gate = Arc::new(Butex::new(0));
    let target = spawn({
        let gate = gate.clone();
        move || pass(&gate)
    });
    let id = target.id();
    let by_handle = spawn(move || target.join().unwrap());
    let by_id = spawn(move || bthread::join(id).unwrap());
    let waits = |id| matches!(state(id), Some(BthreadState::Waiting(_)));
    for joiner in [by_handle.id(), by_id.id()] {
        until(|| waits(joiner));
        assert!(bthread::stop(joiner));
        assert!(!bthread::join_until(joiner, Instant::now() + Duration::from_millis(5)).unwrap());
    }
    open(&gate);
    by_handle.join().unwrap();
    by_id.join().unwrap();
}

#[test]
fn a_stop_counts_before_the_start_and_in_the_sleep() {
    let runtime = runtime(1);
    let long = || bthread::sleep_until(far());
    let (tx, rx) = mpsc::channel::<()>();
    let blocker = runtime.spawn(move || rx.recv().unwrap_err());
    let late = runtime.spawn(move || (long(), bthread::sleep(Duration::from_micros(1))));
    assert_eq!(state(late.id()), Some(BthreadState::Queued));
    assert!(bthread::stop(late.id()));
    drop(tx);
    blocker.join().unwrap();
    assert_eq!(late.join().unwrap(), (Slept::Interrupted, Slept::Full), "one stop, one interruption");
    let sleeper = runtime.spawn(long);
    until(|| state(sleeper.id()) == Some(BthreadState::Waiting(WaitsFor::Sleep)));
    assert!(bthread::stop(sleeper.id()));
    assert_eq!(sleeper.join().unwrap(), Slept::Interrupted);
}

#[test]
fn an_urgent_child_runs_on_the_thread_of_its_parent() {
    let parent = || {
        let here = thread::current().id();
        for n in 0..1000 {
            let ran = Arc::new(AtomicUsize::new(0));
            let child = spawn_urgent({
                let ran = ran.clone();
                move || {
                    ran.store(n + 1, Ordering::Relaxed);
                    thread::current().id()
                }
            });
            assert_eq!((ran.load(Ordering::Relaxed), thread::current().id()), (n + 1, here));
            assert_eq!(child.join().unwrap(), here);
        }
    };
    let runtime = runtime(2);
    let both = [runtime.spawn(parent), runtime.spawn(parent)];
    both.into_iter().for_each(|one| one.join().unwrap());
}

/// As event dispatchers do, which hand their place to each message's bthread.
#[test]
fn bthreads_that_start_urgent_ones_without_end_get_on_and_so_do_these() {
    let runtime = runtime(2);
    let dispatch = || {
        let ran = Arc::new(AtomicUsize::new(0));
        let children: Vec<_> = (0..2000)
            .map(|n| {
                let ran = ran.clone();
                spawn_urgent(move || {
                    if n % 3 == 0 {
                        yield_now();
                    }
                    ran.fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        children.into_iter().for_each(|child| child.join().unwrap());
        ran.load(Ordering::Relaxed)
    };
    let several: Vec<_> = (0..4).map(|_| runtime.spawn(dispatch)).collect();
    let ordinary: Vec<_> = (0..1000).map(|_| runtime.spawn(yield_now)).collect();
    assert!(several.into_iter().all(|one| one.join().unwrap() == 2000));
    ordinary.into_iter().for_each(|one| one.join().unwrap());
}

#[test]
fn a_batched_bthread_is_joined_without_a_flush() {
    let join_it = || {
        let mut batch = Batch::new();
        let child = batch.spawn_with(Builder::new(), || 5).unwrap();
        yield_now();
        let late = batch.spawn_with(Builder::new(), || 6).unwrap();
        let sum = late.join().unwrap() + child.join().unwrap();
        drop(batch);
        sum
    };
    assert_eq!(runtime(1).spawn(join_it).join().unwrap(), 11);
}

const MANY: usize = 120_000;

/// Starts many that nobody is told of, then one as usual: all run.
fn start_many(counts: &Arc<AtomicUsize>) {
    let mut batch = Batch::new();
    for _ in 0..MANY {
        let counts = counts.clone();
        let count = move || {
            counts.fetch_add(1, Ordering::Release);
        };
        batch.spawn(count).unwrap();
    }
    std::mem::forget(batch); // never flushed
    spawn(|| ()).join().unwrap();
}

#[test]
fn more_than_a_hundred_thousand_without_a_flush_all_run() {
    let counts = Arc::new(AtomicUsize::new(0));
    start_many(&counts); // from a thread
    until(|| counts.load(Ordering::Acquire) == MANY);
    let from_a_bthread = counts.clone();
    runtime(1).spawn(move || start_many(&from_a_bthread)).join().unwrap();
    until(|| counts.load(Ordering::Acquire) == 2 * MANY);
}

#[test]
fn a_bthread_that_starts_too_many_gets_an_error() {
    let runtime = Runtime::builder().workers(1).stacks_max(8).start().unwrap();
    let starts = || {
        let gate = Arc::new(Butex::new(0));
        let mut waiting = Vec::new();
        let error = loop {
            let waits = gate.clone();
            match Builder::new().spawn(move || pass(&waits)) {
                Ok(child) => waiting.push(child),
                Err(error) => break error,
            }
            yield_now();
        };
        assert_eq!(error.kind(), ErrorKind::OutOfMemory);
        open(&gate);
        waiting.into_iter().for_each(|child| child.join().unwrap());
        loop {
            match Builder::new().spawn(|| 3) {
                Ok(child) => return child.join().unwrap(),
                Err(_) => yield_now(),
            }
        }
    };
    assert_eq!(runtime.spawn(starts).join().unwrap(), 3);
}

#[test]
fn five_thousand_live_on_small_stacks() {
    let gate = Arc::new(Butex::new(0));
    let runtime = runtime(2);
    let all: Vec<_> = (0..5000)
        .map(|_| {
            let gate = gate.clone();
            let waits = move || {
                pass(&gate);
                current_id().unwrap()
            };
            Builder::new().stack(StackClass::Small).spawn_on(runtime, waits).unwrap()
        })
        .collect();
    until(|| gate.waiters() == all.len());
    assert!(runtime.stack_stats(StackClass::Small).in_use >= all.len());
    open(&gate);
    let ids: HashSet<_> = all.into_iter().map(|one| (one.id(), one.join().unwrap())).collect();
    assert!(ids.len() == 5000 && ids.iter().all(|(told, own)| told == own));
}

#[test]
fn every_bthread_runs_once_whoever_takes_it() {
    const COUNT: usize = 50_000;
    let runs: Arc<Vec<AtomicU32>> = Arc::new((0..COUNT).map(|_| AtomicU32::new(0)).collect());
    let pusher = {
        let runs = runs.clone();
        move || {
            let all: Vec<_> = (0..COUNT)
                .map(|n| {
                    let runs = runs.clone();
                    spawn(move || {
                        if n % 5 == 0 {
                            yield_now();
                        }
                        runs[n].fetch_add(1, Ordering::Relaxed);
                    })
                })
                .collect();
            all.into_iter().for_each(|one| one.join().unwrap());
        }
    };
    runtime(4).spawn(pusher).join().unwrap();
    assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1));
}

#[test]
fn bthreads_that_list_all_and_yield_do_not_hold_each_other_up() {
    let runtime = runtime(2);
    let list = || {
        for _ in 0..4 {
            let me = current_id().unwrap();
            for one in bthread::bthreads() {
                if one.id == me {
                    assert_eq!(one.state, BthreadState::Running);
                    yield_now(); // in the middle of the list
                }
            }
            assert!(bthread::bthread(me).is_some());
        }
    };
    let all: Vec<_> = (0..16).map(|_| runtime.spawn(list)).collect();
    all.into_iter().for_each(|one| one.join().unwrap());
}

#[inline(never)]
fn waits_to_be_traced(gate: &Butex) {
    pass(gate);
    std::hint::black_box(gate);
}

#[test]
fn two_who_trace_one_bthread_both_see_it() {
    let gate = Arc::new(Butex::new(0));
    let waiter = spawn({
        let gate = gate.clone();
        move || waits_to_be_traced(&gate)
    });
    let id = waiter.id();
    let tracers = start_all(4, move |_| {
        (0..5).all(|_| {
            loop {
                if let Some(trace) = bthread::stack_trace(id) {
                    break trace.is_complete() && trace.to_string().contains("waits_to_be_traced");
                }
                yield_now();
            }
        })
    });
    assert!(join_all(tracers).into_iter().all(|seen| seen));
    open(&gate);
    waiter.join().unwrap();
}

#[test]
fn worker_counts_are_per_tag() {
    let (one, other) = (runtime(1), runtime(2));
    one.set_workers(3).unwrap();
    assert_eq!((one.workers(), other.workers()), (3, 2));
    assert_eq!((one.stats().threads, other.stats().threads), (3, 2));
}

/// Waiters of two runtimes in turn, and threads, wait on one butex; each says where it went on.
fn waiters_of(tags: [Runtime; 2], butexes: &Arc<(Butex, Butex)>) -> Vec<Either<bool>> {
    let waiters = (0..6).map(|index| {
        let butexes_ = butexes.clone();
        let wait = move |tag: Option<u32>| {
            let woken = butexes_.0.wait_movable(0, None, &butexes_.1) == WaitResult::Woken;
            woken && tag.is_none_or(|tag| Runtime::current().tag() == tag && bthread::is_bthread())
        };
        let waiter = match index % 3 {
            2 => Either::Thread(thread::spawn(move || wait(None))),
            tag => Either::Bthread(tags[tag].spawn(move || wait(Some(tags[tag].tag())))),
        };
        until(|| butexes.0.waiters() == index + 1);
        waiter
    });
    waiters.collect()
}

#[test]
fn wake_ups_cross_runtimes_and_everybody_goes_on_in_its_own() {
    let tags = [runtime(1), runtime(2)];
    let butexes = Arc::new((Butex::new(0), Butex::new(0)));
    // From either runtime and from a thread.
    for waker in [Some(tags[0]), Some(tags[1]), None] {
        let waiters = waiters_of(tags, &butexes);
        let wakes = butexes.clone();
        let wake = move || {
            assert_eq!((wakes.0.wake_one(), wakes.0.wake_n(2)), (1, 2));
            assert_eq!((wakes.0.requeue(&wakes.1), wakes.0.waiters(), wakes.1.waiters()), (1, 0, 2));
            assert_eq!((wakes.0.wake_all(), wakes.1.wake_all(), wakes.1.wake_one()), (0, 2, 0));
        };
        match waker {
            Some(runtime) => runtime.spawn(wake).join().unwrap(),
            None => wake(),
        }
        assert!(join_all(waiters).into_iter().all(|at_home| at_home));
    }
}

#[test]
fn a_notification_that_nobody_waits_for_is_gone() {
    let shared = Arc::new((Mutex::new(()), Condvar::new()));
    join_all(start_all(2, move |_| {
        shared.1.notify_one();
        shared.1.notify_all();
        let guard = shared.0.lock().unwrap();
        let deadline = Instant::now() + Duration::from_millis(2);
        let always = |_: &mut ()| true;
        let (_guard, result) = shared.1.wait_until_while(guard, deadline, always).unwrap();
        assert!(result.timed_out() && Instant::now() >= deadline);
    }));
}

#[test]
fn of_all_who_try_to_lock_an_id_one_gets_it() {
    for _ in 0..50 {
        let id = CallId::create((), destroy_on_error).unwrap();
        let all_tried = Arc::new(Barrier::new(8));
        let winners = join_all(start_all(8, move |_| {
            let call = id.try_lock::<()>();
            all_tried.wait();
            call.is_ok()
        }));
        assert_eq!(winners.iter().filter(|won| **won).count(), 1);
        id.cancel().unwrap();
    }
}

#[test]
fn pools_serve_small_stacks_too() {
    bthread_local! { pooled static KEPT: std::cell::Cell<u32> = const { std::cell::Cell::new(0) }; }
    let pool = LocalPool::new();
    for n in 0..20 {
        let class = if n % 2 == 0 { StackClass::Small } else { StackClass::Normal };
        let count = || KEPT.replace(KEPT.get() + 1);
        let seen = Builder::new().stack(class).local_pool(&pool).spawn(count).unwrap().join().unwrap();
        assert_eq!((seen, pool.len()), (n, 1));
    }
}

#[test]
fn a_descriptor_that_is_not_open_is_an_error() {
    let check = || {
        // SAFETY: not open, against the contract: no process has so many, so it is nobody else's either.
        let fd = unsafe { BorrowedFd::borrow_raw(i32::MAX) };
        for deadline in [None, Some(Instant::now())] {
            let error = fd::wait(fd, Interest::READABLE, deadline).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        }
        assert_eq!(Watched::new(fd).unwrap_err().raw_os_error(), Some(libc::EBADF));
    };
    join_all(start_all(2, move |_| check()));
}

#[test]
fn what_nobody_waited_on_is_closed_as_well() {
    let watched = Watched::new(io::pipe().unwrap().0).unwrap();
    watched.close();
    watched.close();
    let error = watched.wait_readable(Some(Instant::now())).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    assert!(watched.as_raw_fd() >= 0, "still open: its number is nobody else's");
}

#[test]
fn a_number_that_is_used_again_gets_only_its_own_events() {
    let check = || {
        for _ in 0..200 {
            let (reader, mut writer) = io::pipe().unwrap();
            let old = Watched::new(reader).unwrap();
            writer.write_all(b"x").unwrap(); // an event that nobody has taken
            drop(old);
            let (reader, mut writer) = io::pipe().unwrap();
            let new = Watched::new(reader).unwrap();
            let error = new.wait_readable(Some(Instant::now())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            writer.write_all(b"y").unwrap();
            assert!(new.wait_readable(None).unwrap().is_readable());
        }
    };
    join_all(start_all(2, move |_| check()));
}
