//! Starting bthreads.
//!
//! Holds unsafe: the door to free movement, and the start itself, whose promise `'static` keeps here.

#![allow(unsafe_code)]

use std::io;

use crate::join::JoinHandle;
use crate::local::{LocalPool, PoolRef};
use crate::runtime::{self, Runtime, Scheduler};
use crate::stack::StackClass;
use crate::task::{Attributes, Owned, TaskId};
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

/// Starts a bthread that runs at once, in place of the caller, who goes on when it waits or ends (brpc:
/// `bthread_start_urgent`). Outside of bthreads it is [`spawn`]. *Blocking*: parks the calling bthread.
///
/// # Panics
/// As [`spawn`].
///
/// ```
/// # use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
/// bthread::spawn(|| {
///     let seen = Arc::new(AtomicBool::new(false));
///     let child = bthread::spawn_urgent({ let seen = seen.clone(); move || seen.store(true, Ordering::Relaxed) });
///     assert!(seen.load(Ordering::Relaxed));
///     child.join().unwrap();
/// }).join().unwrap();
/// ```
pub fn spawn_urgent<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Builder::new().urgent(true).spawn(f).expect("no bthread to be had")
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
    let scheduler = runtime::current();
    let attributes = Attributes { detached: true, movable: scheduler.is_movable(), ..Attributes::default() };
    // SAFETY: 'static.
    unsafe { start(scheduler, f, attributes, Place::Next) }.map(drop)
}

/// How a bthread is started, if not as [`spawn`] does.
///
/// ```
/// let named = bthread::Builder::new().name("flusher").spawn(|| 1).unwrap();
/// assert_eq!(named.join().unwrap(), 1);
/// ```
#[derive(Debug, Default)]
#[must_use]
pub struct Builder {
    name: Option<Box<str>>,
    tag: Option<u32>,
    runtime: Option<Runtime>,
    urgent: bool,
    stack: StackClass,
    local_pool: Option<PoolRef>,
    movable: Option<bool>,
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

    /// The runtime to start in, by its [tag](Runtime::tag). Default: the caller's.
    pub fn tag(mut self, tag: u32) -> Self {
        self.tag = Some(tag);
        self
    }

    /// The runtime to start in; it counts more than a [tag](Self::tag). Default: the caller's.
    pub fn runtime(mut self, runtime: Runtime) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Whether it runs at once in place of the caller, as with [`spawn_urgent`]. In another runtime than the caller's
    /// it makes no difference. Default: no.
    pub fn urgent(mut self, urgent: bool) -> Self {
        self.urgent = urgent;
        self
    }

    /// The pool whose bthread-locals the new bthread uses; see [`LocalPool`].
    pub fn local_pool(mut self, pool: &LocalPool) -> Self {
        self.local_pool = Some(pool.shared());
        self
    }

    /// How large a stack it runs on. Other classes than the normal one have theirs taken at the spawn already, and
    /// cost one more switch at the start and the end. Default: normal.
    pub fn stack(mut self, class: StackClass) -> Self {
        self.stack = class;
        self
    }

    /// Whether the bthread may go on on another worker than the one where it waited: it goes on on the worker that
    /// wakes it, and idle workers take it when it is ready. That makes hand-overs between bthreads that live on
    /// different workers cheap, and nobody waits for a worker that is held. Default: what the runtime's
    /// [builder](crate::RuntimeBuilder::movable) says, else no.
    ///
    /// # Safety
    /// Each wait of the bthread may return on another OS thread than it was called on, in all code that it runs,
    /// libraries included. So across a wait nothing may be kept that belongs to an OS thread:
    /// - no reference into a `thread_local!`, nor a value that is tied to one;
    /// - no guard of a lock that knows its thread (`std::sync::MutexGuard` and the like);
    /// - no wait of std's own for a thread (`std::thread::park`, the end of `std::thread::scope`) around one;
    /// - no `Rc` or other value without `Send`, if anybody on the old thread shares it;
    /// - and no function that touches a thread-local may be inlined around a wait, since the compiler takes the
    ///   address of a thread-local for constant within a function: put such accesses into functions that are
    ///   `#[inline(never)]` and do not wait.
    ///
    /// `docs/soundness.md` has the reasons.
    pub unsafe fn movable(mut self, movable: bool) -> Self {
        self.movable = Some(movable);
        self
    }

    /// As [`spawn`], in the caller's runtime, or that of the [tag](Self::tag).
    ///
    /// # Errors
    /// `OutOfMemory` when there are no bthreads (2^22 in a process) or stacks left; `InvalidInput` when no runtime has
    /// the tag; `Unsupported` in the child of a fork. `f` is dropped then.
    ///
    /// A bthread gets its stack when it starts, so spawns are accepted until a worker has found none, and refused from
    /// then on until there are some again: with a bound of 64 stacks thousands may be accepted meanwhile, which start
    /// one after the other as stacks come back. The workers look again every millisecond, so a spawn may be refused
    /// for that long after the first stack has come back.
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: 'static.
        unsafe { self.start(f) }
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
        self.runtime(runtime).spawn(f)
    }

    /// # Safety
    /// What `f` and its result borrow outlives the bthread's end.
    pub(crate) unsafe fn start<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        let place = if self.urgent { Place::Urgent } else { Place::Next };
        // SAFETY: the caller's promise.
        unsafe { self.start_at(place, f) }
    }

    /// # Safety
    /// As [`start`](Self::start).
    unsafe fn start_at<F, T>(self, place: Place, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        let scheduler = match (self.runtime, self.tag) {
            (Some(runtime), _) => runtime.scheduler(),
            (None, None) => runtime::current(),
            (None, Some(tag)) => {
                let no_such =
                    || io::Error::new(io::ErrorKind::InvalidInput, format!("no runtime has the tag {tag}"));
                Runtime::by_tag(tag).ok_or_else(no_such)?.scheduler()
            }
        };
        let movable = self.movable.unwrap_or_else(|| scheduler.is_movable());
        if movable {
            scheduler.note_movable();
        }
        let stack = match self.stack {
            StackClass::Normal => None,
            class => Some(scheduler.stacks().get(class)?),
        };
        let attributes = Attributes { name: self.name, movable, stack, ..Attributes::default() };
        let started = match self.local_pool {
            // SAFETY: the caller's promise.
            None => unsafe { start(scheduler, f, attributes, place) },
            Some(pool) => {
                let f = move || {
                    pool.enter();
                    f()
                };
                // SAFETY: the caller's promise.
                unsafe { start(scheduler, f, attributes, place) }
            }
        }?;
        let (task, id) = started.expect("not detached");
        Ok(JoinHandle::new(task, id))
    }
}

/// # Safety
/// What `f` and its result borrow outlives the bthread's end.
unsafe fn start<F, T>(
    scheduler: &'static Scheduler,
    f: F,
    attributes: Attributes,
    place: Place,
) -> io::Result<Option<(Owned<T>, TaskId)>>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    if scheduler.is_exhausted() {
        scheduler.stacks().put_all(attributes.stack);
        return Err(match runtime::is_forked() {
            true => io::Error::new(io::ErrorKind::Unsupported, "the child of a fork has no workers"),
            false => io::Error::new(io::ErrorKind::OutOfMemory, "no stacks left for bthreads"),
        });
    }
    // SAFETY: the caller's promise.
    unsafe { worker::start(scheduler, f, attributes, place) }
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
        let scheduler = self.runtime.scheduler();
        let attributes =
            Attributes { detached: true, movable: scheduler.is_movable(), ..Attributes::default() };
        // SAFETY: 'static.
        unsafe { start::<_, ()>(scheduler, f, attributes, Place::Quiet) }?;
        self.pending += 1;
        Ok(())
    }

    /// As [`spawn`](Self::spawn), with options and a handle. The runtime and the urgency that the options name count
    /// for nothing.
    ///
    /// # Errors
    /// As [`Builder::spawn`].
    pub fn spawn_with<F, T>(&mut self, builder: Builder, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: 'static.
        let handle = unsafe { builder.runtime(self.runtime).start_at(Place::Quiet, f) }?;
        self.pending += 1;
        Ok(handle)
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
