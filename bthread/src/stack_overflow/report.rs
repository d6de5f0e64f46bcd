//! The message and the trace of an overflow, written from inside the signal handler.
//!
//! Must not allocate or lock. The message is out before the trace is tried: unwinding is not promised to be
//! async-signal-safe, so an alarm cuts it should it hang, and a fault inside it kills the process, as both
//! signals are blocked here.

#![allow(unsafe_code)]

use super::{Describe, Overflow};
use std::ffi::{c_int, c_void};
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Innermost frames that the trace shows.
pub(super) const TRACE_FRAMES_MAX: usize = 64;
/// Bytes of a bthread's description that are shown.
const LABEL_BYTES_MAX: usize = 128;
/// Seconds after which a trace that hangs is cut.
const TRACE_SECONDS_MAX: u32 = 5;

/// Where the main program is loaded: what to subtract from an address for the number in its ELF file.
static PROGRAM_BIAS: AtomicUsize = AtomicUsize::new(0);
/// Addresses of the main program, from and to.
static PROGRAM: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

unsafe extern "C" {
    /// Part of the unwinder that Rust's standard library links.
    fn _Unwind_Backtrace(
        step: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    /// The address a frame resumes at, inside `step`.
    fn _Unwind_GetIP(frame: *mut c_void) -> usize;
}

/// From `step`: go on.
const URC_NO_REASON: c_int = 0;
/// From `step`: stop here.
const URC_NORMAL_STOP: c_int = 4;

/// Looks up what the handler cannot: where the main program lies.
pub(super) fn prepare() {
    /// # Safety
    ///
    /// For `dl_iterate_phdr` only.
    unsafe extern "C" fn main_program(info: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
        // SAFETY: the loader passes a valid description, whose headers stay mapped. The program comes first.
        let (bias, headers) = unsafe {
            let info = &*info;
            (info.dlpi_addr as usize, std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()))
        };
        let loaded = headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
        let ends = loaded.map(|header| {
            let start = bias.wrapping_add(header.p_vaddr as usize);
            (start, start.wrapping_add(header.p_memsz as usize))
        });
        let (low, high) = ends.fold((usize::MAX, 0), |all, one| (all.0.min(one.0), all.1.max(one.1)));
        // Relaxed: the handler is installed afterwards, by this thread.
        PROGRAM_BIAS.store(bias, Relaxed);
        PROGRAM[0].store(low, Relaxed);
        PROGRAM[1].store(high, Relaxed);
        1
    }
    // SAFETY: the callback has the signature asked for and keeps no pointer.
    unsafe { libc::dl_iterate_phdr(Some(main_program), std::ptr::null_mut()) };
}

/// A line that is cut at its bound, never refused.
struct Line {
    bytes: [u8; 256],
    length: usize,
}

impl Line {
    fn new() -> Line {
        Line { bytes: [0; 256], length: 0 }
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = &mut self.bytes[self.length..];
        let taken = bytes.len().min(room.len());
        room[..taken].copy_from_slice(&bytes[..taken]);
        self.length += taken;
    }

    fn print(&self) {
        let mut rest = &self.bytes[..self.length];
        while !rest.is_empty() {
            // SAFETY: writes the bytes named; async-signal-safe.
            match unsafe { libc::write(libc::STDERR_FILENO, rest.as_ptr().cast(), rest.len()) } {
                // Nobody left to tell, or nothing taken: give up rather than spin.
                ..=0 => return,
                written => rest = &rest[written as usize..],
            }
        }
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

struct Trace {
    /// The address that faulted; the frames before it are the handler's own.
    pc: usize,
    found: bool,
    frames: usize,
}

fn print_frame(number: usize, address: usize) {
    let mut line = Line::new();
    // Relaxed: see `prepare`.
    let program = PROGRAM[0].load(Relaxed)..PROGRAM[1].load(Relaxed);
    let _ = write!(line, "{number:4}: {address:#018x}");
    if program.contains(&address) {
        let _ = write!(line, " (program + {:#x})", address - PROGRAM_BIAS.load(Relaxed));
    }
    line.push(b"\n");
    line.print();
}

extern "C" fn step(frame: *mut c_void, trace: *mut c_void) -> c_int {
    // SAFETY: `trace` is what `report_and_abort` passed, `frame` is the unwinder's.
    let (trace, address) = unsafe { (&mut *trace.cast::<Trace>(), _Unwind_GetIP(frame)) };
    if address == 0 {
        return URC_NORMAL_STOP;
    }
    trace.found |= address == trace.pc;
    if trace.found {
        print_frame(trace.frames, address);
        trace.frames += 1;
    }
    if trace.frames < TRACE_FRAMES_MAX { URC_NO_REASON } else { URC_NORMAL_STOP }
}

/// Says who has overflowed which stack and how it came there, and ends the process by SIGABRT.
pub(super) fn report_and_abort(describe: Describe, overflow: &Overflow, fault: usize, pc: usize) -> ! {
    let mut label = [0; LABEL_BYTES_MAX];
    let length = describe(&mut label).min(label.len());
    let label = if length == 0 { b"(unknown)".as_slice() } else { &label[..length] };
    let mut line = Line::new();
    line.push(b"\nbthread ");
    line.push(label);
    line.push(b" has overflowed its stack\n");
    line.print();
    line = Line::new();
    let Overflow { index, limit, top } = overflow;
    let _ = writeln!(line, "stack {index}: {limit:#x} to {top:#x}, fault at {fault:#x}; return addresses:");
    line.print();

    let mut trace = Trace { pc, found: false, frames: 0 };
    // SAFETY: all async-signal-safe but the unwinder, on which see the module's head; the default action of
    // SIGALRM ends the process. `step` matches the unwinder's callback.
    unsafe {
        let mut alarm_only: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut alarm_only);
        libc::sigaddset(&mut alarm_only, libc::SIGALRM);
        libc::signal(libc::SIGALRM, libc::SIG_DFL);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &alarm_only, std::ptr::null_mut());
        libc::alarm(TRACE_SECONDS_MAX);
        _Unwind_Backtrace(step, (&raw mut trace).cast());
    }
    if !trace.found {
        print_frame(0, pc);
    }
    // SAFETY: ends the process.
    unsafe { libc::abort() }
}
