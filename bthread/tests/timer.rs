//! Scheduled functions: when, in which order and how often they are called, and what a cancel says (spec/bthread.md
//! §9, §19 Timer).

mod on;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use bthread::timer::{TimerHandle, schedule, try_schedule};
use bthread::{Butex, Runtime};
use on::on;

fn far() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

#[test]
fn functions_are_called_in_the_order_of_their_deadlines() {
    let (tx, rx) = mpsc::channel();
    let expected = on(1, move || {
        let base = Instant::now() + Duration::from_millis(20);
        let mut expected = Vec::new();
        for n in 0..500u64 {
            let after = n * 7919 % 97; // so that several are due at the same time
            let (tx, deadline) = (tx.clone(), base + Duration::from_micros(100 * after));
            let _ = schedule(deadline, move || tx.send((after, n, Instant::now() >= deadline)).unwrap());
            expected.push((after, n, true));
        }
        expected.sort_unstable();
        expected
    });
    let called: Vec<_> = rx.iter().collect();
    assert_eq!(called, expected);
}

#[test]
fn a_deadline_in_the_past_is_now() {
    let past = Instant::now();
    let (tx, rx) = mpsc::channel();
    on(1, move || {
        for n in 0..3 {
            let tx = tx.clone();
            let _ = schedule(past, move || tx.send(n).unwrap());
        }
    });
    assert_eq!(rx.iter().collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a_thread_wakes_a_sleeping_worker_for_its_function() {
    let runtime = Runtime::current();
    for round in 0..200 {
        while runtime.stats().sleeping_workers < runtime.workers() {
            std::thread::yield_now();
        }
        let (tx, rx) = mpsc::channel();
        let deadline = Instant::now() + Duration::from_micros(round % 3 * 200);
        let later = schedule(deadline + Duration::from_secs(60), || ());
        let _ = schedule(deadline, move || tx.send(Instant::now()).unwrap());
        assert!(rx.recv().unwrap() >= deadline);
        assert!(later.cancel());
    }
}

#[test]
fn a_cancel_drops_the_function_at_once() {
    struct Schedules(mpsc::Sender<&'static str>);
    impl Drop for Schedules {
        fn drop(&mut self) {
            let tx = self.0.clone();
            // Would wait for ever if the function were dropped under a lock.
            assert!(schedule(far(), || ()).cancel());
            let _ = schedule(Instant::now(), move || tx.send("by its destructor").unwrap());
        }
    }
    let (tx, rx) = mpsc::channel();
    on(1, move || {
        let captured = Schedules(tx.clone());
        let handle = schedule(far(), move || drop(captured));
        assert!(format!("{handle:?}").contains("true"));
        assert!(handle.cancel() && !handle.cancel());
        assert!(format!("{handle:?}").contains("false"));
        let shared = Arc::new(());
        let also = shared.clone();
        assert!(schedule(far(), move || drop(also)).cancel());
        assert_eq!(Arc::strong_count(&shared), 1);
    });
    assert_eq!(rx.iter().collect::<Vec<_>>(), ["by its destructor"]);
}

#[test]
fn dropping_the_handle_cancels_nothing() {
    let (tx, rx) = mpsc::channel();
    schedule(Instant::now() + Duration::from_millis(1), move || tx.send(()).unwrap());
    rx.recv().unwrap();
}

#[test]
fn a_function_that_is_called_or_was_cannot_be_cancelled() {
    let (started_tx, started) = mpsc::channel();
    let (go, go_rx) = mpsc::channel::<()>();
    let (ended_tx, ended) = mpsc::channel();
    let handle = schedule(Instant::now(), move || {
        started_tx.send(()).unwrap();
        go_rx.recv().unwrap(); // for this test a function may hold its worker up
        ended_tx.send(()).unwrap();
    });
    started.recv().unwrap();
    assert!(!handle.cancel(), "while it is called");
    go.send(()).unwrap();
    ended.recv().unwrap();
    assert!(!handle.cancel(), "after it was called");
}

#[test]
fn functions_cancel_themselves_and_each_other() {
    let (tx, rx) = mpsc::channel();
    on(1, move || {
        let deadline = Instant::now();
        let own: Arc<OnceLock<TimerHandle>> = Arc::default();
        let other: Arc<OnceLock<TimerHandle>> = Arc::default();
        let (own_too, other_too, tx_too) = (own.clone(), other.clone(), tx.clone());
        let first = schedule(deadline, move || {
            tx.send(("its own", own_too.get().unwrap().cancel())).unwrap();
            tx.send(("the next, due as well", other_too.get().unwrap().cancel())).unwrap();
        });
        own.set(first).unwrap();
        other.set(schedule(deadline, move || tx_too.send(("called", true)).unwrap())).unwrap();
    });
    assert_eq!(rx.iter().collect::<Vec<_>>(), [("its own", false), ("the next, due as well", true)]);
}

#[test]
fn a_late_cancel_spares_who_came_after() {
    on(1, || {
        let stale = schedule(far(), || ());
        assert!(stale.cancel());
        // They use the memory of the first again, one after the other.
        for _ in 0..1000 {
            let handle = schedule(far(), || ());
            assert!(!stale.cancel());
            assert!(handle.cancel());
        }
    });
}

#[test]
fn either_it_is_called_or_the_cancel_succeeds() {
    const COUNT: usize = 20_000;
    let called = Arc::new(AtomicUsize::new(0));
    let (tx, rx) = mpsc::channel::<Option<TimerHandle>>();
    let canceller = std::thread::spawn(move || rx.iter().flatten().filter(TimerHandle::cancel).count());
    let setters: Vec<_> = (0..2)
        .map(|setter| {
            let (tx, called) = (tx.clone(), called.clone());
            let set = move || {
                for n in 0..COUNT / 2 {
                    let called = called.clone();
                    let deadline = Instant::now() + Duration::from_micros(n as u64 % 20);
                    let handle = schedule(deadline, move || {
                        called.fetch_add(1, Ordering::Relaxed);
                    });
                    // A third is not cancelled by anybody.
                    tx.send((n % 3 != 0).then_some(handle)).unwrap();
                }
            };
            // From a bthread, and from a thread.
            if setter == 0 { bthread::spawn(set).join().unwrap() } else { set() }
        })
        .collect();
    drop((setters, tx));
    let cancelled = canceller.join().unwrap();
    // Each function has a share of the count until it was called or dropped.
    let mut shares = called;
    let called = loop {
        match Arc::try_unwrap(shares) {
            Ok(called) => break called.into_inner(),
            Err(shared) => shares = shared,
        }
        std::thread::yield_now();
    };
    assert_eq!(called, COUNT - cancelled);
}

#[test]
fn nothing_is_early_wherever_it_is_set() {
    let (tx, rx) = mpsc::channel();
    let set = move |tx: mpsc::Sender<bool>| {
        for n in 0..200u64 {
            let deadline = Instant::now() + Duration::from_nanos(n * 10_007 % 3_000_000);
            let sent = tx.clone();
            let _ = schedule(deadline, move || sent.send(Instant::now() >= deadline).unwrap());
            let until = Instant::now() + Duration::from_nanos(n * 7);
            let _ = bthread::sleep_until(until);
            tx.send(Instant::now() >= until).unwrap();
        }
    };
    let bthread = bthread::spawn({
        let tx = tx.clone();
        move || set(tx)
    });
    set(tx);
    bthread.join().unwrap();
    let seen: Vec<bool> = rx.iter().collect();
    assert!(seen.len() == 800 && seen.into_iter().all(|late| late));
}

#[test]
fn a_million_timers_live_at_a_time() {
    const COUNT: usize = 1_000_000;
    const FIRE: usize = 50_000;
    let called = Arc::new(AtomicUsize::new(0));
    let all_called = Arc::new(Butex::new(0));
    on(1, move || {
        let base = far();
        let mut handles: Vec<TimerHandle> = (0..COUNT)
            .map(|n| schedule(base + Duration::from_micros((n * 7919 % COUNT) as u64), || unreachable!()))
            .collect();
        // They do not get in the way of others.
        let soon = Instant::now();
        for _ in 0..FIRE {
            let (called, all_called) = (called.clone(), all_called.clone());
            let _ = schedule(soon, move || {
                if called.fetch_add(1, Ordering::Relaxed) + 1 == FIRE {
                    all_called.value().store(1, Ordering::Release);
                    all_called.wake_all();
                }
            });
        }
        while all_called.value().load(Ordering::Acquire) == 0 {
            let _ = all_called.wait(0, Some(far()));
        }
        // From both ends, so that neither order is the heap's.
        while let Some(last) = handles.pop() {
            assert!(last.cancel());
            if !handles.is_empty() {
                assert!(handles.swap_remove(0).cancel());
            }
        }
    });
}

#[test]
fn large_functions_and_results_of_try_schedule() {
    let seen = Arc::new(Mutex::new(None));
    let (big, also, (tx, rx)) = ([7u64; 500], seen.clone(), mpsc::channel());
    let handle = try_schedule(Instant::now(), move || {
        *also.lock().unwrap() = Some(big.iter().sum::<u64>());
        tx.send(()).unwrap();
    });
    rx.recv().unwrap();
    assert_eq!(*seen.lock().unwrap(), Some(3500));
    assert!(!handle.unwrap().cancel());
}
