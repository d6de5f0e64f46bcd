//! Call ids as a user sees them: between bthreads and threads, with errors, ranges and lists.

mod on;

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use bthread::call_id::*;
use on::on;
use proptest::prelude::*;

type Log = Arc<Mutex<Vec<(i32, String)>>>;

fn note(call: CallGuard<Log>, failure: Failure) {
    call.lock().unwrap().push((failure.code, failure.text.into_owned()));
}

fn codes(log: &Log) -> Vec<i32> {
    log.lock().unwrap().iter().map(|(code, _)| *code).collect()
}

/// Waits until so many wait for the lock of `id`.
fn await_lockers(id: CallId, count: usize) {
    while id.status().is_none_or(|status| status.lockers < count) {
        bthread::yield_now();
    }
}

#[test]
fn ids_in_a_row_are_aliases() {
    let id = CallId::create_ranged(5, destroy_on_error, 3).unwrap();
    assert_eq!(id.nth(1).as_u64(), id.as_u64() + 1, "the version is the low half");
    for n in 0..3 {
        let call: CallGuard<i32> = CallId::from_u64(id.nth(n).as_u64()).lock().unwrap();
        assert_eq!((*call, call.nth(), call.id()), (5, n, id.nth(n)));
        assert!(matches!(id.try_lock::<i32>(), Err(CallIdError::Busy)));
    }
    assert!(matches!(id.nth(3).lock::<i32>(), Err(CallIdError::Invalid)));
    assert_eq!(id.nth(1).lock::<i32>().unwrap().destroy(), 5);
    assert!((0..3).all(|n| !id.nth(n).exists()));
}

#[test]
fn ranges_have_bounds() {
    for range in [0, RANGE_MAX + 1, u32::MAX] {
        assert_eq!(CallId::create_ranged((), destroy_on_error, range), Err(CallIdError::Invalid));
        let id = CallId::create((), destroy_on_error).unwrap();
        assert!(matches!(id.lock_and_reset_range::<()>(range), Err(CallIdError::Invalid)));
        id.cancel().unwrap();
    }
    CallId::create_ranged((), destroy_on_error, RANGE_MAX).unwrap().cancel().unwrap();
}

#[test]
fn any_number_is_safe_to_ask_for() {
    let id = CallId::create(1u8, destroy_on_error).unwrap();
    for number in [0, 1 << 32, u64::MAX, id.as_u64() ^ 1 << 62] {
        let id = CallId::from_u64(number);
        assert!(matches!(id.lock::<u8>(), Err(CallIdError::Invalid)));
        assert_eq!(id.error(1), Err(CallIdError::Invalid));
        assert_eq!(id.cancel(), Err(CallIdError::Invalid));
        assert!(!id.exists() && id.status().is_none());
        id.join();
    }
    assert!(matches!(id.lock::<i8>(), Err(CallIdError::Invalid)), "data of another type");
    id.cancel().unwrap();
    assert_eq!(id.cancel(), Err(CallIdError::Invalid));
}

#[test]
fn one_contender_wins() {
    let winners = Arc::new(AtomicUsize::new(0));
    for destroy in [false, true] {
        let id = CallId::create(winners.clone(), destroy_on_error).unwrap();
        let held = id.lock::<Arc<AtomicUsize>>().unwrap();
        let contend = move || match id.try_lock::<Arc<AtomicUsize>>() {
            Ok(call) => assert_ne!(call.fetch_add(1, Ordering::Relaxed), usize::MAX),
            Err(error) => assert!(matches!(error, CallIdError::Busy | CallIdError::Invalid)),
        };
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(contend)).collect();
        let bthreads: Vec<_> = (0..20).map(|_| bthread::spawn(contend)).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        bthreads.into_iter().for_each(|bthread| bthread.join().unwrap());
        assert_eq!(winners.load(Ordering::Relaxed), 0, "we had it");
        if destroy {
            held.destroy();
        }
    }
}

#[test]
fn lockers_are_alone_and_all_of_them_get_in() {
    let total = on(2, || {
        let id = CallId::create(0u64, destroy_on_error).unwrap();
        let add = move |yields: bool| {
            for _ in 0..200 {
                let mut call: CallGuard<u64> = id.lock().unwrap();
                let before = *call;
                if yields {
                    bthread::yield_now();
                }
                *call = before + 1;
            }
        };
        let bthreads: Vec<_> = (0..16).map(|n| bthread::spawn(move || add(n % 2 == 0))).collect();
        let threads: Vec<_> = (0..2).map(|_| std::thread::spawn(move || add(false))).collect();
        bthreads.into_iter().for_each(|bthread| bthread.join().unwrap());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        id.lock::<u64>().unwrap().destroy()
    });
    assert_eq!(total, 18 * 200);
}

#[test]
fn the_end_wakes_lockers_and_joiners() {
    let id = CallId::create((), destroy_on_error).unwrap();
    let call = id.lock::<()>().unwrap();
    let lockers: Vec<_> = (0..3).map(|_| bthread::spawn(move || id.lock::<()>().err())).collect();
    let locker = std::thread::spawn(move || id.lock::<()>().err());
    let joiners: Vec<_> = (0..3).map(|_| bthread::spawn(move || id.join())).collect();
    let joiner = std::thread::spawn(move || id.join());
    await_lockers(id, 4);
    while id.status().unwrap().joiners < 4 {
        bthread::yield_now();
    }
    call.destroy();
    for locker in lockers {
        assert_eq!(locker.join().unwrap(), Some(CallIdError::Invalid));
    }
    assert_eq!(locker.join().unwrap(), Some(CallIdError::Invalid));
    joiners.into_iter().for_each(|joiner| joiner.join().unwrap());
    joiner.join().unwrap();
    id.join();
}

#[test]
fn a_join_outlasts_a_stop() {
    let id = CallId::create((), destroy_on_error).unwrap();
    let joiner = bthread::spawn(move || {
        id.join();
        assert!(!id.exists());
    });
    while id.status().unwrap().joiners == 0 {
        bthread::yield_now();
    }
    assert!(bthread::stop(joiner.id()));
    assert!(!id.join_until(Instant::now() + Duration::from_millis(20)));
    assert!(!joiner.is_finished());
    id.error(1).unwrap();
    joiner.join().unwrap();
}

#[test]
fn a_deadline_ends_a_wait_for_the_lock() {
    let id = CallId::create((), destroy_on_error).unwrap();
    let call = id.lock::<()>().unwrap();
    let deadline = Instant::now() + Duration::from_millis(5);
    let late = bthread::spawn(move || id.lock_until::<()>(deadline).err());
    assert_eq!(late.join().unwrap(), Some(CallIdError::TimedOut));
    assert!(Instant::now() >= deadline);
    drop(call);
    assert!(id.lock_until::<()>(deadline).is_ok(), "free: no wait, so no deadline");
    id.cancel().unwrap();
}

#[test]
fn errors_run_at_once_or_at_the_unlock_in_order() {
    let log = Log::default();
    let id = CallId::create(log.clone(), note).unwrap();
    id.error(1).unwrap();
    id.error_with(2, "two").unwrap();
    assert_eq!(*log.lock().unwrap(), [(1, String::new()), (2, "two".into())]);
    let call = id.lock::<Log>().unwrap();
    id.error_with(3, String::from("three")).unwrap();
    id.error(4).unwrap();
    assert_eq!(id.status().unwrap().pending_errors, 2);
    assert_eq!(codes(&log), [1, 2], "not while it is locked");
    drop(call);
    assert_eq!(codes(&log), [1, 2, 3, 4]);
    assert_eq!(log.lock().unwrap()[2].1, "three");
    let call = id.lock::<Log>().unwrap();
    id.error(5).unwrap();
    call.destroy();
    assert_eq!(id.error(6), Err(CallIdError::Invalid));
    assert_eq!(codes(&log), [1, 2, 3, 4], "dropped with the id");
}

#[test]
fn the_default_handler_destroys() {
    let token = Arc::new(());
    let id = CallId::create(token.clone(), destroy_on_error).unwrap();
    id.error(1).unwrap();
    assert!(!id.exists() && Arc::strong_count(&token) == 1);
    let id = CallId::create(token.clone(), destroy_on_error).unwrap();
    let call = id.lock::<Arc<()>>().unwrap();
    id.error(1).unwrap();
    assert!(id.exists());
    drop(call);
    assert!(!id.exists() && Arc::strong_count(&token) == 1);
}

#[test]
fn pending_errors_have_a_bound_and_take_no_stack() {
    let log = Log::default();
    let id = CallId::create(log.clone(), |call, failure| {
        // More come while the handler runs.
        if failure.code < 100_000 {
            call.id().error(failure.code + 100_000).unwrap();
        }
        note(call, failure);
    })
    .unwrap();
    let call = id.lock::<Log>().unwrap();
    for code in 0..PENDING_ERRORS_MAX as i32 {
        id.error(code).unwrap();
    }
    assert_eq!(id.error(-1), Err(CallIdError::Full));
    let spawned = bthread::spawn(move || drop(call));
    spawned.join().unwrap();
    assert_eq!(codes(&log).len(), 2 * PENDING_ERRORS_MAX);
    assert!(codes(&log).is_sorted());
    id.cancel().unwrap();
}

/// Errors told while a handler runs are run by the same loop; a guard that has gone elsewhere runs them there.
#[test]
fn a_handler_may_send_its_guard_away() {
    type Away = (mpsc::Sender<CallGuard<AwaySlot>>, Log);
    struct AwaySlot(Away);
    let (tx, rx) = mpsc::channel();
    let log = Log::default();
    let id = CallId::create(AwaySlot((tx, log.clone())), |call, failure| {
        call.0.1.lock().unwrap().push((failure.code, String::new()));
        if failure.code == 1 {
            let tx = call.0.0.clone();
            tx.send(call).unwrap();
        }
    })
    .unwrap();
    id.error(1).unwrap();
    assert!(id.try_lock::<AwaySlot>().is_err(), "the guard is on its way");
    id.error(2).unwrap();
    let call = rx.recv().unwrap();
    bthread::spawn(move || drop(call)).join().unwrap();
    assert_eq!(codes(&log), [1, 2]);
    id.cancel().unwrap();
}

#[test]
fn a_handler_that_panics_destroys_what_it_held() {
    let id = CallId::create((), |_, _| panic!("as planned")).unwrap();
    let joiner = bthread::spawn(move || id.join());
    id.error(1).unwrap();
    joiner.join().unwrap();
    let log = Log::default();
    let id = CallId::create(log.clone(), |call, failure| {
        note(call, failure);
        panic!("as planned, after the guard");
    })
    .unwrap();
    let call = id.lock::<Log>().unwrap();
    id.error(1).unwrap();
    id.error(2).unwrap();
    let holder = bthread::spawn(move || {
        let _call = call;
        panic!("as planned, by a holder");
    });
    assert!(holder.join().is_err());
    assert_eq!(codes(&log), [1, 2]);
    id.cancel().unwrap();
}

#[test]
fn about_to_destroy_turns_lockers_away() {
    let id = CallId::create((), destroy_on_error).unwrap();
    let call = id.lock::<()>().unwrap();
    let waiting: Vec<_> = (0..3).map(|_| bthread::spawn(move || id.lock::<()>().err())).collect();
    await_lockers(id, 3);
    call.about_to_destroy();
    for locker in waiting {
        assert_eq!(locker.join().unwrap(), Some(CallIdError::AboutToDestroy));
    }
    assert!(matches!(id.lock::<()>(), Err(CallIdError::AboutToDestroy)));
    assert!(matches!(id.try_lock::<()>(), Err(CallIdError::AboutToDestroy)));
    assert!(!id.join_until(Instant::now()), "a join still waits");
    assert_eq!(id.status().unwrap().lock, LockState::AboutToDestroy);
    drop(call);
    let call = id.lock::<()>().expect("taken back by the unlock");
    call.about_to_destroy();
    call.destroy();
    assert!(matches!(id.lock::<()>(), Err(CallIdError::Invalid)));
}

#[test]
fn a_range_grows_only_and_the_status_tells() {
    let id = CallId::create((), destroy_on_error).unwrap();
    assert_eq!(id.status().unwrap().lock, LockState::Free);
    assert!(!id.nth(9).exists());
    let call = id.lock_and_reset_range::<()>(10).unwrap();
    let line = line!() - 1;
    let status = id.nth(9).status().unwrap();
    assert_eq!((status.first, status.range, status.lock), (id, 10, LockState::Locked));
    assert_eq!((status.pending_errors, status.lockers, status.joiners), (0, 0, 0));
    let place = status.locked_at.unwrap();
    assert_eq!((place.file(), place.line()), (file!(), line));
    drop(call);
    drop(id.lock_and_reset_range::<()>(5).unwrap());
    assert_eq!(id.status().unwrap().range, 10);
    assert_eq!(id.status().unwrap().locked_at, None);
    id.nth(9).cancel().unwrap();
}

#[test]
fn waiters_survive_a_range_that_grows() {
    let id = CallId::create(0, destroy_on_error).unwrap();
    let call = id.lock::<i32>().unwrap();
    let growers: Vec<_> = (1..=20)
        .map(|n| bthread::spawn(move || *id.lock_and_reset_range::<i32>(n * 10).unwrap() += 1))
        .collect();
    await_lockers(id, 20);
    drop(call);
    growers.into_iter().for_each(|grower| grower.join().unwrap());
    assert_eq!(id.status().unwrap().range, 200);
    assert_eq!(id.nth(199).lock::<i32>().unwrap().destroy(), 20);
}

#[test]
fn cancel_needs_a_free_id() {
    let id = CallId::create((), destroy_on_error).unwrap();
    let call = id.lock::<()>().unwrap();
    assert_eq!(id.cancel(), Err(CallIdError::Busy));
    drop(call);
    let joiner = bthread::spawn(move || id.join());
    id.cancel().unwrap();
    joiner.join().unwrap();
}

#[test]
fn ids_are_not_given_twice() {
    let mut seen = HashSet::new();
    for _ in 0..10_000 {
        let id = CallId::create((), destroy_on_error).unwrap();
        assert!(id.as_u64() != 0 && seen.insert(id));
        id.cancel().unwrap();
    }
}

#[test]
fn a_list_tells_each_living_id_once() {
    let log = Log::default();
    let mut list = CallIdList::new();
    let ids: Vec<_> = (0..10).map(|_| CallId::create(log.clone(), note).unwrap()).collect();
    ids.iter().for_each(|id| list.insert(*id).unwrap());
    ids[3].cancel().unwrap();
    assert_eq!(list.insert(ids[3]), Err(CallIdError::Invalid));
    assert_eq!(list.len(), 10);
    assert_eq!(list.reset_with(7, "gone"), 9);
    assert_eq!(*log.lock().unwrap(), vec![(7, String::from("gone")); 9]);
    assert!(list.is_empty());
    assert_eq!(list.reset(8), 0);
    ids.iter().filter(|id| id.exists()).for_each(|id| id.cancel().unwrap());
}

#[test]
fn a_list_forgets_what_is_stale() {
    let mut list = CallIdList::new();
    let living: Vec<_> = (0..40).map(|_| CallId::create((), destroy_on_error).unwrap()).collect();
    living.iter().for_each(|id| list.insert(*id).unwrap());
    for _ in 0..10_000 {
        let id = CallId::create((), destroy_on_error).unwrap();
        list.insert(id).unwrap();
        id.cancel().unwrap();
        assert!(list.len() <= 2 * living.len() + 2);
    }
    assert_eq!(list.reset(1), living.len());
}

#[test]
fn a_list_has_a_bound() {
    let id = CallId::create((), destroy_on_error).unwrap();
    let mut list = CallIdList::new();
    for _ in 0..LIST_MAX {
        list.insert(id).unwrap();
    }
    assert_eq!(list.insert(id), Err(CallIdError::Full));
    id.cancel().unwrap();
    let id = CallId::create((), destroy_on_error).unwrap();
    list.insert(id).expect("a stale one makes room");
    assert_eq!((list.len(), list.reset(1)), (LIST_MAX, 1));
}

#[derive(Debug, Clone)]
enum Step {
    Lock,
    Unlock,
    AboutToDestroy,
    Destroy,
    Cancel,
    Error(i32),
    Grow(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Lock),
        4 => Just(Step::Unlock),
        1 => Just(Step::AboutToDestroy),
        1 => Just(Step::Destroy),
        1 => Just(Step::Cancel),
        6 => any::<i32>().prop_map(Step::Error),
        1 => (1u32..20).prop_map(Step::Grow),
    ]
}

proptest! {
    /// Whatever one caller does in turn: each error is seen once, in order, at the time that the text says.
    #[test]
    fn any_order_of_calls_does_as_the_text_says(steps in prop::collection::vec(step(), 1..60)) {
        let log = Log::default();
        let id = CallId::create(log.clone(), note).unwrap();
        let (mut held, mut alive, mut range) = (None, true, 1);
        let (mut seen, mut pending) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Lock => match id.try_lock::<Log>() {
                    Ok(call) => {
                        prop_assert!(alive && held.is_none());
                        held = Some(call);
                    }
                    Err(CallIdError::Invalid) => prop_assert!(!alive),
                    Err(_) => prop_assert!(held.is_some()),
                },
                Step::Unlock => if held.take().is_some() { seen.append(&mut pending) },
                Step::AboutToDestroy => if let Some(call) = &held { call.about_to_destroy() },
                Step::Destroy => if let Some(call) = held.take() {
                    call.destroy();
                    pending.clear();
                    alive = false;
                },
                Step::Cancel => match id.cancel() {
                    Ok(()) => {
                        prop_assert!(alive && held.is_none());
                        alive = false;
                    }
                    Err(error) => prop_assert_eq!(error == CallIdError::Busy, alive),
                },
                Step::Error(code) => {
                    prop_assert_eq!(id.error(code).is_ok(), alive);
                    if alive { if held.is_some() { pending.push(code) } else { seen.push(code) } }
                }
                Step::Grow(wish) => if alive && held.is_none() {
                    drop(id.lock_and_reset_range::<Log>(wish).unwrap());
                    range = range.max(wish);
                },
            }
            prop_assert_eq!(codes(&log), seen.clone());
            prop_assert_eq!(id.exists(), alive);
            prop_assert_eq!(id.nth(range - 1).exists(), alive);
            prop_assert!(!id.nth(range).exists());
        }
        drop(held.map(CallGuard::destroy));
        if id.exists() { id.cancel().unwrap() }
    }
}
