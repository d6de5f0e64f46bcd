//! The registers that unwinding follows, by their DWARF numbers, and where to take them from: a parked bthread's
//! saved frame, the context of a signal, or the processor.
//!
//! A register may be unknown. Must never guess one.
//!
//! Holds unsafe: assembly that stores registers into a local array, and reading what the kernel gave a handler.

#![allow(unsafe_code)]

use gimli::Register;

#[cfg(target_arch = "aarch64")]
#[path = "registers_aarch64.rs"]
mod machine;
#[cfg(target_arch = "x86_64")]
#[path = "registers_x86_64.rs"]
mod machine;

pub(super) use machine::{SAVED_FRAME_BYTES, SP, code_address};

/// The values at one point of a flow of control.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registers {
    /// The next instruction.
    pub(super) pc: usize,
    values: [Option<usize>; machine::COUNT],
}

impl Registers {
    /// Only where it stands is known.
    pub(super) const fn at(pc: usize, sp: usize) -> Registers {
        let mut values = [None; machine::COUNT];
        values[SP.0 as usize] = Some(sp);
        Registers { pc, values }
    }

    /// Those of a suspended context, from the frame that the switch saved at `sp` (table in `context`).
    pub(super) fn of_parked(sp: usize, frame: &[u8; SAVED_FRAME_BYTES]) -> Registers {
        let word = |offset: usize| {
            let bytes = frame[offset..offset + 8].try_into().expect("a word within the frame");
            usize::from_ne_bytes(bytes)
        };
        let mut registers = Registers::at(word(machine::SAVED_PC), sp + SAVED_FRAME_BYTES);
        for (number, offset) in machine::SAVED {
            registers.values[number] = Some(word(offset));
        }
        registers
    }

    /// Those of the code that a signal interrupted. Async-signal-safe.
    ///
    /// # Safety
    /// `context` is what the kernel passed to a handler installed with SA_SIGINFO.
    pub(super) unsafe fn of_signal(context: *const libc::c_void) -> Registers {
        // SAFETY: the caller's promise.
        machine::of_signal(unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext })
    }

    /// Those of the function that this is inlined into.
    #[inline(always)]
    pub(super) fn here() -> Registers {
        machine::here()
    }

    pub(super) fn get(&self, register: Register) -> Option<usize> {
        self.values.get(usize::from(register.0)).copied().flatten()
    }

    pub(super) fn set(&mut self, register: Register, value: Option<usize>) {
        if let Some(place) = self.values.get_mut(usize::from(register.0)) {
            *place = value;
        }
    }

    /// All that are followed.
    pub(super) fn all() -> impl Iterator<Item = Register> {
        (0..machine::COUNT as u16).map(Register)
    }

    /// Whether a function gives this register back to its caller as it was.
    pub(super) fn is_preserved(register: Register) -> bool {
        machine::PRESERVED.contains(&register.0)
    }
}
