//! A worker's inbox: started bthreads of this worker that others have woken. Any number push, the worker takes all.
//!
//! Holds unsafe: the links run through the tasks themselves. A task is in at most one inbox, since only the waker
//! that ended its park puts it there; `link` belongs to whoever holds the list it is part of.

#![allow(unsafe_code)]

use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::task::{Task, TaskRef};

/// Tasks on their way to one worker.
pub(crate) struct Inbox(AtomicPtr<Task>);

impl Inbox {
    pub(crate) fn new() -> Self {
        Inbox(AtomicPtr::new(ptr::null_mut()))
    }

    /// Lock-free; from any thread. The task must be in no queue.
    pub(crate) fn push(&self, task: TaskRef) {
        let mut head = self.0.load(Ordering::Relaxed); // the exchange decides
        loop {
            task.get().link.store(head, Ordering::Relaxed); // published by the exchange
            // Release pairs with the Acquire in `take_all`.
            match self.0.compare_exchange_weak(head, task.as_ptr(), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Whether nothing was there a moment ago. A task pushed before a fence that the caller's own fence follows is
    /// seen (`parking`).
    pub(crate) fn is_empty(&self) -> bool {
        self.0.load(Ordering::Relaxed).is_null()
    }

    /// Takes everything, hands it to `f` in the order of the pushes. Only the inbox's worker calls this.
    pub(crate) fn take_all(&self, mut f: impl FnMut(TaskRef)) {
        if self.is_empty() {
            return;
        }
        let mut newest = self.0.swap(ptr::null_mut(), Ordering::Acquire); // pairs with the Release in `push`
        let mut oldest: *mut Task = ptr::null_mut();
        while let Some(task) = NonNull::new(newest) {
            // SAFETY: only pointers of TaskRefs are in the list.
            let link = unsafe { &TaskRef::from_ptr(task).get().link };
            newest = link.swap(oldest, Ordering::Relaxed); // the list is ours
            oldest = task.as_ptr();
        }
        while let Some(task) = NonNull::new(oldest) {
            // SAFETY: as above.
            let task = unsafe { TaskRef::from_ptr(task) };
            oldest = task.get().link.load(Ordering::Relaxed); // the list is ours
            f(task);
        }
    }
}
