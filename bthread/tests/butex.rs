//! Butexes: who is woken, moved and interrupted, between bthreads and OS threads.

mod mixed;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bthread::{Butex, WaitResult};
use mixed::{far, join_all, start, start_all, until};

#[test]
fn an_interruption_ends_a_wait_before_and_after_it_began() {
    static NEVER: Butex = Butex::new(0);
    let sleeper = bthread::spawn(|| {
        let before = NEVER.wait(0, Some(far()));
        let me = bthread::current_id().unwrap();
        bthread::interrupt(me);
        let after = NEVER.wait(0, Some(far()));
        // Used up: nothing is left for the next one.
        let deadline = Instant::now() + Duration::from_millis(1);
        (before, after, NEVER.wait(0, Some(deadline)))
    });
    until(|| NEVER.waiters() == 1);
    assert!(bthread::interrupt(sleeper.id()));
    let results = sleeper.join().unwrap();
    assert_eq!(results, (WaitResult::Interrupted, WaitResult::Interrupted, WaitResult::TimedOut));
}

#[test]
fn what_does_not_end_by_an_interruption_leaves_it_pending() {
    let word = Arc::new(Butex::new(0));
    let waits = word.clone();
    let sleeper = bthread::spawn(move || {
        let woken = waits.wait(0, None);
        bthread::interrupt(bthread::current_id().unwrap());
        let mismatch = waits.wait(1, None);
        let past = waits.wait(0, Some(Instant::now()));
        (woken, mismatch, past, bthread::sleep(Duration::from_secs(60)))
    });
    until(|| word.waiters() == 1);
    assert_eq!(word.wake_one(), 1);
    let (woken, mismatch, past, slept) = sleeper.join().unwrap();
    assert_eq!((woken, mismatch, past), (WaitResult::Woken, WaitResult::Mismatch, WaitResult::TimedOut));
    assert_eq!(slept, bthread::Slept::Interrupted);
}

#[test]
fn wake_except_leaves_one_asleep() {
    let word = Arc::new(Butex::new(0));
    let waits = word.clone();
    let spared = bthread::spawn(move || waits.wait(0, None));
    until(|| word.waiters() == 1);
    let waits = word.clone();
    let others = start_all(70, move |_| waits.wait(0, None)); // more than one batch of wake-ups
    until(|| word.waiters() == 71);
    assert_eq!(word.wake_except(spared.id()), 70);
    assert!(join_all(others).iter().all(|&result| result == WaitResult::Woken));
    assert_eq!((word.waiters(), word.wake_except(spared.id())), (1, 0));
    assert_eq!(word.wake_all(), 1);
    assert_eq!(spared.join().unwrap(), WaitResult::Woken);
}

/// Starts waiters on `.0` one after another, so that their order is known; they note when they are woken.
fn movable_waiters(butexes: &Arc<(Butex, Butex)>, n: usize) -> (Vec<mixed::Either<usize>>, Arc<AtomicUsize>) {
    let turn = Arc::new(AtomicUsize::new(0));
    let waiters = (0..n).map(|index| {
        let (waits, noted) = (butexes.clone(), turn.clone());
        let waiter = start(index, move || {
            assert_eq!(waits.0.wait_movable(0, None, &waits.1), WaitResult::Woken);
            noted.fetch_add(1, Ordering::SeqCst)
        });
        until(|| butexes.0.waiters() == index + 1);
        waiter
    });
    (waiters.collect(), turn)
}

#[test]
fn a_requeue_wakes_the_first_and_moves_the_others_in_order() {
    let butexes = Arc::new((Butex::new(0), Butex::new(0)));
    assert_eq!(butexes.0.requeue(&butexes.1), 0);
    let (waiters, turn) = movable_waiters(&butexes, 6);
    assert_eq!(butexes.0.requeue(&butexes.1), 1);
    assert_eq!((butexes.0.waiters(), butexes.1.waiters()), (0, 5));
    assert_eq!(butexes.0.wake_all(), 0);
    for woken in 1..6 {
        until(|| turn.load(Ordering::SeqCst) == woken);
        assert_eq!(butexes.1.wake_one(), 1);
    }
    assert_eq!(join_all(waiters), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_requeue_wakes_who_has_not_named_the_target() {
    let butexes = Arc::new((Butex::new(0), Butex::new(0)));
    let (waiters, _) = movable_waiters(&butexes, 3);
    let waits = butexes.clone();
    let plain = start_all(2, move |_| waits.0.wait(0, None));
    until(|| butexes.0.waiters() == 5);
    assert_eq!(butexes.0.requeue(&butexes.1), 3);
    assert!(join_all(plain).iter().all(|&result| result == WaitResult::Woken));
    assert_eq!((butexes.0.waiters(), butexes.1.wake_all()), (0, 2));
    join_all(waiters);
}

#[test]
fn a_requeue_to_itself_wakes_one() {
    let butexes = Arc::new((Butex::new(0), Butex::new(0)));
    let (waiters, _) = movable_waiters(&butexes, 2);
    assert_eq!(butexes.0.requeue(&butexes.0), 1);
    assert_eq!(butexes.0.wake_all(), 1);
    join_all(waiters);
}

#[test]
fn a_moved_waiter_can_be_interrupted_and_times_out() {
    let butexes = Arc::new((Butex::new(0), Butex::new(0)));
    let waits = butexes.clone();
    let first = bthread::spawn(move || waits.0.wait_movable(0, None, &waits.1));
    until(|| butexes.0.waiters() == 1);
    let waits = butexes.clone();
    let interrupted = bthread::spawn(move || waits.0.wait_movable(0, None, &waits.1));
    until(|| butexes.0.waiters() == 2);
    let waits = butexes.clone();
    let late = start_all(2, move |_| {
        let deadline = Instant::now() + Duration::from_millis(20);
        (waits.0.wait_movable(0, Some(deadline), &waits.1), Instant::now() >= deadline)
    });
    until(|| butexes.0.waiters() != 2 || late.is_empty());
    assert_eq!(butexes.0.requeue(&butexes.1), 1);
    assert_eq!(first.join().unwrap(), WaitResult::Woken);
    assert!(bthread::interrupt(interrupted.id()));
    assert_eq!(interrupted.join().unwrap(), WaitResult::Interrupted);
    assert_eq!(join_all(late), [(WaitResult::TimedOut, true); 2]);
    assert_eq!((butexes.0.waiters(), butexes.1.waiters()), (0, 0));
}

/// Every wake-up that was counted reached exactly one waiter, whatever else happened to the waiters meanwhile.
#[test]
fn wake_ups_timeouts_interruptions_and_moves_add_up() {
    const ROUNDS: usize = 2000;
    let butexes = Arc::new((Butex::new(0), Butex::new(0)));
    let stop = Arc::new(AtomicBool::new(false));
    let waits = butexes.clone();
    let waiters = start_all(6, move |index| {
        let mut woken = 0;
        for round in 0..ROUNDS {
            let deadline = Instant::now() + Duration::from_micros((round * (index + 1) % 50) as u64);
            let result = match index % 3 {
                0 => waits.0.wait(0, Some(deadline)),
                _ => waits.0.wait_movable(0, Some(deadline), &waits.1),
            };
            woken += usize::from(result == WaitResult::Woken);
            if round.is_multiple_of(16) {
                bthread::yield_now();
            }
        }
        woken
    });
    let ids: Vec<_> = waiters
        .iter()
        .filter_map(|waiter| match waiter {
            mixed::Either::Bthread(handle) => Some(handle.id()),
            mixed::Either::Thread(_) => None,
        })
        .collect();
    let (wakes, stopped) = (butexes.clone(), stop.clone());
    let wakers = start_all(2, move |index| {
        let (mut woken, mut round) = (0, index);
        while !stopped.load(Ordering::Relaxed) {
            woken += match round % 6 {
                0 => wakes.0.wake_one(),
                1 => wakes.0.requeue(&wakes.1),
                2 => wakes.1.requeue(&wakes.0),
                3 => wakes.1.wake_n(2),
                4 => wakes.0.wake_except(ids[round % ids.len()]),
                _ => {
                    bthread::interrupt(ids[round % ids.len()]);
                    0
                }
            };
            round += 1;
            if index == 0 {
                bthread::yield_now();
            }
        }
        woken
    });
    let received: usize = join_all(waiters).iter().sum();
    stop.store(true, Ordering::Relaxed);
    let sent: usize = join_all(wakers).iter().sum();
    assert_eq!(received, sent);
    assert_eq!((butexes.0.waiters(), butexes.1.waiters()), (0, 0));
}

#[test]
fn a_signal_does_not_end_the_wait_of_a_thread() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn seen(_: libc::c_int) {
        SEEN.fetch_add(1, Ordering::SeqCst);
    }
    let word = Arc::new(Butex::new(0));
    let waits = word.clone();
    let (tx, rx) = std::sync::mpsc::channel();
    let waiter = std::thread::spawn(move || {
        // SAFETY: names the calling thread.
        tx.send(unsafe { libc::pthread_self() }).unwrap();
        waits.wait(0, Some(far()))
    });
    let thread = rx.recv().unwrap();
    until(|| word.waiters() == 1);
    // SAFETY: a zeroed action is valid; the handler only counts. No SA_RESTART: system calls end with EINTR.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = seen as *const () as libc::sighandler_t;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()), 0);
    }
    for sent in 1..=5 {
        // SAFETY: the thread is not joined yet.
        assert_eq!(unsafe { libc::pthread_kill(thread, libc::SIGUSR1) }, 0);
        until(|| SEEN.load(Ordering::SeqCst) == sent);
    }
    assert_eq!(word.waiters(), 1);
    assert_eq!(word.wake_one(), 1);
    assert_eq!(waiter.join().unwrap(), WaitResult::Woken);
}
