//! Waits for the end of something that end themselves: by a timeout or at a deadline, and no earlier.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use bthread::call_id::{CallId, CallIdError, destroy_on_error};
use bthread::exec_queue::ExecutionQueue;
use bthread::sync::CountdownEvent;

const SHORT: Duration = Duration::from_millis(3);

/// Runs `f` once in a bthread and once on a thread.
fn on_both(f: fn()) {
    bthread::spawn(f).join().unwrap();
    std::thread::spawn(f).join().unwrap();
}

/// What `wait` gives for `SHORT` from now, no earlier than that.
fn waited<T>(wait: impl FnOnce(Instant) -> T) -> T {
    let deadline = Instant::now() + SHORT;
    let result = wait(deadline);
    assert!(Instant::now() >= deadline);
    result
}

#[test]
fn handles_of_bthreads_come_back_when_the_time_is_up() {
    on_both(|| {
        let go = std::sync::Arc::new(CountdownEvent::new(1));
        let waits = go.clone();
        let handle = bthread::spawn(move || {
            waits.wait();
            7
        });
        let id = handle.id();
        let handle = waited(|deadline| handle.join_until(deadline)).unwrap_err();
        let handle = waited(|_| handle.join_timeout(SHORT)).unwrap_err();
        assert!(!waited(|_| bthread::join_timeout(id, SHORT)).unwrap());
        go.signal(1);
        assert_eq!(handle.join_until(Instant::now() + Duration::from_secs(60)).unwrap().unwrap(), 7);
        assert!(bthread::join_timeout(id, Duration::MAX).unwrap());
    });
}

#[test]
fn handles_of_scoped_bthreads_come_back_when_the_time_is_up() {
    on_both(|| {
        let go = CountdownEvent::new(1);
        bthread::scope(|scope| {
            let value = scope.spawn(|| {
                go.wait();
                7
            });
            let panics = scope.spawn(|| {
                go.wait();
                std::panic::panic_any(8);
            });
            let value = waited(|deadline| value.join_until(deadline)).unwrap_err();
            let value = waited(|_| value.join_timeout(SHORT)).unwrap_err();
            go.signal(1);
            assert_eq!(value.join_timeout(Duration::MAX).unwrap().unwrap(), 7);
            let payload = panics.join_until(Instant::now() + Duration::from_secs(60)).unwrap().unwrap_err();
            assert_eq!(payload.downcast_ref(), Some(&8));
        });
    });
}

#[test]
fn handles_of_blocking_calls_come_back_when_the_time_is_up() {
    on_both(|| {
        let (tx, rx) = mpsc::channel();
        let handle = bthread::spawn_blocking(move || rx.recv().unwrap());
        let handle = waited(|deadline| handle.join_until(deadline)).unwrap_err();
        let handle = waited(|_| handle.join_timeout(SHORT)).unwrap_err();
        tx.send(7).unwrap();
        // By somebody else than the one who gave up.
        let joined = bthread::spawn(move || handle.join_timeout(Duration::MAX).unwrap().unwrap());
        assert_eq!(joined.join().unwrap(), 7);

        let handle = bthread::spawn_blocking(|| 9);
        while !handle.is_finished() {
            bthread::yield_now();
            std::thread::yield_now();
        }
        assert_eq!(
            handle.join_until(Instant::now()).unwrap().unwrap(),
            9,
            "there, so the time does not matter"
        );
    });
}

#[test]
fn a_call_id_is_waited_for_for_a_while() {
    on_both(|| {
        let id = CallId::create(1, destroy_on_error).unwrap();
        assert_eq!(*id.lock_timeout::<i32>(SHORT).unwrap(), 1);
        let held = id.lock::<i32>().unwrap();
        assert_eq!(waited(|_| id.lock_timeout::<i32>(SHORT)).unwrap_err(), CallIdError::TimedOut);
        assert!(!waited(|_| id.join_timeout(SHORT)));
        held.destroy();
        assert!(id.join_timeout(Duration::MAX));
        assert_eq!(id.lock_timeout::<i32>(Duration::MAX).unwrap_err(), CallIdError::Invalid);
    });
}

#[test]
fn the_end_of_a_queue_is_waited_for_for_a_while() {
    on_both(|| {
        let queue = ExecutionQueue::<()>::start(|batch| batch.for_each(drop));
        assert!(!waited(|_| queue.join_timeout(SHORT)));
        assert!(!waited(|deadline| queue.join_until(deadline)));
        queue.stop();
        assert!(queue.join_timeout(Duration::MAX));
    });
}
