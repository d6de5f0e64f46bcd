//! The linked list under everything here that has many producers and one consumer: [`Queue`](super::Queue), the
//! channels of [`sync::mpsc`](crate::sync::mpsc), execution queues.
//!
//! A push is one exchange of the tail and one store of a link: wait-free. What the exchange finds says what to do:
//!
//! | tail before | the pusher |
//! |---|---|
//! | `IDLE` | has become the consumer, or must see to it that there is one |
//! | `WAITING` | wakes the consumer, which sleeps |
//! | `CLOSED` | gets its value back and closes the list again |
//! | a node | links its own behind it |
//!
//! The consumer keeps the node that it took last, since its link leads to the next one, until it *rests*: it exchanges
//! a tail that is still that node for one of the first three. A list at rest has no nodes.
//!
//! Exactly the values pushed before the close are accepted, although the exchange cannot be undone: once the consumer
//! has begun to close (`closing`), a pusher that finds a node waits for that node's verdict and takes it for its own.
//! Only pushes that race with the close ever do so. Every pusher knows its verdict before it links its node.
//!
//! Holds unsafe. The argument, once:
//! (1) A node is its pusher's until the exchange, and its value until the link (to the node before it, or `first`);
//!     then it is the consumer's. The consumer frees a node only when it is not the tail and its own link is set, or
//!     when it has exchanged the tail away from it: the pusher behind it is done with it then.
//! (2) There is one cursor for each list, and who has it is the consumer. Cursor and list are kept together by the
//!     callers, which is what the contracts ask for.
//! (3) `waiter` is written by the consumer before it sets `WAITING` and read by the pusher that finds that, before it
//!     sets `first`; the consumer does not write again before it has seen `first`, or has taken `WAITING` back.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use crate::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering, UnsafeCell, spin_loop, yield_now};
use crate::parker::Parker;

/// Rounds of spinning for a pusher between its exchange and its link, a window of a few instructions, before the
/// operating system is asked to run it.
const LINK_SPINS: u32 = 64;

/// What the tail is when it is no node. Nodes are aligned to words.
const IDLE: usize = 0;
const WAITING: usize = 1;
const CLOSED: usize = 2;

/// What became of a pushed value.
const UNKNOWN: u32 = 0;
const ACCEPTED: u32 = 1;
const REJECTED: u32 = 2;

/// What a push made of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// The list was idle: the caller must see that there is a consumer.
    First,
    /// There is a consumer, and it will find the value.
    Queued,
}

/// How a consumer leaves its list.
pub(crate) enum Rest {
    /// The next push is the first.
    Idle,
    /// The next push wakes this one, which stays the consumer.
    Waiting(&'static Parker),
    /// No push succeeds any more.
    Closed,
}

/// The producers' end.
pub(crate) struct List<T> {
    tail: AtomicPtr<Node<T>>,
    /// The node of the push that found the list at rest.
    first: AtomicPtr<Node<T>>,
    waiter: UnsafeCell<Option<&'static Parker>>,
    closing: AtomicBool,
}

/// The consumer's end: the node taken last, or null after a rest.
pub(crate) struct Cursor<T>(*mut Node<T>);

struct Node<T> {
    next: AtomicPtr<Node<T>>,
    verdict: AtomicU32,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: values move between threads by value, which `T: Send` allows; nothing hands out `&T`.
unsafe impl<T: Send> Send for List<T> {}
// SAFETY: as above; `waiter` by (3).
unsafe impl<T: Send> Sync for List<T> {}
// SAFETY: as above: the cursor is the right to take values.
unsafe impl<T: Send> Send for Cursor<T> {}

impl<T> Cursor<T> {
    /// Takes the cursor out of its place and leaves the one of a list at rest.
    pub(crate) fn take(&mut self) -> Self {
        Cursor(std::mem::replace(&mut self.0, ptr::null_mut()))
    }
}

fn sentinel<T>(tail: usize) -> *mut Node<T> {
    ptr::without_provenance_mut(tail)
}

impl<T> List<T> {
    /// An idle list and its cursor. Allocates nothing.
    pub(crate) fn new() -> (Self, Cursor<T>) {
        let list = List {
            tail: AtomicPtr::new(sentinel(IDLE)),
            first: AtomicPtr::new(ptr::null_mut()),
            waiter: UnsafeCell::new(None),
            closing: AtomicBool::new(false),
        };
        (list, Cursor(ptr::null_mut()))
    }

    /// Appends a value, or gives it back when the list is closed. Wait-free unless the list is being closed, then never
    /// longer than other pushes take.
    #[inline]
    pub(crate) fn push(&self, value: T) -> Result<Pushed, T> {
        let node = Node::new(value);
        // Release publishes the node to the pusher behind us. Acquire pairs with the Release of that pusher before us
        // or of `rest`: the first one sees all that the last consumer did.
        let previous = self.tail.swap(node.as_ptr(), Ordering::AcqRel);
        match previous.addr() {
            IDLE => self.begin(node),
            WAITING => {
                // SAFETY: (3): the exchange has read the Release of `rest`.
                let waiter = unsafe { *self.waiter.get() };
                self.begin(node);
                waiter.expect("set before WAITING").unpark();
                return Ok(Pushed::Queued);
            }
            CLOSED => return Err(self.close_again(node)),
            _ => return self.follow(node, previous),
        }
        Ok(Pushed::First)
    }

    /// Makes the node the first one, of a list that was at rest.
    fn begin(&self, node: NonNull<Node<T>>) {
        // SAFETY: (1): not handed over yet.
        // Relaxed: only its value matters to the pusher behind us, which waits for it.
        unsafe { node.as_ref() }.verdict.store(ACCEPTED, Ordering::Relaxed);
        self.first.store(node.as_ptr(), Ordering::Release); // pairs with the Acquire in `pop` and `has_first`
    }

    fn follow(&self, node: NonNull<Node<T>>, previous: *mut Node<T>) -> Result<Pushed, T> {
        // SAFETY: (1): the node before ours stays until we have set its link, below.
        let previous = unsafe { &*previous };
        // Relaxed: if the close came before our exchange in the order of the tail, the exchanges in between have passed
        // on the store of `closing` that came before it.
        let accepted = !self.closing.load(Ordering::Relaxed) || previous.await_verdict() == ACCEPTED;
        // SAFETY: (1): ours until the link.
        let this = unsafe { node.as_ref() };
        // SAFETY: (1): the value as well; it is taken at most once, as the consumer takes only accepted ones.
        let rejected = (!accepted).then(|| unsafe { (*this.value.get()).assume_init_read() });
        // Relaxed: as in `begin`.
        this.verdict.store(if accepted { ACCEPTED } else { REJECTED }, Ordering::Relaxed);
        previous.next.store(node.as_ptr(), Ordering::Release); // pairs with the Acquire in `pop` and `close_again`
        rejected.map_or(Ok(Pushed::Queued), Err)
    }

    /// The push that found the list closed: takes its value back and sets `CLOSED` again, passing the nodes of those
    /// who came meanwhile, which have taken their values back themselves.
    #[cold]
    fn close_again(&self, node: NonNull<Node<T>>) -> T {
        // SAFETY: (1): nobody else takes it.
        let value = unsafe { (*node.as_ref().value.get()).assume_init_read() };
        // SAFETY: (1): alive until we give it back.
        unsafe { node.as_ref() }.verdict.store(REJECTED, Ordering::Relaxed); // as in `begin`
        let mut node = node;
        // AcqRel as in `push`: the next pusher sees `closing`, as we did.
        while let Err(tail) =
            self.tail.compare_exchange(node.as_ptr(), sentinel(CLOSED), Ordering::AcqRel, Ordering::Relaxed)
        {
            debug_assert!(tail.addr() > CLOSED);
            let next = loop {
                // SAFETY: (1): we stand in for the consumer of this chain.
                let link = unsafe { node.as_ref() }.next.load(Ordering::Acquire); // pairs with `follow`
                match NonNull::new(link) {
                    Some(next) => break next,
                    None => self.wait_for_a_link(),
                }
            };
            // SAFETY: (1): passed, and its link is set. It has no value.
            unsafe { Node::free(node) };
            node = next;
        }
        // SAFETY: (1): the tail has left it.
        unsafe { Node::free(node) };
        value
    }

    /// Takes the next value, if one is linked. Never waits for a pusher.
    ///
    /// # Safety
    /// The cursor is this list's.
    #[inline]
    pub(crate) unsafe fn pop(&self, cursor: &mut Cursor<T>) -> Option<T> {
        let next = match NonNull::new(cursor.0) {
            None => {
                let first = NonNull::new(self.first.load(Ordering::Acquire))?; // pairs with `begin`
                // Relaxed: the next store is that of a push which finds the list at rest, that is, after our `rest`.
                self.first.store(ptr::null_mut(), Ordering::Relaxed);
                first
            }
            Some(last) => {
                // SAFETY: (1), (2): ours until we free it.
                let next = NonNull::new(unsafe { last.as_ref() }.next.load(Ordering::Acquire))?; // pairs with `follow`
                // SAFETY: (1): its link is set, and its value was taken.
                unsafe { Node::free(last) };
                next
            }
        };
        cursor.0 = next.as_ptr();
        // SAFETY: (1): handed over by the link; taken once, as the cursor goes on.
        Some(unsafe { (*next.as_ref().value.get()).assume_init_read() })
    }

    /// Whether something was pushed that the cursor has not passed; it may not be linked yet. Not for closed lists.
    pub(crate) fn has_more(&self, cursor: &Cursor<T>) -> bool {
        self.tail.load(Ordering::Relaxed) != cursor.0 // a look; who takes it pairs with the link
    }

    /// Whether [`pop`](Self::pop) would find a value.
    #[inline]
    pub(crate) fn is_linked(&self, cursor: &Cursor<T>) -> bool {
        match NonNull::new(cursor.0) {
            None => self.has_first(),
            // SAFETY: (1), (2): the cursor's node is the consumer's.
            Some(last) => !unsafe { last.as_ref() }.next.load(Ordering::Relaxed).is_null(), // a look; `pop` pairs
        }
    }

    /// Leaves a list whose values are all taken. An error gives the cursor back: more was pushed, which
    /// [`pop`](Self::pop) finds now or soon. Otherwise the next consumer, whose cursor is a [fresh](Cursor::take) one,
    /// may be at work already.
    ///
    /// # Safety
    /// The cursor is this list's, and the list is neither closed nor waited on. Where the caller keeps the cursor there
    /// is a fresh one now.
    pub(crate) unsafe fn rest(&self, cursor: Cursor<T>, rest: Rest) -> Result<(), Cursor<T>> {
        let tail = match rest {
            Rest::Idle => IDLE,
            Rest::Waiting(parker) => {
                // SAFETY: (3).
                unsafe { *self.waiter.get() = Some(parker) };
                WAITING
            }
            Rest::Closed => {
                self.closing.store(true, Ordering::Relaxed); // published by the exchange; see `follow`
                CLOSED
            }
        };
        // Release pairs with the Acquire of the push that finds it. Relaxed failure: nothing is read from it.
        let (release, relaxed) = (Ordering::Release, Ordering::Relaxed);
        if self.tail.compare_exchange(cursor.0, sentinel(tail), release, relaxed).is_err() {
            return Err(cursor);
        }
        if let Some(last) = NonNull::new(cursor.0) {
            // SAFETY: (1): the tail has left it; its value was taken.
            unsafe { Node::free(last) };
        }
        Ok(())
    }

    /// After a rest: whether a push has come. Consumer only.
    pub(crate) fn has_first(&self) -> bool {
        !self.first.load(Ordering::Acquire).is_null() // pairs with `begin`
    }

    /// Ends the rest as a waiting consumer. False: a push has come, and [`has_first`](Self::has_first) is true now or
    /// soon. Consumer only.
    pub(crate) fn stop_waiting(&self) -> bool {
        // Relaxed failure: the caller looks at `first`. Release as in `rest`.
        let (waiting, idle) = (sentinel(WAITING), sentinel(IDLE));
        self.tail.compare_exchange(waiting, idle, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Lets a pusher pass that is between its exchange and its link.
    pub(crate) fn wait_for_a_link(&self) {
        pause();
    }
}

fn pause() {
    #[cfg(not(loom))] // each round would be a step of the model
    for _ in 0..LINK_SPINS {
        spin_loop();
    }
    #[cfg(loom)]
    let _ = (LINK_SPINS, spin_loop as fn());
    yield_now();
}

impl<T> Node<T> {
    fn new(value: T) -> NonNull<Self> {
        let node = Node {
            next: AtomicPtr::new(ptr::null_mut()),
            verdict: AtomicU32::new(UNKNOWN),
            value: UnsafeCell::new(MaybeUninit::new(value)),
        };
        #[cfg(not(loom))]
        {
            let place = super::nodes::take::<Self>();
            // SAFETY: fresh memory for a node.
            unsafe { place.write(node) };
            place
        }
        #[cfg(loom)]
        NonNull::from(Box::leak(Box::new(node)))
    }

    /// # Safety
    /// The node is the caller's, holds no value, and is not used again.
    unsafe fn free(node: NonNull<Self>) {
        // SAFETY: by the contract; a node has nothing to drop but its value.
        #[cfg(not(loom))]
        unsafe {
            super::nodes::give(node)
        };
        // SAFETY: by the contract.
        #[cfg(loom)]
        drop(unsafe { Box::from_raw(node.as_ptr()) });
    }

    #[cold]
    fn await_verdict(&self) -> u32 {
        loop {
            match self.verdict.load(Ordering::Relaxed) {
                UNKNOWN => pause(), // as in `begin`
                verdict => return verdict,
            }
        }
    }
}

impl<T> List<T> {
    /// Drops what is left. `&mut`: no push is under way.
    ///
    /// # Safety
    /// The cursor is this list's.
    pub(crate) unsafe fn clear(&mut self, cursor: &mut Cursor<T>) {
        // SAFETY: by the contract.
        while let Some(value) = unsafe { self.pop(cursor) } {
            drop(value);
        }
        if let Some(last) = NonNull::new(cursor.take().0) {
            // SAFETY: (1): nobody else is left.
            unsafe { Node::free(last) };
        }
    }
}

#[cfg(all(test, loom))]
mod models;
