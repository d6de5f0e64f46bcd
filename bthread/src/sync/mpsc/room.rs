//! The bound of a channel: how much room its list has, and the senders who wait for some.
//!
//! A word holds the free places and a mark that senders are waiting; while it is unmarked nobody takes the lock. A
//! sender that finds no room leaves its value as an *offer* and parks. The receiver passes a place that gets free to
//! the first offer, so that senders have their turn in the order in which they came. A channel of bound 0 has no room
//! ever: the receiver takes offers, and a sender that finds the receiver waiting hands its value over without one.
//!
//! The mark is set and cleared under the lock only, and set only while there is no room.

use std::collections::VecDeque;
use std::sync::mpsc::TrySendError;
use std::time::Instant;

use super::SendTimeoutError;
use crate::atomic::{AtomicUsize, Mutex, MutexGuard, Ordering, lock};
use crate::parker::Parker;
use crate::wait;

/// Offers are waiting.
const MARK: usize = 1;
/// One free place.
const PLACE: usize = 2;

/// The room of one bounded channel.
pub(super) struct Room<T> {
    /// Free places times `PLACE`, and the mark.
    word: AtomicUsize,
    bound: usize,
    offers: Mutex<Offers<T>>,
}

struct Offers<T> {
    /// In the order of their tickets.
    waiting: VecDeque<Offer<T>>,
    next_ticket: u64,
    /// Bound 0: the receiver waits, and nobody has promised it a value yet.
    receiving: bool,
    closed: bool,
}

struct Offer<T> {
    ticket: u64,
    value: T,
    parker: &'static Parker,
}

/// What a sender may do with its value.
pub(super) enum Entry<T> {
    /// It has a place: to be pushed on the list.
    Push(T),
    /// The receiver has taken it over already.
    Taken,
}

impl<T> Room<T> {
    /// Room for `bound` values. Bounds above a quarter of the address space count as that.
    pub(super) fn new(bound: usize) -> Self {
        let bound = bound.min(usize::MAX / (2 * PLACE));
        let offers = Offers { waiting: VecDeque::new(), next_ticket: 0, receiving: false, closed: false };
        Room { word: AtomicUsize::new(bound * PLACE), bound, offers: Mutex::new(offers) }
    }

    pub(super) fn is_rendezvous(&self) -> bool {
        self.bound == 0
    }

    /// A place, if there is one at once. Never blocks.
    pub(super) fn try_enter(&self, value: T) -> Result<T, TrySendError<T>> {
        if self.take_place() {
            return Ok(value);
        }
        let mut offers = lock(&self.offers);
        if offers.closed {
            return Err(TrySendError::Disconnected(value));
        }
        // Again, now that no mark comes and goes.
        if offers.is_expected() || self.take_place() { Ok(value) } else { Err(TrySendError::Full(value)) }
    }

    /// A place, as soon as there is one. *Blocking*: parks the bthread or blocks the thread.
    pub(super) fn enter(&self, value: T, deadline: Option<Instant>) -> Result<Entry<T>, SendTimeoutError<T>> {
        if self.take_place() {
            return Ok(Entry::Push(value));
        }
        let mut offers = lock(&self.offers);
        if offers.closed {
            return Err(SendTimeoutError::Disconnected(value));
        }
        if offers.is_expected() || !self.mark() {
            return Ok(Entry::Push(value));
        }
        if wait::is_over(deadline) {
            self.unmark_if_empty(&offers);
            return Err(SendTimeoutError::Timeout(value));
        }
        let parker = wait::current_parker();
        let ticket = offers.next_ticket;
        offers.next_ticket += 1;
        offers.waiting.push_back(Offer { ticket, value, parker });
        loop {
            drop(offers);
            wait::park(parker, deadline);
            offers = lock(&self.offers);
            let Ok(position) = offers.waiting.binary_search_by_key(&ticket, |offer| offer.ticket) else {
                return Ok(Entry::Taken);
            };
            let closed = offers.closed;
            if closed || wait::is_over(deadline) {
                let value = offers.waiting.remove(position).expect("just found").value;
                if closed {
                    return Err(SendTimeoutError::Disconnected(value));
                }
                self.unmark_if_empty(&offers);
                return Err(SendTimeoutError::Timeout(value));
            }
        }
    }

    /// The receiver has taken a value off the list. Its place goes to the first offer, whose value is given to `push`
    /// before its sender goes on.
    pub(super) fn leave(&self, push: impl FnOnce(T)) {
        if self.is_rendezvous() {
            return; // what was on the list had no place
        }
        // Release pairs with the Acquire in `take_place`, so that the next sender sees the list we left.
        let add = |word| (word & MARK == 0).then_some(word + PLACE);
        if self.word.fetch_update(Ordering::Release, Ordering::Relaxed, add).is_ok() {
            return;
        }
        let mut offers = lock(&self.offers);
        match offers.waiting.pop_front() {
            Some(offer) => {
                push(offer.value);
                self.unmark_if_empty(&offers);
                drop(offers);
                offer.parker.unpark();
            }
            None => {
                self.unmark_if_empty(&offers);
                self.word.fetch_add(PLACE, Ordering::Release); // as above
            }
        }
    }

    /// Bound 0: the first offer. Without one, and if `wait` is set, the next sender will push its value.
    pub(super) fn take_offer(&self, wait: bool) -> Option<T> {
        let mut offers = lock(&self.offers);
        let Some(offer) = offers.waiting.pop_front() else {
            offers.receiving = wait;
            return None;
        };
        drop(offers);
        offer.parker.unpark();
        Some(offer.value)
    }

    /// Bound 0: the receiver waits no more. False: a sender is about to push its value, or has.
    pub(super) fn stop_receiving(&self) -> bool {
        std::mem::take(&mut lock(&self.offers).receiving)
    }

    /// Lets no more senders in; those who wait get their values back.
    pub(super) fn close(&self) {
        let mut offers = lock(&self.offers);
        offers.closed = true;
        // No room and marked for good: every sender comes to the lock. Relaxed: the lock orders it.
        self.word.store(MARK, Ordering::Relaxed);
        offers.waiting.iter().for_each(|offer| offer.parker.unpark());
    }

    fn take_place(&self) -> bool {
        // Acquire pairs with the Release in `leave`. A mark means that there is no room.
        let take = |word: usize| (word >= PLACE).then(|| word - PLACE);
        self.word.fetch_update(Ordering::Acquire, Ordering::Relaxed, take).is_ok()
    }

    /// Marks a full word, or takes a place: false. Under the lock.
    fn mark(&self) -> bool {
        let next = |word| Some(if word >= PLACE { word - PLACE } else { MARK });
        // Acquire as in `take_place`. Release: `leave` comes to the lock, nothing else to publish.
        let word = self.word.fetch_update(Ordering::Acquire, Ordering::Relaxed, next);
        word.is_ok_and(|word| word < PLACE)
    }

    /// Under the lock.
    fn unmark_if_empty(&self, offers: &MutexGuard<'_, Offers<T>>) {
        if offers.waiting.is_empty() && !offers.closed {
            self.word.fetch_and(!MARK, Ordering::Relaxed); // the places are unchanged; pairs with nothing
        }
    }
}

impl<T> Offers<T> {
    /// Bound 0: whether the receiver waits for the caller's value, which is a promise to push it.
    fn is_expected(&mut self) -> bool {
        std::mem::take(&mut self.receiving)
    }
}
