//! Free slots of a stack pool: last in, first out, lock-free, without an allocation after the start.
//!
//! Owns the links between free slots, never the slots' memory: a free stack's pages may have been given
//! back to the kernel, so nothing is written into them.

#![allow(unsafe_code)]

use crossbeam_utils::CachePadded;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// For each slot of a pool, the slot below it in the list that holds it. One slot is in one list at most, so
/// all lists of a pool share these.
pub(super) struct Links(Box<[AtomicU32]>);

impl Links {
    /// Links for `slots` slots: 4 bytes each, untouched (so without memory behind them) until used.
    pub(super) fn new(slots: u32) -> Links {
        // A `vec!` of zeros comes from the zeroed allocator, which maps it untouched when large.
        let zeros = vec![0_u32; slots as usize].into_boxed_slice();
        // SAFETY: AtomicU32 has the size and alignment of u32 and takes every bit pattern, and the box, just
        // made, is ours alone.
        Links(unsafe { Box::from_raw(Box::into_raw(zeros) as *mut [AtomicU32]) })
    }
}

/// A stack of slot numbers.
pub(super) struct FreeList {
    /// Low half: the top slot's number plus one, 0 if there is none. High half: a count of the changes, so
    /// that a pop cannot mistake a slot that went and came back for one that stayed. For that the count
    /// would have to come round, by 2^32 changes, between two instructions of one pop.
    head: CachePadded<AtomicU64>,
}

const TOP_BITS: u32 = 32;
const TOP_MASK: u64 = u32::MAX as u64;

impl FreeList {
    pub(super) const fn new() -> FreeList {
        FreeList { head: CachePadded::new(AtomicU64::new(0)) }
    }

    fn after(head: u64, top: u32) -> u64 {
        ((head >> TOP_BITS).wrapping_add(1) << TOP_BITS) | u64::from(top)
    }

    /// Adds `slot`, which must be in no list of these links. The caller's writes become visible to whoever
    /// pops it.
    pub(super) fn push(&self, links: &Links, slot: u32) {
        let mut head = self.head.load(Relaxed);
        loop {
            // Published by the exchange below.
            links.0[slot as usize].store((head & TOP_MASK) as u32, Relaxed);
            // Release: pairs with the acquiring loads in `pop`.
            match self.head.compare_exchange_weak(head, Self::after(head, slot + 1), Release, Relaxed) {
                Ok(_) => return,
                Err(seen) => head = seen,
            }
        }
    }

    /// Takes the slot pushed last.
    pub(super) fn pop(&self, links: &Links) -> Option<u32> {
        // Acquire: pairs with the Release of every `push` still in the list, since each later change is a
        // read-modify-write and so carries their release sequences on.
        let mut head = self.head.load(Acquire);
        loop {
            let slot = ((head & TOP_MASK) as u32).checked_sub(1)?;
            // May read the link of a slot that was taken meanwhile; then the count has moved, and the
            // exchange fails.
            let below = links.0[slot as usize].load(Relaxed);
            match self.head.compare_exchange_weak(head, Self::after(head, below), Acquire, Acquire) {
                Ok(_) => return Some(slot),
                Err(seen) => head = seen,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_in_first_out() {
        let links = Links::new(4);
        let list = FreeList::new();
        assert_eq!(list.pop(&links), None);
        for slot in [2, 0, 3] {
            list.push(&links, slot);
        }
        assert_eq!(list.pop(&links), Some(3));
        list.push(&links, 1);
        let rest: Vec<_> = std::iter::from_fn(|| list.pop(&links)).collect();
        assert_eq!(rest, [1, 0, 2]);
        assert_eq!(list.pop(&links), None);
    }

    #[test]
    fn two_lists_share_links() {
        let links = Links::new(4);
        let (left, right) = (FreeList::new(), FreeList::new());
        for slot in 0..4 {
            if slot % 2 == 0 { left.push(&links, slot) } else { right.push(&links, slot) }
        }
        assert_eq!([left.pop(&links), right.pop(&links)], [Some(2), Some(3)]);
        assert_eq!([left.pop(&links), right.pop(&links)], [Some(0), Some(1)]);
        assert_eq!([left.pop(&links), right.pop(&links)], [None, None]);
    }

    #[test]
    fn no_slot_is_held_twice_or_lost() {
        const SLOTS: u32 = 8;
        const ROUNDS: usize = if cfg!(miri) { 50 } else { 50_000 };
        let links = Links::new(SLOTS);
        let list = FreeList::new();
        let held: Vec<_> = (0..SLOTS).map(|_| AtomicU32::new(0)).collect();
        (0..SLOTS).for_each(|slot| list.push(&links, slot));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..ROUNDS {
                        // One or two at a time, so that slots change their order.
                        let first = list.pop(&links);
                        let second = if round % 3 == 0 { list.pop(&links) } else { None };
                        for slot in [first, second].into_iter().flatten() {
                            assert_eq!(held[slot as usize].fetch_add(1, Relaxed), 0, "held twice");
                        }
                        for slot in [first, second].into_iter().flatten() {
                            held[slot as usize].fetch_sub(1, Relaxed);
                            list.push(&links, slot);
                        }
                    }
                });
            }
        });
        let mut rest: Vec<_> = std::iter::from_fn(|| list.pop(&links)).collect();
        rest.sort_unstable();
        assert_eq!(rest, (0..SLOTS).collect::<Vec<_>>());
    }
}
