//! The alternate signal stack of one thread, on which a handler can run when the ordinary stack is full.
//!
//! Owns its mapping. Must never replace a stack that is large enough, nor free one it did not make.

#![allow(unsafe_code)]

use crate::stack::page_size;
use std::io;
use std::marker::PhantomData;
use std::mem;
use std::ptr;

/// Bytes of the stack made here: room for the registers of any processor and for the unwinder.
const ALT_STACK_BYTES: usize = 64 << 10;
/// A stack this large that the thread has already is left in place. Rust's own is smaller: enough for its
/// message, not for a trace.
const ALT_STACK_BYTES_MIN: usize = 32 << 10;

/// Keeps the thread's alternate signal stack; dropping it puts back what was there before.
#[derive(Debug)]
#[must_use = "the alternate stack goes when this is dropped"]
pub(crate) struct AltStack {
    /// None if the thread had a stack that is large enough.
    made: Option<Made>,
    /// Belongs to one thread.
    _not_send: PhantomData<*mut ()>,
}

#[derive(Debug)]
struct Made {
    mapping: *mut libc::c_void,
    mapped: usize,
    start: *mut libc::c_void,
    previous: libc::stack_t,
}

/// Sees to it that signal handlers of this thread have a stack of their own.
///
/// A thread of std has one already, but a small one, which is replaced until the guard is dropped.
/// Blocks the thread for a few system calls.
///
/// # Errors
///
/// What `mmap`, `mprotect` or `sigaltstack` report. Then the thread is as before.
pub(crate) fn alt_stack_for_this_thread() -> io::Result<AltStack> {
    let previous = set(ptr::null())?;
    if previous.ss_flags & libc::SS_DISABLE == 0 && previous.ss_size >= ALT_STACK_BYTES_MIN {
        return Ok(AltStack { made: None, _not_send: PhantomData });
    }
    let guard = page_size()?;
    let bytes = ALT_STACK_BYTES.next_multiple_of(guard);
    let mapped = guard + bytes;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let mapping = unsafe { libc::mmap(ptr::null_mut(), mapped, libc::PROT_NONE, flags, -1, 0) };
    if mapping == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let start = mapping.wrapping_byte_add(guard);
    let made = AltStack { made: Some(Made { mapping, mapped, start, previous }), _not_send: PhantomData };
    // SAFETY: the mapping just made, without its lowest page.
    if unsafe { libc::mprotect(start, bytes, libc::PROT_READ | libc::PROT_WRITE) } != 0 {
        return Err(io::Error::last_os_error());
    }
    set(&libc::stack_t { ss_sp: start, ss_flags: 0, ss_size: bytes })?;
    Ok(made)
}

/// Sets the thread's alternate stack, unless `stack` is null, and returns the one before.
fn set(stack: *const libc::stack_t) -> io::Result<libc::stack_t> {
    // SAFETY: all-zero is a valid stack_t; the kernel overwrites it. `stack` is null or a valid description
    // of a mapping that outlives its use.
    unsafe {
        let mut previous: libc::stack_t = mem::zeroed();
        match libc::sigaltstack(stack, &mut previous) {
            0 => Ok(previous),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for AltStack {
    fn drop(&mut self) {
        let Some(made) = &self.made else { return };
        // Only if it is still this one: somebody may have set another since.
        let ours =
            |stack: &libc::stack_t| stack.ss_flags & libc::SS_DISABLE == 0 && stack.ss_sp == made.start;
        if set(ptr::null()).is_ok_and(|current| ours(&current)) && set(&made.previous).is_err() {
            return;
        }
        // SAFETY: the own mapping, which is no longer anybody's signal stack.
        unsafe { libc::munmap(made.mapping, made.mapped) };
    }
}
