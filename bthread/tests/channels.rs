//! Channels between bthreads and OS threads: values, order, bounds, ends.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use bthread::sync::mpsc::{
    Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError, channel,
    sync_channel,
};
use bthread::sync::oneshot;

/// Runs `f` as a thread or as a bthread; gives a function that waits for it.
fn start<T: Send + 'static>(thread: bool, f: impl FnOnce() -> T + Send + 'static) -> impl FnOnce() -> T {
    let (thread, bthread) =
        if thread { (Some(std::thread::spawn(f)), None) } else { (None, Some(bthread::spawn(f))) };
    move || match (thread, bthread) {
        (Some(thread), _) => thread.join().unwrap(),
        (_, Some(bthread)) => bthread.join().unwrap(),
        _ => unreachable!("one of them"),
    }
}

/// `producers` send numbers with `send`; a receiver of either kind checks that each producer's come in order.
fn all_arrive_in_order<S: Clone + Send + 'static>(
    (tx, rx): (S, Receiver<(usize, usize)>),
    send: fn(&S, (usize, usize)),
    thread: bool,
) {
    let producers: Vec<_> = (0..4)
        .map(|producer| {
            let tx = tx.clone();
            start(producer % 2 == 0, move || (0..3000).for_each(|n| send(&tx, (producer, n))))
        })
        .collect();
    drop(tx);
    let receiver = start(thread, move || {
        let mut next = [0; 4];
        for (producer, n) in rx {
            assert_eq!(n, next[producer]);
            next[producer] += 1;
        }
        next
    });
    assert_eq!(receiver(), [3000; 4]);
    producers.into_iter().for_each(|producer| producer());
}

#[test]
fn values_arrive_in_the_order_of_their_sender() {
    for thread in [false, true] {
        all_arrive_in_order(channel(), |tx, value| tx.send(value).unwrap(), thread);
        for bound in [0, 1, 7, 1000] {
            all_arrive_in_order(sync_channel(bound), |tx, value| tx.send(value).unwrap(), thread);
        }
    }
}

#[test]
fn senders_that_give_up_keep_what_is_not_received() {
    for bound in [0, 1, 3] {
        let (tx, rx) = sync_channel(bound);
        let senders: Vec<_> = (0..4)
            .map(|n| {
                let tx = tx.clone();
                start(n % 2 == 0, move || {
                    (0..500).filter(|_| tx.send_timeout(1, Duration::from_micros(20 * n)).is_ok()).count()
                })
            })
            .collect();
        drop(tx);
        let mut received = 0;
        loop {
            match rx.recv_timeout(Duration::from_micros(30)) {
                Ok(one) => received += one,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        assert_eq!(senders.into_iter().map(|sender| sender()).sum::<usize>(), received);
    }
}

#[test]
fn the_last_sender_ends_the_receiver() {
    let (tx, rx) = channel();
    tx.send(1).unwrap();
    let other = tx.clone();
    drop(tx);
    other.send(2).unwrap();
    drop(other);
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
    assert_eq!(rx.recv(), Err(RecvError));
    assert_eq!(rx.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Disconnected));
    for bound in [0, 1] {
        let (tx, rx) = sync_channel::<i32>(bound);
        let receiver = start(false, move || rx.recv());
        bthread::yield_now();
        drop(tx);
        assert_eq!(receiver(), Err(RecvError));
    }
}

#[test]
fn without_a_receiver_values_come_back() {
    let (tx, rx) = channel();
    drop(rx);
    assert_eq!(tx.send(1), Err(SendError(1)));
    assert_eq!(tx.send(2), Err(SendError(2)));
    for bound in [0, 1] {
        let (tx, rx) = sync_channel(bound);
        drop(rx);
        assert_eq!(tx.try_send(1), Err(TrySendError::Disconnected(1)));
        assert_eq!(tx.send(1), Err(SendError(1)));
        assert_eq!(tx.send_timeout(1, Duration::ZERO), Err(SendTimeoutError::Disconnected(1)));
    }
}

#[test]
fn a_receiver_that_goes_lets_waiting_senders_go() {
    for bound in [0, 1] {
        let (tx, rx) = sync_channel(bound);
        (0..bound).for_each(|n| tx.send(n).unwrap());
        let senders: Vec<_> = (0..4)
            .map(|n| {
                let tx = tx.clone();
                start(n % 2 == 0, move || tx.send(7))
            })
            .collect();
        bthread::sleep(Duration::from_millis(5));
        drop(rx);
        for sender in senders {
            assert_eq!(sender(), Err(SendError(7)));
        }
    }
}

#[test]
fn what_is_not_received_is_dropped_with_the_receiver() {
    let token = Arc::new(());
    let (tx, rx) = channel();
    (0..100).for_each(|_| tx.send(token.clone()).unwrap());
    drop(rx);
    assert_eq!(Arc::strong_count(&token), 1);
    assert!(tx.send(token.clone()).is_err());
    let (tx, rx) = channel();
    let sender = start(true, {
        let token = token.clone();
        move || (0..10_000).take_while(|_| tx.send(token.clone()).is_ok()).count()
    });
    let _ = rx.recv();
    drop(rx);
    sender();
    assert_eq!(Arc::strong_count(&token), 1);
}

#[test]
fn a_value_that_panics_when_dropped_leaves_a_closed_channel() {
    struct Bad(bool);
    impl Drop for Bad {
        fn drop(&mut self) {
            assert!(!self.0, "as planned");
        }
    }
    let (tx, rx) = channel();
    for bad in [false, true, false] {
        assert!(tx.send(Bad(bad)).is_ok());
    }
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(rx))).is_err());
    assert!(tx.send(Bad(false)).is_err());
}

#[test]
fn a_bound_is_kept() {
    for bound in [1, 2, 5] {
        let (tx, rx) = sync_channel(bound);
        (0..bound).for_each(|n| tx.try_send(n).unwrap());
        assert_eq!(tx.try_send(9), Err(TrySendError::Full(9)));
        let deadline = Instant::now() + Duration::from_millis(2);
        assert_eq!(tx.send_until(9, deadline), Err(SendTimeoutError::Timeout(9)));
        assert!(Instant::now() >= deadline);
        assert_eq!(rx.recv(), Ok(0));
        tx.try_send(bound).unwrap();
        assert!(matches!(tx.try_send(9), Err(TrySendError::Full(9))));
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), (1..=bound).collect::<Vec<_>>());
    }
}

#[test]
fn a_rendezvous_needs_both() {
    let (tx, rx) = sync_channel(0);
    assert_eq!(tx.try_send(1), Err(TrySendError::Full(1)));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(rx.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
    assert_eq!(tx.try_send(1), Err(TrySendError::Full(1)), "a receiver that gave up does not count");
    let received = Arc::new(AtomicUsize::new(0));
    let sender = start(false, {
        let received = received.clone();
        move || {
            tx.send(2).unwrap();
            assert_eq!(received.swap(1, Ordering::SeqCst), 0);
            while !matches!(tx.try_send(3), Ok(())) {
                bthread::yield_now();
            }
        }
    });
    assert_eq!(rx.recv(), Ok(2));
    assert_eq!(rx.recv(), Ok(3));
    sender();
}

#[test]
fn a_receive_does_not_end_early() {
    let (tx, rx) = channel::<i32>();
    for wait in [Duration::ZERO, Duration::from_millis(3)] {
        let deadline = Instant::now() + wait;
        assert_eq!(rx.recv_until(deadline), Err(RecvTimeoutError::Timeout));
        assert!(Instant::now() >= deadline);
    }
    tx.send(1).unwrap();
    assert_eq!(rx.recv_until(Instant::now()), Ok(1), "what is there is received after the deadline, too");
}

#[test]
fn an_interruption_does_not_end_a_receive_and_stays_pending() {
    let (tx, rx) = channel();
    let receiver = bthread::spawn(move || (rx.recv(), bthread::sleep(Duration::from_secs(60))));
    assert!(bthread::interrupt(receiver.id()));
    tx.send(1).unwrap();
    assert_eq!(receiver.join().unwrap(), (Ok(1), bthread::Slept::Interrupted));
}

#[test]
fn a_oneshot_gives_its_value_to_every_kind_of_receiver() {
    for thread in [false, true] {
        let (tx, rx) = oneshot::channel();
        let receiver = start(thread, move || rx.recv());
        tx.send(7).unwrap();
        assert_eq!(receiver(), Ok(7));
    }
    let (tx, mut rx) = oneshot::channel();
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(rx.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
    tx.send(8).unwrap();
    assert_eq!(rx.recv_until(Instant::now()), Ok(8));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
}

#[test]
fn a_oneshot_tells_each_end_that_the_other_is_gone() {
    let token = Arc::new(());
    let (tx, rx) = oneshot::channel::<Arc<()>>();
    let receiver = start(false, move || rx.recv());
    drop(tx);
    assert_eq!(receiver(), Err(RecvError));
    let (tx, rx) = oneshot::channel();
    assert!(!tx.is_closed());
    drop(rx);
    assert!(tx.is_closed());
    assert_eq!(tx.send(token.clone()), Err(token.clone()));
    let (tx, rx) = oneshot::channel();
    tx.send(token.clone()).unwrap();
    drop(rx);
    assert_eq!(Arc::strong_count(&token), 1);
}

#[test]
fn a_oneshot_is_a_future() {
    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let counts = [(); 2].map(|()| Arc::new(Count::default()));
    let wakers = counts.clone().map(Waker::from);
    let (tx, rx) = oneshot::channel();
    let mut rx = pin!(rx);
    for waker in &wakers {
        assert_eq!(rx.as_mut().poll(&mut Context::from_waker(waker)), Poll::Pending);
    }
    // A blocking wait in between leaves no waker behind; the next poll brings one again.
    assert_eq!(rx.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
    assert_eq!(rx.as_mut().poll(&mut Context::from_waker(&wakers[1])), Poll::Pending);
    tx.send(3).unwrap();
    assert_eq!(counts.map(|count| count.0.load(Ordering::SeqCst)), [0, 1], "the waker of the last poll");
    assert_eq!(rx.as_mut().poll(&mut Context::from_waker(&wakers[0])), Poll::Ready(Ok(3)));
    // A receiver that goes takes its waker along.
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    let (_tx, mut rx) = oneshot::channel::<()>();
    assert_eq!(pin!(&mut rx).as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
    drop((rx, waker));
    assert_eq!(Arc::strong_count(&count), 1);
}

#[derive(Debug, Clone)]
enum Step {
    Send,
    Receive,
    ReceiveAll,
    DropSender,
    CloneSender,
}

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    use proptest::prelude::*;
    let step = prop_oneof![
        6 => Just(Step::Send),
        5 => Just(Step::Receive),
        1 => Just(Step::ReceiveAll),
        1 => Just(Step::DropSender),
        1 => Just(Step::CloneSender),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest::proptest! {
    /// A channel used by one thread is a queue with a bound.
    #[test]
    fn a_channel_is_a_queue(steps in steps(), bound in 1..10usize) {
        let (tx, rx) = sync_channel(bound);
        let (mut senders, mut model) = (vec![tx], VecDeque::new());
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Step::Send => if let Some(tx) = senders.last() {
                    let sent = tx.try_send(n);
                    proptest::prop_assert_eq!(sent.is_ok(), model.len() < bound);
                    if sent.is_ok() {
                        model.push_back(n);
                    }
                },
                Step::Receive => {
                    let none = if senders.is_empty() { TryRecvError::Disconnected } else { TryRecvError::Empty };
                    proptest::prop_assert_eq!(rx.try_recv(), model.pop_front().ok_or(none));
                }
                Step::ReceiveAll => {
                    let all: Vec<_> = rx.try_iter().collect();
                    proptest::prop_assert_eq!(all, model.drain(..).collect::<Vec<_>>());
                }
                Step::DropSender => drop(senders.pop()),
                Step::CloneSender => senders.extend(senders.last().cloned()),
            }
        }
    }
}
