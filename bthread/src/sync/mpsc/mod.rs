//! Channels with many senders and one receiver and the interface of `std::sync::mpsc`, between bthreads and OS threads
//! in any mix. A receiver that waits parks its bthread, and so does a sender that waits for room.
//!
//! | | a send | the bound |
//! |---|---|---|
//! | [`channel`] | is wait-free and never blocks | none: the senders must bound what they send |
//! | [`sync_channel`] | waits while the channel is full | as given; 0 makes every send a rendezvous |
//!
//! Interruptions ([`interrupt`](crate::interrupt)) do not end the waits of this module and stay pending.

mod channel;
mod room;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use channel::{Channel, Inlet};
pub use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

/// Makes an unbounded channel: a send never waits, and nothing but memory limits what is on its way. Where senders can
/// be faster than the receiver for long, use a [`sync_channel`].
///
/// ```
/// let (tx, rx) = bthread::sync::mpsc::channel();
/// for n in 1..=3 {
///     let tx = tx.clone();
///     bthread::spawn(move || tx.send(n).unwrap());
/// }
/// drop(tx);
/// assert_eq!(rx.iter().sum::<i32>(), 6);
/// ```
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (channel, inlet) = Channel::new(None);
    (Sender(channel), Receiver(inlet))
}

/// Makes a channel that holds at most `bound` values that were sent and not yet received. With a bound of 0 every send
/// waits until the receiver takes the value.
///
/// ```
/// let (tx, rx) = bthread::sync::mpsc::sync_channel(1);
/// tx.send(1).unwrap();
/// assert!(tx.try_send(2).is_err(), "full");
/// assert_eq!(rx.recv(), Ok(1));
/// assert!(tx.try_send(2).is_ok());
/// ```
pub fn sync_channel<T>(bound: usize) -> (SyncSender<T>, Receiver<T>) {
    let (channel, inlet) = Channel::new(Some(bound));
    (SyncSender(channel), Receiver(inlet))
}

/// A send with a time limit failed; here is the value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendTimeoutError<T> {
    /// The channel was full until the time was up.
    Timeout(T),
    /// The receiver is gone.
    Disconnected(T),
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendTimeoutError::Timeout(_) => "Timeout(..)",
            SendTimeoutError::Disconnected(_) => "Disconnected(..)",
        })
    }
}

impl<T> fmt::Display for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendTimeoutError::Timeout(_) => "timed out sending on a full channel",
            SendTimeoutError::Disconnected(_) => "sending on a channel without a receiver",
        })
    }
}

impl<T> std::error::Error for SendTimeoutError<T> {}

/// The sending end of a [`channel`].
pub struct Sender<T>(Arc<Channel<T>>);

impl<T> Sender<T> {
    /// Sends a value. That it was sent does not mean that it will be received. Wait-free and never blocks.
    ///
    /// # Errors
    /// The value when the receiver is gone.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.0.push(value).map_err(SendError)
    }
}

/// The sending end of a [`sync_channel`].
pub struct SyncSender<T>(Arc<Channel<T>>);

impl<T> SyncSender<T> {
    /// Sends a value as soon as there is room; senders that wait have their turns in order. *Blocking*: parks the
    /// calling bthread, or blocks the calling thread.
    ///
    /// # Errors
    /// The value when the receiver is gone, or goes meanwhile.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.0.send(value, None).map_err(|error| match error {
            SendTimeoutError::Timeout(value) | SendTimeoutError::Disconnected(value) => SendError(value),
        })
    }

    /// Sends a value if there is room; with a bound of 0, if the receiver waits. Never blocks.
    ///
    /// # Errors
    /// The value, and why.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.0.try_send(value)
    }

    /// As [`send`](Self::send), for at most `timeout`. *Blocking*: as `send`.
    ///
    /// # Errors
    /// The value, and why.
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.0.send(value, crate::clock::now().checked_add(timeout))
    }

    /// As [`send`](Self::send), until `deadline` at most. *Blocking*: as `send`.
    ///
    /// # Errors
    /// The value, and why.
    pub fn send_until(&self, value: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.0.send(value, Some(deadline))
    }
}

/// The receiving end of a channel. It can move to another bthread or thread, but not be shared.
pub struct Receiver<T>(Inlet<T>);

impl<T> Receiver<T> {
    /// Receives the next value; waits for one. *Blocking*: parks the calling bthread, or blocks the calling thread.
    ///
    /// # Errors
    /// When all senders are gone and everything sent was received.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.0.receive(None).map_err(|_| RecvError)
    }

    /// Receives the next value if one was sent. Never blocks.
    ///
    /// # Errors
    /// `Empty`, or `Disconnected` when nothing will come any more.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.0.try_receive()
    }

    /// As [`recv`](Self::recv), for at most `timeout`. *Blocking*: as `recv`.
    ///
    /// # Errors
    /// `Timeout`, or `Disconnected` when nothing will come any more.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.0.receive(crate::clock::now().checked_add(timeout))
    }

    /// As [`recv`](Self::recv), until `deadline` at most. *Blocking*: as `recv`.
    ///
    /// # Errors
    /// As [`recv_timeout`](Self::recv_timeout).
    pub fn recv_until(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.0.receive(Some(deadline))
    }

    /// The values to come, until all senders are gone. *Blocking*: each step, as [`recv`](Self::recv).
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(self)
    }

    /// The values that are there. Never blocks.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter(self)
    }
}

/// From [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, T>(&'a Receiver<T>);

/// From [`Receiver::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, T>(&'a Receiver<T>);

/// From [`Receiver::into_iter`]: as [`Iter`], with the receiver.
#[derive(Debug)]
pub struct IntoIter<T>(Receiver<T>);

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.try_recv().ok()
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter(self)
    }
}

/// What both kinds of senders do alike.
macro_rules! sender {
    ($sender:ident) => {
        impl<T> Clone for $sender<T> {
            fn clone(&self) -> Self {
                self.0.add_sender();
                $sender(self.0.clone())
            }
        }

        impl<T> Drop for $sender<T> {
            fn drop(&mut self) {
                self.0.remove_sender();
            }
        }

        impl<T> fmt::Debug for $sender<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($sender)).finish_non_exhaustive()
            }
        }
    };
}

sender!(Sender);
sender!(SyncSender);

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}
