//! Futures inside of bthreads and threads.

use std::future::{self, Future};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bthread::{Runtime, block_on};

/// A value that somebody else sends, as any channel of the ecosystem does it.
struct Shared<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

struct Receiver<T>(Arc<Mutex<Shared<T>>>);
struct Sender<T>(Arc<Mutex<Shared<T>>>);

fn oneshot<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Mutex::new(Shared { value: None, waker: None }));
    (Sender(shared.clone()), Receiver(shared))
}

impl<T> Sender<T> {
    fn send(self, value: T) {
        let waker = {
            let mut shared = self.0.lock().unwrap();
            shared.value = Some(value);
            shared.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Receiver<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut shared = self.0.lock().unwrap();
        match shared.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                shared.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[test]
fn a_future_woken_from_a_thread_goes_on() {
    let run = || {
        let (tx, rx) = oneshot();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(3));
            tx.send(7);
        });
        let value = block_on(async { rx.await + 1 });
        thread.join().unwrap();
        value
    };
    assert_eq!(run(), 8);
    assert_eq!(bthread::spawn(run).join().unwrap(), 8);
}

#[test]
fn others_run_meanwhile_on_the_same_worker() {
    let one = Runtime::builder().workers(1).start().unwrap();
    let sum = one.spawn(|| {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..500).map(|_| oneshot()).unzip();
        let waiting: Vec<_> = receivers.into_iter().map(|rx| bthread::spawn(move || block_on(rx))).collect();
        bthread::yield_now();
        for (n, tx) in senders.into_iter().enumerate() {
            tx.send(n);
        }
        waiting.into_iter().map(|bthread| bthread.join().unwrap()).sum::<usize>()
    });
    assert_eq!(sum.join().unwrap(), 499 * 500 / 2);
}

#[test]
fn wake_ups_before_and_during_the_poll_count() {
    let mut polls = 0;
    block_on(future::poll_fn(|context| {
        polls += 1;
        context.waker().wake_by_ref();
        context.waker().wake_by_ref();
        if polls < 1000 { Poll::Pending } else { Poll::Ready(()) }
    }));
    assert_eq!(polls, 1000);
}

#[test]
fn wake_ups_for_nothing_poll_again_and_no_more() {
    let (tx, rx) = mpsc::channel::<Waker>();
    let has_ended = Arc::new(AtomicBool::new(false));
    let ended = has_ended.clone();
    let waker = std::thread::spawn(move || {
        let waker = rx.recv().unwrap();
        // Any number of them may come as one.
        while !ended.load(Ordering::SeqCst) {
            waker.wake_by_ref();
            std::thread::yield_now();
        }
        waker
    });
    let mut polls = 0;
    let bthread = bthread::spawn(move || {
        block_on(future::poll_fn(|context| {
            polls += 1;
            if polls == 1 {
                tx.send(context.waker().clone()).unwrap();
            }
            if polls < 3 { Poll::Pending } else { Poll::Ready(polls) }
        }))
    });
    assert_eq!(bthread.join().unwrap(), 3);
    has_ended.store(true, Ordering::SeqCst);
    // It has ended: a late wake-up finds nobody, or a bthread that does not mind.
    let late = waker.join().unwrap();
    let next = bthread::spawn(|| bthread::sleep(Duration::from_millis(5)));
    late.wake();
    let _ = next.join().unwrap();
}

#[test]
fn nested_calls_do_not_take_each_others_wake_ups() {
    let run = || {
        let (outer_tx, outer_rx) = oneshot();
        let (inner_tx, inner_rx) = oneshot();
        let thread = std::thread::spawn(move || {
            // For the outer one, while the inner one waits.
            outer_tx.send(1);
            std::thread::sleep(Duration::from_millis(3));
            inner_tx.send(2);
        });
        let mut outer_rx = outer_rx;
        let mut inner_rx = Some(inner_rx);
        let mut inner = 0;
        let outer = block_on(future::poll_fn(|context| {
            let outer = Pin::new(&mut outer_rx).poll(context);
            if let Some(rx) = inner_rx.take() {
                inner = block_on(rx);
            }
            outer
        }));
        thread.join().unwrap();
        outer + inner
    };
    assert_eq!(run(), 3);
    assert_eq!(bthread::spawn(run).join().unwrap(), 3);
}

#[test]
fn a_panic_of_the_future_is_the_callers() {
    let bthread = bthread::spawn(|| {
        catch_unwind(AssertUnwindSafe(|| block_on(async { panic!("as planned") }))).unwrap_err()
    });
    assert_eq!(bthread.join().unwrap().downcast_ref::<&str>(), Some(&"as planned"));
}

#[test]
fn an_interruption_stays_pending() {
    let (tx, rx) = oneshot();
    let bthread = bthread::spawn(move || {
        let value: i32 = block_on(rx);
        (value, bthread::sleep(Duration::from_secs(3600)))
    });
    bthread::interrupt(bthread.id());
    bthread::sleep(Duration::from_millis(2));
    tx.send(5);
    assert_eq!(bthread.join().unwrap(), (5, bthread::Slept::Interrupted));
}

#[test]
fn bthreads_and_futures_hand_over_to_each_other() {
    let workers = Runtime::builder().workers(2).start().unwrap();
    let rounds: Vec<_> = (0..200)
        .map(|n| {
            workers.spawn(move || {
                let (there_tx, there_rx) = oneshot();
                let (back_tx, back_rx) = oneshot();
                let other = bthread::spawn(move || {
                    let value: i32 = block_on(there_rx);
                    back_tx.send(value + 1);
                });
                there_tx.send(n);
                let value = block_on(back_rx);
                other.join().unwrap();
                value
            })
        })
        .collect();
    for (n, round) in rounds.into_iter().enumerate() {
        assert_eq!(round.join().unwrap(), n as i32 + 1);
    }
}
