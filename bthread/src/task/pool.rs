//! Where task slots come from. They are allocated in chunks, used again, and never freed.
//!
//! Holds unsafe: a chunk is handed out slot by slot. Each has CHUNK initialised slots and lives for ever.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use super::{PHASE_FREE, Task, TaskId, TaskRef, WATCHED};
use crate::atomic::lock;

/// Task slots in a process: spawning beyond fails with `OutOfMemory`.
pub(crate) const TASKS_MAX: usize = 1 << 22;
/// Slots allocated at a time.
pub(super) const CHUNK: usize = 64;

/// Where each chunk of slots lies, so that an id leads to its slot.
pub(super) static CHUNKS: [AtomicPtr<Task>; TASKS_MAX / CHUNK] =
    [const { AtomicPtr::new(ptr::null_mut()) }; TASKS_MAX / CHUNK];

/// The slot that `id` points to, whichever bthread is in it now.
pub(crate) fn slot_of(id: TaskId) -> Option<TaskRef> {
    let index = id.index();
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

    /// Slots that are used now, up to those that workers keep for themselves.
    pub(crate) fn in_use(&self) -> usize {
        let free = lock(&self.free).len();
        self.created.load(Ordering::Relaxed) - free // as in `grow`
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
            slot.write(Task::in_slot(task, (start + offset) as u32));
            free.push(task);
        }
        CHUNKS[start / CHUNK].store(first.as_ptr(), Ordering::Release); // pairs with the Acquire in `slot_of`
    }
}

/// Every slot there is, used or not.
pub(crate) fn all_slots() -> impl Iterator<Item = TaskRef> {
    // Acquire as in `slot_of`. Chunks are made one after the other.
    let chunks = CHUNKS.iter().map_while(|chunk| NonNull::new(chunk.load(Ordering::Acquire)));
    // SAFETY: as in `slot_of`.
    chunks.flat_map(|chunk| (0..CHUNK).map(move |offset| TaskRef(unsafe { chunk.add(offset) })))
}

/// Readies a slot for its next use: its old id names nothing from here on.
pub(crate) fn recycle(task: TaskRef) {
    let task = task.get();
    task.set_phase(PHASE_FREE);
    // Relaxed: the version is changed here only.
    let version = (task.identity.load(Ordering::Relaxed) >> 32) as u32;
    let next = u64::from(version.checked_add(1).unwrap_or(1)) << 32;
    // Not a plain store: somebody may be setting a flag. Release pairs with the Acquire in `has_ended`.
    let old = task.identity.swap(next, Ordering::AcqRel);
    if old & WATCHED != 0 {
        crate::join::wake_watchers(TaskId::new(old >> 32, task.index));
    }
}
