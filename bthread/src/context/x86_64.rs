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
