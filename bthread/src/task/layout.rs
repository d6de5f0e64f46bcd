//! Where things lie in memory, told to debuggers: `tools/gdb_bthreads.py` walks the bthreads of a process or a core
//! file by this table, without type information.
//!
//! Must never be read by the runtime itself.
//!
//! Holds unsafe: a symbol with a fixed name, which no other crate has.

#![allow(unsafe_code)]

use std::mem::offset_of;
use std::sync::atomic::AtomicPtr;

use std::sync::Mutex;

use super::life::{DONE, Life};
use super::pool::{CHUNK, CHUNKS, TASKS_MAX};
use super::{PHASE_FREE, PHASE_STARTED, Run, Task};
use crate::context::Context;
use crate::parker::Parker;
use crate::worker::Worker;

/// All words, so that a reader needs no rule of alignment. A change of any field's meaning changes `version`; new
/// fields go to the end.
#[repr(C)]
pub(crate) struct Layout {
    version: usize,
    /// Bytes of this table.
    size: usize,
    /// An array of `chunks_len` pointers to arrays of `chunk_tasks` slots of `task_size` bytes; null where there is
    /// no chunk yet.
    chunks: &'static [AtomicPtr<Task>; TASKS_MAX / CHUNK],
    chunks_len: usize,
    chunk_tasks: usize,
    task_size: usize,
    /// Offset of the slot's number, 32 bits.
    index: usize,
    /// Offset of the identity, 64 bits, of which the upper 32 are the version.
    identity: usize,
    /// Offset of a byte, and its value while the slot is not in use.
    phase: usize,
    phase_free: usize,
    /// Offset of the life, 32 bits, and the bit that the function has returned.
    life: usize,
    life_done: usize,
    /// Offset of the parker's state, 32 bits, and its value while the bthread is parked.
    parker_state: usize,
    parker_parked: usize,
    /// Offset of the pointer to the home worker.
    home: usize,
    /// The value of that byte once the bthread has started.
    phase_started: usize,
    /// Offset of the saved stack pointer, 0 while the bthread is not suspended.
    context: usize,
    /// Offset of pointer and length of the name; both are without meaning where the pointer is 0.
    name: usize,
    /// Offsets in a worker: its number, a word; its thread's id, 32 bits.
    worker_index: usize,
    worker_thread: usize,
}

/// What a lock guards lies at its end.
const NAME_IN_LOCK: usize = size_of::<Mutex<Option<Box<str>>>>() - size_of::<Option<Box<str>>>();

/// The table of this program.
#[used]
#[unsafe(no_mangle)]
pub(crate) static BOBBIN_BTHREAD_LAYOUT: Layout = Layout {
    version: 1,
    size: size_of::<Layout>(),
    chunks: &CHUNKS,
    chunks_len: TASKS_MAX / CHUNK,
    chunk_tasks: CHUNK,
    task_size: size_of::<Task>(),
    index: offset_of!(Task, index),
    identity: offset_of!(Task, identity),
    phase: offset_of!(Task, phase),
    phase_free: PHASE_FREE as usize,
    life: offset_of!(Task, life) + Life::STATE_OFFSET,
    life_done: DONE as usize,
    parker_state: offset_of!(Task, parker) + Parker::STATE_OFFSET,
    parker_parked: Parker::STATE_PARKED as usize,
    home: offset_of!(Task, home),
    phase_started: PHASE_STARTED as usize,
    context: offset_of!(Task, run) + offset_of!(Run, context) + Context::SP_OFFSET,
    name: offset_of!(Task, name) + NAME_IN_LOCK,
    worker_index: offset_of!(Worker, index),
    worker_thread: offset_of!(Worker, thread),
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The language does not promise it, and the table says it.
    #[test]
    fn a_name_is_a_pointer_and_a_length() {
        let words = |name: Option<&str>| {
            let name: Mutex<Option<Box<str>>> = Mutex::new(name.map(Into::into));
            let address = name.lock().unwrap().as_deref().map_or(0, |name| name.as_ptr().addr());
            assert_eq!(size_of::<Option<Box<str>>>(), 2 * size_of::<usize>());
            // SAFETY: within the lock; the first word is the pointer, which is always initialised.
            let first = unsafe { std::ptr::from_ref(&name).byte_add(NAME_IN_LOCK).cast::<usize>() };
            // SAFETY: as above.
            assert_eq!(unsafe { first.read() }, address);
            if address != 0 {
                // SAFETY: the second word is the length, which there is when there is a pointer.
                assert_eq!(unsafe { first.add(1).read() }, 4);
            }
        };
        words(None);
        words(Some("name"));
    }
}
