//! Models of the list: every interleaving of pushes with a consumer that takes, rests, waits and closes.

use super::*;
use crate::{parker, wait};
use loom::cell::UnsafeCell as Tracked;
use loom::sync::Arc;

/// A list and its cursor. loom reports a value or a cursor that is touched without the other's writes seen.
struct Shared {
    list: List<Box<Tracked<usize>>>,
    cursor: Tracked<Cursor<Box<Tracked<usize>>>>,
    sum: Tracked<usize>,
}

// SAFETY: only the consumer touches the cursor and the sum, which is what the models are about.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

impl Shared {
    fn new() -> Arc<Self> {
        let (list, cursor) = List::new();
        Arc::new(Shared { list, cursor: Tracked::new(cursor), sum: Tracked::new(0) })
    }

    fn push(&self, value: usize) -> Result<Pushed, ()> {
        self.list.push(Box::new(Tracked::new(value))).map_err(drop)
    }

    /// Takes all there is, as the consumer.
    fn take_all(&self) {
        self.cursor.with_mut(|cursor| {
            // SAFETY: by the models' own order, the consumer.
            while let Some(value) = unsafe { self.list.pop(&mut *cursor) } {
                // SAFETY: as above; a value has one owner.
                self.sum.with_mut(|sum| unsafe { *sum += value.with(|value| *value) });
            }
        });
    }

    fn rest(&self, rest: Rest) -> bool {
        // SAFETY: as in `take_all`.
        let cursor = self.cursor.with_mut(|cursor| unsafe { (*cursor).take() });
        // SAFETY: as in `take_all`, and the cursor was taken out of its place.
        let Err(back) = (unsafe { self.list.rest(cursor, rest) }) else { return true };
        // SAFETY: as in `take_all`: still the consumer.
        self.cursor.with_mut(|cursor| unsafe { *cursor = back });
        false
    }

    fn sum(&self) -> usize {
        // SAFETY: all others have ended.
        self.sum.with(|sum| unsafe { *sum })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: exclusive.
        self.cursor.with_mut(|cursor| unsafe { self.list.clear(&mut *cursor) });
    }
}

fn push_and_consume(shared: &Shared, value: usize) {
    if shared.push(value) == Ok(Pushed::First) {
        loop {
            shared.take_all();
            if shared.rest(Rest::Idle) {
                break;
            }
            shared.list.wait_for_a_link();
        }
    }
}

#[test]
fn loom_the_first_pusher_consumes_what_all_push() {
    crate::atomic::model(|| {
        let shared = Shared::new();
        let others = [1, 10].map(|value| {
            let shared = shared.clone();
            loom::thread::spawn(move || push_and_consume(&shared, value))
        });
        push_and_consume(&shared, 100);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(shared.sum(), 111);
    });
}

#[test]
fn loom_a_waiting_consumer_is_woken() {
    crate::atomic::model(|| {
        let shared = Shared::new();
        let others = [1, 10].map(|value| {
            let shared = shared.clone();
            loom::thread::spawn(move || shared.push(value).unwrap())
        });
        let parker = wait::current_parker();
        loop {
            shared.take_all();
            if shared.sum() == 11 {
                break;
            }
            if !shared.rest(Rest::Waiting(parker)) {
                shared.list.wait_for_a_link();
                continue;
            }
            while !shared.list.has_first() {
                wait::park_for(parker, None, wait::Reason::Channel);
            }
        }
        others.into_iter().for_each(|other| drop(other.join().unwrap()));
    });
}

#[test]
fn loom_a_consumer_that_stops_waiting_misses_nothing() {
    crate::atomic::model(|| {
        let shared = Shared::new();
        let other = loom::thread::spawn({
            let shared = shared.clone();
            move || shared.push(1).unwrap()
        });
        let parker: &'static Parker = parker::of_this_thread();
        if shared.rest(Rest::Waiting(parker)) && !shared.list.stop_waiting() {
            while !shared.list.has_first() {
                shared.list.wait_for_a_link();
            }
            shared.take_all();
            assert_eq!(shared.sum(), 1);
        }
        other.join().unwrap();
        shared.take_all();
        assert_eq!(shared.sum(), 1);
    });
}

#[test]
fn loom_exactly_what_comes_before_the_close_is_accepted() {
    crate::atomic::model(|| {
        let shared = Shared::new();
        let others = [1, 10].map(|value| {
            let shared = shared.clone();
            loom::thread::spawn(move || if shared.push(value).is_ok() { value } else { 0 })
        });
        shared.take_all();
        // A second try only once all are linked: loom cannot tell which of two spinning threads to let wait.
        let closed = shared.rest(Rest::Closed);
        let taken = shared.sum();
        let accepted: usize = others.map(|other| other.join().unwrap()).into_iter().sum();
        if closed {
            assert_eq!(taken, accepted);
        } else {
            shared.take_all();
            assert_eq!(shared.sum(), accepted);
            assert!(shared.rest(Rest::Closed));
        }
        assert_eq!(shared.push(100), Err(()));
        assert_eq!(shared.push(1000), Err(()));
    });
}
