//! x86-64: DWARF numbers and names as in the System V psABI, figure 3.36.

#![allow(unsafe_code)]

use super::Registers;
use core::arch::asm;
use gimli::Register;

/// rax rdx rcx rbx rsi rdi rbp rsp, r8 to r15, the return address.
pub(super) const COUNT: usize = 17;
pub(crate) const SP: Register = Register(7);
/// rbx, rbp, r12 to r15.
pub(super) const PRESERVED: [u16; 6] = [3, 6, 12, 13, 14, 15];

/// Bytes that a switch leaves on the stack it suspends.
pub(crate) const SAVED_FRAME_BYTES: usize = 64;
pub(super) const SAVED_PC: usize = 56;
/// DWARF number, and offset in the saved frame.
pub(super) const SAVED: [(usize, usize); 6] = [(15, 8), (14, 16), (13, 24), (12, 32), (3, 40), (6, 48)];

/// The bits of a return address that are an address.
pub(crate) fn code_address(word: usize) -> usize {
    word
}

pub(super) fn of_signal(machine: &libc::mcontext_t) -> Registers {
    /// In the order of their DWARF numbers.
    const PLACES: [libc::c_int; COUNT - 1] = [
        libc::REG_RAX,
        libc::REG_RDX,
        libc::REG_RCX,
        libc::REG_RBX,
        libc::REG_RSI,
        libc::REG_RDI,
        libc::REG_RBP,
        libc::REG_RSP,
        libc::REG_R8,
        libc::REG_R9,
        libc::REG_R10,
        libc::REG_R11,
        libc::REG_R12,
        libc::REG_R13,
        libc::REG_R14,
        libc::REG_R15,
    ];
    let mut values = [None; COUNT];
    for (value, place) in values.iter_mut().zip(PLACES) {
        *value = Some(machine.gregs[place as usize] as usize);
    }
    Registers { pc: machine.gregs[libc::REG_RIP as usize] as usize, values }
}

#[inline(always)]
pub(super) fn here() -> Registers {
    let mut words = [0usize; 8];
    // SAFETY: stores eight words into the array and uses one scratch register. A register that the compiler took for
    // an operand was saved by the function before, as its call-frame information tells.
    unsafe {
        asm!(
            "mov [{0}], rbx",
            "mov [{0} + 8], rbp",
            "mov [{0} + 16], r12",
            "mov [{0} + 24], r13",
            "mov [{0} + 32], r14",
            "mov [{0} + 40], r15",
            "mov [{0} + 48], rsp",
            "lea {1}, [rip]",
            "mov [{0} + 56], {1}",
            in(reg) words.as_mut_ptr(),
            out(reg) _,
            options(nostack, preserves_flags),
        );
    }
    let mut registers = Registers::at(words[7], words[6]);
    for (number, word) in PRESERVED.into_iter().zip(words) {
        registers.values[usize::from(number)] = Some(word);
    }
    registers
}
