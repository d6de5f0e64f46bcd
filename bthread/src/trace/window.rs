//! Registers and the inner end of a stack, copied at one moment into memory that was there before: what a profiler takes
//! of a flow of control that has to go on. Unwinding is done later, by somebody else.
//!
//! The stack is read through the kernel (`memory`), never by this program's own loads: whatever lies there, red zones of
//! AddressSanitizer, the end of the mapping or somebody else's data, is copied or ends the copy, and nothing faults.
//!
//! Holds unsafe: reading what the kernel gave a handler.

#![allow(unsafe_code)]

use super::registers::{Registers, SP};
use super::{StackCopy, StackTrace, memory, unwind};
use crate::stack_overflow;

/// Bytes of stack in a window; a trace that leads further ends there.
pub(crate) const WINDOW_BYTES_MAX: usize = 32 << 10;

/// A point in a flow of control, with the registers there.
#[derive(Clone, Copy)]
pub(crate) struct Point(Registers);

impl Point {
    /// The function that this is inlined into.
    #[inline(always)]
    pub(crate) fn here() -> Point {
        Point(Registers::here())
    }

    /// The code that a signal has interrupted. Async-signal-safe.
    ///
    /// # Safety
    /// `context` is what the kernel passed to a handler installed with SA_SIGINFO.
    pub(crate) unsafe fn interrupted(context: *const libc::c_void) -> Point {
        // SAFETY: the caller's promise.
        Point(unsafe { Registers::of_signal(context) })
    }
}

/// See the head of this file.
pub(crate) struct Window {
    registers: Registers,
    length: usize,
    stack: [u8; WINDOW_BYTES_MAX],
}

impl Window {
    /// Makes an empty one in place, so that its pages stay untouched.
    ///
    /// # Safety
    /// `place` leads to memory of the right size and alignment that is zeroed and the caller's.
    pub(crate) unsafe fn empty_at(place: *mut Window) {
        // SAFETY: the caller's promise; any bytes are a valid array of them.
        unsafe {
            (&raw mut (*place).registers).write(Registers::at(0, 0));
            (&raw mut (*place).length).write(0);
        }
    }

    /// Takes what lies above `point`, of the calling flow of control. Async-signal-safe; a few microseconds.
    pub(crate) fn copy(&mut self, point: Point) {
        let Point(registers) = point;
        let sp = registers.get(SP).unwrap_or(0);
        // A thread's own stack ends where its mapping does; a bthread's may be followed by another one.
        let end = stack_overflow::stack_around(sp).map_or(usize::MAX, |(_, top)| top);
        let bytes = (end - sp).min(WINDOW_BYTES_MAX);
        self.registers = registers;
        self.length = memory::copy(sp, &mut self.stack[..bytes]);
    }

    /// The calls under way when the window was taken. Neither parks nor blocks, but as
    /// [`capture`](super::capture) does.
    pub(crate) fn unwind(&self) -> StackTrace {
        let start = self.registers.get(SP).unwrap_or(0);
        let copy = StackCopy { start, bytes: self.stack[..self.length].to_vec() };
        unwind::unwind(&copy, self.registers, true)
    }
}
