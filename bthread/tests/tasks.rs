//! Starting, waiting for, interrupting and stopping bthreads (`spec/bthread.md` §19, Core).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bthread::{
    Builder, Butex, Runtime, Slept, StackClass, TaskId, WaitResult, current_id, spawn, spawn_urgent,
};

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).stacks_max(4096).start().unwrap()
}

/// Waits until `condition` holds, which something else must bring about.
fn until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::yield_now();
    }
}

#[test]
fn join_by_id_takes_any_number_from_anywhere_and_any_time() {
    let runtime = runtime(2);
    let gate = Arc::new(Butex::new(0));
    let ended = Arc::new(AtomicUsize::new(0));
    let target = runtime.spawn({
        let (gate, ended) = (gate.clone(), ended.clone());
        move || {
            while gate.value().load(Ordering::Acquire) == 0 {
                let _ = gate.wait(0, None);
            }
            ended.store(1, Ordering::Relaxed);
        }
    });
    let id = target.id();
    let wait = move |ended: Arc<AtomicUsize>| {
        move || {
            bthread::join(id).unwrap();
            assert_eq!(ended.load(Ordering::Relaxed), 1, "what it did is visible");
        }
    };
    let bthreads: Vec<_> = (0..10).map(|_| runtime.spawn(wait(ended.clone()))).collect();
    let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(wait(ended.clone()))).collect();
    assert!(!bthread::join_until(id, Instant::now() + Duration::from_millis(1)).unwrap());
    bthread::interrupt(bthreads[0].id()); // does not end a join
    gate.value().store(1, Ordering::Release);
    gate.wake_all();
    bthreads.into_iter().for_each(|one| one.join().unwrap());
    threads.into_iter().for_each(|one| one.join().unwrap());
    target.join().unwrap();
    bthread::join(id).unwrap();
    bthread::join(id).unwrap();
    assert!(bthread::join_until(id, Instant::now()).unwrap());
}

#[test]
fn join_by_id_works_for_detached_ones() {
    let runtime = runtime(2);
    for _ in 0..200 {
        let id = runtime.spawn(bthread::yield_now).id();
        bthread::join(id).unwrap();
    }
}

#[test]
fn join_by_id_refuses_nonsense() {
    assert!(bthread::join(TaskId::from_u64(0)).is_err());
    assert!(bthread::join(TaskId::from_u64(1 << 32 | u64::from(u32::MAX))).is_err());
    assert!(bthread::join(TaskId::from_u64(3)).is_err(), "version 0 is never given");
    let itself = spawn(|| bthread::join(current_id().unwrap()).is_err());
    assert!(itself.join().unwrap());
}

#[test]
fn a_timed_join_gives_the_handle_back() {
    let gate = Arc::new(Butex::new(0));
    let waits = spawn({
        let gate = gate.clone();
        move || {
            while gate.value().load(Ordering::Acquire) == 0 {
                let _ = gate.wait(0, None);
            }
            7
        }
    });
    let waits = waits.join_timeout(Duration::from_millis(1)).expect_err("it waits");
    // Another joiner than the one that gave up.
    let other =
        std::thread::spawn(move || waits.join_timeout(Duration::from_millis(1)).expect_err("it waits"));
    let waits = other.join().unwrap();
    gate.value().store(1, Ordering::Release);
    gate.wake_all();
    assert_eq!(waits.join_timeout(Duration::from_secs(3600)).unwrap().unwrap(), 7);
}

#[test]
fn timed_joins_race_with_the_end() {
    let runtime = runtime(2);
    for n in 0..2000 {
        let mut handle = runtime.spawn(move || (0..n % 7).for_each(|_| bthread::yield_now()));
        loop {
            match handle.join_timeout(Duration::from_micros(n % 5)) {
                Ok(result) => break result.unwrap(),
                Err(again) => handle = again,
            }
        }
    }
}

#[test]
fn an_urgent_child_runs_before_its_parent_goes_on() {
    let order = runtime(1)
        .spawn(|| {
            let (tx, rx) = mpsc::channel();
            let others: Vec<_> = (0..3)
                .map(|_| {
                    let tx = tx.clone();
                    spawn(move || tx.send("other").unwrap())
                })
                .collect();
            let child = spawn_urgent({
                let tx = tx.clone();
                move || {
                    tx.send("child").unwrap();
                    bthread::yield_now();
                    tx.send("child again").unwrap();
                }
            });
            tx.send("parent").unwrap();
            child.join().unwrap();
            others.into_iter().for_each(|other| other.join().unwrap());
            drop(tx);
            rx.iter().collect::<Vec<_>>()
        })
        .join()
        .unwrap();
    assert_eq!((order[0], order.len()), ("child", 6));
}

#[test]
fn urgent_starts_work_from_threads_and_nested() {
    assert_eq!(
        spawn_urgent(|| spawn_urgent(|| spawn_urgent(|| 3).join().unwrap()).join().unwrap()).join().unwrap(),
        3
    );
}

#[test]
fn a_scope_lends_and_waits() {
    let mut numbers = vec![1, 2, 3];
    let total = AtomicU32::new(0);
    let sum = bthread::scope(|scope| {
        for number in &numbers {
            let total = &total;
            scope.spawn(move || {
                bthread::yield_now();
                total.fetch_add(*number, Ordering::Relaxed);
            });
        }
        scope.spawn(|| scope.spawn(|| 5).join().unwrap()).join().unwrap()
    });
    assert_eq!((sum, total.load(Ordering::Relaxed)), (5, 6));
    numbers.push(4);
}

#[test]
fn a_scope_outlives_results_nobody_took() {
    struct Borrows<'a>(&'a AtomicU32);
    impl Drop for Borrows<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let drops = AtomicU32::new(0);
    for _ in 0..200 {
        bthread::scope(|scope| {
            let drops = &drops;
            scope.spawn(move || Borrows(drops));
        });
    }
    assert_eq!(drops.load(Ordering::Relaxed), 200);
}

#[test]
fn a_scope_passes_a_panic_on_after_all_have_ended() {
    let ended = AtomicU32::new(0);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        bthread::scope(|scope| {
            scope.spawn(|| panic!("expected by this test"));
            scope.spawn(|| {
                bthread::yield_now();
                ended.store(1, Ordering::Relaxed);
            });
        });
    }));
    assert!(result.is_err());
    assert_eq!(ended.load(Ordering::Relaxed), 1);
    let joined = bthread::scope(|scope| scope.spawn(|| panic!("expected by this test")).join().is_err());
    assert!(joined, "a panic that was joined is the joiner's");
}

#[test]
fn a_stop_ends_a_sleep_now_or_later() {
    let sleeper = || {
        spawn(|| {
            let me = current_id().unwrap();
            let mut slept = false;
            while !bthread::is_stopped(me) {
                assert_eq!(bthread::sleep(Duration::from_secs(3600)), Slept::Interrupted);
                slept = true;
            }
            // One interruption ends one sleep, this one if there was none before.
            let last = if slept { Slept::Full } else { Slept::Interrupted };
            assert_eq!(bthread::sleep(Duration::from_millis(1)), last);
        })
    };
    for wait_first in [true, false] {
        let sleeper = sleeper();
        if wait_first {
            std::thread::yield_now();
        }
        assert!(bthread::stop(sleeper.id()));
        let id = sleeper.id();
        sleeper.join().unwrap();
        assert!(!bthread::stop(id) && !bthread::interrupt(id) && bthread::is_stopped(id));
    }
}

#[test]
fn who_is_stopped_before_the_start_still_runs() {
    let runtime = runtime(1);
    let (tx, rx) = mpsc::channel::<()>();
    let blocker = runtime.spawn(move || rx.recv().unwrap_err());
    let late = runtime.spawn(|| bthread::is_stopped(current_id().unwrap()));
    assert!(bthread::stop(late.id()));
    drop(tx);
    blocker.join().unwrap();
    assert!(late.join().unwrap());
}

#[test]
fn an_interruption_ends_a_wait_on_a_butex_and_no_lock() {
    let butex = Arc::new(Butex::new(0));
    let lock = Arc::new(bthread::sync::Mutex::new(()));
    let held = lock.lock().unwrap();
    let waiter = spawn({
        let (butex, lock) = (butex.clone(), lock.clone());
        move || {
            drop(lock.lock().unwrap());
            butex.wait(0, None)
        }
    });
    bthread::interrupt(waiter.id());
    bthread::interrupt(waiter.id());
    drop(held);
    assert_eq!(waiter.join().unwrap(), WaitResult::Interrupted, "kept while it waited for the lock");
    assert_eq!(butex.waiters(), 0);
}

/// Interrupts itself, waits, and sees whether the interruption is still there for a sleep.
fn keeps_its_interruption(wait: impl FnOnce() + Send + 'static) -> bool {
    let waiter = spawn(|| {
        bthread::interrupt(current_id().unwrap());
        wait();
        bthread::sleep(Duration::from_millis(1)) == Slept::Interrupted
    });
    waiter.join().unwrap()
}

#[test]
fn waits_for_an_end_leave_an_interruption_pending() {
    let nap = || {
        bthread::sleep(Duration::from_millis(2));
    };
    assert!(keeps_its_interruption(move || spawn(nap).join().unwrap()));
    assert!(keeps_its_interruption(move || bthread::join(spawn(nap).id()).unwrap()));
    assert!(keeps_its_interruption(move || bthread::scope(|scope| drop(scope.spawn(nap)))));
    assert!(keeps_its_interruption(move || {
        let queue =
            bthread::exec_queue::ExecutionQueue::start(move |batch| batch.by_ref().for_each(|()| nap()));
        queue.submit(()).unwrap();
        queue.stop();
        queue.join();
    }));
}

#[test]
fn ids_are_unique_and_known_to_their_bthread_alone() {
    assert_eq!(current_id(), None);
    let ids: Vec<_> = (0..1000).map(|_| spawn(|| current_id().unwrap())).collect();
    let mut ids: Vec<_> = ids
        .into_iter()
        .map(|handle| {
            let id = handle.id();
            assert_eq!(handle.join().unwrap(), id);
            assert_ne!(id.as_u64(), 0);
            id
        })
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 1000);
}

#[test]
fn a_builder_refuses_a_tag_that_is_not_there() {
    assert!(Builder::new().tag(9999).spawn(|| ()).is_err());
    let here = spawn(|| Runtime::current().tag()).join().unwrap();
    assert_eq!(Builder::new().tag(here).spawn(|| Runtime::current().tag()).unwrap().join().unwrap(), here);
}

#[test]
fn children_start_in_the_runtime_of_their_parent_and_resume_there() {
    let (one, two) = (runtime(1), runtime(1));
    assert_ne!(one.tag(), two.tag());
    let lock = Arc::new(bthread::sync::Mutex::new(0));
    let both: Vec<_> = [one, two]
        .into_iter()
        .map(|runtime| {
            let lock = lock.clone();
            runtime.spawn(move || {
                for _ in 0..200 {
                    let mut sum = lock.lock().unwrap();
                    *sum += 1;
                    bthread::yield_now();
                    drop(sum);
                    assert_eq!(Runtime::current().tag(), runtime.tag());
                }
                spawn(|| Runtime::current().tag()).join().unwrap() == runtime.tag()
            })
        })
        .collect();
    assert!(both.into_iter().all(|one| one.join().unwrap()));
    assert_eq!(*lock.lock().unwrap(), 400);
}

#[test]
fn handles_tell_when_it_is_over() {
    let handle = spawn(|| ());
    until(|| handle.is_finished());
    handle.join().unwrap();
}

#[inline(never)]
fn deep(kilobytes: usize) -> u8 {
    let page = std::hint::black_box([kilobytes as u8; 1024]);
    if kilobytes == 0 { page[0] } else { deep(kilobytes - 1).wrapping_add(page[1]) }
}

#[test]
fn each_class_has_its_stack() {
    let runtime = Runtime::builder().workers(2).stacks_max(64).start().unwrap();
    let run = |class, kilobytes| {
        let builder = Builder::new().stack(class);
        builder.spawn_on(runtime, move || {
            let before = deep(kilobytes);
            bthread::yield_now();
            bthread::sleep(Duration::from_micros(10));
            assert_eq!(spawn(|| 1).join().unwrap(), 1);
            before == deep(kilobytes)
        })
    };
    let mut all = Vec::new();
    for n in 0..60 {
        let (class, kilobytes) = match n % 3 {
            0 => (StackClass::Small, 4),
            1 => (StackClass::Normal, 200),
            _ => (StackClass::Large, 3000),
        };
        all.push(run(class, kilobytes).unwrap());
    }
    assert!(all.into_iter().all(|one| one.join().unwrap()));
    for class in [StackClass::Small, StackClass::Large] {
        until(|| runtime.stack_stats(class).in_use == 0);
        assert!(runtime.stack_stats(class).created > 0);
    }
}

#[test]
fn a_panic_on_a_large_stack_leaves_the_worker_whole() {
    let runtime = runtime(1);
    for _ in 0..5 {
        let builder = Builder::new().stack(StackClass::Large);
        assert!(builder.spawn_on(runtime, || panic!("expected by this test")).unwrap().join().is_err());
        assert_eq!(runtime.spawn(|| 2).join().unwrap(), 2);
    }
}

#[test]
fn a_batch_gives_handles_and_starts_with_its_flush() {
    let runtime = runtime(2);
    let sum: u32 = runtime
        .spawn(|| {
            let mut batch = bthread::Batch::new();
            let handles: Vec<_> =
                (0..1000).map(|n| batch.spawn_with(Builder::new(), move || n).unwrap()).collect();
            batch.flush();
            handles.into_iter().map(|handle| handle.join().unwrap()).sum()
        })
        .join()
        .unwrap();
    assert_eq!(sum, 499_500);
}

/// The race of a joiner that gives up with one that takes over and with the end.
#[test]
fn a_joiner_that_takes_over_is_woken() {
    let runtime = runtime(2);
    let (tx, rx) = mpsc::channel::<bthread::JoinHandle<u64>>();
    let second = std::thread::spawn(move || rx.into_iter().map(|handle| handle.join().unwrap()).sum::<u64>());
    let mut sum = 0;
    for n in 0..20_000u64 {
        let handle = runtime.spawn(move || {
            (0..n % 5).for_each(|_| std::hint::spin_loop());
            1
        });
        match handle.join_timeout(Duration::from_nanos(n % 3000)) {
            Ok(result) => sum += result.unwrap(),
            Err(handle) => tx.send(handle).unwrap(),
        }
    }
    drop(tx);
    assert_eq!(sum + second.join().unwrap(), 20_000);
}
