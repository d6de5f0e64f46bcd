//! Finds the frame of a function whose base register is not known.
//!
//! The kernel tells where a blocked thread's stack pointer is, and no other register. A function that addresses its
//! frame by a frame pointer, as std's do, then gives no way to its caller. But its return address is on the stack,
//! above the stack pointer, and the instruction before that address is a call; if that call names its target, the
//! target is the function. Such a word is searched for, and where no call names the function, the first word that
//! follows any call is taken. So the result is likely and not certain, and only a thread that must not be disturbed
//! is unwound with it.

use super::StackCopy;
use super::memory;
use super::objects::Objects;

/// Bytes of stack searched: larger frames than this are lost.
const FRAME_BYTES_MAX: usize = 16 << 10;
/// At a call the stack pointer is a multiple of this, by both ABIs.
const STACK_ALIGNMENT: usize = 16;

/// How an instruction before a return address calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Call {
    /// A function by its address.
    To(usize),
    /// Something that stands in a register or in a variable.
    Indirect,
}

/// The canonical frame address of the function that starts at `function`, whose return address lies `offset` bytes
/// from it.
pub(super) fn search(
    stack: &StackCopy,
    objects: &Objects,
    sp: usize,
    offset: isize,
    function: usize,
) -> Option<usize> {
    let mut any = None;
    let first = sp.checked_next_multiple_of(STACK_ALIGNMENT)?;
    for cfa in (first..first.saturating_add(FRAME_BYTES_MAX)).step_by(STACK_ALIGNMENT) {
        let place = cfa.wrapping_add_signed(offset);
        if place < sp {
            continue;
        }
        // Past the end of the copy: no more.
        let Some(word) = stack.word(place) else { break };
        if objects.at(word.wrapping_sub(1)).is_none() {
            continue;
        }
        match call_before(word) {
            Some(Call::To(target)) if target == function => return Some(cfa),
            Some(_) => any = any.or(Some(cfa)),
            None => {}
        }
    }
    any
}

/// The call that returns to `address`, if there is one.
#[cfg(target_arch = "x86_64")]
pub(super) fn call_before(address: usize) -> Option<Call> {
    let code: [u8; 7] = memory::bytes(address.checked_sub(7)?)?;
    let relative = |bytes: [u8; 4]| address.wrapping_add_signed(i32::from_le_bytes(bytes) as isize);
    match code {
        [.., 0xe8, a, b, c, d] => return Some(Call::To(relative([a, b, c, d]))),
        // Through a variable at a distance, as calls to other objects are.
        [.., 0xff, 0x15, a, b, c, d] => {
            let variable = relative([a, b, c, d]);
            return Some(
                memory::bytes(variable).map_or(Call::Indirect, |bytes| Call::To(usize::from_ne_bytes(bytes))),
            );
        }
        _ => {}
    }
    // 0xff with 2 in the middle bits of the next byte calls what a register or memory holds. The other bits tell how
    // long the instruction is.
    let is_indirect = (2..=7).any(|length| {
        let [0xff, mode, rest @ ..] = &code[7 - length..] else { return false };
        let (kind, base) = (mode >> 6, mode & 7);
        let scaled = usize::from(kind != 3 && base == 4);
        let distance = match (kind, base) {
            (0, 5) => 4,
            (0, 4) if rest.first().is_some_and(|scale| scale & 7 == 5) => 4,
            (0 | 3, _) => 0,
            (1, _) => 1,
            (_, _) => 4,
        };
        mode >> 3 & 7 == 2 && length == 2 + scaled + distance
    });
    is_indirect.then_some(Call::Indirect)
}

/// The call that returns to `address`, if there is one.
#[cfg(target_arch = "aarch64")]
pub(super) fn call_before(address: usize) -> Option<Call> {
    let from = address.checked_sub(4)?;
    let code = u32::from_le_bytes(memory::bytes(from)?);
    if code >> 26 == 0b10_0101 {
        // bl: a distance of 26 bits, in instructions.
        return Some(Call::To(from.wrapping_add_signed(((code << 6) as i32 >> 4) as isize)));
    }
    // blr, and its forms that check a signature.
    let is_indirect = code & 0xffff_fc1f == 0xd63f_0000 || code & 0xfeff_f800 == 0xd63f_0800;
    is_indirect.then_some(Call::Indirect)
}
