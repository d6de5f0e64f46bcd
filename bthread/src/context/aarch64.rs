//! The Rust side of `aarch64.S`: its symbols, and the branch into it. Nothing else belongs here.

#![allow(unsafe_code)]

use super::Entry;
use core::arch::{asm, global_asm};

global_asm!(include_str!("aarch64.S"), options(raw));

unsafe extern "C" {
    /// # Safety
    ///
    /// As [`super::prepare`].
    pub(super) fn bobbin_ctx_prepare(stack_top: *mut u8, entry: Entry, arg: *mut ()) -> *mut u8;

    /// Not to be called: it returns by an indirect branch, to a landing pad.
    fn bobbin_ctx_switch();
}

/// # Safety
///
/// As [`super::switch`].
#[inline(always)]
pub(super) unsafe fn switch(from: *mut *mut u8, to: *mut u8) {
    // SAFETY: the assembly keeps what the C ABI keeps and comes back at label 2 with the stack pointer as it
    // was. `hint #36` is `bti j`, which an indirect branch must land on where the page asks for it.
    unsafe {
        asm!(
            "adr x30, 2f",
            "b {switch}",
            "2:",
            "hint #36",
            switch = sym bobbin_ctx_switch,
            inlateout("x0") from => _,
            inlateout("x1") to => _,
            clobber_abi("C"),
        );
    }
}
