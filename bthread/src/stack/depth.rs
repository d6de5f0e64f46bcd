//! How much of a stack was used, asked of the kernel.

#![allow(unsafe_code)]

use std::ptr::NonNull;

/// Pages asked about at a time. Below as many without memory, nothing more is looked for.
const PAGES_PER_LOOK: usize = 256;

/// The pages of a stack that have memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Use {
    /// How many there are.
    pub(super) resident: usize,
    /// Pages from the top down to the lowest of them: how deep the stack was ever used since it was last cold.
    pub(super) depth: usize,
}

/// Looks at the `pages` pages below `top`, which are mapped. Blocks the thread for one system call, or for one more
/// for each [`PAGES_PER_LOOK`] pages that were used. A kernel that does not answer has used none.
pub(super) fn of(top: NonNull<u8>, pages: usize, page_size: usize) -> Use {
    let mut found = Use::default();
    let mut seen = 0;
    while seen < pages {
        let count = PAGES_PER_LOOK.min(pages - seen);
        let mut answers = [0_u8; PAGES_PER_LOOK];
        let start = top.as_ptr().wrapping_sub((seen + count) * page_size);
        // SAFETY: asks about mapped pages; an answer is a byte, for which there is room.
        if unsafe { libc::mincore(start.cast(), count * page_size, answers.as_mut_ptr()) } != 0 {
            break;
        }
        let is_resident = |answer: &u8| answer & 1 == 1;
        let Some(lowest) = answers[..count].iter().position(is_resident) else { break };
        found.resident += answers[..count].iter().filter(|answer| is_resident(answer)).count();
        found.depth = seen + count - lowest;
        seen += count;
    }
    found
}
