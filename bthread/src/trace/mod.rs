//! Stack traces: of the caller, of a parked bthread, and of a thread that is held up.
//!
//! This file owns what a trace is and how it reads. `unwind` goes from frame to frame over a copy of a stack, with the
//! tables of `objects`; `thread` and `interrupted` get at the stack of another thread. Nothing here stops anybody for
//! longer than a copy, or relies on what a copy holds.

mod caller_search;
mod interrupted;
mod memory;
mod objects;
mod registers;
pub(crate) mod signal;
mod slot;
#[cfg(test)]
mod tests;
mod thread;
mod unwind;
mod window;

use std::ffi::c_void;
use std::fmt;

use registers::{Registers, SAVED_FRAME_BYTES};

pub use thread::{Held, ThreadTrace, TraceError, of_thread};
pub(crate) use thread::{is_running, of_held};
pub(crate) use window::{Point, Window};

/// Frames of a trace; outer ones are left out.
pub const FRAMES_MAX: usize = 64;
/// Bytes of a parked bthread's stack, or of the caller's or a blocked thread's, that are copied from its inner end;
/// a trace that leads further ends there.
const STACK_COPY_BYTES_MAX: usize = 64 << 10;

/// Where a flow of control stands: the calls under way, innermost first.
///
/// `{}` writes one frame after the other as `std::backtrace::Backtrace` does, with names, files and lines as far as
/// the program's debug information tells them (`debug = "line-tables-only"` is enough), else the object and the offset
/// in it. *Blocking*: writing blocks the thread, for it reads debug information from files: tens of milliseconds the
/// first time in a large program. Making a trace does not read files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackTrace {
    frames: Vec<usize>,
    end: End,
}

/// Why a trace ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nobody called the last frame.
    Outermost,
    /// There may be more than [`FRAMES_MAX`].
    Cut,
    /// The caller of the last frame could not be found.
    Lost,
}

impl StackTrace {
    /// An address inside the call that each frame has under way (its return address less one), or of the very
    /// instruction where the flow was interrupted; innermost first. At most [`FRAMES_MAX`].
    pub fn frames(&self) -> &[usize] {
        &self.frames
    }

    /// Whether the last frame is the outermost one: the entry of a bthread or a thread.
    pub fn is_complete(&self) -> bool {
        self.end == End::Outermost
    }
}

impl fmt::Display for StackTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, address) in self.frames.iter().enumerate() {
            write_frame(f, number, *address)?;
        }
        match self.end {
            End::Outermost => Ok(()),
            End::Cut => writeln!(f, "      (frames beyond {FRAMES_MAX} are not shown)"),
            End::Lost => writeln!(f, "      (the next frame could not be found)"),
        }
    }
}

fn write_frame(f: &mut fmt::Formatter<'_>, number: usize, address: usize) -> fmt::Result {
    // Collected first: the resolver calls back under its own lock, and writing may run anybody's code.
    let mut functions = Vec::new();
    // It takes return addresses, and looks at the one before.
    backtrace::resolve(std::ptr::without_provenance_mut::<c_void>(address.wrapping_add(1)), |symbol| {
        let place = symbol.filename().map(|file| (file.to_path_buf(), symbol.lineno()));
        functions.push((symbol.name().map(|name| format!("{name:#}")), place));
    });
    let mut number = Some(number);
    for (name, place) in functions {
        let Some(name) = name else { continue };
        // Functions that the compiler has put into one another share a number.
        match number.take() {
            Some(number) => writeln!(f, "{number:4}: {name}")?,
            None => writeln!(f, "      {name}")?,
        }
        match place {
            Some((file, Some(line))) => writeln!(f, "             at {}:{line}", file.display())?,
            Some((file, None)) => writeln!(f, "             at {}", file.display())?,
            None => {}
        }
    }
    let Some(number) = number else { return Ok(()) };
    let objects = objects::current();
    match objects.at(address) {
        Some(object) if object.path.as_os_str().is_empty() => {
            writeln!(f, "{number:4}: (program+{:#x})", address.wrapping_sub(object.bias))
        }
        Some(object) => {
            let offset = address.wrapping_sub(object.bias);
            writeln!(f, "{number:4}: ({}+{offset:#x})", object.path.display())
        }
        None => writeln!(f, "{number:4}: {address:#x}"),
    }
}

/// The calls under way in the caller, from the caller itself on. Neither parks nor blocks, but as a page fault does;
/// the first one of a process copies the unwind tables of its code.
///
/// ```
/// let here = bthread::trace::capture();
/// println!("{here}");
/// ```
#[inline(never)]
pub fn capture() -> StackTrace {
    let registers = Registers::here();
    let sp = registers.get(registers::SP).unwrap_or(0);
    let mut trace = unwind::unwind(&StackCopy::of(sp, STACK_COPY_BYTES_MAX), registers, true);
    trace.frames.remove(0);
    trace
}

/// A piece of a stack as it was at one moment, or a mixture of moments if somebody was running on it.
pub(crate) struct StackCopy {
    /// Where the first byte comes from.
    start: usize,
    bytes: Vec<u8>,
}

impl StackCopy {
    /// What can be read from `start` on.
    fn of(start: usize, bytes_max: usize) -> StackCopy {
        let mut bytes = vec![0; bytes_max];
        let count = memory::copy(start, &mut bytes);
        bytes.truncate(count);
        StackCopy { start, bytes }
    }

    /// One word as it was at some moment.
    pub(crate) fn of_word(address: usize) -> Option<usize> {
        StackCopy::of(address, size_of::<usize>()).word(address)
    }

    /// The word that was at `address`, if that was copied.
    fn word(&self, address: usize) -> Option<usize> {
        let offset = address.checked_sub(self.start)?;
        let bytes = self.bytes.get(offset..offset.checked_add(size_of::<usize>())?)?;
        Some(usize::from_ne_bytes(bytes.try_into().ok()?))
    }

    /// The trace of the context that was suspended here, from the code that suspended it to its entry. If the copy is a
    /// mixture of moments, so is the trace. Neither parks nor blocks, but as [`capture`] does.
    pub(crate) fn unwind(&self) -> StackTrace {
        let frame = self.bytes.first_chunk::<SAVED_FRAME_BYTES>();
        let frame = frame.expect("`copy_parked` has copied the frame that a switch saves");
        unwind::unwind(self, Registers::of_parked(self.start, frame), false)
    }
}

/// Copies the stack of a suspended context: what lies from its saved stack pointer `sp` up to `stack_top`, at most
/// `STACK_COPY_BYTES_MAX`. None if that does not hold a saved frame that can be read.
///
/// The numbers may be out of date and the stack in use: this reads through the kernel and faults nowhere. Only the
/// caller can tell, by looking before and after, whether the context stayed suspended meanwhile; if it did, the copy
/// is true. Neither parks nor blocks.
pub(crate) fn copy_parked(sp: usize, stack_top: usize) -> Option<StackCopy> {
    let bytes = stack_top.checked_sub(sp)?.min(STACK_COPY_BYTES_MAX);
    let copy = StackCopy::of(sp, bytes);
    (copy.bytes.len() >= SAVED_FRAME_BYTES).then_some(copy)
}
