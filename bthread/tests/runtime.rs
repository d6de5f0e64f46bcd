//! The runtime as a user sees it: starting, waiting, waking, joining; between bthreads and threads.

mod on;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bthread::sync::Mutex;
use bthread::{Batch, Butex, Runtime, WaitResult};
use on::on;

#[test]
fn a_join_gives_the_value_or_the_payload() {
    assert_eq!(bthread::spawn(|| 7).join().unwrap(), 7);
    let payload = bthread::spawn(|| -> () { panic!("as planned") }).join().unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"as planned"));
}

#[test]
fn large_closures_and_results_arrive_whole() {
    let big = [7u8; 4096];
    let result = on(2, move || bthread::spawn(move || big).join().unwrap());
    assert!(result.iter().all(|byte| *byte == 7));
}

#[test]
fn a_dropped_handle_detaches_and_the_result_is_dropped_once() {
    let token = Arc::new(());
    for _ in 0..100 {
        let inner = token.clone();
        drop(bthread::spawn(move || inner));
    }
    let last = token.clone();
    let handle = bthread::spawn(move || last);
    while !handle.is_finished() {
        std::thread::yield_now();
    }
    drop(handle);
    while Arc::strong_count(&token) > 1 {
        std::thread::yield_now();
    }
}

#[test]
fn ids_of_living_bthreads_differ_and_are_never_zero() {
    let stop = Arc::new(Butex::new(0));
    let handles: Vec<_> = (0..1000)
        .map(|_| {
            let stop = stop.clone();
            bthread::spawn(move || {
                while stop.value().load(Ordering::Acquire) == 0 {
                    let _ = stop.wait(0, None);
                }
            })
        })
        .collect();
    let ids: HashSet<u64> = handles.iter().map(|handle| handle.id().as_u64()).collect();
    assert_eq!(ids.len(), 1000);
    assert!(!ids.contains(&0));
    stop.value().store(1, Ordering::Release);
    stop.wake_all();
    handles.into_iter().for_each(|handle| handle.join().unwrap());
}

#[test]
fn yielding_bthreads_take_turns_on_one_worker() {
    let order = on(1, || {
        let order = Arc::new(Mutex::new(Vec::new()));
        let turns: Vec<_> = (0..3)
            .map(|name| {
                let order = order.clone();
                bthread::spawn(move || {
                    for _ in 0..50 {
                        order.lock().unwrap().push(name);
                        bthread::yield_now();
                    }
                })
            })
            .collect();
        turns.into_iter().for_each(|turn| turn.join().unwrap());
        Arc::into_inner(order).unwrap().into_inner().unwrap()
    });
    assert_eq!(order.len(), 150);
    // All have started after the first few turns; from then on nobody runs twice in a row.
    assert!(order[10..140].windows(2).all(|pair| pair[0] != pair[1]), "{order:?}");
}

#[test]
fn a_started_bthread_stays_on_its_thread() {
    on(4, || {
        let many: Vec<_> = (0..200)
            .map(|n| {
                bthread::spawn(move || {
                    let home = std::thread::current().id();
                    for _ in 0..20 {
                        if n % 2 == 0 {
                            bthread::yield_now();
                        } else {
                            bthread::sleep(Duration::from_micros(50));
                        }
                        assert_eq!(std::thread::current().id(), home);
                    }
                })
            })
            .collect();
        many.into_iter().for_each(|one| one.join().unwrap());
    });
}

#[test]
fn work_is_shared_between_workers() {
    let threads = on(2, || {
        // Each of the two waits for the other with its thread, so both must run at the same time.
        let barrier = Arc::new(std::sync::Barrier::new(2));
        let pair: Vec<_> = (0..2)
            .map(|_| {
                let barrier = barrier.clone();
                bthread::spawn(move || {
                    barrier.wait();
                    std::thread::current().id()
                })
            })
            .collect();
        pair.into_iter().map(|one| one.join().unwrap()).collect::<HashSet<_>>()
    });
    assert_eq!(threads.len(), 2);
}

#[test]
fn sleeps_are_never_short() {
    on(2, || {
        let sleepers: Vec<_> = (0..200u64)
            .map(|n| {
                bthread::spawn(move || {
                    let duration = Duration::from_micros(n * 37);
                    let start = Instant::now();
                    bthread::sleep(duration);
                    assert!(start.elapsed() >= duration);
                })
            })
            .collect();
        sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
    });
}

#[test]
fn a_butex_wait_ends_by_wake_mismatch_or_deadline() {
    let check = || {
        let butex = Butex::new(5);
        assert_eq!(butex.wait(4, None), WaitResult::Mismatch);
        assert_eq!(butex.wait(5, Some(Instant::now())), WaitResult::TimedOut);
        let deadline = Instant::now() + Duration::from_millis(5);
        assert_eq!(butex.wait(5, Some(deadline)), WaitResult::TimedOut);
        assert!(Instant::now() >= deadline);
        assert_eq!(butex.wake_one() + butex.wake_all(), 0);
    };
    on(1, check);
    check();
}

#[test]
fn waiters_are_woken_in_order_whoever_they_are() {
    let butex = Arc::new(Butex::new(0));
    let (tx, rx) = mpsc::channel();
    for n in 0..6 {
        let (waits, tx) = (butex.clone(), tx.clone());
        let wait = move || {
            while waits.wait(0, None) != WaitResult::Woken {}
            tx.send(n).unwrap();
        };
        if n % 2 == 0 {
            drop(bthread::spawn(wait));
        } else {
            drop(std::thread::spawn(wait));
        }
        while butex.waiters() <= n {
            std::thread::yield_now();
        }
    }
    for n in 0..6 {
        assert_eq!(butex.wake_one(), 1);
        assert_eq!(rx.recv().unwrap(), n);
    }
}

#[test]
fn ping_pong_between_bthreads_and_threads() {
    fn play(turns: u32, butex: Arc<Butex>, mine: u32) {
        let word = butex.value();
        for _ in 0..turns {
            let mut now = word.load(Ordering::Acquire);
            while now % 2 != mine {
                let _ = butex.wait(now, None);
                now = word.load(Ordering::Acquire);
            }
            word.fetch_add(1, Ordering::Release);
            butex.wake_all();
        }
    }
    for workers in [1, 2] {
        on(workers, move || {
            let butex = Arc::new(Butex::new(0));
            let (a, b) = (butex.clone(), butex.clone());
            let even = bthread::spawn(move || play(2000, a, 0));
            let odd = bthread::spawn(move || play(2000, b, 1));
            even.join().unwrap();
            odd.join().unwrap();
            let (a, b) = (butex.clone(), butex.clone());
            let even = bthread::spawn(move || play(2000, a, 0));
            let odd = std::thread::spawn(move || play(2000, b, 1));
            even.join().unwrap();
            bthread::spawn(move || odd.join().unwrap()).join().unwrap();
            assert_eq!(butex.value().load(Ordering::Relaxed), 8000);
        });
    }
}

#[test]
fn a_batch_runs_everything() {
    let count = Arc::new(AtomicUsize::new(0));
    let inner = count.clone();
    on(2, move || {
        let mut batch = Batch::new();
        for _ in 0..10_000 {
            let inner = inner.clone();
            batch
                .spawn(move || {
                    inner.fetch_add(1, Ordering::Relaxed);
                })
                .unwrap();
        }
        drop(batch);
    });
    while count.load(Ordering::Relaxed) < 10_000 {
        std::thread::yield_now();
    }
}

#[test]
fn a_panicking_timer_does_not_take_the_worker_with_it() {
    on(1, || {
        let _ = bthread::timer::schedule(Instant::now(), || panic!("in a timer"));
        bthread::sleep(Duration::from_millis(2));
    });
}

#[test]
fn a_wait_while_unwinding_blocks_the_thread_and_ends() {
    struct Waits(Arc<Butex>);
    impl Drop for Waits {
        fn drop(&mut self) {
            while self.0.value().load(Ordering::Acquire) == 0 {
                let _ = self.0.wait(0, None);
            }
        }
    }
    let butex = Arc::new(Butex::new(0));
    let inner = butex.clone();
    let runtime = Runtime::builder().workers(1).start().unwrap();
    let panics = runtime.spawn(move || {
        let _waits = Waits(inner);
        panic!("with a wait in a destructor");
    });
    let bystander = runtime.spawn(std::thread::panicking);
    while butex.waiters() == 0 {
        std::thread::yield_now();
    }
    butex.value().store(1, Ordering::Release);
    butex.wake_all();
    assert!(panics.join().is_err());
    assert!(!bystander.join().unwrap());
}

#[test]
fn deferred_work_is_done_once_the_worker_has_nothing_else_to_run() {
    struct Flag(Butex);
    impl bthread::Deferred for Flag {
        fn run(self: Arc<Self>) {
            assert_eq!(self.0.value().swap(1, Ordering::AcqRel), 0, "twice in a row is once");
            self.0.wake_all();
        }
    }
    let flag = Arc::new(Flag(Butex::new(0)));
    assert!(!bthread::defer(flag.clone()), "not on a worker");
    on(1, move || {
        assert!(bthread::defer(flag.clone()) && bthread::defer(flag.clone()));
        assert_eq!(flag.0.value().load(Ordering::Acquire), 0);
        while flag.0.value().load(Ordering::Acquire) == 0 {
            let _ = flag.0.wait(0, None);
        }
    });
}

#[test]
fn deferred_work_does_not_wait_for_ever_behind_other_bthreads() {
    struct Flag(AtomicBool);
    impl bthread::Deferred for Flag {
        fn run(self: Arc<Self>) {
            self.0.store(true, Ordering::Release);
        }
    }
    on(1, || {
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        let seen = flag.clone();
        let busy = bthread::spawn(move || {
            while !seen.0.load(Ordering::Acquire) {
                bthread::yield_now();
            }
        });
        assert!(bthread::defer(flag));
        busy.join().unwrap();
    });
}

#[test]
fn deferred_work_that_waits_does_not_wait_as_the_bthread_under_it() {
    struct Waits {
        bthread: AtomicBool,
        ran: AtomicBool,
    }
    impl bthread::Deferred for Waits {
        fn run(self: Arc<Self>) {
            self.bthread.store(bthread::is_bthread(), Ordering::Relaxed);
            bthread::sleep(Duration::from_micros(10));
            bthread::yield_now();
            self.ran.store(true, Ordering::Release);
        }
    }
    on(1, || {
        let waits = Arc::new(Waits { bthread: AtomicBool::new(false), ran: AtomicBool::new(false) });
        assert!(bthread::defer(waits.clone()));
        // This bthread always can go on, so that the work is done inside of one of its yields.
        while !waits.ran.load(Ordering::Acquire) {
            bthread::yield_now();
        }
        assert!(!waits.bthread.load(Ordering::Relaxed));
        let butex = Butex::new(0);
        let deadline = Instant::now() + Duration::from_millis(1);
        assert_eq!(butex.wait(0, Some(deadline)), WaitResult::TimedOut);
    });
}

#[test]
fn a_payload_that_panics_when_dropped_does_not_take_the_worker_with_it() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in the destructor of a payload");
        }
    }
    struct Throws;
    impl bthread::Deferred for Throws {
        fn run(self: Arc<Self>) {
            std::panic::panic_any(Bomb);
        }
    }
    on(1, || {
        let _ = bthread::timer::schedule(Instant::now(), || std::panic::panic_any(Bomb));
        assert!(bthread::defer(Arc::new(Throws)));
        drop(bthread::spawn(|| std::panic::panic_any(Bomb)));
        bthread::sleep(Duration::from_millis(2));
    });
}

#[test]
fn spawning_without_stacks_fails_and_recovers() {
    let runtime = Runtime::builder().workers(1).stacks_max(8).start().unwrap();
    let release = Arc::new(Butex::new(0));
    let mut waiting = Vec::new();
    let refused = loop {
        let release = release.clone();
        let wait = move || {
            while release.value().load(Ordering::Acquire) == 0 {
                let _ = release.wait(0, None);
            }
        };
        match bthread::Builder::new().name("waiter").spawn_on(runtime, wait) {
            Ok(handle) => waiting.push(handle),
            Err(error) => break error,
        }
        std::thread::yield_now();
    };
    assert_eq!(refused.kind(), std::io::ErrorKind::OutOfMemory);
    release.value().store(1, Ordering::Release);
    release.wake_all();
    waiting.into_iter().for_each(|handle| handle.join().unwrap());
    let again = loop {
        if let Ok(handle) = bthread::Builder::new().spawn_on(runtime, || 3) {
            break handle;
        }
        std::thread::yield_now();
    };
    assert_eq!(again.join().unwrap(), 3);
}

#[test]
fn a_hundred_thousand_bthreads_wait_at_once() {
    on(2, || {
        let gate = Arc::new(Butex::new(0));
        let waiting = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = (0..100_000usize)
            .map(|n| {
                let (gate, waiting) = (gate.clone(), waiting.clone());
                bthread::spawn(move || {
                    waiting.fetch_add(1, Ordering::Relaxed);
                    while gate.value().load(Ordering::Acquire) == 0 {
                        let _ = gate.wait(0, None);
                    }
                    n
                })
            })
            .collect();
        while waiting.load(Ordering::Relaxed) < 100_000 {
            bthread::yield_now();
        }
        gate.value().store(1, Ordering::Release);
        gate.wake_all();
        let sum: usize = handles.into_iter().map(|handle| handle.join().unwrap()).sum();
        assert_eq!(sum, 100_000 * 99_999 / 2);
    });
}
