//! What the two ends of a channel share: a list, its bound if it has one, and who is still there.
//!
//! The last sender to go pushes an end mark; the receiver that goes closes the list.
//!
//! Holds unsafe: the cursor of the list belongs to the receiver, which is one ([`Inlet`] is made once, is not `Clone`
//! and not `Sync`), and none of whose methods calls code of a user while it uses the cursor.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, TryRecvError, TrySendError};
use std::time::Instant;

use super::SendTimeoutError;
use super::room::{Entry, Room};
use crate::atomic::{AtomicUsize, Ordering};
use crate::mpsc::list::{Cursor, List, Rest};
use crate::wait;

/// The shared part of a channel.
pub(super) struct Channel<T> {
    /// The values, and `None` behind the last one.
    list: List<Option<T>>,
    senders: AtomicUsize,
    room: Option<Room<T>>,
}

/// The receiver's end.
pub(super) struct Inlet<T> {
    channel: Arc<Channel<T>>,
    cursor: UnsafeCell<Cursor<Option<T>>>,
    /// The end mark was found.
    ended: std::cell::Cell<bool>,
}

impl<T> Channel<T> {
    /// A channel with one sender.
    pub(super) fn new(bound: Option<usize>) -> (Arc<Self>, Inlet<T>) {
        let (list, cursor) = List::new();
        let channel = Arc::new(Channel { list, senders: AtomicUsize::new(1), room: bound.map(Room::new) });
        let cursor = UnsafeCell::new(cursor);
        (channel.clone(), Inlet { channel, cursor, ended: std::cell::Cell::new(false) })
    }

    pub(super) fn add_sender(&self) {
        self.senders.fetch_add(1, Ordering::Relaxed); // made from one that is there, as with `Arc`
    }

    pub(super) fn remove_sender(&self) {
        // AcqRel: what other senders pushed comes before the end mark.
        if self.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            let _ = self.list.push(None); // without a receiver there is nobody to tell
        }
    }

    /// Pushes without regard to a bound. Wait-free.
    pub(super) fn push(&self, value: T) -> Result<(), T> {
        match self.list.push(Some(value)) {
            Ok(_) => Ok(()),
            Err(value) => Err(value.expect("a list gives back what was pushed")),
        }
    }

    pub(super) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let value = match &self.room {
            Some(room) => room.try_enter(value)?,
            None => value,
        };
        self.push(value).map_err(TrySendError::Disconnected)
    }

    /// *Blocking*: parks the bthread or blocks the thread while there is no room.
    pub(super) fn send(&self, value: T, deadline: Option<Instant>) -> Result<(), SendTimeoutError<T>> {
        let value = match &self.room {
            Some(room) => match room.enter(value, deadline)? {
                Entry::Push(value) => value,
                Entry::Taken => return Ok(()),
            },
            None => value,
        };
        self.push(value).map_err(SendTimeoutError::Disconnected)
    }

    fn rendezvous(&self) -> Option<&Room<T>> {
        self.room.as_ref().filter(|room| room.is_rendezvous())
    }
}

impl<T> Inlet<T> {
    /// The next value that is there. May wait for a sender that is within its push.
    pub(super) fn try_receive(&self) -> Result<T, TryRecvError> {
        loop {
            match self.pop() {
                Some(Some(value)) => return Ok(value),
                Some(None) => {
                    self.ended.set(true);
                    return Err(TryRecvError::Disconnected);
                }
                None if self.ended.get() => return Err(TryRecvError::Disconnected),
                None => {}
            }
            // SAFETY: the receiver's.
            if !self.channel.list.has_more(unsafe { &*self.cursor.get() }) {
                let offer = self.channel.rendezvous().and_then(|room| room.take_offer(false));
                return offer.ok_or(TryRecvError::Empty);
            }
            self.channel.list.wait_for_a_link();
        }
    }

    /// *Blocking*: parks the bthread or blocks the thread until there is a value.
    pub(super) fn receive(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        loop {
            match self.try_receive() {
                Ok(value) => return Ok(value),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => {}
            }
            if wait::is_over(deadline) {
                return Err(RecvTimeoutError::Timeout);
            }
            if let Some(room) = self.channel.rendezvous() {
                if let Some(value) = room.take_offer(true) {
                    return Ok(value);
                }
                self.sleep(deadline);
                if room.stop_receiving() {
                    continue; // nobody has promised anything: the time is up, or the senders are gone
                }
                self.sleep(None);
            } else {
                self.sleep(deadline);
            }
        }
    }

    /// Sleeps until something is pushed or the deadline has passed.
    fn sleep(&self, deadline: Option<Instant>) {
        let list = &self.channel.list;
        let parker = wait::current_parker();
        // SAFETY: the receiver's.
        let cursor = unsafe { (*self.cursor.get()).take() };
        // SAFETY: the cursor is the list's, which only we close or wait on, and a fresh one is in its place.
        if let Err(cursor) = unsafe { list.rest(cursor, Rest::Waiting(parker)) } {
            // SAFETY: the receiver's.
            unsafe { *self.cursor.get() = cursor };
            return;
        }
        while !list.has_first() {
            wait::park_for(parker, deadline, wait::Reason::Channel);
            if wait::is_over(deadline) {
                if list.stop_waiting() {
                    return;
                }
                while !list.has_first() {
                    list.wait_for_a_link();
                }
            }
        }
    }

    /// Takes the next value off the list.
    fn pop(&self) -> Option<Option<T>> {
        // SAFETY: the receiver's, and the cursor is the list's.
        let value = unsafe { self.channel.list.pop(&mut *self.cursor.get()) };
        if let (Some(Some(_)), Some(room)) = (&value, &self.channel.room) {
            room.leave(|offer| {
                let pushed = self.channel.push(offer);
                debug_assert!(pushed.is_ok(), "only the receiver closes the list");
            });
        }
        value
    }
}

impl<T> Drop for Inlet<T> {
    fn drop(&mut self) {
        /// Goes on if a value panics when it is dropped. If another one does so too, the process ends.
        struct Close<'a, T>(&'a Inlet<T>);
        impl<T> Drop for Close<'_, T> {
            fn drop(&mut self) {
                self.0.close();
            }
        }
        if let Some(room) = &self.channel.room {
            room.close();
        }
        let close = Close(self);
        self.close();
        std::mem::forget(close);
    }
}

impl<T> Inlet<T> {
    /// Drops what is there and closes the list.
    fn close(&self) {
        let list = &self.channel.list;
        loop {
            // SAFETY: the receiver's, and the cursor is the list's.
            while let Some(value) = unsafe { list.pop(&mut *self.cursor.get()) } {
                drop(value);
            }
            // SAFETY: the receiver's.
            let cursor = unsafe { (*self.cursor.get()).take() };
            // SAFETY: the cursor is the list's, which is not closed yet, and a fresh one is in its place.
            let Err(cursor) = (unsafe { list.rest(cursor, Rest::Closed) }) else { return };
            if !list.is_linked(&cursor) {
                list.wait_for_a_link();
            }
            // SAFETY: the receiver's.
            unsafe { *self.cursor.get() = cursor };
        }
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;

    /// Senders with these values, each of which is received or given back. More steps than two threads can do here
    /// in seconds are left to the tests.
    fn model<const N: usize>(
        bound: usize,
        values: [&'static [u32]; N],
        send: fn(&Channel<u32>, u32) -> u32,
        receive: fn(Inlet<u32>) -> u32,
    ) {
        crate::atomic::model(move || {
            let (channel, inlet) = Channel::new(Some(bound));
            (1..N).for_each(|_| channel.add_sender());
            let senders = values.map(|values| {
                let channel = channel.clone();
                loom::thread::spawn(move || {
                    let back: u32 = values.iter().map(|value| send(&channel, *value)).sum();
                    channel.remove_sender();
                    back
                })
            });
            let received = receive(inlet);
            let back: u32 = senders.map(|sender| sender.join().unwrap()).iter().sum();
            assert_eq!(received + back, values.iter().copied().flatten().sum::<u32>());
        });
    }

    fn send(channel: &Channel<u32>, value: u32) -> u32 {
        channel.send(value, None).map_or(value, |()| 0)
    }

    fn send_or_give_up(channel: &Channel<u32>, value: u32) -> u32 {
        // In models a deadline passes at once.
        channel.send(value, Some(crate::clock::now())).map_or_else(
            |error| match error {
                SendTimeoutError::Timeout(back) | SendTimeoutError::Disconnected(back) => back,
            },
            |()| 0,
        )
    }

    fn receive_all(inlet: Inlet<u32>) -> u32 {
        std::iter::from_fn(|| inlet.receive(None).ok()).sum()
    }

    /// Gives up once, then receives all.
    fn receive_again(inlet: Inlet<u32>) -> u32 {
        inlet.receive(Some(crate::clock::now())).unwrap_or(0) + receive_all(inlet)
    }

    #[test]
    fn loom_senders_wait_for_room() {
        model(1, [&[1, 10]], send, receive_all);
    }

    #[test]
    fn loom_a_sender_that_gives_up_keeps_its_value() {
        model(1, [&[1, 10]], send_or_give_up, receive_all);
    }

    #[test]
    fn loom_a_rendezvous_is_kept() {
        model(0, [&[1], &[10]], send, receive_all);
    }

    #[test]
    fn loom_a_rendezvous_may_be_missed_by_both() {
        model(0, [&[1], &[10]], send_or_give_up, receive_again);
    }
}
