//! The queue as its users see it: handles, options, ids.
//!
//! Holds unsafe: the calls that pass the consumer's role on, under the contract of `consumer`.

#![allow(unsafe_code)]

use std::any::Any;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::consumer::{self, Executor, Place};
use super::handover::{Handover, Kind};
use super::stats::COUNTERS;
use super::task::{Task, TaskHandle, Ticket};
use crate::butex::{Butex, Manner};
use crate::runtime::Runtime;
use crate::slab::Slab;

/// Execution queues in a process.
const QUEUES_MAX: usize = 1 << 20;

/// The queues that were not stopped, by id.
static QUEUES: LazyLock<Slab<dyn Any + Send + Sync>> = LazyLock::new(|| Slab::new(QUEUES_MAX));

/// A submission failed because the queue was stopped; here is the item. brpc: `EINVAL`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Stopped<T>(pub T);

impl<T> fmt::Debug for Stopped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopped").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for Stopped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the execution queue was stopped")
    }
}

impl<T> std::error::Error for Stopped<T> {}

/// How a task is submitted, if not as [`ExecutionQueue::submit`] does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct TaskOptions {
    urgent: bool,
    in_place: bool,
}

impl TaskOptions {
    /// A normal task for the consumer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Run before all normal tasks, after the urgent ones submitted before.
    pub fn urgent(mut self, urgent: bool) -> Self {
        self.urgent = urgent;
        self
    }

    /// Run by the submitter, at once, if the queue is idle. The caller must hold nothing that the executor needs. Of
    /// several urgent tasks that find the queue idle at the same time, one submitter may run the task of another.
    pub fn in_place(mut self, in_place: bool) -> Self {
        self.in_place = in_place;
        self
    }
}

/// Options of an [`ExecutionQueue`].
#[derive(Debug, Default)]
#[must_use]
pub struct Builder {
    name: Option<String>,
    runtime: Option<Runtime>,
    dedicated_thread: bool,
}

impl Builder {
    /// The options of [`ExecutionQueue::start`].
    pub fn new() -> Self {
        Self::default()
    }

    /// A name for its bthreads or its thread, seen in messages and on debug pages. Default for a thread:
    /// `ExecutionQueue`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The runtime of its bthreads. Default: that of the caller of [`start`](Self::start).
    pub fn runtime(mut self, runtime: Runtime) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Runs the tasks on an OS thread of the queue's own instead of bthreads: for executors that block the thread.
    pub fn dedicated_thread(mut self, dedicated_thread: bool) -> Self {
        self.dedicated_thread = dedicated_thread;
        self
    }

    /// Starts a queue; see [`ExecutionQueue::start`].
    ///
    /// # Errors
    /// `OutOfMemory` beyond 2^20 queues in the process; what the system says when it gives no thread.
    pub fn start<T, F>(self, executor: F) -> io::Result<ExecutionQueue<T>>
    where
        T: Send + 'static,
        F: FnMut(&mut Batch<'_, T>) + Send + 'static,
    {
        let has_thread = self.dedicated_thread && !crate::simulation::is_simulated();
        let place = if has_thread {
            Place::Thread(Butex::new(0))
        } else {
            Place::Bthread { runtime: self.runtime.unwrap_or_else(Runtime::current), name: self.name.clone() }
        };
        let executor: Executor<T> = Box::new(executor);
        let shared = Arc::new(Shared {
            handover: Handover::new(Some(executor)),
            place,
            handles: AtomicUsize::new(1),
            id: AtomicU64::new(0),
            ended: Butex::new(0),
        });
        let id = QUEUES
            .insert(shared.clone())
            .ok_or_else(|| io::Error::new(io::ErrorKind::OutOfMemory, "no execution queues left"))?;
        shared.id.store(id, Ordering::Relaxed); // published with the handle
        COUNTERS.queues.fetch_add(1, Ordering::Relaxed); // a count
        let queue = ExecutionQueue { shared };
        if has_thread {
            let shared = queue.shared.clone();
            let name = self.name.unwrap_or_else(|| "ExecutionQueue".into());
            let thread = std::thread::Builder::new().name(name).spawn(move || consumer::serve(&shared));
            if let Err(error) = thread {
                QUEUES.remove(id);
                let _ = queue.shared.handover.stop(); // so that dropping the handle starts no consumer
                COUNTERS.queues.fetch_sub(1, Ordering::Relaxed); // a count
                return Err(error);
            }
        }
        Ok(queue)
    }
}

/// What handles, consumer and the table of ids share.
pub(super) struct Shared<T> {
    pub(super) handover: Handover<Task<T>, Option<Executor<T>>>,
    pub(super) place: Place,
    handles: AtomicUsize,
    id: AtomicU64,
    /// 1 once the executor has seen the end.
    ended: Butex,
}

impl<T: Send + 'static> Shared<T> {
    pub(super) fn is_ended(&self) -> bool {
        self.ended.value().load(Ordering::Acquire) != 0 // pairs with the Release in `end`
    }

    /// Everything has run, and the executor is gone.
    pub(super) fn end(&self) {
        COUNTERS.queues.fetch_sub(1, Ordering::Relaxed); // a count
        self.ended.value().store(1, Ordering::Release); // pairs with the Acquire in `is_ended` and in the butex
        self.ended.wake_all();
    }

    fn stop(self: &Arc<Self>) {
        if let Some(start) = self.handover.stop() {
            QUEUES.remove(self.id.load(Ordering::Relaxed)); // set before the first handle was given out
            if start {
                // SAFETY: the stop has given us the role.
                unsafe { consumer::start(self.clone()) };
            }
        }
    }
}

/// A queue of tasks that are run in order, in batches, by one consumer at a time: a handle to it.
///
/// Not bounded: who submits faster than the executor works must bound what it submits.
///
/// When the last handle is dropped the queue stops as by [`stop`](Self::stop): what is queued still runs. An
/// [id](Self::id) does not keep it.
///
/// A panic in the executor is reported like that of a thread; the item in hand is lost, the others come in later
/// batches, and [`stats`](super::stats) counts it.
pub struct ExecutionQueue<T: Send + 'static> {
    shared: Arc<Shared<T>>,
}

impl<T: Send + 'static> ExecutionQueue<T> {
    /// Starts a queue with default options.
    ///
    /// `executor` is called with one batch after the other, by one bthread at a time, and may block it. After a stop it
    /// is called once with a batch that [`is_stopped`](Batch::is_stopped), and dropped. It must not
    /// [`join`](Self::join) its own queue.
    ///
    /// # Panics
    /// Beyond 2^20 queues in the process; [`Builder::start`] gives an error instead.
    pub fn start<F>(executor: F) -> Self
    where
        F: FnMut(&mut Batch<'_, T>) + Send + 'static,
    {
        Builder::new().start(executor).expect("no execution queue to be had")
    }

    /// Queues a normal task. Wait-free and never blocks; a consumer that has to be started for it runs later, not
    /// here.
    ///
    /// # Errors
    /// The item when the queue was stopped.
    pub fn submit(&self, item: T) -> Result<(), Stopped<T>> {
        match self.shared.handover.submit(Task::Plain(item), Kind::Normal) {
            // SAFETY: the submission has given us the role.
            Ok(true) => unsafe { consumer::start(self.shared.clone()) },
            Ok(false) => {}
            Err(task) => return Err(give_back(task)),
        }
        Ok(())
    }

    /// Queues an urgent task; see [`TaskOptions::urgent`]. Otherwise as [`submit`](Self::submit).
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn submit_urgent(&self, item: T) -> Result<(), Stopped<T>> {
        self.submit_with(item, TaskOptions::new().urgent(true))
    }

    /// Runs the task at once on the caller if the queue is idle, else queues it. What others submit meanwhile goes to
    /// a consumer of its own. *Blocking*: if and as the executor does.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn execute_in_place(&self, item: T) -> Result<(), Stopped<T>> {
        self.submit_with(item, TaskOptions::new().in_place(true))
    }

    /// Queues a task as the options say. *Blocking*: in place, if and as the executor does, else never.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn submit_with(&self, item: T, options: TaskOptions) -> Result<(), Stopped<T>> {
        self.submit_task(Task::Plain(item), options)
    }

    /// As [`submit_with`](Self::submit_with), with a handle to cancel the task.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn submit_cancellable(&self, item: T, options: TaskOptions) -> Result<TaskHandle, Stopped<T>> {
        let ticket = Arc::new(Ticket::new(item));
        self.submit_task(Task::Cancellable(ticket.clone()), options)?;
        Ok(TaskHandle::new(ticket))
    }

    fn submit_task(&self, task: Task<T>, options: TaskOptions) -> Result<(), Stopped<T>> {
        let kind = if options.urgent { Kind::Urgent } else { Kind::Normal };
        if self.shared.handover.submit(task, kind).map_err(give_back)? {
            if options.in_place {
                // SAFETY: the submission has given us the role.
                unsafe { consumer::run_in_place(&self.shared, kind) };
            } else {
                // SAFETY: as above.
                unsafe { consumer::start(self.shared.clone()) };
            }
        }
        Ok(())
    }

    /// Lets no more tasks in. What is queued still runs; then the executor is called once more, with a batch that
    /// [`is_stopped`](Batch::is_stopped). Stopping again does nothing. Never blocks.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Whether the queue was told to stop. Never blocks.
    pub fn is_stopped(&self) -> bool {
        self.shared.handover.is_stopped()
    }

    /// Waits until a [stopped](Self::stop) queue has run everything and its executor is dropped. May be called by many
    /// and again. Without a stop it waits for one.
    ///
    /// *Blocking*: parks the calling bthread, or blocks the calling thread. Within the executor it waits for ever.
    pub fn join(&self) {
        self.join_before(None);
    }

    /// As [`join`](Self::join), until the deadline at most. False: the time was up. *Blocking*: as `join`.
    pub fn join_until(&self, deadline: Instant) -> bool {
        self.join_before(Some(deadline))
    }

    /// As [`join`](Self::join), for at most `timeout`. False: the time was up. *Blocking*: as `join`.
    pub fn join_timeout(&self, timeout: Duration) -> bool {
        self.join_before(crate::clock::now().checked_add(timeout))
    }

    fn join_before(&self, deadline: Option<Instant>) -> bool {
        while !self.shared.is_ended() {
            // An interruption stays pending.
            let manner = Manner { deadline, ..Manner::default() };
            if self.shared.ended.wait_as(0, manner) == crate::WaitResult::TimedOut {
                return self.shared.is_ended();
            }
        }
        true
    }

    /// The versioned 64-bit id of the queue, never 0 and not given twice: a weak reference that fits into messages and
    /// C structures.
    pub fn id(&self) -> u64 {
        self.shared.id.load(Ordering::Relaxed) // set before the first handle was given out
    }

    /// The queue with this id; `None` once it was stopped, if it never was, or if its tasks are not of this type. Never
    /// blocks, beyond a lock held for a few instructions.
    pub fn address(id: u64) -> Option<Self> {
        let shared = QUEUES.get(id)?.downcast::<Shared<T>>().ok()?;
        // Relaxed: as with an `Arc`, a handle is made from what keeps the rest alive.
        let more = |handles| (handles != 0).then_some(handles + 1);
        shared.handles.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        let queue = ExecutionQueue { shared };
        (!queue.is_stopped()).then_some(queue)
    }
}

fn give_back<T>(task: Task<T>) -> Stopped<T> {
    let item = match task {
        Task::Plain(item) => Some(item),
        Task::Cancellable(ticket) => ticket.take_back(),
    };
    Stopped(item.expect("nobody could cancel it yet"))
}

impl<T: Send + 'static> Clone for ExecutionQueue<T> {
    fn clone(&self) -> Self {
        self.shared.handles.fetch_add(1, Ordering::Relaxed); // as in `address`
        ExecutionQueue { shared: self.shared.clone() }
    }
}

impl<T: Send + 'static> Drop for ExecutionQueue<T> {
    fn drop(&mut self) {
        // AcqRel, as with an `Arc`: what others did with their handles comes before the stop.
        if self.shared.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.stop();
        }
    }
}

impl<T: Send + 'static> fmt::Debug for ExecutionQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutionQueue")
            .field("id", &self.id())
            .field("stopped", &self.is_stopped())
            .finish_non_exhaustive()
    }
}
