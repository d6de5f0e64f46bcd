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
    // SAFETY: the stack is aligned for a call here, which keeps x20 and x21; nothing comes back to label 2.
    unsafe {
        asm!(
            "blr x8",
            "mov x0, x20",
            "mov x1, x21",
            "adr x30, 2f",
            "b {switch}",
            "2:",
            "brk #1",
            switch = sym bobbin_ctx_switch,
            in("x8") announce,
            in("x0") 0,
            in("x1") bottom,
            in("x2") size,
            in("x20") from,
            in("x21") to,
            options(noreturn),
        );
    }
}
