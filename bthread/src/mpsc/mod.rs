//! A wait-free queue with many producers and one consumer at a time, where the producer that finds the queue
//! idle becomes the consumer. Socket writes stand on it (`spec/rpc-core.md` §2.2); execution queues and channels stand
//! on the list below it (`spec/bthread.md` §10).
//!
//! Holds unsafe: the cursor, which is the right to take items, is touched only between a successful `enter` and the end
//! of the guard it gives, which are an exclusive lock, or with `&mut self`.

#![allow(unsafe_code)]

pub(crate) mod list;
#[cfg(not(loom))]
mod nodes;

use crate::atomic::{AtomicBool, Ordering, UnsafeCell};
use list::{Cursor, List, Pushed, Rest};

/// What [`Queue::push`] made of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the first pusher has become the consumer"]
pub enum Push {
    /// The queue was idle: the caller is the consumer now and must see to [`Queue::drain`] and [`Queue::release`].
    First,
    /// Somebody else is the consumer and will find the item.
    Queued,
}

/// A queue of `T`; see the module's text for the roles. Not bounded: who pushes bounds what is queued. An idle queue
/// holds no memory beside itself.
///
/// ```
/// use bthread::mpsc::{Push, Queue};
/// let queue = Queue::new();
/// assert_eq!(queue.push(1), Push::First); // we are the consumer from here on
/// assert_eq!(queue.push(2), Push::Queued);
/// let mut seen = Vec::new();
/// queue.drain(|item| seen.push(item));
/// assert!(queue.release(), "nothing more has come, the queue is idle");
/// assert_eq!(seen, [1, 2]);
/// ```
pub struct Queue<T> {
    list: List<T>,
    consuming: AtomicBool,
    end: UnsafeCell<End<T>>,
}

/// The consumer's end.
struct End<T> {
    cursor: Cursor<T>,
    /// Items handed over by a `drain` that a panic ended; nobody has heard of them yet.
    untold: usize,
}

// SAFETY: items move between threads by value, which `T: Send` allows; nothing hands out `&T`.
unsafe impl<T: Send> Send for Queue<T> {}
// SAFETY: as above; `end` is under the `consuming` lock.
unsafe impl<T: Send> Sync for Queue<T> {}

impl<T> Queue<T> {
    /// An idle queue. Allocates nothing.
    pub fn new() -> Self {
        let (list, cursor) = List::new();
        let end = UnsafeCell::new(End { cursor, untold: 0 });
        Queue { list, consuming: AtomicBool::new(false), end }
    }

    /// Appends an item. Wait-free, never blocks. May run in parallel with every method.
    pub fn push(&self, item: T) -> Push {
        match self.list.push(item) {
            Ok(Pushed::First) => Push::First,
            Ok(Pushed::Queued) => Push::Queued,
            Err(_) => unreachable!("a queue is never closed"),
        }
    }

    /// Hands every item that is linked now to `f`, in the order of the pushes, and returns how many there were.
    /// Items pushed meanwhile may or may not be among them. Never waits for a producer.
    ///
    /// # Panics
    /// When called while another `drain` of the same queue runs (also from within `f`): only the consumer may drain.
    /// If `f` panics, the items handed over so far are gone and the rest stays queued; the caller is still the
    /// consumer, and its next `drain` counts those items too.
    pub fn drain(&self, mut f: impl FnMut(T)) -> usize {
        let _lock = self.enter();
        loop {
            // SAFETY: we hold `consuming`, and `f`, which could come back here, is refused by it.
            let end = unsafe { &mut *self.end.get() };
            // SAFETY: the cursor is the list's.
            let Some(item) = (unsafe { self.list.pop(&mut end.cursor) }) else {
                return std::mem::take(&mut end.untold);
            };
            end.untold += 1;
            f(item);
        }
    }

    /// Ends the consumer's turn after it has handled what its `drain`s gave it. True: the queue is idle, the next
    /// `push` makes a new consumer. False: more has been pushed and the caller is still the consumer. Waits for a
    /// producer that is within its push, if at all.
    ///
    /// # Panics
    /// As [`drain`](Self::drain).
    pub fn release(&self) -> bool {
        let lock = self.enter();
        // SAFETY: we hold `consuming`.
        let cursor = unsafe { (*self.end.get()).cursor.take() };
        drop(lock); // the next consumer may enter as soon as the list is at rest
        // SAFETY: the cursor is the list's, which is never closed nor waited on, and a fresh one is in its place.
        let Err(cursor) = (unsafe { self.list.rest(cursor, Rest::Idle) }) else { return true };
        let linked = self.list.is_linked(&cursor);
        {
            let _lock = self.enter();
            // SAFETY: we hold `consuming`.
            unsafe { (*self.end.get()).cursor = cursor };
        }
        if !linked {
            self.list.wait_for_a_link();
        }
        false
    }

    fn enter(&self) -> Consuming<'_> {
        // Acquire pairs with the Release in Consuming::drop: we see the cursor that the last consumer left.
        assert!(!self.consuming.swap(true, Ordering::Acquire), "two consumers of one queue at a time");
        Consuming(&self.consuming)
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> std::fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        // SAFETY: `&mut self` excludes everybody; the cursor is the list's.
        unsafe { self.list.clear(&mut (*self.end.get()).cursor) };
    }
}

struct Consuming<'a>(&'a AtomicBool);

impl Drop for Consuming<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release); // pairs with the Acquire in `enter`
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Pushes from several threads; whoever becomes the consumer collects.
    fn push_all(producers: usize, each: usize) -> Vec<(usize, usize)> {
        let queue = Arc::new(Queue::new());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let threads: Vec<_> = (0..producers)
            .map(|producer| {
                let (queue, seen) = (queue.clone(), seen.clone());
                std::thread::spawn(move || {
                    for n in 0..each {
                        if queue.push((producer, n)) == Push::First {
                            loop {
                                queue.drain(|item| seen.lock().unwrap().push(item));
                                if queue.release() {
                                    break;
                                }
                            }
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        Arc::into_inner(seen).unwrap().into_inner().unwrap()
    }

    #[test]
    fn every_item_arrives_once_and_in_the_order_of_its_producer() {
        let seen = push_all(4, 20_000);
        assert_eq!(seen.len(), 80_000);
        let mut next = [0; 4];
        for (producer, n) in seen {
            assert_eq!(n, next[producer]);
            next[producer] += 1;
        }
    }

    #[test]
    fn what_is_left_is_dropped_with_the_queue() {
        let item = Arc::new(());
        let queue = Queue::new();
        let _ = queue.push(item.clone());
        let _ = queue.push(item.clone());
        drop(queue);
        assert_eq!(Arc::strong_count(&item), 1);
    }

    #[test]
    fn a_consumer_that_panicked_can_go_on_and_release() {
        let queue = Queue::new();
        for item in 0..4 {
            let _ = queue.push(item);
        }
        let drain = || queue.drain(|item| assert_ne!(item, 1));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(drain)).is_err());
        let mut rest = Vec::new();
        let taken = queue.drain(|item| rest.push(item));
        assert_eq!((rest, taken), (vec![2, 3], 4));
        assert!(queue.release());
        assert_eq!(queue.push(4), Push::First);
    }

    #[test]
    #[should_panic(expected = "two consumers")]
    fn a_drain_within_a_drain_is_refused() {
        let queue = Queue::new();
        let _ = queue.push(1);
        queue.drain(|_| {
            queue.drain(|_| ());
        });
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::cell::UnsafeCell as Tracked;
    use loom::sync::Arc;

    /// The queue, and what its consumer keeps outside of it: loom reports a consumer that does not see all that the
    /// one before it did.
    struct Role {
        queue: Queue<usize>,
        sum: Tracked<usize>,
    }

    // SAFETY: only the consumer touches `sum`, which is what the model is about.
    unsafe impl Sync for Role {}

    #[test]
    fn loom_two_producers_one_consumer_at_a_time() {
        crate::atomic::model(|| {
            let role = Arc::new(Role { queue: Queue::new(), sum: Tracked::new(0) });
            let producer = |role: Arc<Role>, value| {
                move || {
                    if role.queue.push(value) == Push::First {
                        loop {
                            let mut found = 0;
                            role.queue.drain(|item| found += item);
                            // SAFETY: the consumer's alone.
                            role.sum.with_mut(|sum| unsafe { *sum += found });
                            if role.queue.release() {
                                break;
                            }
                        }
                    }
                }
            };
            let other = loom::thread::spawn(producer(role.clone(), 1));
            producer(role.clone(), 10)();
            other.join().unwrap();
            // SAFETY: both have ended.
            assert_eq!(role.sum.with(|sum| unsafe { *sum }), 11);
        });
    }
}
