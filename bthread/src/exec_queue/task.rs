//! One submitted task, and the handle that can cancel it before it runs.

use std::fmt;
use std::sync::{Arc, Mutex};

use crate::atomic::lock;

/// What [`TaskHandle::cancel`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// The task will not run; it was dropped. brpc: 0.
    Cancelled,
    /// The executor has taken the task and not yet asked for another nor returned. brpc: 1.
    Running,
    /// The task has run, or was cancelled or dropped before. brpc: -1.
    Done,
}

/// Names one task of an execution queue. Dropping it changes nothing.
#[must_use = "without its handle a task cannot be cancelled"]
pub struct TaskHandle(Arc<dyn Cancellable>);

impl TaskHandle {
    pub(super) fn new<T: Send + 'static>(ticket: Arc<Ticket<T>>) -> Self {
        TaskHandle(ticket)
    }

    /// Prevents the task from running; it is dropped at once, on the caller. Never blocks and does not wait for a task
    /// that is running. May be called from within the executor, where the task in hand is `Running`.
    pub fn cancel(&self) -> Cancel {
        self.0.cancel()
    }
}

impl fmt::Debug for TaskHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHandle").finish_non_exhaustive()
    }
}

trait Cancellable: Send + Sync {
    fn cancel(&self) -> Cancel;
}

/// What queue and handle share of a task.
pub(super) struct Ticket<T>(Mutex<Status<T>>);

enum Status<T> {
    Pending(T),
    Running,
    Done,
}

impl<T> Ticket<T> {
    pub(super) fn new(item: T) -> Self {
        Ticket(Mutex::new(Status::Pending(item)))
    }

    /// Takes the item to run it, if it is still there.
    pub(super) fn begin(&self) -> Option<T> {
        let mut status = lock(&self.0);
        match std::mem::replace(&mut *status, Status::Done) {
            Status::Pending(item) => {
                *status = Status::Running;
                Some(item)
            }
            _ => None,
        }
    }

    pub(super) fn end(&self) {
        *lock(&self.0) = Status::Done;
    }

    /// Takes the item back that was not queued.
    pub(super) fn take_back(&self) -> Option<T> {
        let item = self.begin();
        self.end();
        item
    }

    fn is_pending(&self) -> bool {
        matches!(*lock(&self.0), Status::Pending(_))
    }
}

impl<T: Send> Cancellable for Ticket<T> {
    fn cancel(&self) -> Cancel {
        let mut status = lock(&self.0);
        match std::mem::replace(&mut *status, Status::Done) {
            Status::Pending(item) => {
                drop(status); // the item's destructor is code of a user
                drop(item);
                Cancel::Cancelled
            }
            Status::Running => {
                *status = Status::Running;
                Cancel::Running
            }
            Status::Done => Cancel::Done,
        }
    }
}

/// A task as it lies in the queue.
pub(super) enum Task<T> {
    Plain(T),
    Cancellable(Arc<Ticket<T>>),
}

impl<T> Task<T> {
    /// Whether there is something left to run.
    pub(super) fn is_live(&self) -> bool {
        match self {
            Task::Plain(_) => true,
            Task::Cancellable(ticket) => ticket.is_pending(),
        }
    }
}
