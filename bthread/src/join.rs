//! Waiting for the end of a bthread: by its handle, which has the result, or by its id.

use std::fmt;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::butex::{Butex, Manner};
use crate::task::{self, Owned, TaskId};
use crate::worker;

/// Words that watchers by id wait on; those whose ids meet on one word wake each other for nothing.
const ENDS: usize = 64;

/// The right to wait for a bthread and to get its result.
pub struct JoinHandle<T> {
    task: Owned<T>,
    id: TaskId,
}

impl<T> JoinHandle<T> {
    pub(crate) fn new(task: Owned<T>, id: TaskId) -> Self {
        JoinHandle { task, id }
    }

    /// Waits for the end and returns the function's value, or the payload of its panic.
    ///
    /// *Blocking*: parks the calling bthread, or blocks the calling thread outside of bthreads.
    ///
    /// # Errors
    /// The payload when the function panicked.
    pub fn join(self) -> std::thread::Result<T> {
        self.task.join()
    }

    /// As [`join`](Self::join), for at most `timeout`; gives the handle back when the time was up first.
    ///
    /// # Errors
    /// The handle.
    pub fn join_timeout(self, timeout: Duration) -> Result<std::thread::Result<T>, Self> {
        self.join_before(crate::clock::now().checked_add(timeout))
    }

    /// As [`join`](Self::join), until the deadline at most; gives the handle back when it came first.
    ///
    /// # Errors
    /// The handle.
    pub fn join_until(self, deadline: Instant) -> Result<std::thread::Result<T>, Self> {
        self.join_before(Some(deadline))
    }

    /// As [`join_until`](Self::join_until); None is no deadline.
    pub(crate) fn join_before(self, deadline: Option<Instant>) -> Result<std::thread::Result<T>, Self> {
        if self.task.wait(deadline) { Ok(self.task.join()) } else { Err(self) }
    }

    /// Whether the bthread has ended, so that [`join`](Self::join) would not wait.
    pub fn is_finished(&self) -> bool {
        self.task.task().is_done()
    }

    /// The bthread's id.
    pub fn id(&self) -> TaskId {
        self.id
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("id", &self.id).finish()
    }
}

/// Waits until the bthread `id` has ended, whoever holds its handle; at once if it has ended already. Any number may
/// wait for one. What the bthread did is visible afterwards. An interruption does not end the wait.
///
/// *Blocking*: parks the calling bthread, or blocks the calling thread.
///
/// # Errors
/// `InvalidInput` for the caller's own id, and for a number that no bthread has had so far. Of a number that was never
/// given, but names a place that other bthreads had, nobody can tell: it counts as that of one that has ended.
///
/// ```
/// let handle = bthread::spawn(|| ());
/// bthread::join(handle.id()).unwrap();
/// assert!(handle.is_finished());
/// ```
pub fn join(id: TaskId) -> io::Result<()> {
    wait_for_end(id, None).map(drop)
}

/// As [`join`], until the deadline at most. False: it came first.
///
/// # Errors
/// As [`join`].
pub fn join_until(id: TaskId, deadline: Instant) -> io::Result<bool> {
    wait_for_end(id, Some(deadline))
}

/// As [`join`], for at most `timeout`. False: the time was up first.
///
/// # Errors
/// As [`join`].
pub fn join_timeout(id: TaskId, timeout: Duration) -> io::Result<bool> {
    wait_for_end(id, crate::clock::now().checked_add(timeout))
}

fn wait_for_end(id: TaskId, deadline: Option<Instant>) -> io::Result<bool> {
    let bad = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
    let task =
        task::slot_of(id).filter(|_| id.as_u64() >> 32 != 0).ok_or_else(|| bad("no such bthread"))?.get();
    if worker::current_task().is_some_and(|current| current.get().id() == id) {
        return Err(bad("a bthread cannot wait for its own end"));
    }
    let end = end_of(id);
    loop {
        let seen = end.value().load(Ordering::Acquire); // pairs with the Release in `wake_watchers`
        if task.has_ended(id) || !task.set_watched(id) {
            return Ok(true);
        }
        if deadline.is_some_and(|deadline| deadline <= crate::clock::now()) {
            return Ok(false);
        }
        // An interruption stays pending; the loop looks at what there is to see.
        let _ = end.wait_as(seen, Manner { deadline, ..Manner::default() });
    }
}

/// Wakes those who wait for the end of the bthread `id`.
pub(crate) fn wake_watchers(id: TaskId) {
    let end = end_of(id);
    end.value().fetch_add(1, Ordering::Release); // pairs with the Acquire in `wait_for_end`
    end.wake_all();
}

fn end_of(id: TaskId) -> &'static Butex {
    static WORDS: OnceLock<[Butex; ENDS]> = OnceLock::new();
    &WORDS.get_or_init(|| std::array::from_fn(|_| Butex::new(0)))[id.index() % ENDS]
}
