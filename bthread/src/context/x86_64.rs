//! The Rust side of `x86_64.S`: its symbols, and the jump into it. Nothing else belongs here.

#![allow(unsafe_code)]

use super::Entry;
use core::arch::{asm, global_asm};

global_asm!(include_str!("x86_64.S"), options(att_syntax, raw));

unsafe extern "C" {
    /// # Safety
    ///
    /// As [`super::prepare`].
    pub(super) fn bobbin_ctx_prepare(stack_top: *mut u8, entry: Entry, arg: *mut ()) -> *mut u8;

    /// Not to be called: it wants the resume address in rax.
    fn bobbin_ctx_switch();
}

/// # Safety
///
/// As [`super::switch`].
#[inline(always)]
pub(super) unsafe fn switch(from: *mut *mut u8, to: *mut u8) {
    // SAFETY: the assembly keeps what the C ABI keeps and comes back at label 2 with the stack pointer as it
    // was. Without `nostack`, the compiler leaves no red zone below it for the pushes to overwrite.
    unsafe {
        asm!(
            "leaq 2f(%rip), %rax",
            "jmp {switch}",
            "2:",
            switch = sym bobbin_ctx_switch,
            inlateout("rdi") from => _,
            inlateout("rsi") to => _,
            clobber_abi("C"),
            options(att_syntax),
        );
    }
}

/// Calls `announce(null, bottom, size)` and switches, with nothing read from the running flow's frames between.
///
/// # Safety
///
/// As [`super::leave`], and for the call what `announce` asks for.
#[cfg(feature = "sanitizers")]
pub(super) unsafe fn announce_and_switch(
    announce: super::sanitizer::StartSwitch,
    bottom: *const u8,
    size: usize,
    from: *mut *mut u8,
    to: *mut u8,
) -> ! {
    // SAFETY: the stack is aligned for a call here, which keeps r12 and r13; nothing comes back to label 2.
    unsafe {
        asm!(
            "callq *%rax",
            "movq %r12, %rdi",
            "movq %r13, %rsi",
            "leaq 2f(%rip), %rax",
            "jmp {switch}",
            "2:",
            "ud2",
            switch = sym bobbin_ctx_switch,
            in("rax") announce,
            in("rdi") 0,
            in("rsi") bottom,
            in("rdx") size,
            in("r12") from,
            in("r13") to,
            options(att_syntax, noreturn),
        );
    }
}
