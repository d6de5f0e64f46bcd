//! One bthread: its closure and result, its saved context, its life and its identity.
//!
//! Holds unsafe. Task slots are allocated in chunks, used again, and never freed, so a `TaskRef` can always be
//! followed. What it leads to is owned as follows:
//! (1) `work` (closure, then result) belongs to the spawner until the task is queued, then to the worker that runs
//!     it until `LIFE_DONE` is set, then to the holder of the join handle; when there is none, to the worker that
//!     ran it. Whoever ends up with it empties it and recycles the slot.
//! (2) `run` (context, stack) belongs to the worker that is the task's home, from the first run to the end.
//! (3) `joiner` belongs to the holder of the join handle until it sets `LIFE_JOINER`, then to the worker that ends
//!     the task, which reads it before it sets `LIFE_DONE`.

#![allow(unsafe_code)]

mod layout;

use std::any::Any;
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit, align_of, size_of};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use crate::atomic::lock;
use crate::context::Context;
use crate::parker::Parker;
use crate::stack::Stack;
use crate::timer::Key;
use crate::worker::Worker;

/// Bytes of closure or result kept in the slot itself; larger ones are boxed.
const INLINE_BYTES: usize = 96;
/// Task slots in a process: spawning beyond fails with `OutOfMemory`.
pub(crate) const TASKS_MAX: usize = 1 << 22;
/// Slots allocated at a time.
const CHUNK: usize = 64;

/// The function has returned (or panicked) and the result is in its place.
const LIFE_DONE: u32 = 1;
/// Nobody holds the join handle any more.
const LIFE_DETACHED: u32 = 2;
/// The holder of the join handle waits; `joiner` is set.
const LIFE_JOINER: u32 = 4;
/// The slot is not in use. For debuggers alone.
const LIFE_FREE: u32 = 8;

/// Somebody has interrupted the bthread, and no wait has taken notice yet.
const INTERRUPTED: u64 = 1;
/// The bthread was told to stop.
const STOPPED: u64 = 2;

/// The versioned 64-bit id of a bthread: `version << 32 | slot`. Never 0; not given twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(u64);

impl TaskId {
    /// The number itself.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({})", self.0)
    }
}

/// A task slot; lives for ever.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskRef(NonNull<Task>);

// SAFETY: slots live for ever, and `Task` is Sync by the rules at the head of this file.
unsafe impl Send for TaskRef {}
// SAFETY: as above.
unsafe impl Sync for TaskRef {}

#[repr(align(128))]
pub(crate) struct Task {
    parker: Parker,
    life: AtomicU32,
    index: u32,
    /// Version in the high half; INTERRUPTED and STOPPED below. One word, so that a flag reaches this use of the slot
    /// or none.
    identity: AtomicU64,
    home: AtomicPtr<Worker>,
    /// The next in an inbox.
    pub(crate) link: AtomicPtr<Task>,
    run: UnsafeCell<Run>,
    joiner: UnsafeCell<Option<&'static Parker>>,
    name: UnsafeCell<Option<Box<str>>>,
    work: UnsafeCell<Work>,
}

/// Where a task that waits has its stack; both empty while it runs and before it started.
pub(crate) struct Run {
    pub(crate) started: bool,
    pub(crate) context: Context,
    pub(crate) stack: Option<Stack>,
    /// The timer that ends the current wait.
    pub(crate) timer: Option<Key>,
}

struct Work {
    call: unsafe fn(TaskRef),
    drop_result: unsafe fn(TaskRef),
    value: MaybeUninit<Inline>,
}

#[repr(C, align(16))]
struct Inline([u8; INLINE_BYTES]);

// SAFETY: the rules at the head of this file.
unsafe impl Sync for Task {}

/// What a join gets: the function's value or the payload of its panic.
pub(crate) type Outcome<T> = Result<T, Box<dyn Any + Send + 'static>>;

impl TaskRef {
    pub(crate) fn get(self) -> &'static Task {
        // SAFETY: slots live for ever and are initialised before a TaskRef leaves `Pool::grow`.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn as_ptr(self) -> *mut Task {
        self.0.as_ptr()
    }

    /// # Safety
    /// `task` came from [`TaskRef::as_ptr`].
    pub(crate) unsafe fn from_ptr(task: NonNull<Task>) -> Self {
        TaskRef(task)
    }

    /// Fills a slot with what to run. The join handle comes back unless the task is detached.
    ///
    /// # Safety
    /// The slot is fresh from the pool, and the caller queues it once.
    pub(crate) unsafe fn prepare<F, T>(self, f: F, name: Option<Box<str>>, detached: bool) -> Option<Owned<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let task = self.get();
        // Relaxed: the queue through which the task goes to its worker publishes it.
        task.life.store(if detached { LIFE_DETACHED } else { 0 }, Ordering::Relaxed);
        // SAFETY: (1), (2), (3): a slot from the pool is ours alone.
        unsafe {
            (*task.run.get()).started = false;
            if name.is_some() || (*task.name.get()).is_some() {
                *task.name.get() = name;
            }
            let work = &mut *task.work.get();
            work.call = call::<F, T>;
            work.drop_result = drop_result::<T>;
            put(&mut work.value, f);
        }
        (!detached).then_some(Owned { task: self, _result: PhantomData })
    }

    /// Calls the task's function on the current stack; the result stays in the slot. Returns on the same worker.
    ///
    /// # Safety
    /// The task is prepared, not yet started, and the calling worker has taken it from a queue.
    pub(crate) unsafe fn call(self) {
        // SAFETY: (1).
        let call = unsafe { (*self.get().work.get()).call };
        // SAFETY: (1): `prepare` put a closure of the type that `call` expects.
        unsafe { call(self) }
    }

    /// Publishes the end of the task after [`call`](Self::call), still as this task. True: nobody holds a handle,
    /// the result is dropped and the slot is to be recycled by the caller.
    ///
    /// # Safety
    /// Called once, by the worker that called the task.
    pub(crate) unsafe fn complete(self) -> bool {
        let task = self.get();
        // Acquire pairs with the AcqRel in `Owned`.
        let mut life = task.life.load(Ordering::Acquire);
        loop {
            if life & LIFE_DETACHED != 0 {
                // SAFETY: (1): no handle, so the result is ours.
                unsafe { self.drop_result() };
                return true;
            }
            // SAFETY: (3): set before LIFE_JOINER, which we saw with Acquire; copied before we set LIFE_DONE.
            let joiner = (life & LIFE_JOINER != 0).then(|| unsafe { *task.joiner.get() }).flatten();
            // Release pairs with the Acquire in `is_done`: the joiner sees the result.
            match task.life.compare_exchange(life, life | LIFE_DONE, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    if let Some(joiner) = joiner {
                        joiner.unpark();
                    }
                    return false;
                }
                Err(now) => life = now,
            }
        }
    }

    /// # Safety
    /// The result is in its place and belongs to the caller (1).
    pub(crate) unsafe fn drop_result(self) {
        // SAFETY: (1).
        let drop_result = unsafe { (*self.get().work.get()).drop_result };
        // SAFETY: `prepare` chose the function for the type of the result.
        unsafe { drop_result(self) }
    }

    /// Where the task keeps its stack while it waits.
    ///
    /// # Safety
    /// The caller is the task's home worker, and no other reference from here is alive (2).
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn run(self) -> &'static mut Run {
        // SAFETY: (2).
        unsafe { &mut *self.get().run.get() }
    }
}

/// The one right to the result of a task.
pub(crate) struct Owned<T> {
    task: TaskRef,
    _result: PhantomData<fn() -> T>,
}

impl<T> Owned<T> {
    pub(crate) fn task(&self) -> &'static Task {
        self.task.get()
    }

    /// Waits for the end and takes the result. *Blocking*: parks the bthread or blocks the thread.
    pub(crate) fn join(self) -> Outcome<T> {
        let this = ManuallyDrop::new(self);
        this.wait();
        // SAFETY: (1): done, so the result is ours; `call` put a value of the type that `prepare` gave us.
        let outcome = unsafe { take::<Outcome<T>>(&mut (*this.task.get().work.get()).value) };
        crate::worker::recycle(this.task);
        outcome
    }

    fn wait(&self) {
        let task = self.task.get();
        if task.is_done() {
            return;
        }
        let parker = crate::wait::current_parker();
        // SAFETY: (3): LIFE_JOINER is not set yet, and we are who sets it.
        unsafe { *task.joiner.get() = Some(parker) };
        // Release pairs with the Acquire in `complete`, which reads the joiner; Acquire with its Release.
        if task.life.fetch_or(LIFE_JOINER, Ordering::AcqRel) & LIFE_DONE == 0 {
            while !task.is_done() {
                crate::wait::park(parker, None);
            }
        }
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // AcqRel pairs with the exchange in `complete`.
        if self.task.get().life.fetch_or(LIFE_DETACHED, Ordering::AcqRel) & LIFE_DONE != 0 {
            // SAFETY: (1): done, so the result was ours.
            unsafe { self.task.drop_result() };
            crate::worker::recycle(self.task);
        }
    }
}

impl Task {
    pub(crate) fn parker(&'static self) -> &'static Parker {
        &self.parker
    }

    pub(crate) fn id(&self) -> TaskId {
        // Relaxed: the version changes only when the slot is recycled.
        TaskId(self.identity.load(Ordering::Relaxed) >> 32 << 32 | u64::from(self.index))
    }

    /// Marks the bthread `id` as interrupted, and as told to stop if `stop`. False: it is not the one in this slot.
    pub(crate) fn interrupt(&self, id: TaskId, stop: bool) -> bool {
        let flags = INTERRUPTED | if stop { STOPPED } else { 0 };
        // Release pairs with the Acquire in `take_interrupt` and `is_stopped`.
        let marked = self.identity.fetch_update(Ordering::Release, Ordering::Relaxed, |identity| {
            (identity >> 32 == id.0 >> 32).then_some(identity | flags)
        });
        marked.is_ok()
    }

    /// Takes notice of an interruption. By the bthread itself.
    pub(crate) fn take_interrupt(&self) -> bool {
        // Relaxed look first: nearly always there is none; who interrupts wakes us, and we look again.
        self.identity.load(Ordering::Relaxed) & INTERRUPTED != 0
            // Acquire pairs with the Release in `interrupt`.
            && self.identity.fetch_and(!INTERRUPTED, Ordering::Acquire) & INTERRUPTED != 0
    }

    /// Whether the bthread `id` was told to stop, or is gone.
    pub(crate) fn is_stopped(&self, id: TaskId) -> bool {
        let identity = self.identity.load(Ordering::Acquire); // pairs with the Release in `interrupt`
        identity >> 32 != id.0 >> 32 || identity & STOPPED != 0
    }

    pub(crate) fn is_done(&self) -> bool {
        self.life.load(Ordering::Acquire) & LIFE_DONE != 0 // pairs with the Release in `complete`
    }

    /// The worker that the task started on.
    pub(crate) fn home(&self) -> Option<&'static Worker> {
        // Relaxed: set before the task's first park, whose parker state publishes it.
        // SAFETY: workers live for ever.
        unsafe { self.home.load(Ordering::Relaxed).as_ref() }
    }

    pub(crate) fn set_home(&self, worker: &'static Worker) {
        self.home.store(ptr::from_ref(worker).cast_mut(), Ordering::Relaxed); // as in `home`
    }

    /// The name given at the spawn.
    ///
    /// # Safety
    /// The caller is the task itself, or a signal handler on top of it.
    pub(crate) unsafe fn name(&self) -> Option<&str> {
        // SAFETY: written only while the slot is not in use.
        unsafe { (*self.name.get()).as_deref() }
    }
}

unsafe fn call<F, T>(task: TaskRef)
where
    F: FnOnce() -> T,
{
    let work = task.get().work.get();
    // SAFETY: (1): `prepare::<F, T>` put the closure; it is taken once.
    let f = unsafe { take::<F>(&mut (*work).value) };
    let outcome: Outcome<T> = catch_unwind(AssertUnwindSafe(f));
    // SAFETY: (1): the place is empty since `take`.
    unsafe { put(&mut (*work).value, outcome) };
}

unsafe fn drop_result<T>(task: TaskRef) {
    // SAFETY: (1), passed on from `TaskRef::drop_result`.
    let outcome = unsafe { take::<Outcome<T>>(&mut (*task.get().work.get()).value) };
    contained(|| drop(outcome));
}

/// Runs code of a user that must not take the worker with it when it panics. The panic hook has reported it then.
pub(crate) fn contained(f: impl FnOnce()) {
    let Err(payload) = catch_unwind(AssertUnwindSafe(f)) else { return };
    // A payload's destructor may panic as well. Should that one's payload do so too, forgetting is all that is left.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(payload);
    }
}

const fn fits<V>() -> bool {
    size_of::<V>() <= INLINE_BYTES && align_of::<V>() <= align_of::<Inline>()
}

/// # Safety
/// The place holds no value.
unsafe fn put<V>(place: &mut MaybeUninit<Inline>, value: V) {
    if fits::<V>() {
        // SAFETY: large and aligned enough.
        unsafe { place.as_mut_ptr().cast::<V>().write(value) }
    } else {
        // SAFETY: a pointer fits.
        unsafe { place.as_mut_ptr().cast::<*mut V>().write(Box::into_raw(Box::new(value))) }
    }
}

/// # Safety
/// The place holds a `V` that `put` put there; it holds none afterwards.
unsafe fn take<V>(place: &mut MaybeUninit<Inline>) -> V {
    if fits::<V>() {
        // SAFETY: by the contract.
        unsafe { place.as_ptr().cast::<V>().read() }
    } else {
        // SAFETY: by the contract: the pointer came from Box::into_raw and is used once.
        *unsafe { Box::from_raw(place.as_ptr().cast::<*mut V>().read()) }
    }
}

/// Where each chunk of slots lies, so that an id leads to its slot.
static CHUNKS: [AtomicPtr<Task>; TASKS_MAX / CHUNK] =
    [const { AtomicPtr::new(ptr::null_mut()) }; TASKS_MAX / CHUNK];

/// The slot that `id` points to, whichever bthread is in it now.
pub(crate) fn slot_of(id: TaskId) -> Option<TaskRef> {
    let index = id.0 as u32 as usize;
    // Acquire pairs with the Release in `grow`: the slots are initialised.
    let chunk = NonNull::new(CHUNKS.get(index / CHUNK)?.load(Ordering::Acquire))?;
    // SAFETY: a chunk has CHUNK slots and lives for ever.
    Some(TaskRef(unsafe { chunk.add(index % CHUNK) }))
}

/// The slots that are in no worker's own list.
pub(crate) struct Pool {
    free: Mutex<Vec<TaskRef>>,
    created: AtomicUsize,
}

impl Pool {
    /// The one of this process.
    pub(crate) fn global() -> &'static Pool {
        static POOL: OnceLock<Pool> = OnceLock::new();
        POOL.get_or_init(|| Pool { free: Mutex::new(Vec::new()), created: AtomicUsize::new(0) })
    }

    /// Moves up to `count` slots to `into`; none when `TASKS_MAX` are in use.
    pub(crate) fn take(&self, count: usize, into: &mut Vec<TaskRef>) {
        let mut free = lock(&self.free);
        if free.is_empty() {
            self.grow(&mut free);
        }
        let keep = free.len().saturating_sub(count);
        into.extend(free.drain(keep..));
    }

    /// Takes slots back.
    pub(crate) fn give(&self, tasks: impl IntoIterator<Item = TaskRef>) {
        lock(&self.free).extend(tasks);
    }

    fn grow(&self, free: &mut Vec<TaskRef>) {
        let start = self.created.load(Ordering::Relaxed); // changed under the lock of `free` only
        if start + CHUNK > TASKS_MAX {
            return;
        }
        self.created.store(start + CHUNK, Ordering::Relaxed);
        let chunk: &'static mut [MaybeUninit<Task>] = Box::leak(Box::new_uninit_slice(CHUNK));
        let first = NonNull::from(&mut *chunk).cast::<Task>();
        for (offset, slot) in chunk.iter_mut().enumerate() {
            // SAFETY: within the chunk.
            let task = TaskRef(unsafe { first.add(offset) });
            slot.write(Task {
                parker: Parker::of_bthread(task),
                life: AtomicU32::new(LIFE_FREE),
                index: (start + offset) as u32,
                identity: AtomicU64::new(1 << 32),
                home: AtomicPtr::new(ptr::null_mut()),
                link: AtomicPtr::new(ptr::null_mut()),
                run: UnsafeCell::new(Run {
                    started: false,
                    context: Context::null(),
                    stack: None,
                    timer: None,
                }),
                joiner: UnsafeCell::new(None),
                name: UnsafeCell::new(None),
                work: UnsafeCell::new(Work {
                    call: |_| (),
                    drop_result: |_| (),
                    value: MaybeUninit::uninit(),
                }),
            });
            free.push(task);
        }
        CHUNKS[start / CHUNK].store(first.as_ptr(), Ordering::Release); // pairs with the Acquire in `slot_of`
    }
}

/// Readies a slot for its next use: its old id names nothing from here on.
pub(crate) fn recycle(task: TaskRef) {
    // Relaxed, here and below: the slot is ours until it goes through the pool, which publishes it.
    task.get().life.store(LIFE_FREE, Ordering::Relaxed);
    let identity = &task.get().identity;
    let next = |identity: u64| Some(u64::from(((identity >> 32) as u32).checked_add(1).unwrap_or(1)) << 32);
    // Not a plain store: somebody may be setting a flag.
    let _ = identity.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
}
