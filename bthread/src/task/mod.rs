//! One bthread: its closure and result, its saved context, its life and its identity.
//!
//! Holds unsafe. Task slots live for ever (`pool`), so a `TaskRef` can always be followed. What it leads to is owned
//! as follows:
//! (1) `work` (closure, then result) belongs to the spawner until the task is queued, then to the worker that runs
//!     it until its end is told (`life`), then to the holder of the join handle; when there is none, to the worker that
//!     ran it. Whoever ends up with it empties it and recycles the slot.
//! (2) `run` (context, stack) belongs to the spawner until the task is queued, then to the worker that takes
//!     it from a queue or an inbox, until the task is parked or queued again, or has ended.
//! (3) `locals` belongs to the bthread itself; see `local`. They are empty while no bthread is in the slot.

#![allow(unsafe_code)]

mod id;
mod layout;
mod life;
mod pool;
mod value;

use std::any::Any;
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use crate::accounting::Account;
use crate::atomic::lock;
use crate::clock;
use crate::context::Context;
use crate::local::Locals;
use crate::parker::Parker;
use crate::stack::Stack;
use crate::worker::Worker;
use life::Life;
use value::{Inline, put, take};

pub use id::TaskId;
pub(crate) use pool::{Pool, TASKS_MAX, all_slots, recycle, slot_of};

/// Somebody has interrupted the bthread, and no wait has taken notice yet.
const INTERRUPTED: u64 = 1;
/// The bthread was told to stop.
const STOPPED: u64 = 2;
/// Somebody waits for the end by id (`join_by_id`).
const WATCHED: u64 = 4;

/// How far a slot has come.
pub(crate) const PHASE_FREE: u8 = 0;
pub(crate) const PHASE_QUEUED: u8 = 1;
pub(crate) const PHASE_STARTED: u8 = 2;

/// A task slot; lives for ever.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskRef(NonNull<Task>);

// SAFETY: slots live for ever, and `Task` is Sync by the rules at the head of this file.
unsafe impl Send for TaskRef {}
// SAFETY: as above.
unsafe impl Sync for TaskRef {}

/// The order of the fields is that of their use: a bthread that never waits touches the first two cache lines.
#[repr(C, align(128))]
pub(crate) struct Task {
    parker: Parker,
    life: Life,
    index: u32,
    /// Version in the high half, flags below. One word, so that a flag reaches this use of the slot or none.
    identity: AtomicU64,
    home: AtomicPtr<Worker>,
    phase: AtomicU8,
    has_name: AtomicBool,
    /// May go on on another worker than the one where it stopped.
    movable: AtomicBool,
    /// Its waits are added up (`accounting`).
    is_accounted: AtomicBool,
    /// `trace_id` is set.
    has_trace_id: AtomicBool,
    /// `run` has something that the start needs.
    pub(crate) comes_with: AtomicBool,
    work: UnsafeCell<Work>,
    locals: UnsafeCell<Locals>,
    /// The next in an inbox.
    pub(crate) link: AtomicPtr<Task>,
    run: UnsafeCell<Run>,
    /// When it was spawned, and when its current or last wait began, by `clock::coarse`.
    pub(crate) spawned: AtomicU64,
    /// Whatever the layers above want it to carry, see `sleep::set_carried`; its own alone.
    pub(crate) carried: AtomicU64,
    pub(crate) waits_since: AtomicU64,
    /// What it waits for (`wait::Reason`).
    pub(crate) reason: AtomicU64,
    /// Made when its waits are added up for the first time, and kept with the slot.
    account: OnceLock<Box<Account>>,
    /// The low half and the high half.
    trace_id: [AtomicU64; 2],
    name: Mutex<Option<Box<str>>>,
}

/// What a task takes along when it waits; empty while it runs and in slots that are not used.
pub(crate) struct Run {
    pub(crate) context: Context,
    /// The stack it waits on; before the start, the one of another class that it asked for.
    pub(crate) stack: Option<Stack>,
    /// When it was queued to be started, for one in a few.
    pub(crate) queued: Option<Instant>,
}

struct Work {
    call: unsafe fn(TaskRef),
    drop_result: unsafe fn(TaskRef),
    value: MaybeUninit<Inline>,
}

// SAFETY: the rules at the head of this file.
unsafe impl Sync for Task {}

/// What a join gets: the function's value or the payload of its panic.
pub(crate) type Outcome<T> = Result<T, Box<dyn Any + Send + 'static>>;

/// What a task is besides its function.
#[derive(Default)]
pub(crate) struct Attributes {
    pub(crate) name: Option<Box<str>>,
    pub(crate) detached: bool,
    pub(crate) movable: bool,
    pub(crate) stack: Option<Stack>,
}

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
    /// The slot is fresh from the pool, and the caller queues it once. What `f` and its result borrow outlives the
    /// task's end.
    pub(crate) unsafe fn prepare<F, T>(self, f: F, attributes: Attributes) -> Option<Owned<T>>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        let task = self.get();
        let Attributes { name, detached, movable, stack } = attributes;
        // Relaxed, here and below: the queue through which the task goes to its worker publishes it.
        task.life.begin(detached);
        task.spawned.store(clock::coarse(), Ordering::Relaxed);
        task.carried.store(0, Ordering::Relaxed);
        task.phase.store(PHASE_QUEUED, Ordering::Relaxed);
        task.movable.store(movable, Ordering::Relaxed);
        if name.is_some() || task.has_name.load(Ordering::Relaxed) {
            task.has_name.store(name.is_some(), Ordering::Relaxed);
            *lock(&task.name) = name;
        }
        if task.has_trace_id.load(Ordering::Relaxed) {
            task.set_trace_id(0);
        }
        if task.is_accounted.load(Ordering::Relaxed) {
            task.set_accounted(false); // somebody has forgotten a guard
        }
        if stack.is_some() {
            // SAFETY: (2): a slot from the pool is ours alone.
            unsafe { self.run() }.stack = stack;
            task.comes_with.store(true, Ordering::Relaxed);
        }
        // SAFETY: (1): as above.
        unsafe {
            let work = &mut *task.work.get();
            work.call = call::<F, T>;
            work.drop_result = drop_result::<T>;
            put(&mut work.value, f);
        }
        (!detached).then_some(Owned { task: self, _result: PhantomData })
    }

    /// Calls the task's function on the current stack; the result stays in the slot.
    ///
    /// # Safety
    /// The task is prepared, not yet started, and the calling worker has taken it from a queue.
    pub(crate) unsafe fn call(self) {
        // SAFETY: (1).
        let call = unsafe { (*self.get().work.get()).call };
        // SAFETY: (1): `prepare` put a closure of the type that `call` expects.
        unsafe { call(self) }
        crate::local::finish(self);
    }

    /// Its bthread-locals, which (3) says who may follow to.
    pub(crate) fn locals(self) -> *mut Locals {
        self.get().locals.get()
    }

    /// Publishes the end of the task after [`call`](Self::call), still as this task. True: nobody holds a handle,
    /// the result is dropped and the slot is to be recycled by the caller.
    ///
    /// # Safety
    /// Called once, by the worker that the task ended on.
    pub(crate) unsafe fn complete(self) -> bool {
        let task = self.get();
        let id = task.id();
        let joinable = task.life.end(|| {
            // The slot may be somebody else's by now: nothing of it but atomics, and they may mislead us to one
            // wake-up too many.
            if task.identity.load(Ordering::SeqCst) & WATCHED != 0 {
                crate::join::wake_watchers(id);
            }
        });
        if joinable {
            return false;
        }
        // SAFETY: (1): no handle, so the result is ours.
        unsafe { self.drop_result() };
        crate::local::finish(self); // what the result's destructor has used
        true
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
    /// The task is the calling worker's (2), and no other reference from here is alive.
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
        self.wait(None);
        let this = ManuallyDrop::new(self);
        // SAFETY: (1): done, so the result is ours; `call` put a value of the type that `prepare` gave us.
        let outcome = unsafe { take::<Outcome<T>>(&mut (*this.task.get().work.get()).value) };
        crate::worker::recycle(this.task);
        outcome
    }

    /// Waits for the end; false if the deadline came first. *Blocking*: as [`join`](Self::join).
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        let task = self.task.get();
        task.life.wait(deadline, crate::wait::Reason::Join(task.id()))
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if self.task.get().life.detach() {
            // SAFETY: (1): done, so the result was ours.
            unsafe { self.task.drop_result() };
            crate::worker::recycle(self.task);
        }
    }
}

impl Task {
    fn in_slot(slot: TaskRef, index: u32) -> Self {
        Task {
            parker: Parker::of_bthread(slot),
            life: Life::new(),
            index,
            identity: AtomicU64::new(1 << 32),
            home: AtomicPtr::new(ptr::null_mut()),
            link: AtomicPtr::new(ptr::null_mut()),
            run: UnsafeCell::new(Run { context: Context::null(), stack: None, queued: None }),
            locals: UnsafeCell::new(Locals::new()),
            phase: AtomicU8::new(PHASE_FREE),
            has_name: AtomicBool::new(false),
            movable: AtomicBool::new(false),
            is_accounted: AtomicBool::new(false),
            has_trace_id: AtomicBool::new(false),
            comes_with: AtomicBool::new(false),
            spawned: AtomicU64::new(0),
            carried: AtomicU64::new(0),
            waits_since: AtomicU64::new(0),
            reason: AtomicU64::new(0),
            account: OnceLock::new(),
            trace_id: [const { AtomicU64::new(0) }; 2],
            name: Mutex::new(None),
            work: UnsafeCell::new(Work { call: |_| (), drop_result: |_| (), value: MaybeUninit::uninit() }),
        }
    }

    pub(crate) fn parker(&'static self) -> &'static Parker {
        &self.parker
    }

    pub(crate) fn id(&self) -> TaskId {
        // Relaxed: the version changes only when the slot is recycled.
        TaskId::new(self.identity.load(Ordering::Relaxed) >> 32, self.index)
    }

    /// Marks the bthread `id` as interrupted, and as told to stop if `stop`. False: it is not the one in this slot,
    /// or has ended.
    pub(crate) fn interrupt(&self, id: TaskId, stop: bool) -> bool {
        // Release pairs with the Acquire in `take_interrupt` and `is_stopped`.
        !self.has_ended(id) && self.mark(id, INTERRUPTED | if stop { STOPPED } else { 0 }, Ordering::Release)
    }

    /// Marks the bthread `id` as watched: its end will wake the watchers. False: it has ended.
    pub(crate) fn set_watched(&self, id: TaskId) -> bool {
        // SeqCst pairs with `complete`. The end of a detached task is not told; the exchange in `recycle` returns our mark.
        self.mark(id, WATCHED, Ordering::SeqCst) && !self.life.is_done_after_mark()
    }

    fn mark(&self, id: TaskId, flags: u64, order: Ordering) -> bool {
        let marked = self.identity.fetch_update(order, Ordering::Relaxed, |identity| {
            (identity >> 32 == id.version()).then_some(identity | flags)
        });
        marked.is_ok()
    }

    /// Whether the bthread `id` is no more in this slot, or its function has returned.
    pub(crate) fn has_ended(&self, id: TaskId) -> bool {
        // The version is read last: if it is still `id`'s, so was the life. Acquire keeps the two in order, and pairs
        // with the Release in `complete` and in `recycle`: what the bthread did is seen.
        let done = self.life.is_done();
        self.identity.load(Ordering::Acquire) >> 32 != id.version() || done
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
        identity >> 32 != id.version() || identity & STOPPED != 0
    }

    /// Whether it was interrupted and has not noticed yet, and whether it was told to stop; a snapshot.
    pub(crate) fn signals(&self) -> (bool, bool) {
        let identity = self.identity.load(Ordering::Relaxed);
        (identity & INTERRUPTED != 0, identity & STOPPED != 0)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.life.is_done()
    }

    /// The worker that runs the task, or ran it last.
    pub(crate) fn home(&self) -> Option<&'static Worker> {
        // Relaxed: set before the task's park, whose parker state publishes it.
        // SAFETY: workers live for ever.
        unsafe { self.home.load(Ordering::Relaxed).as_ref() }
    }

    pub(crate) fn set_home(&self, worker: &'static Worker) {
        self.home.store(ptr::from_ref(worker).cast_mut(), Ordering::Relaxed); // as in `home`
    }

    /// Whether it may go on on another worker than the one where it stopped.
    pub(crate) fn is_movable(&self) -> bool {
        self.movable.load(Ordering::Relaxed) // changed only while the slot is not in use
    }

    /// Whether its waits are added up. Exact for the bthread itself, and for who wakes it from a wait.
    pub(crate) fn is_accounted(&self) -> bool {
        // Relaxed: changed by the bthread itself while it runs; its park and the queues publish it.
        self.is_accounted.load(Ordering::Relaxed)
    }

    /// By the bthread itself, or while the slot is not in use.
    pub(crate) fn set_accounted(&self, accounted: bool) {
        self.is_accounted.store(accounted, Ordering::Relaxed); // as in `is_accounted`
    }

    /// What its waits add up to.
    pub(crate) fn account(&self) -> &Account {
        self.account.get_or_init(Box::default)
    }

    /// The id of the trace that it works for; 0 if none. Exact for the bthread itself, else a snapshot.
    pub(crate) fn trace_id(&self) -> u128 {
        if !self.has_trace_id.load(Ordering::Relaxed) {
            return 0;
        }
        let [low, high] = self.trace_id.each_ref().map(|half| half.load(Ordering::Relaxed));
        u128::from(high) << 64 | u128::from(low)
    }

    /// By the bthread itself, or before the slot is queued. 0: none.
    pub(crate) fn set_trace_id(&self, id: u128) {
        // Relaxed: for lists of bthreads, which may see a mixture of two; its own reads are in order.
        self.trace_id[0].store(id as u64, Ordering::Relaxed);
        self.trace_id[1].store((id >> 64) as u64, Ordering::Relaxed);
        self.has_trace_id.store(id != 0, Ordering::Relaxed);
    }

    pub(crate) fn has_trace_id(&self) -> bool {
        self.has_trace_id.load(Ordering::Relaxed) // as above
    }

    pub(crate) fn phase(&self) -> u8 {
        self.phase.load(Ordering::Relaxed) // the queue that a task comes from has published it
    }

    /// Whether it has a stack to go on on. Exact for the worker that has taken it from a queue.
    pub(crate) fn has_started(&self) -> bool {
        self.phase() == PHASE_STARTED
    }

    pub(crate) fn set_phase(&self, phase: u8) {
        self.phase.store(phase, Ordering::Relaxed); // as in `phase`; from elsewhere it is a snapshot
    }

    /// Hands the name given at the spawn to `f`, if there is one and nobody else reads or changes it at the moment.
    /// Neither allocates nor blocks.
    pub(crate) fn with_name<R>(&self, f: impl FnOnce(&str) -> R) -> Option<R> {
        let name = self.name.try_lock().ok()?;
        name.as_deref().map(f)
    }

    /// Where the saved stack pointer is kept while the task waits: an address to read from outside, see `inspect`.
    pub(crate) fn sp_address(&self) -> usize {
        // SAFETY: makes an address only.
        unsafe { (&raw const (*self.run.get()).context).addr() + Context::SP_OFFSET }
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
    if outcome.is_err() {
        tell_of_panic(task);
    }
    // SAFETY: (1): the place is empty since `take`.
    unsafe { put(&mut (*work).value, outcome) };
}

/// The panic hook has named the worker's thread only. Of one whose handle is gone nobody else will hear.
#[cold]
fn tell_of_panic(task: TaskRef) {
    let (task, id) = (task.get(), task.get().id());
    // Relaxed: which message there is, nothing depends on it.
    if task.life.is_detached() || task.has_name.load(Ordering::Relaxed) {
        match task.with_name(str::to_owned) {
            Some(name) => eprintln!("bthread '{name}' (id {id}) panicked"),
            None => eprintln!("bthread {id} panicked, and nobody holds its handle"),
        }
    }
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
