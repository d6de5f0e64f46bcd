//! Semaphore, countdown, barrier and what happens once, between bthreads and OS threads.

mod mixed;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bthread::Runtime;
use bthread::sync::{Barrier, CountdownEvent, LazyLock, Once, OnceLock, Semaphore, TimedOut};
use mixed::{far, join_all, start, start_all, until};

fn panics<T>(f: impl FnOnce() -> T) -> bool {
    catch_unwind(AssertUnwindSafe(f)).is_err()
}

#[test]
fn permits_are_taken_and_given_back() {
    static SEMAPHORE: Semaphore = Semaphore::new(1);
    let permit = SEMAPHORE.acquire();
    join_all(start_all(2, |_| {
        assert!(SEMAPHORE.try_acquire().is_none());
        assert!(SEMAPHORE.try_acquire_until(Instant::now()).is_none());
        let start = Instant::now();
        assert!(SEMAPHORE.try_acquire_timeout(Duration::from_millis(3)).is_none());
        assert!(start.elapsed() >= Duration::from_millis(3));
    }));
    drop(permit);
    SEMAPHORE.try_acquire_timeout(Duration::MAX).unwrap().forget();
    assert_eq!(SEMAPHORE.available_permits(), 0);
    SEMAPHORE.release(u32::MAX);
    assert!(panics(|| SEMAPHORE.release(1)));
    assert_eq!(SEMAPHORE.available_permits(), u32::MAX);
}

#[test]
fn so_many_permits_let_so_many_waiters_go() {
    let semaphore = Arc::new(Semaphore::new(0));
    let passed = Arc::new(AtomicUsize::new(0));
    let (takes, counts) = (semaphore.clone(), passed.clone());
    let takers = start_all(9, move |_| {
        takes.acquire().forget();
        counts.fetch_add(1, Ordering::SeqCst);
    });
    for n in [2, 3, 4] {
        let before = passed.load(Ordering::SeqCst);
        semaphore.release(n as u32);
        until(|| passed.load(Ordering::SeqCst) == before + n);
    }
    join_all(takers);
    assert_eq!(semaphore.available_permits(), 0);
}

#[test]
fn several_permits_are_taken_together_or_not_at_all() {
    static SEMAPHORE: Semaphore = Semaphore::new(3);
    let two = SEMAPHORE.acquire_many(2);
    assert_eq!((two.count(), SEMAPHORE.available_permits()), (2, 1));
    join_all(start_all(2, |_| {
        assert!(SEMAPHORE.try_acquire_many(2).is_none());
        assert!(SEMAPHORE.try_acquire_many_until(2, Instant::now()).is_none());
        let start = Instant::now();
        assert!(SEMAPHORE.try_acquire_many_timeout(2, Duration::from_millis(3)).is_none());
        assert!(start.elapsed() >= Duration::from_millis(3));
        drop(SEMAPHORE.acquire_many(0));
    }));
    drop(two);
    SEMAPHORE.try_acquire_many_until(2, far()).unwrap().forget();
    SEMAPHORE.try_acquire_many_timeout(1, Duration::MAX).unwrap().forget();
    assert_eq!(SEMAPHORE.available_permits(), 0);
}

#[test]
fn who_waits_for_one_gets_what_one_who_gave_up_on_several_left() {
    let semaphore = Arc::new(Semaphore::new(0));
    let takes = semaphore.clone();
    // In front, with a time that is over only after the others have queued and one permit has come.
    let several = start(0, move || {
        assert!(takes.try_acquire_many_timeout(2, Duration::from_millis(50)).is_none());
    });
    let passed = Arc::new(AtomicUsize::new(0));
    let (takes, counts) = (semaphore.clone(), passed.clone());
    let ones = start_all(2, move |_| {
        takes.acquire().forget();
        counts.fetch_add(1, Ordering::SeqCst);
    });
    semaphore.release(1);
    join_all(vec![several]);
    until(|| passed.load(Ordering::SeqCst) == 1);
    semaphore.release(1);
    join_all(ones);
    assert_eq!(semaphore.available_permits(), 0);
}

#[test]
fn several_and_single_ones_in_any_mix_all_get_theirs() {
    let shared = Arc::new((Semaphore::new(4), AtomicUsize::new(0)));
    let takes = shared.clone();
    join_all(start_all(8, move |index| {
        for round in 0..300 {
            let n = 1 + (index + round) % 4;
            let permit = if round % 7 == 0 {
                let short = Duration::from_micros(round as u64);
                let Some(permit) = takes.0.try_acquire_many_timeout(n as u32, short) else { continue };
                permit
            } else {
                takes.0.acquire_many(n as u32)
            };
            assert!(takes.1.fetch_add(n, Ordering::SeqCst) + n <= 4);
            bthread::yield_now();
            takes.1.fetch_sub(n, Ordering::SeqCst);
            drop(permit);
        }
    }));
    assert_eq!(shared.0.available_permits(), 4);
}

#[test]
fn an_owned_permit_goes_to_another_and_comes_back_when_dropped() {
    let semaphore = Arc::new(Semaphore::new(3));
    let one = semaphore.clone().acquire_owned();
    let two = semaphore.try_acquire_many(2).unwrap().into_owned(&semaphore);
    assert_eq!((one.count(), two.count(), semaphore.available_permits()), (1, 2, 0));
    assert!(Arc::ptr_eq(one.semaphore(), &semaphore));
    let weak = Arc::downgrade(&semaphore);
    bthread::spawn(move || drop(one)).join().unwrap();
    assert_eq!(semaphore.available_permits(), 1);
    let other = Arc::new(Semaphore::new(0));
    assert!(panics(|| semaphore.acquire().into_owned(&other)));
    assert_eq!((semaphore.available_permits(), other.available_permits()), (1, 0));
    semaphore.clone().acquire_owned().forget();
    assert_eq!(semaphore.available_permits(), 0);
    drop(semaphore);
    drop(two);
    assert!(weak.upgrade().is_none(), "nobody has a share any more");
}

#[test]
fn no_more_holders_than_permits() {
    let shared = Arc::new((Semaphore::new(3), AtomicUsize::new(0)));
    let takes = shared.clone();
    join_all(start_all(10, move |index| {
        for round in 0..300 {
            let permit = match (index + round) % 3 {
                0 => takes.0.try_acquire_timeout(Duration::from_micros(20)),
                _ => takes.0.try_acquire_until(far()),
            };
            if permit.is_some() {
                assert!(takes.1.fetch_add(1, Ordering::SeqCst) < 3);
                if round % 10 == 0 {
                    bthread::yield_now();
                }
                takes.1.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }));
    assert_eq!(shared.0.available_permits(), 3);
}

#[test]
fn a_countdown_ends_with_its_last_signal() {
    let event = Arc::new(CountdownEvent::new(2));
    assert_eq!(event.wait_timeout(Duration::ZERO), Err(TimedOut));
    let deadline = Instant::now() + Duration::from_millis(2);
    assert_eq!(event.wait_until(deadline), Err(TimedOut));
    assert!(Instant::now() >= deadline);
    let waits = event.clone();
    let waiters = start_all(4, move |_| waits.wait_until(far()));
    event.add(1);
    event.signal(1);
    assert!(panics(|| event.reset(1)));
    assert_eq!(event.count(), 2);
    event.signal(2);
    assert!(join_all(waiters).iter().all(|result| result.is_ok()));
    event.wait();
    event.reset(1);
    assert_eq!(event.wait_timeout(Duration::ZERO), Err(TimedOut));
    assert!(panics(|| event.signal(2)), "more signals than were asked for");
    assert_eq!(event.count(), 0);
    event.wait();
    assert!(panics(|| event.signal(1)));
    event.signal(0);
    event.reset(u32::MAX);
    assert!(panics(|| event.add(1)));
    assert_eq!(event.count(), u32::MAX);
}

#[test]
fn a_countdown_may_go_when_its_waiter_and_signallers_are_done() {
    for round in 0..500 {
        let event = Arc::new(CountdownEvent::new(2));
        for index in 0..2 {
            let signals = event.clone();
            drop(start(index * round, move || signals.signal(1)));
        }
        let waits = event;
        start(round, move || waits.wait()).join().unwrap();
    }
}

#[test]
fn every_round_of_a_barrier_has_one_leader() {
    let barrier = Arc::new(Barrier::new(5));
    let leaders: Vec<_> = (0..200).map(|_| AtomicUsize::new(0)).collect();
    let shared = Arc::new(leaders);
    let counts = shared.clone();
    join_all(start_all(5, move |_| {
        for (round, leaders) in counts.iter().enumerate() {
            if barrier.wait().is_leader() {
                leaders.fetch_add(1, Ordering::Relaxed);
            }
            // Everybody has come to this round, so all earlier ones have had their leader.
            assert!(round == 0 || counts[round - 1].load(Ordering::Relaxed) == 1 || round < 2);
        }
    }));
    assert!(shared.iter().all(|leaders| leaders.load(Ordering::Relaxed) == 1));
    assert!(Barrier::new(0).wait().is_leader() && Barrier::new(1).wait().is_leader());
}

#[test]
fn who_gives_up_at_a_barrier_is_not_counted() {
    static BARRIER: Barrier = Barrier::new(2);
    for _ in 0..2 {
        join_all(start_all(1, |_| assert!(BARRIER.wait_timeout(Duration::from_millis(2)).is_err())));
        assert!(BARRIER.wait_until(Instant::now()).is_err());
    }
    let results = join_all(start_all(2, |_| BARRIER.wait_until(far()).unwrap().is_leader()));
    assert_eq!(results.iter().filter(|&&leader| leader).count(), 1);
}

#[test]
fn once_happens_once_and_holds_up_no_worker() {
    let runtime = Runtime::builder().workers(1).start().unwrap();
    let shared = Arc::new((Once::new(), AtomicUsize::new(0)));
    let (go_tx, go_rx) = mpsc::channel::<()>();
    let go_rx = std::sync::Mutex::new(go_rx);
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let shared = shared.clone();
            runtime.spawn(move || {
                shared.0.call_once(|| {
                    bthread::sleep(Duration::from_millis(5));
                    shared.1.fetch_add(1, Ordering::SeqCst);
                });
                assert_eq!(shared.1.load(Ordering::SeqCst), 1);
            })
        })
        .collect();
    // Its one worker runs others while all of these wait.
    runtime.spawn(move || go_tx.send(()).unwrap()).join().unwrap();
    go_rx.lock().unwrap().recv().unwrap();
    let waits = shared.clone();
    let waiters = start_all(2, move |_| {
        waits.0.wait();
        waits.0.wait_until(Instant::now())
    });
    calls.into_iter().for_each(|call| call.join().unwrap());
    assert!(join_all(waiters).iter().all(|result| result.is_ok()) && shared.0.is_completed());
}

#[test]
fn a_panic_poisons_a_once_until_somebody_insists() {
    let once = Arc::new(Once::new());
    assert_eq!(once.wait_timeout(Duration::from_millis(1)), Err(TimedOut));
    let waits = once.clone();
    let patient = start(0, move || waits.wait_force());
    assert!(panics(|| once.call_once(|| std::panic::resume_unwind(Box::new(())))));
    assert!(panics(|| once.call_once(|| unreachable!())));
    assert!(panics(|| once.wait()) && panics(|| once.wait_timeout(Duration::ZERO)));
    once.call_once_force(|state| assert!(state.is_poisoned()));
    once.call_once(|| unreachable!());
    patient.join().unwrap();
}

#[test]
fn a_once_lock_takes_one_value_and_drops_it_once() {
    let place = Arc::new(OnceLock::new());
    assert_eq!(place.wait_timeout(Duration::from_millis(1)), None);
    let waits = place.clone();
    let waiters = start_all(4, move |_| waits.wait_until(far()).map(|value: &Arc<usize>| **value));
    let value = Arc::new(7);
    assert!(panics(|| place.get_or_init(|| std::panic::resume_unwind(Box::new(())))));
    let sets = (place.clone(), value.clone());
    let set = join_all(start_all(4, move |_| sets.0.set(sets.1.clone()).is_ok()));
    assert_eq!(set.iter().filter(|&&set| set).count(), 1);
    assert_eq!(join_all(waiters), [Some(7); 4]);
    let mut place = Arc::into_inner(place).unwrap();
    assert_eq!((Arc::strong_count(&value), place.wait_timeout(Duration::ZERO)), (2, Some(&value)));
    assert_eq!(place.clone(), place);
    assert_eq!(place.take().as_ref(), Some(&value));
    assert_eq!((place.get(), Arc::strong_count(&value)), (None, 1));
    drop(OnceLock::from(value.clone()));
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn a_lazy_value_is_made_by_the_first_who_looks() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    static VALUE: LazyLock<usize> = LazyLock::new(|| {
        bthread::yield_now();
        MADE.fetch_add(1, Ordering::SeqCst) + 41
    });
    assert_eq!(join_all(start_all(8, |_| *VALUE)), [41; 8]);
    assert_eq!(MADE.load(Ordering::SeqCst), 1);
    let broken: LazyLock<()> = LazyLock::new(|| std::panic::resume_unwind(Box::new(())));
    assert!(panics(|| *broken) && panics(|| LazyLock::force(&broken)));
}
