//! Mutex, condition variable and readers-writer lock, between bthreads and OS threads.

mod mixed;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, TryLockError, mpsc};
use std::time::{Duration, Instant};

use bthread::sync::{Condvar, Mutex, RwLock, RwLockWriteGuard};
use mixed::{far, join_all, start, start_all, until};

#[test]
fn a_mutex_keeps_everybody_else_out_also_across_waits() {
    static TOTAL: Mutex<usize> = Mutex::new(0);
    let adders = start_all(8, |index| {
        for round in 0..2000 {
            let mut total = TOTAL.lock().unwrap();
            let seen = *total;
            if (round + index) % 100 == 0 {
                bthread::sleep(Duration::from_micros(1));
            }
            *total = seen + 1;
        }
    });
    join_all(adders);
    assert_eq!(*TOTAL.lock().unwrap(), 16_000);
}

#[test]
fn a_mutex_is_locked_or_it_is_not() {
    let mutex = Arc::new(Mutex::new(5));
    let guard = mutex.lock().unwrap();
    let other = mutex.clone();
    let tries = start_all(2, move |_| {
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        assert!(matches!(other.try_lock_until(Instant::now()), Err(TryLockError::WouldBlock)));
        let start = Instant::now();
        assert!(matches!(other.try_lock_timeout(Duration::from_millis(3)), Err(TryLockError::WouldBlock)));
        assert!(start.elapsed() >= Duration::from_millis(3));
    });
    join_all(tries);
    assert!(format!("{mutex:?}").contains("<locked>"));
    drop(guard);
    // A deadline that has passed is no obstacle where nobody has to wait.
    assert_eq!(*mutex.try_lock_until(Instant::now()).unwrap(), 5);
    assert_eq!(*mutex.try_lock_timeout(Duration::MAX).unwrap(), 5);
}

#[test]
fn a_timed_lock_gets_the_mutex_when_it_is_free_in_time() {
    let mutex = Arc::new(Mutex::new(()));
    let guard = mutex.lock().unwrap();
    let (tx, rx) = mpsc::channel();
    let other = mutex.clone();
    let waiters = start_all(4, move |_| {
        tx.send(()).unwrap();
        drop(other.try_lock_until(far()).unwrap());
    });
    rx.iter().take(4).for_each(drop);
    drop(guard);
    join_all(waiters);
}

#[test]
fn a_lock_leaves_an_interruption_pending() {
    let mutex = Arc::new(Mutex::new(()));
    let rwlock = Arc::new(RwLock::new(()));
    let guards = (mutex.lock().unwrap(), rwlock.write().unwrap());
    let (tx, rx) = mpsc::channel();
    let (locks, reads) = (mutex.clone(), rwlock.clone());
    let waiter = bthread::spawn(move || {
        tx.send(()).unwrap();
        drop(locks.lock().unwrap());
        drop(reads.read().unwrap());
        bthread::sleep(Duration::from_secs(60))
    });
    rx.recv().unwrap();
    assert!(bthread::interrupt(waiter.id()));
    drop(guards);
    assert_eq!(waiter.join().unwrap(), bthread::Slept::Interrupted);
}

#[test]
fn a_panic_poisons_what_the_holder_could_write() {
    let shared = Arc::new((Mutex::new(1), RwLock::new(2), RwLock::new(3)));
    let holds = shared.clone();
    let panics = bthread::spawn(move || {
        let _guards = (holds.0.lock().unwrap(), holds.1.write().unwrap(), holds.2.read().unwrap());
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(panics.join().is_err());
    assert!(shared.0.is_poisoned() && shared.1.is_poisoned() && !shared.2.is_poisoned());
    assert_eq!(*shared.0.lock().unwrap_err().into_inner(), 1);
    assert!(matches!(shared.0.try_lock(), Err(TryLockError::Poisoned(_))));
    assert_eq!(*shared.1.read().unwrap_err().into_inner(), 2);
    assert!(shared.1.write().is_err());
    shared.0.clear_poison();
    shared.1.clear_poison();
    assert!(shared.0.lock().is_ok() && shared.1.read().is_ok());
}

/// A condition, how many wait for it, and how many were let go.
#[derive(Default)]
struct Gate {
    state: Mutex<(bool, usize)>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        let mut state = self.opened.wait_while(state, |state| !state.0).unwrap();
        state.1 -= 1;
    }

    fn waiting(&self) -> usize {
        self.state.lock().unwrap().1
    }
}

#[test]
fn notify_all_reaches_everybody_while_others_use_the_mutex() {
    let gate = Arc::new(Gate::default());
    gate.opened.notify_one(); // nobody waits: no effect later
    gate.opened.notify_all();
    let passes = gate.clone();
    let waiters = start_all(20, move |_| passes.pass());
    let stop = Arc::new(AtomicBool::new(false));
    let (disturbs, stopped) = (gate.clone(), stop.clone());
    let disturber = start(1, move || {
        while !stopped.load(Ordering::Relaxed) {
            drop(disturbs.state.lock().unwrap());
        }
    });
    until(|| gate.waiting() == 20);
    gate.state.lock().unwrap().0 = true;
    gate.opened.notify_all();
    join_all(waiters);
    stop.store(true, Ordering::Relaxed);
    disturber.join().unwrap();
    assert_eq!(gate.waiting(), 0);
}

/// A waiter that is about to sleep when somebody else is notified may come back for no reason, and is the last again;
/// that is why the counts are not the same.
#[test]
fn notifications_go_round_among_the_waiters() {
    const ROUNDS: usize = 400;
    let shared = Arc::new((Mutex::new((0usize, 0usize)), Condvar::new())); // waiting, tokens
    let takes = shared.clone();
    let takers = start_all(4, move |_| {
        let mut taken = 0;
        let mut state = takes.0.lock().unwrap();
        state.0 += 1;
        loop {
            state = takes.1.wait_while(state, |state| state.1 == 0).unwrap();
            if state.1 > ROUNDS {
                return taken;
            }
            state.1 -= 1;
            taken += 1;
        }
    });
    until(|| shared.0.lock().unwrap().0 == 4);
    for _ in 0..ROUNDS {
        shared.0.lock().unwrap().1 = 1;
        shared.1.notify_one();
        until(|| shared.0.lock().unwrap().1 == 0);
    }
    shared.0.lock().unwrap().1 = ROUNDS + 1;
    shared.1.notify_all();
    let taken = join_all(takers);
    assert_eq!(taken.iter().sum::<usize>(), ROUNDS);
    assert!(taken.iter().all(|&taken| taken >= ROUNDS / 8), "{taken:?}");
}

#[test]
fn a_timed_wait_gives_the_mutex_back_locked() {
    let shared = Arc::new((Mutex::new(0), Condvar::new()));
    join_all(start_all(2, move |_| {
        let deadline = Instant::now() + Duration::from_millis(5);
        let (guard, result) = shared.1.wait_until(shared.0.lock().unwrap(), deadline).unwrap();
        assert!(result.timed_out() && Instant::now() >= deadline);
        assert!(shared.0.try_lock().is_err());
        let (guard, result) = shared.1.wait_timeout(guard, Duration::from_millis(1)).unwrap();
        assert!(result.timed_out());
        let (guard, result) = shared.1.wait_until_while(guard, Instant::now(), |_| true).unwrap();
        assert!(result.timed_out());
        let (_guard, result) = shared.1.wait_timeout_while(guard, Duration::MAX, |_| false).unwrap();
        assert!(!result.timed_out());
    }));
}

#[test]
fn a_wait_on_a_condition_holds_only_its_own_mutex_free() {
    let shared = Arc::new((Mutex::new(()), Mutex::new(false), Condvar::new()));
    let waits = shared.clone();
    let (tx, rx) = mpsc::channel();
    let waiter = bthread::spawn(move || {
        let _other = waits.0.lock().unwrap();
        let open = waits.1.lock().unwrap();
        tx.send(()).unwrap();
        let (open, result) = waits.2.wait_until_while(open, far(), |open| !*open).unwrap();
        assert!(*open && !result.timed_out());
    });
    rx.recv().unwrap();
    assert!(shared.0.try_lock().is_err());
    *shared.1.lock().unwrap() = true;
    shared.2.notify_one();
    waiter.join().unwrap();
}

#[test]
fn an_interruption_is_a_wake_up_for_no_reason() {
    let shared = Arc::new((Mutex::new(false), Condvar::new()));
    let waits = shared.clone();
    let waiter = bthread::spawn(move || {
        let mut waiting = waits.0.lock().unwrap();
        *waiting = true;
        let (_guard, result) = waits.1.wait_until(waiting, None).unwrap();
        assert!(!result.timed_out());
    });
    until(|| *shared.0.lock().unwrap());
    assert!(bthread::interrupt(waiter.id()));
    waiter.join().unwrap();
}

#[test]
fn waiters_with_different_mutexes_are_all_notified() {
    let shared = Arc::new(([Mutex::new(0), Mutex::new(0)], Condvar::new(), AtomicBool::new(false)));
    let waits = shared.clone();
    let waiters = start_all(6, move |index| {
        let mut waiting = waits.0[index / 3].lock().unwrap();
        *waiting += 1;
        while !waits.2.load(Ordering::Relaxed) {
            waiting = waits.1.wait(waiting).unwrap();
        }
    });
    until(|| shared.0.iter().all(|waiting| *waiting.lock().unwrap() == 3));
    let guards = [0, 1].map(|index| shared.0[index].lock().unwrap());
    shared.2.store(true, Ordering::Relaxed);
    drop(guards);
    shared.1.notify_all();
    join_all(waiters);
}

/// Whoever comes back from a wait may drop the mutex at once, while the notifier is still at it.
#[test]
fn a_mutex_may_go_as_soon_as_its_waiters_are_back() {
    static CONDITION: Condvar = Condvar::new();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let notifiers = start_all(2, move |_| {
        while !stopped.load(Ordering::Relaxed) {
            CONDITION.notify_all();
            bthread::yield_now();
        }
    });
    join_all(start_all(4, |_| {
        for round in 0..1000 {
            let mutex = Box::new(Mutex::new(()));
            let deadline = Instant::now() + Duration::from_micros(round % 40);
            drop(CONDITION.wait_until(mutex.lock().unwrap(), deadline));
        }
    }));
    stop.store(true, Ordering::Relaxed);
    join_all(notifiers);
}

#[test]
fn bthreads_and_threads_take_turns_through_a_condition() {
    let shared = Arc::new((Mutex::new(0), Condvar::new()));
    for first in [0, 1] {
        let (one, other) = (shared.clone(), shared.clone());
        let play = |shared: Arc<(Mutex<usize>, Condvar)>, mine| {
            for _ in 0..500 {
                let turn = shared.0.lock().unwrap();
                let mut turn = shared.1.wait_while(turn, |turn| *turn % 2 != mine).unwrap();
                *turn += 1;
                shared.1.notify_one();
            }
        };
        let players = vec![start(0, move || play(one, 0)), start(first, move || play(other, 1))];
        join_all(players);
    }
    assert_eq!(*shared.0.lock().unwrap(), 2000);
}

/// A notification that meets a timeout wakes one or the other, and nobody hangs.
#[test]
fn notifications_race_with_timeouts() {
    let shared = Arc::new((Mutex::new(0usize), Condvar::new())); // items
    let takes = shared.clone();
    let takers = start_all(4, move |index| {
        let mut taken = 0;
        while taken < 500 {
            let deadline = Instant::now() + Duration::from_micros(10 * index as u64);
            let items = takes.0.lock().unwrap();
            // The last ones wait without end: a lost notification would be a hang.
            let result = match index {
                0 | 1 => takes.1.wait_until_while(items, None, |items| *items == 0),
                _ => takes.1.wait_until_while(items, deadline, |items| *items == 0),
            };
            let (mut items, result) = result.unwrap();
            if !result.timed_out() {
                *items -= 1;
                taken += 1;
            }
        }
    });
    for n in 0..2000 {
        *shared.0.lock().unwrap() += 1;
        shared.1.notify_one();
        if n % 8 == 0 {
            until(|| *shared.0.lock().unwrap() < 8);
        }
    }
    join_all(takers);
    assert_eq!(*shared.0.lock().unwrap(), 0);
}

/// On a bthread, then on a thread.
fn one_by_one(f: impl Fn() + Copy + Send + 'static) {
    (0..2).for_each(|index| start(index, f).join().unwrap());
}

#[test]
fn readers_share_and_writers_do_not() {
    static LOCK: RwLock<i32> = RwLock::new(1);
    let past = Instant::now();
    let brief = Duration::from_millis(2);
    let reader = LOCK.read().unwrap();
    one_by_one(move || {
        assert_eq!(*LOCK.try_read().unwrap() + *LOCK.try_read_until(past).unwrap(), 2);
        assert_eq!(*LOCK.try_read_timeout(brief).unwrap() + *LOCK.read().unwrap(), 2);
        assert!(matches!(LOCK.try_write(), Err(TryLockError::WouldBlock)));
        assert!(matches!(LOCK.try_write_until(past), Err(TryLockError::WouldBlock)));
        let start = Instant::now();
        assert!(LOCK.try_write_timeout(brief).is_err() && start.elapsed() >= brief);
        // Writers that have given up keep no reader out.
        assert!(LOCK.try_read().is_ok());
    });
    drop(reader);
    let mut writer = LOCK.write().unwrap();
    *writer = 2;
    one_by_one(move || {
        assert!(matches!(LOCK.try_read(), Err(TryLockError::WouldBlock)));
        assert!(matches!(LOCK.try_read_until(past), Err(TryLockError::WouldBlock)));
        let start = Instant::now();
        assert!(LOCK.try_read_timeout(brief).is_err() && start.elapsed() >= brief);
        assert!(LOCK.try_write().is_err() && LOCK.try_write_timeout(brief).is_err());
    });
    let reader = RwLockWriteGuard::downgrade(writer);
    one_by_one(|| assert_eq!(*LOCK.read().unwrap(), 2));
    assert!(LOCK.try_write().is_err());
    drop(reader);
    assert_eq!(*LOCK.try_write_timeout(Duration::MAX).unwrap(), 2);
}

#[test]
fn a_waiting_writer_comes_before_later_readers() {
    let shared = Arc::new((RwLock::new(()), AtomicUsize::new(0)));
    let reader = shared.0.read().unwrap();
    let (writes, reads) = (shared.clone(), shared.clone());
    let writer = start(0, move || {
        let _guard = writes.0.write().unwrap();
        writes.1.fetch_add(1, Ordering::SeqCst)
    });
    until(|| shared.0.try_read().is_err());
    let readers = start_all(4, move |_| {
        let _guard = reads.0.read().unwrap();
        reads.1.load(Ordering::SeqCst)
    });
    drop(reader);
    assert_eq!(writer.join().unwrap(), 0);
    assert_eq!(join_all(readers), [1; 4]);
}

#[test]
fn writers_that_timed_out_leave_no_trace() {
    let lock = Arc::new(RwLock::new(()));
    let reader = lock.read().unwrap();
    let (writes, reads) = (lock.clone(), lock.clone());
    let writers =
        start_all(20, move |_| assert!(writes.try_write_timeout(Duration::from_millis(5)).is_err()));
    // Comes while they wait, or after; gets in without that anybody unlocks.
    drop(reads.try_read_until(far()).unwrap());
    join_all(writers);
    drop(lock.try_read().unwrap());
    drop(reader);
    drop(lock.try_write().unwrap());
}

#[test]
fn sixteen_ways_at_once_see_a_whole_state() {
    let lock = Arc::new(RwLock::new((0u64, 0u64)));
    join_all(start_all(16, {
        let lock = lock.clone();
        move |index| {
            for round in 0..500 {
                if (index + round) % 4 == 0 {
                    let mut pair = lock.write().unwrap();
                    pair.0 += 1;
                    if round % 50 == 0 {
                        bthread::yield_now();
                    }
                    pair.1 += 1;
                } else {
                    let pair = lock.read().unwrap();
                    assert_eq!(pair.0, pair.1);
                }
            }
        }
    }));
    assert_eq!(*lock.read().unwrap(), (2000, 2000));
}

#[test]
fn continuous_readers_do_not_starve_a_writer() {
    let shared = Arc::new((RwLock::new(()), AtomicBool::new(false)));
    let reads = shared.clone();
    let readers = start_all(4, move |index| {
        while !reads.1.load(Ordering::Relaxed) {
            let _guard = reads.0.read().unwrap();
            if index.is_multiple_of(2) {
                bthread::yield_now(); // while it is held: there is always a reader
            }
        }
    });
    for _ in 0..50 {
        drop(shared.0.try_write_until(far()).unwrap());
    }
    shared.1.store(true, Ordering::Relaxed);
    join_all(readers);
}
