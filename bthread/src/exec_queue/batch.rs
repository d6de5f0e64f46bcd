//! What an executor gets: the tasks it may take now.

use std::fmt;
use std::sync::Arc;

use super::consumer::Executor;
use super::handover::{Consumer, Kind};
use super::task::{Task, Ticket};

/// Items that one batch gives at most; then other bthreads of the worker have their turn.
pub(super) const BATCH_MAX: usize = 1024;

/// The role of the consumer, with the executor as what it keeps.
pub(super) type Role<'a, T> = Consumer<'a, Task<T>, Option<Executor<T>>>;

/// The items that an executor may take now, in order: an iterator.
///
/// It ends when nothing more is queued, when an urgent item has come while this batch is of normal ones, or after 1024
/// items. The executor may also stop early: what it did not take comes again in a later batch. An item cancelled at the
/// last moment leaves an empty batch behind.
pub struct Batch<'a, T> {
    role: Role<'a, T>,
    kind: Kind,
    left: usize,
    /// Take even if an urgent item waits: for the batch of one that a submitter runs in place.
    in_order: bool,
    taken: usize,
    current: Option<Arc<Ticket<T>>>,
    stopped: bool,
}

impl<'a, T> Batch<'a, T> {
    pub(super) fn new(role: Role<'a, T>, kind: Kind) -> Self {
        Batch { role, kind, left: BATCH_MAX, in_order: false, taken: 0, current: None, stopped: false }
    }

    /// A batch of one, whatever comes meanwhile.
    pub(super) fn single(role: Role<'a, T>, kind: Kind) -> Self {
        Batch { left: 1, in_order: true, ..Batch::new(role, kind) }
    }

    /// The last one.
    pub(super) fn stopped(role: Role<'a, T>) -> Self {
        Batch { left: 0, stopped: true, ..Batch::new(role, Kind::Normal) }
    }

    pub(super) fn executor(&mut self) -> &mut Option<Executor<T>> {
        self.role.state()
    }

    /// Ends the batch; how many items were taken.
    pub(super) fn finish(mut self) -> (Role<'a, T>, usize) {
        self.end_current();
        (self.role, self.taken)
    }

    /// Whether this is the last call of the executor: the queue was stopped, and everything has run. Such a batch is
    /// empty.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether these items are urgent ones.
    pub fn is_urgent(&self) -> bool {
        self.kind == Kind::Urgent
    }

    fn end_current(&mut self) {
        if let Some(ticket) = self.current.take() {
            ticket.end();
        }
    }
}

impl<T> Iterator for Batch<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.end_current();
        while self.left != 0 {
            let task = match self.kind {
                Kind::Normal if self.in_order => self.role.next_in_order(),
                kind => self.role.next(kind),
            };
            let item = match task? {
                Task::Plain(item) => Some(item),
                Task::Cancellable(ticket) => {
                    let item = ticket.begin();
                    self.current = item.is_some().then_some(ticket);
                    item
                }
            };
            if item.is_some() {
                self.left -= 1;
                self.taken += 1;
                return item;
            }
        }
        None
    }
}

impl<T> fmt::Debug for Batch<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("taken", &self.taken)
            .field("urgent", &self.is_urgent())
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}
