//! Loom models: no wake-up is lost, and a waiter that gives up is either out of its list or counted as woken.

use super::*;
use loom::sync::Arc;
use loom::thread;
use std::time::Duration;

/// Some deadline: in models all pass as soon as the waiter would sleep.
fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(3600))
}

#[test]
fn loom_a_wake_up_is_never_lost() {
    crate::atomic::model(|| {
        let butex = Arc::new(Butex::new(0));
        let waker = thread::spawn({
            let butex = butex.clone();
            move || {
                butex.value().store(1, Ordering::Release);
                butex.wake_one();
            }
        });
        while butex.value().load(Ordering::Acquire) == 0 {
            let _ = butex.wait(0, None);
        }
        waker.join().unwrap();
    });
}

#[test]
fn loom_a_mismatch_shows_what_came_before() {
    crate::atomic::model(|| {
        let shared = Arc::new((Butex::new(0), AtomicU32::new(0)));
        let waker = thread::spawn({
            let shared = shared.clone();
            move || {
                shared.1.store(1, Ordering::Relaxed);
                shared.0.value().store(1, Ordering::Release);
                shared.0.wake_all();
            }
        });
        let _ = shared.0.wait(0, None); // one result is as good as the other
        assert_eq!(shared.1.load(Ordering::Relaxed), 1);
        waker.join().unwrap();
    });
}

/// The second waiter comes to a list that is not empty, and so without a fence of its own.
#[test]
fn loom_two_waiters_one_wake_all() {
    crate::atomic::model(|| {
        let butex = Arc::new(Butex::new(0));
        let waiters = [(); 2].map(|()| {
            let butex = butex.clone();
            thread::spawn(move || {
                while butex.value().load(Ordering::Acquire) == 0 {
                    let _ = butex.wait(0, None);
                }
            })
        });
        butex.value().store(1, Ordering::Release);
        butex.wake_all();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

#[test]
fn loom_a_timeout_and_a_wake_up_agree() {
    crate::atomic::model(|| {
        let butex = Arc::new(Butex::new(0));
        let waker = thread::spawn({
            let butex = butex.clone();
            move || butex.wake_one()
        });
        let result = butex.wait(0, soon());
        let woken = waker.join().unwrap();
        assert_eq!(woken == 1, result == WaitResult::Woken, "{result:?}");
        assert_eq!(butex.waiters(), 0);
    });
}

/// A wake-up that meets a waiter in the act of giving up goes to the other one.
#[test]
fn loom_a_timeout_takes_no_wake_up_from_others() {
    crate::atomic::model(|| {
        let butex = Arc::new(Butex::new(0));
        let impatient = thread::spawn({
            let butex = butex.clone();
            move || butex.wait(0, soon())
        });
        let patient = thread::spawn({
            let butex = butex.clone();
            move || {
                while butex.value().load(Ordering::Acquire) == 0 {
                    let _ = butex.wait(0, None);
                }
            }
        });
        butex.value().store(1, Ordering::Release);
        butex.wake_one();
        if impatient.join().unwrap() == WaitResult::Woken {
            butex.wake_one(); // passes it on
        }
        patient.join().unwrap();
    });
}

#[test]
fn loom_an_interruption_and_a_wake_up_agree() {
    crate::atomic::model(|| {
        let butex = Arc::new(Butex::new(0));
        let me = wait::current_parker();
        let waker = thread::spawn({
            let butex = butex.clone();
            move || butex.wake_one()
        });
        let interrupter = thread::spawn(move || wait::models::interrupt(me));
        let result = butex.wait(0, None);
        let woken = waker.join().unwrap();
        interrupter.join().unwrap();
        assert_eq!(woken == 1, result == WaitResult::Woken, "{result:?}");
        // Used up if and only if it was reported.
        assert_eq!(wait::take_interrupt(me), result != WaitResult::Interrupted);
    });
}

/// Whoever is moved is found there by the next wake-up, and one who gives up is in neither list.
#[test]
fn loom_a_requeue_and_a_timeout_agree() {
    crate::atomic::model(|| {
        let butexes = Arc::new((Butex::new(0), Butex::new(0)));
        let waiters = [(); 2].map(|()| {
            let butexes = butexes.clone();
            thread::spawn(move || butexes.0.wait_movable(0, soon(), &butexes.1))
        });
        let woken = butexes.0.requeue(&butexes.1) + butexes.1.wake_all();
        let results = waiters.map(|waiter| waiter.join().unwrap());
        assert_eq!(results.iter().filter(|&&result| result == WaitResult::Woken).count(), woken);
        assert_eq!(butexes.0.waiters() + butexes.1.waiters(), 0);
    });
}

#[test]
fn loom_a_moved_waiter_is_woken_at_its_target() {
    crate::atomic::model(|| {
        let butexes = Arc::new((Butex::new(0), Butex::new(0)));
        let waiters = [(); 2].map(|()| {
            let butexes = butexes.clone();
            thread::spawn(move || {
                if butexes.0.wait_movable(0, None, &butexes.1) == WaitResult::Woken {
                    butexes.1.wake_one(); // as the unlock of a condition variable's lock
                }
            })
        });
        butexes.0.value().store(1, Ordering::Release);
        butexes.0.requeue_as_named();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

#[test]
fn loom_requeues_both_ways_do_not_wait_for_each_other() {
    crate::atomic::model(|| {
        let butexes = Arc::new((Butex::new(0), Butex::new(0)));
        let other = thread::spawn({
            let butexes = butexes.clone();
            move || {
                let result = butexes.1.wait_movable(0, soon(), &butexes.0);
                (result, butexes.1.requeue(&butexes.0))
            }
        });
        let woken =
            butexes.0.requeue_as_named() + butexes.0.requeue(&butexes.1) + butexes.1.requeue(&butexes.0);
        let (result, none) = other.join().unwrap();
        assert_eq!((woken, none), (usize::from(result == WaitResult::Woken), 0));
    });
}
