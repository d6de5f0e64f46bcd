//! Tells valgrind where stacks lie, so that it takes a switch for one and not for a very large frame.
//!
//! A request to valgrind is an instruction sequence without effect on a processor, which valgrind's translator knows
//! (its manual, "The Client Request mechanism", and `valgrind.h`, which is meant to be compiled into programs). So a
//! program with this runs as well outside of valgrind.

#![allow(unsafe_code)]

use std::ptr::NonNull;

/// Register a stack: lowest byte, highest byte; the answer is its number.
const STACK_REGISTER: usize = 0x1501;
/// Forget the stack with a number.
const STACK_DEREGISTER: usize = 0x1502;

/// Stacks that valgrind knows, until this is dropped.
#[derive(Debug, Default)]
pub(super) struct Registered(Vec<usize>);

impl Registered {
    /// Neither parks nor blocks.
    pub(super) fn add(&mut self, limit: NonNull<u8>, top: NonNull<u8>) {
        self.0.push(request([STACK_REGISTER, limit.addr().get(), top.addr().get() - 1, 0, 0, 0]));
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        for &number in &self.0 {
            request([STACK_DEREGISTER, number, 0, 0, 0, 0]);
        }
    }
}

/// Asks valgrind; 0 outside of it.
fn request(request: [usize; 6]) -> usize {
    let mut answer: usize = 0;
    // SAFETY: four rotations by 128 bits in all and an exchange of a register with itself: nothing changes, but
    // under valgrind, which reads the request and writes the answer.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") request.as_ptr(),
            inout("rdx") answer,
            options(nostack),
        );
    }
    // SAFETY: four rotations by 128 bits in all and an `or` of a register with itself, as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!(
            "ror x12, x12, #3",
            "ror x12, x12, #13",
            "ror x12, x12, #51",
            "ror x12, x12, #61",
            "orr x10, x10, x10",
            in("x4") request.as_ptr(),
            inout("x3") answer,
            options(nostack),
        );
    }
    answer
}
