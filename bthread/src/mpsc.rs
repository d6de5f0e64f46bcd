//! A wait-free queue with many producers and one consumer at a time, where the producer that finds the queue
//! idle becomes the consumer. Socket writes and execution queues stand on it (`spec/bthread.md` §10,
//! `spec/rpc-core.md` §2.2).
//!
//! Holds unsafe: the links between nodes. The argument, once:
//! (1) A node is owned by the queue from `push` until `drain` has passed it; only the consumer frees nodes.
//! (2) `head` is touched only between a successful `enter` and the matching `leave`, which are an exclusive lock.
//! (3) `pending` is raised before a node is linked, so the consumer never takes more than was counted, and the one
//!     `push` that raises it from 0 is the only one that becomes the consumer until `release` brings it to 0.

#![allow(unsafe_code)]

use std::ptr;

use crate::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, UnsafeCell, spin_loop, yield_now};

/// Rounds that the consumer spins for a producer that has counted its node but not yet linked it, before it lets
/// the operating system run that producer.
const LINK_SPINS: u32 = 64;

/// What [`Queue::push`] made of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the first pusher has become the consumer"]
pub enum Push {
    /// The queue was idle: the caller is the consumer now and must see to [`Queue::drain`] and [`Queue::release`].
    First,
    /// Somebody else is the consumer and will find the item.
    Queued,
}

/// A queue of `T`; see the module's text for the roles.
///
/// ```
/// use bthread::mpsc::{Push, Queue};
/// let queue = Queue::new();
/// assert_eq!(queue.push(1), Push::First); // we are the consumer from here on
/// assert_eq!(queue.push(2), Push::Queued);
/// let mut seen = Vec::new();
/// let taken = queue.drain(|item| seen.push(item));
/// assert!(queue.release(taken), "nothing more has come, the queue is idle");
/// assert_eq!(seen, [1, 2]);
/// ```
pub struct Queue<T> {
    tail: AtomicPtr<Node<T>>,
    pending: AtomicUsize,
    consuming: AtomicBool,
    head: UnsafeCell<Head<T>>,
}

/// The consumer's end.
struct Head<T> {
    node: *mut Node<T>,
    /// Items handed over by a `drain` that a panic ended; nobody has heard of them yet.
    untold: usize,
}

struct Node<T> {
    next: AtomicPtr<Node<T>>,
    value: Option<T>,
}

// SAFETY: items move between threads by value, which `T: Send` allows; nothing hands out `&T`.
unsafe impl<T: Send> Send for Queue<T> {}
// SAFETY: as above; `head` is under the `consuming` lock (2).
unsafe impl<T: Send> Sync for Queue<T> {}

impl<T> Queue<T> {
    /// An idle queue; allocates one node.
    pub fn new() -> Self {
        let stub = Node::boxed(None);
        Queue {
            tail: AtomicPtr::new(stub),
            pending: AtomicUsize::new(0),
            consuming: AtomicBool::new(false),
            head: UnsafeCell::new(Head { node: stub, untold: 0 }),
        }
    }

    /// Appends an item. Wait-free, never blocks, allocates one node. May run in parallel with every method.
    pub fn push(&self, value: T) -> Push {
        let node = Node::boxed(Some(value));
        // Before the link (3). Acquire pairs with the Release of `release`: a new consumer sees what the last one did.
        let was_idle = self.pending.fetch_add(1, Ordering::AcqRel) == 0;
        let previous = self.tail.swap(node, Ordering::AcqRel); // pairs with itself: the next pusher sees our node
        // SAFETY: (1): `previous` is still owned by the queue: the consumer passes a node only once its `next` is
        // set, which is this store.
        unsafe { (*previous).next.store(node, Ordering::Release) }; // pairs with the Acquire in `drain`
        if was_idle { Push::First } else { Push::Queued }
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
            // SAFETY: (2): we hold `consuming`, and `f`, which could come back here, is refused by it.
            let state = unsafe { &mut *self.head.get() };
            let head = state.node;
            // SAFETY: (1): `head` was not freed: only this loop frees it, below.
            let next = unsafe { (*head).next.load(Ordering::Acquire) }; // pairs with the Release in `push`
            if next.is_null() {
                return std::mem::take(&mut state.untold);
            }
            // SAFETY: (1), (2): `next` is linked and ours; its value is untouched since its push.
            let value = unsafe { (*next).value.take() };
            state.node = next;
            state.untold += 1;
            // SAFETY: (1): `head` has been passed and no producer holds it: its `next` is set.
            drop(unsafe { Box::from_raw(head) });
            f(value.expect("a linked node has a value until the consumer takes it"));
        }
    }

    /// Ends the consumer's turn after it has handled `taken` items (the sum of its `drain`s since it became the
    /// consumer or since the last `release` that returned false). True: the queue is idle, the next `push` makes a
    /// new consumer. False: more has been pushed and the caller is still the consumer.
    pub fn release(&self, taken: usize) -> bool {
        // Release pairs with the Acquire in `push`; Acquire with pushes that were counted meanwhile.
        let idle = self.pending.fetch_sub(taken, Ordering::AcqRel) == taken;
        if !idle && taken == 0 {
            self.wait_for_a_link();
        }
        idle
    }

    /// Items pushed and not yet released; a snapshot.
    pub fn len(&self) -> usize {
        self.pending.load(Ordering::Relaxed) // a hint; pairs with nothing
    }

    /// Whether the queue was idle a moment ago.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A producer is between its count and its link, a window of two instructions; let it pass.
    fn wait_for_a_link(&self) {
        for _ in 0..LINK_SPINS {
            spin_loop();
        }
        yield_now();
    }

    fn enter(&self) -> Consuming<'_> {
        // Acquire pairs with the Release in Consuming::drop: we see the head that the last consumer left.
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
        f.debug_struct("Queue").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        // SAFETY: (2): `&mut self` excludes everybody.
        let mut node = unsafe { (*self.head.get()).node };
        while !node.is_null() {
            // SAFETY: (1): with no producer left, every node up to the tail is linked and owned by the queue.
            let boxed = unsafe { Box::from_raw(node) };
            node = boxed.next.load(Ordering::Relaxed); // exclusive access, as above
        }
    }
}

struct Consuming<'a>(&'a AtomicBool);

impl Drop for Consuming<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release); // pairs with the Acquire in `enter`
    }
}

impl<T> Node<T> {
    fn boxed(value: Option<T>) -> *mut Self {
        Box::into_raw(Box::new(Node { next: AtomicPtr::new(ptr::null_mut()), value }))
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
                                let taken = queue.drain(|item| seen.lock().unwrap().push(item));
                                if queue.release(taken) {
                                    break;
                                }
                            }
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert!(queue.is_empty());
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
        assert!(queue.release(taken));
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
                            let taken = role.queue.drain(|item| found += item);
                            // SAFETY: the consumer's alone.
                            role.sum.with_mut(|sum| unsafe { *sum += found });
                            if role.queue.release(taken) {
                                break;
                            }
                        }
                    }
                }
            };
            let other = loom::thread::spawn(producer(role.clone(), 1));
            producer(role.clone(), 10)();
            other.join().unwrap();
            assert!(role.queue.is_empty());
            // SAFETY: both have ended.
            assert_eq!(role.sum.with(|sum| unsafe { *sum }), 11);
        });
    }
}
