//! AArch64: DWARF numbers as in the ABI's "DWARF for the Arm 64-bit Architecture", section 4.1.

#![allow(unsafe_code)]

use super::Registers;
use core::arch::asm;
use gimli::Register;

/// x0 to x30, sp.
pub(super) const COUNT: usize = 32;
pub(crate) const SP: Register = Register(31);
/// x19 to x28, x29 (frame pointer), x30 (link: a function that does not save it has not changed it).
pub(super) const PRESERVED: [u16; 12] = [19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30];

/// Bytes that a switch leaves on the stack it suspends.
pub(crate) const SAVED_FRAME_BYTES: usize = 176;
pub(super) const SAVED_PC: usize = 168;
/// DWARF number, and offset in the saved frame.
pub(super) const SAVED: [(usize, usize); 11] = [
    (19, 64),
    (20, 72),
    (21, 80),
    (22, 88),
    (23, 96),
    (24, 104),
    (25, 112),
    (26, 120),
    (27, 128),
    (28, 136),
    (29, 160),
];

/// The bits of a return address that are an address: above them may stand a signature (pointer authentication).
pub(crate) fn code_address(word: usize) -> usize {
    word & ((1 << 48) - 1)
}

pub(super) fn of_signal(machine: &libc::mcontext_t) -> Registers {
    let mut values = [None; COUNT];
    for (value, register) in values.iter_mut().zip(machine.regs) {
        *value = Some(register as usize);
    }
    values[usize::from(SP.0)] = Some(machine.sp as usize);
    Registers { pc: machine.pc as usize, values }
}

#[inline(always)]
pub(super) fn here() -> Registers {
    let mut words = [0usize; 14];
    // SAFETY: stores 14 words into the array and uses one scratch register. A register that the compiler took for
    // an operand was saved by the function before, as its call-frame information tells.
    unsafe {
        asm!(
            "stp x19, x20, [{0}]",
            "stp x21, x22, [{0}, #16]",
            "stp x23, x24, [{0}, #32]",
            "stp x25, x26, [{0}, #48]",
            "stp x27, x28, [{0}, #64]",
            "stp x29, x30, [{0}, #80]",
            "mov {1}, sp",
            "str {1}, [{0}, #96]",
            "adr {1}, .",
            "str {1}, [{0}, #104]",
            in(reg) words.as_mut_ptr(),
            out(reg) _,
            options(nostack, preserves_flags),
        );
    }
    let mut registers = Registers::at(words[13], words[12]);
    for (number, word) in PRESERVED.into_iter().zip(words) {
        registers.values[usize::from(number)] = Some(word);
    }
    registers
}
