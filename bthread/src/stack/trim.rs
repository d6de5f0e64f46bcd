//! Gives the memory of free stacks back: what was not needed for a while, page tables last.
//!
//! Owns the decision and the system calls. The slots it deals with are free, in no list and in its hand meanwhile.

#![allow(unsafe_code)]

use super::pool::{Guards, StackPool};
use crate::atomic::lock;
use std::sync::atomic::Ordering::Relaxed;

/// Since Linux 6.13; not in every version of the libc crate.
const MADV_GUARD_REMOVE: libc::c_int = 103;

/// Idle stacks below which [`StackPool::trim`] takes all instead of half.
const TRIM_MIN: u32 = 64;
/// Stacks that [`StackPool::trim`] has in hand at a time.
const TRIM_BATCH: usize = 1 << 16;
/// Neighbours span so many page tables at least, or theirs are not given back: the outermost are shared with others.
const BARE_TABLES_MIN: usize = 4;

impl StackPool {
    /// Gives memory back that nobody needed since the last call: that of half of the stacks that were warm all the
    /// time, or of more if there are few, or if free stacks turned out to keep more than they may. Once there are
    /// none of these, the page tables of stacks that were cold all the time. Returns how many stacks lost memory.
    ///
    /// Blocks the thread for a system call for each run of neighbours, and for other threads that do the same. To
    /// be called about once a second, by one thread.
    pub(crate) fn trim(&self) -> u32 {
        // Relaxed, here and below: the decision is about speed only.
        let (warm, cold) = (self.warm_count.load(Relaxed), self.cold_count.load(Relaxed));
        let warm_idle = self.warm_low.swap(warm, Relaxed);
        let cold_idle = self.cold_low.swap(cold, Relaxed);
        let surplus = warm.saturating_sub(self.warm_limit.load(Relaxed));
        let wanted = (warm_idle / 2).max(warm_idle.min(TRIM_MIN)).max(surplus);
        if wanted > 0 {
            return self.in_batches(wanted, || self.pop_warm(), |slots| self.cool(slots));
        }
        // Slower than the above: one batch a call.
        self.in_batches(cold_idle.min(TRIM_BATCH as u32), || self.pop_cold(), |slots| self.strip(slots));
        0
    }

    /// Whether free stacks have nothing left that a later [`trim`](Self::trim) could give back.
    pub(super) fn is_trimmed(&self) -> bool {
        self.warm_count.load(Relaxed) == 0 && self.cold_count.load(Relaxed) == 0 // a hint; pairs with nothing
    }

    /// Takes `wanted` free slots in hand, as long as there are, and deals with them.
    fn in_batches(&self, wanted: u32, pop: impl Fn() -> Option<u32>, deal: impl Fn(&mut [u32])) -> u32 {
        let mut slots = Vec::with_capacity(TRIM_BATCH.min(wanted as usize));
        let mut done = 0;
        while done < wanted {
            let _in_hand = lock(&self.trimming);
            slots.extend(std::iter::from_fn(&pop).take(TRIM_BATCH.min((wanted - done) as usize)));
            if slots.is_empty() {
                break;
            }
            done += slots.len() as u32;
            deal(&mut slots);
            slots.clear();
        }
        done
    }

    /// Gives the memory of free slots in our hand back.
    pub(super) fn cool(&self, slots: &mut [u32]) {
        slots.sort_unstable();
        for run in runs(slots) {
            self.advise(run, libc::MADV_DONTNEED);
            // Relaxed: as in `trim`.
            self.cold_count.fetch_add(run.len() as u32, Relaxed);
            // From the top down, so that they are taken from the bottom up.
            run.iter().rev().for_each(|&index| self.cold.push(&self.links, index));
        }
    }

    /// Gives the page tables of cold slots in our hand back, where many lie side by side. The kernel frees a table
    /// that has neither pages nor markers, when a run across it is given back.
    fn strip(&self, slots: &mut [u32]) {
        slots.sort_unstable();
        // A table is a page of 8-byte entries.
        let bytes_min = BARE_TABLES_MIN * self.page_size * self.page_size / 8;
        for run in runs(slots) {
            if run.len() * self.slot_size >= bytes_min && lock(&self.growth).guards == Guards::Markers {
                self.advise(run, MADV_GUARD_REMOVE);
                self.advise(run, libc::MADV_DONTNEED);
            }
            // The others too, lest the next trim tries again.
            run.iter().rev().for_each(|&index| self.bare.push(&self.links, index));
        }
    }

    /// Tells the kernel something about free slots side by side, in our hand: from the first one's lowest usable byte
    /// to the last one's top, with the guards between. A refusal (locked memory) leaves all as it is, which costs
    /// memory and breaks nothing.
    fn advise(&self, run: &[u32], advice: libc::c_int) {
        let bytes = run.len() * self.slot_size - self.guard_size;
        // SAFETY: nobody uses these stacks, and a guard that goes is put back before its stack is used again.
        unsafe { libc::madvise(self.limit(run[0]).as_ptr().cast(), bytes, advice) };
    }
}

/// Sorted slots, cut where one is missing.
fn runs(slots: &[u32]) -> impl Iterator<Item = &[u32]> {
    slots.chunk_by(|low, high| low + 1 == *high)
}
