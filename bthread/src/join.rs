//! Starting bthreads and waiting for their end.

use std::fmt;
use std::io;

use crate::local::{LocalPool, PoolRef};
use crate::runtime::{self, Runtime, Scheduler};
use crate::task::{Owned, TaskId};
use crate::worker::{self, Place};

/// Starts a bthread that runs `f`. Dropping the handle detaches it.
///
/// From a bthread the new one is queued on the same worker, in front of the others, and other workers may take it as
/// soon as there is another one behind it; it starts when the caller waits, yields or ends, or elsewhere before. From
/// other threads it is queued for any worker. Never blocks.
///
/// # Panics
/// When there are no bthreads or stacks left; [`Builder::spawn`] gives an error instead.
///
/// ```
/// let answer = bthread::spawn(|| 6 * 7);
/// assert_eq!(answer.join().unwrap(), 42);
/// ```
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Builder::new().spawn(f).expect("no bthread to be had")
}

/// Starts a detached bthread that the calling worker runs right after the current one, before all others. Outside
/// of a worker it is queued like any other. Never blocks.
///
/// # Errors
/// As [`Builder::spawn`].
pub fn spawn_next<F>(f: F) -> io::Result<()>
where
    F: FnOnce() + Send + 'static,
{
    start::<_, ()>(runtime::current(), f, None, true, Place::Next).map(drop)
}

/// How a bthread is started, if not as [`spawn`] does.
#[derive(Debug, Default)]
#[must_use]
pub struct Builder {
    name: Option<Box<str>>,
    local_pool: Option<PoolRef>,
}

impl Builder {
    /// The options of [`spawn`].
    pub fn new() -> Self {
        Self::default()
    }

    /// A name for messages and debug pages.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into().into_boxed_str());
        self
    }

    /// The pool whose bthread-locals the new bthread uses; see [`LocalPool`].
    pub fn local_pool(mut self, pool: &LocalPool) -> Self {
        self.local_pool = Some(pool.shared());
        self
    }

    /// As [`spawn`], in the caller's runtime.
    ///
    /// # Errors
    /// `OutOfMemory` when there are no bthreads (2^22 in a process) or stacks left. `f` is dropped then.
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_in(runtime::current(), f)
    }

    /// As [`spawn`](Self::spawn), in the runtime given.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn spawn_on<F, T>(self, runtime: Runtime, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_in(runtime.scheduler(), f)
    }

    fn spawn_in<F, T>(self, scheduler: &'static Scheduler, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let started = match self.local_pool {
            None => start(scheduler, f, self.name, false, Place::Next)?,
            Some(pool) => {
                let f = move || {
                    pool.enter();
                    f()
                };
                start(scheduler, f, self.name, false, Place::Next)?
            }
        };
        let (task, id) = started.expect("not detached");
        Ok(JoinHandle { task, id })
    }
}

fn start<F, T>(
    scheduler: &'static Scheduler,
    f: F,
    name: Option<Box<str>>,
    detached: bool,
    place: Place,
) -> io::Result<Option<(Owned<T>, TaskId)>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if scheduler.is_exhausted() {
        return Err(io::Error::new(io::ErrorKind::OutOfMemory, "no stacks left for bthreads"));
    }
    worker::start(scheduler, f, name, detached, place)
        .ok_or_else(|| io::Error::new(io::ErrorKind::OutOfMemory, "no bthreads left"))
}

/// Several detached bthreads that are queued at once: other workers hear of them with the [`flush`](Batch::flush),
/// through one wake-up at most.
///
/// ```
/// let (tx, rx) = std::sync::mpsc::channel();
/// let mut batch = bthread::Batch::new();
/// for n in 0..3 {
///     let tx = tx.clone();
///     batch.spawn(move || tx.send(n).unwrap()).unwrap();
/// }
/// batch.flush();
/// assert_eq!(rx.iter().take(3).sum::<i32>(), 3);
/// ```
#[derive(Debug)]
pub struct Batch {
    runtime: Runtime,
    pending: usize,
}

impl Batch {
    /// An empty batch in the caller's runtime.
    pub fn new() -> Self {
        Batch { runtime: Runtime::current(), pending: 0 }
    }

    /// Adds a bthread. It may start before the flush if a worker comes by. Never blocks.
    ///
    /// # Errors
    /// As [`Builder::spawn`].
    pub fn spawn<F>(&mut self, f: F) -> io::Result<()>
    where
        F: FnOnce() + Send + 'static,
    {
        start::<_, ()>(self.runtime.scheduler(), f, None, true, Place::Quiet)?;
        self.pending += 1;
        Ok(())
    }

    /// Lets other workers know. Never blocks. Dropping the batch does it too.
    pub fn flush(&mut self) {
        if std::mem::take(&mut self.pending) != 0 {
            self.runtime.scheduler().notify();
        }
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.flush();
    }
}

/// The right to wait for a bthread and to get its result.
pub struct JoinHandle<T> {
    task: Owned<T>,
    id: TaskId,
}

impl<T> JoinHandle<T> {
    /// Waits for the end and returns the function's value, or the payload of its panic.
    ///
    /// *Blocking*: parks the calling bthread, or blocks the calling thread outside of bthreads.
    ///
    /// # Errors
    /// The payload when the function panicked.
    pub fn join(self) -> std::thread::Result<T> {
        self.task.join()
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
