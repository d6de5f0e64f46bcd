//! Contexts: where a suspended flow of control stands on its own stack, and how to leave one for another.
//!
//! This module owns the machine's calling convention: how a fresh stack is laid out ([`prepare`]) and
//! how one stack is left for another ([`switch`], or [`leave`] for good). It must never allocate, take a lock, touch a
//! thread-local or know what a task, a worker or a stack pool is.
//!
//! # What a switch keeps
//!
//! | | x86-64 (System V ABI) | AArch64 (AAPCS64) |
//! |---|---|---|
//! | integer registers | rbx rbp r12 to r15, rsp | x19 to x29, sp |
//! | vector registers | none are callee-saved | d8 to d15 |
//! | floating-point control | mxcsr, x87 control word | fpcr |
//! | bytes on the stack | 64 | 176 |
//!
//! Everything else dies, as it does in a C call, and so do the sticky floating-point exception flags.
//! What belongs to the OS thread and not to the flow (signal mask, `errno`, thread-locals) is left alone.
//!
//! # The stack of a suspended context
//!
//! A [`Context`] is one word: the address of the lowest byte of this frame, which lies on its own stack.
//!
//! ```text
//!  x86-64, offsets in bytes           AArch64
//!  64  what switch's caller had       176  what switch's caller had
//!  56  address at which to resume     168  x30: address at which to resume
//!  48  rbp                            160  x29
//!  40  rbx                            152  unused
//!  32  r12                            144  fpcr
//!  24  r13                             64  x19 .. x28
//!  16  r14                              0  d8 .. d15
//!   8  r15
//!   4  x87 control word
//!   0  mxcsr             <- Context -> 0
//! ```
//!
//! `prepare` lays down the same frame at the top of an empty stack, below 16 bytes of zero. It resumes at a
//! trampoline that takes the entry function from r12 (x19) and its argument from r13 (x20) and calls it, so
//! the entry sees a stack aligned as after any call: rsp + 8, or sp, is a multiple of 16. Its
//! floating-point control is the ABI's initial one (round to nearest, every exception masked), which is
//! also the only one under which Rust code is defined.
//!
//! # Cost
//!
//! `switch` is not a call. It loads the address of its own end into a register and *jumps*; the assembly
//! leaves by an indirect jump. Thus the processor's stack of return addresses stays in step with the real
//! one, and returns that follow are predicted when both sides came by the same path, as tasks that wait in
//! one function do. On an AMD Zen 4, per switch: 2.2 ns so, against 7.5 ns with call and ret (the ret is
//! mispredicted); with call, pop and jump, each return after the switch is mispredicted as well. Saving the
//! floating-point control adds 3 ns, all of it `stmxcsr`; loading it costs nothing there, so it is not
//! guarded by a comparison on x86-64. On AArch64, where writing fpcr may drain the pipeline, it is.
//!
//! # Unwinding
//!
//! Both assembly files carry call-frame information for every instruction. A debugger unwinds a suspended
//! context from pc = `bobbin_ctx_resume` and sp = the saved word, through `switch` into its caller. Every
//! walk ends at the trampoline, whose return address is declared undefined; the chain of frame pointers
//! ends there too, with a null. No panic may reach the entry function's caller: the entry is `extern "C"`,
//! so the process aborts if one tries.
//!
//! # Sanitizers
//!
//! With the feature `sanitizers`, each switch is announced to AddressSanitizer or ThreadSanitizer, and a
//! [`Context`] also holds what they want to know of the flow. See docs/sanitizers.md.
//!
//! # Not supported
//!
//! Hardware shadow stacks: x86 CET, AArch64 GCS, and the shadow call stack in x18. They hold a second copy
//! of the return addresses, which would have to be switched along, by instructions that older processors
//! lack and with a shadow mapping for each stack from the kernel; without that, the first return after a
//! switch faults. The objects built here do not carry the ELF mark that asks for CET or GCS, so a linker
//! drops the mark from the whole program and the C library leaves the feature off.

#![allow(unsafe_code)]

use std::fmt;
use std::ptr;

#[cfg(not(all(
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
compile_error!("bthread switches stacks on 64-bit x86-64 and AArch64 Linux only");

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "aarch64")]
use aarch64 as machine;
#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
use x86_64 as machine;

#[cfg(feature = "sanitizers")]
mod sanitizer;
#[cfg(test)]
mod tests;

/// What a fresh context runs. It must not return, and a panic that leaves it aborts the process.
pub(crate) type Entry = extern "C" fn(arg: *mut ()) -> !;

/// A suspended flow of control: the stack pointer under which its registers are saved.
///
/// Neither `Copy` nor `Clone`, because a context can be resumed once: resuming it destroys the frame it
/// points at. Dropping one frees nothing; whatever lives on that stack is forgotten with it.
#[cfg_attr(not(feature = "sanitizers"), repr(transparent))]
pub(crate) struct Context {
    sp: *mut u8,
    #[cfg(feature = "sanitizers")]
    fiber: sanitizer::Fiber,
}

// SAFETY: a context is an address. Everything done with it is unsafe, and the contract of `switch` asks
// that the suspension happened before the resumption, on whatever thread.
unsafe impl Send for Context {}

impl Context {
    /// The context of nothing: a place for `switch` to store into. Must not be resumed.
    pub(crate) const fn null() -> Context {
        Context {
            sp: ptr::null_mut(),
            #[cfg(feature = "sanitizers")]
            fiber: sanitizer::Fiber::NULL,
        }
    }

    /// Where in it the saved stack pointer lies, for who looks at the stack without resuming it. Null while the flow
    /// runs.
    pub(crate) const SP_OFFSET: usize = std::mem::offset_of!(Context, sp);

    /// Whether nothing has been stored here yet.
    pub(crate) fn is_null(&self) -> bool {
        self.sp.is_null()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({:p})", self.sp)
    }
}

/// Lays down the first frame of a flow that will run `entry(arg)` once it is switched to.
///
/// Neither parks nor blocks.
///
/// # Safety
///
/// The stack is the memory from `limit` up to `top`. The 256 bytes below `top` must be writable memory that
/// nothing else uses until the flow has been left for good; `entry` finds what lies below them, down to
/// `limit`, as its stack, and needs enough of it.
pub(crate) unsafe fn prepare(limit: *mut u8, top: *mut u8, entry: Entry, arg: *mut ()) -> Context {
    debug_assert!(limit < top, "a stack grows down");
    // SAFETY: the caller's promise covers every byte the assembly writes.
    #[cfg(not(feature = "sanitizers"))]
    return Context { sp: unsafe { machine::bobbin_ctx_prepare(top, entry, arg) } };
    // SAFETY: as above.
    #[cfg(feature = "sanitizers")]
    return unsafe { sanitizer::prepare(limit, top, entry, arg) };
}

/// Suspends the running flow into `*from` and resumes `to`. Returns when something switches to `*from`.
///
/// `*from` is written before `to` runs, so what runs next may read it, move it and resume it, there or, if
/// it hands it over with release/acquire ordering, on another thread.
///
/// Neither parks nor blocks by itself.
///
/// # Safety
///
/// * `from` is valid for one write. What it held before is forgotten.
/// * `to` came from [`prepare`] or from an earlier `switch` and has not been resumed since; that suspension
///   happened before this call.
/// * The stack of `to` stays mapped and untouched by others while its flow can run, and so does the
///   caller's own until its flow has been resumed and has ended, or is forgotten. A forgotten stack may be
///   reused only where nobody still borrows from its frames.
/// * If flows move between OS threads, no frame on the caller's stack relies on being on the same thread
///   afterwards: no reference to a thread-local, no held guard of a std lock.
/// * The thread is not inside a signal handler.
#[inline(always)]
pub(crate) unsafe fn switch(from: *mut Context, to: Context) {
    debug_assert!(!to.is_null(), "switch to a null context");
    // SAFETY: `Context` is transparent over the stack pointer; the rest is the caller's promise.
    #[cfg(not(feature = "sanitizers"))]
    unsafe {
        machine::switch(from.cast::<*mut u8>(), to.sp);
    }
    // SAFETY: the caller's promise.
    #[cfg(feature = "sanitizers")]
    unsafe {
        sanitizer::switch(from, to);
    }
}

/// Resumes `to` and never comes back. Nothing on the running flow's stack is dropped; the stack is free as
/// soon as `to` runs.
///
/// Neither parks nor blocks by itself.
///
/// # Safety
///
/// As for [`switch`], where it speaks of `to` and of signal handlers. Nobody borrows from the frames that
/// are left, and the stack stays untouched until `to` runs.
#[inline(always)]
pub(crate) unsafe fn leave(to: Context) -> ! {
    debug_assert!(!to.is_null(), "leaving for a null context");
    #[cfg(not(feature = "sanitizers"))]
    {
        let mut nowhere = ptr::null_mut();
        // SAFETY: the caller's promise; what is stored is never resumed.
        unsafe { machine::switch(&raw mut nowhere, to.sp) };
        unreachable!("a flow that was left for good was resumed")
    }
    // SAFETY: the caller's promise.
    #[cfg(feature = "sanitizers")]
    unsafe {
        sanitizer::leave(to)
    }
}
