//! A channel for one value. The receiver waits as a bthread, as an OS thread, or as a [`Future`].
//!
//! | state | meaning | who leaves it |
//! |---|---|---|
//! | `EMPTY` | nothing sent, nobody waits | receiver → `WAITING` or `GONE`, sender → `SENT` or `DROPPED` |
//! | `WAITING` | nothing sent, `waiter` is set | receiver → `EMPTY` or `GONE`, sender → `SENT` or `DROPPED`, and wakes |
//! | `SENT` | `value` is set, until the receiver takes it | nobody |
//! | `DROPPED` | the sender is gone without a value | nobody |
//! | `GONE` | the receiver is gone | sender → `SENT` or `DROPPED`, and takes its value back |
//!
//! Holds unsafe. The argument, once:
//! (1) `value` is the sender's until it has set `SENT`, then the receiver's; if it found `GONE` it is still the
//!     sender's.
//! (2) `waiter` is the receiver's, but in `WAITING`; who takes the state out of `WAITING` has it.

#![allow(unsafe_code)]

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

pub use std::sync::mpsc::{RecvError, RecvTimeoutError, TryRecvError};

use crate::atomic::{AtomicU32, Ordering, UnsafeCell};
use crate::parker::Parker;
use crate::wait;

const EMPTY: u32 = 0;
const WAITING: u32 = 1;
const SENT: u32 = 2;
const DROPPED: u32 = 3;
const GONE: u32 = 4;

/// Makes a channel for one value. Allocates once.
///
/// ```
/// let (tx, rx) = bthread::sync::oneshot::channel();
/// bthread::spawn(move || tx.send(42).unwrap());
/// assert_eq!(rx.recv(), Ok(42));
/// ```
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        state: AtomicU32::new(EMPTY),
        value: UnsafeCell::new(None),
        waiter: UnsafeCell::new(None),
    });
    (Sender(shared.clone()), Receiver(shared))
}

struct Shared<T> {
    state: AtomicU32,
    value: UnsafeCell<Option<T>>,
    waiter: UnsafeCell<Option<Waiter>>,
}

// SAFETY: the value moves from sender to receiver, which `T: Send` allows, and is not shared (1).
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above; the waiter by (2).
unsafe impl<T: Send> Sync for Shared<T> {}

enum Waiter {
    Parker(&'static Parker),
    Waker(Waker),
}

impl Waiter {
    fn wake(self) {
        match self {
            Waiter::Parker(parker) => parker.unpark(),
            Waiter::Waker(waker) => waker.wake(),
        }
    }
}

impl<T> Shared<T> {
    /// The sender's last step. The state that it found: `GONE` leaves it the value.
    fn finish(&self, state: u32) -> u32 {
        // Release pairs with the Acquire of the receiver's look: it sees the value. Acquire pairs with the Release of
        // `announce`: we see the waiter.
        let found = self.state.swap(state, Ordering::AcqRel);
        if found == WAITING {
            // SAFETY: (2): we have taken the state out of `WAITING`.
            let waiter = unsafe { (*self.waiter.get()).take() };
            waiter.expect("set before WAITING").wake();
        }
        found
    }

    /// Leaves the receiver's waiter for the sender. False: the sender has finished.
    fn announce(&self, waiter: Waiter) -> bool {
        // SAFETY: (2): the state is not `WAITING`.
        unsafe { *self.waiter.get() = Some(waiter) };
        // Release pairs with the Acquire in `finish`. Relaxed failure: `look` follows.
        self.state.compare_exchange(EMPTY, WAITING, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Takes the waiter back, if there is one. False: the sender has finished.
    fn retract(&self) -> bool {
        // Relaxed: the receiver takes back what is its own; on failure `look` follows.
        match self.state.compare_exchange(WAITING, EMPTY, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => true,
            Err(state) => state == EMPTY,
        }
    }

    /// What there is for the receiver now.
    fn look(&self) -> Result<T, TryRecvError> {
        match self.state.load(Ordering::Acquire) {
            // Acquire pairs with the Release in `finish`.
            // SAFETY: (1): ours since `SENT`.
            SENT => unsafe { (*self.value.get()).take() }.ok_or(TryRecvError::Disconnected),
            DROPPED => Err(TryRecvError::Disconnected),
            _ => Err(TryRecvError::Empty),
        }
    }
}

/// The end that sends the value. Dropping it without a value tells the receiver.
pub struct Sender<T>(Arc<Shared<T>>);

impl<T> Sender<T> {
    /// Sends the value. Never blocks.
    ///
    /// # Errors
    /// The value when the receiver is gone.
    pub fn send(self, value: T) -> Result<(), T> {
        // SAFETY: (1): not sent yet.
        unsafe { *self.0.value.get() = Some(value) };
        if self.0.finish(SENT) == GONE {
            // SAFETY: (1): the receiver was gone before.
            let value = unsafe { (*self.0.value.get()).take() };
            return Err(value.expect("put there above"));
        }
        Ok(())
    }

    /// Whether the receiver is gone, so that a value need not be made. Never blocks.
    pub fn is_closed(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) == GONE // a hint; pairs with nothing
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // Relaxed: only the sender sets SENT.
        if self.0.state.load(Ordering::Relaxed) != SENT {
            self.0.finish(DROPPED);
        }
    }
}

/// The end that waits for the value. After it was received, further receives say `Disconnected`.
pub struct Receiver<T>(Arc<Shared<T>>);

impl<T> Receiver<T> {
    /// Waits for the value. *Blocking*: parks the calling bthread, or blocks the calling thread.
    ///
    /// # Errors
    /// When the sender was dropped without a value.
    pub fn recv(mut self) -> Result<T, RecvError> {
        self.wait(None).map_err(|_| RecvError)
    }

    /// The value if it is there. Never blocks.
    ///
    /// # Errors
    /// `Empty`, or `Disconnected` when nothing will come any more.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.0.look()
    }

    /// Waits for the value, for at most `timeout`. *Blocking*: as [`recv`](Self::recv).
    ///
    /// # Errors
    /// `Timeout`, or `Disconnected` when nothing will come any more.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.wait(crate::clock::now().checked_add(timeout))
    }

    /// Waits for the value, until `deadline` at most. *Blocking*: as [`recv`](Self::recv).
    ///
    /// # Errors
    /// As [`recv_timeout`](Self::recv_timeout).
    pub fn recv_until(&mut self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.wait(Some(deadline))
    }

    fn wait(&mut self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        let shared = &*self.0;
        let mut announced = None;
        loop {
            match shared.look() {
                Ok(value) => return Ok(value),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => {}
            }
            if wait::is_over(deadline) {
                if announced.is_none() || shared.retract() {
                    return Err(RecvTimeoutError::Timeout);
                }
                continue;
            }
            let parker = match announced {
                Some(parker) => parker,
                None => {
                    let parker = wait::current_parker();
                    // A waker that a poll left is taken back first.
                    if !shared.retract() || !shared.announce(Waiter::Parker(parker)) {
                        continue;
                    }
                    *announced.insert(parker)
                }
            };
            wait::park_for(parker, deadline, wait::Reason::Channel);
        }
    }
}

/// As [`recv`](Receiver::recv), from asynchronous code. Polls never block.
impl<T> Future for Receiver<T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let shared = &*self.0;
        loop {
            match shared.look() {
                Ok(value) => return Poll::Ready(Ok(value)),
                Err(TryRecvError::Disconnected) => return Poll::Ready(Err(RecvError)),
                Err(TryRecvError::Empty) => {}
            }
            // The waker of an earlier poll is taken back first.
            if shared.retract() && shared.announce(Waiter::Waker(context.waker().clone())) {
                return Poll::Pending;
            }
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // Acquire pairs with the Release in `finish`: we see the value. Release: the sender that finds GONE may free
        // all.
        match self.0.state.swap(GONE, Ordering::AcqRel) {
            // SAFETY: (1): ours since `SENT`.
            SENT => drop(unsafe { (*self.0.value.get()).take() }),
            // SAFETY: (2): a waker must not live as long as the sender.
            EMPTY | WAITING => drop(unsafe { (*self.0.waiter.get()).take() }),
            _ => {}
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::cell::UnsafeCell as Tracked;

    type Value = Box<Tracked<u32>>;

    fn model(
        send: fn(Sender<Value>, Value) -> Result<(), Value>,
        receive: fn(Receiver<Value>) -> Option<Value>,
        check: fn(sent: bool, received: bool),
    ) {
        crate::atomic::model(move || {
            let (tx, rx) = channel();
            let sender = loom::thread::spawn(move || send(tx, Box::new(Tracked::new(7))).is_ok());
            let received = receive(rx);
            if let Some(value) = &received {
                // SAFETY: received, so ours; loom reports if we do not see the sender's write.
                value.with_mut(|value| unsafe { assert_eq!(*value, 7) });
            }
            check(sender.join().unwrap(), received.is_some());
        });
    }

    #[test]
    fn loom_a_waiting_receiver_gets_the_value() {
        model(Sender::send, |rx| rx.recv().ok(), |sent, received| assert!(sent && received));
    }

    #[test]
    fn loom_a_receiver_that_gives_up_can_wait_again() {
        let receive = |mut rx: Receiver<Value>| {
            let first = rx.recv_timeout(Duration::from_secs(1)).ok(); // in models this gives up at once
            first.or_else(|| rx.recv().ok())
        };
        model(Sender::send, receive, |sent, received| assert!(sent && received));
    }

    #[test]
    fn loom_a_sender_that_goes_wakes_the_receiver() {
        let drop_it = |tx, value| {
            drop::<Sender<Value>>(tx);
            Err(value)
        };
        model(drop_it, |rx| rx.recv().ok(), |sent, received| assert!(!sent && !received));
    }

    #[test]
    fn loom_a_receiver_that_goes_leaves_the_value_to_one_side() {
        let receive = |rx: Receiver<Value>| {
            drop(rx);
            None
        };
        model(Sender::send, receive, |_, _| ()); // loom reports what is freed twice or never
    }
}
