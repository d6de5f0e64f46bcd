//! Memory for the nodes of [`List`](super::list::List): taken by producers, given back by consumers, which are
//! mostly other threads, so that neither goes to the allocator for each item.
//!
//! Every thread keeps two chains of free blocks for each size; full chains travel through a depot that all threads
//! share. Nothing here waits: when the depot is locked or out of its bounds, the allocator serves. Bounds: two chains
//! of [`CHAIN`] blocks for each thread and size, [`DEPOT_CHAINS_MAX`] chains of each size in the depot.
//!
//! Holds unsafe. The argument, once:
//! (1) A free block belongs to the one chain it is in, a chain to the one thread or depot it is in; the words of a
//!     block are written and read by its owner alone. The depot's mutex hands chains from thread to thread.
//! (2) All blocks of a size class have the layout of the class, wherever they were allocated and are freed.
//! (3) The thread-local is reached in functions that are never inlined and never wait.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::sync::Mutex;

/// Blocks in a full chain.
const CHAIN: u32 = 32;
/// Chains of one size that the depot keeps: 16,384 blocks.
const DEPOT_CHAINS_MAX: usize = 512;
/// Bytes of the blocks of each class. Larger nodes are left to the allocator.
const SIZES: [usize; 4] = [32, 64, 128, 256];
/// No block is aligned to more than this.
const ALIGN_MAX: usize = 64;

/// The layout of the blocks of a class.
const fn layout_of(class: usize) -> Layout {
    let align = if SIZES[class] < ALIGN_MAX { SIZES[class] } else { ALIGN_MAX };
    match Layout::from_size_align(SIZES[class], align) {
        Ok(layout) => layout,
        Err(_) => panic!("sizes and alignments are powers of two"),
    }
}

/// The smallest class whose blocks hold a `V`.
const fn class_of<V>() -> Option<usize> {
    let mut class = 0;
    while class < SIZES.len() {
        if size_of::<V>() <= layout_of(class).size() && align_of::<V>() <= layout_of(class).align() {
            return Some(class);
        }
        class += 1;
    }
    None
}

/// Memory for a `V`, not initialised. Never blocks.
pub(super) fn take<V>() -> NonNull<V> {
    match const { class_of::<V>() } {
        Some(class) => take_block(class).cast(),
        None => allocate(Layout::new::<V>()).cast(),
    }
}

/// Takes memory back. Never blocks.
///
/// # Safety
/// It came from [`take`] for the same `V`, holds no value any more and is not used again.
pub(super) unsafe fn give<V>(memory: NonNull<V>) {
    match const { class_of::<V>() } {
        // SAFETY: by the contract.
        Some(class) => unsafe { give_block(class, memory.cast()) },
        // SAFETY: by the contract; `take` allocated it with this layout.
        None => unsafe { dealloc(memory.as_ptr().cast(), Layout::new::<V>()) },
    }
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: no layout here has the size 0: nodes have links.
    NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

/// A free block.
struct Free {
    /// The next of its chain.
    next: *mut Free,
    /// The next chain in the depot; only in the first block of a chain.
    next_chain: *mut Free,
}

#[derive(Clone, Copy)]
struct Chain {
    first: *mut Free,
    len: u32,
}

const EMPTY: Chain = Chain { first: ptr::null_mut(), len: 0 };

/// One thread's free blocks of one class. `spare` is full or empty.
struct Magazine {
    current: Cell<Chain>,
    spare: Cell<Chain>,
}

struct Cache([Magazine; SIZES.len()]);

thread_local! {
    static CACHE: Cache =
        const { Cache([const { Magazine { current: Cell::new(EMPTY), spare: Cell::new(EMPTY) } }; SIZES.len()]) };
}

/// Never inlined (3).
#[inline(never)]
fn take_block(class: usize) -> NonNull<u8> {
    let cached = CACHE.try_with(|cache| cache.0[class].take(class)).ok().flatten();
    cached.unwrap_or_else(|| allocate(layout_of(class)))
}

/// Never inlined (3).
///
/// # Safety
/// The block is of this class and nobody's.
#[inline(never)]
unsafe fn give_block(class: usize, block: NonNull<u8>) {
    let kept = CACHE.try_with(|cache| {
        // SAFETY: by the contract.
        unsafe { cache.0[class].give(class, block.cast()) };
    });
    if kept.is_err() {
        // SAFETY: (2). The thread is about to end.
        unsafe { dealloc(block.as_ptr(), layout_of(class)) };
    }
}

impl Magazine {
    fn take(&self, class: usize) -> Option<NonNull<u8>> {
        let mut chain = self.current.get();
        if chain.len == 0 {
            chain = self.spare.replace(EMPTY);
            if chain.len == 0 {
                chain = DEPOT[class].take()?;
            }
        }
        let block = chain.first;
        // SAFETY: (1): a chain that is not empty begins with a free block of ours.
        self.current.set(Chain { first: unsafe { (*block).next }, len: chain.len - 1 });
        NonNull::new(block.cast())
    }

    /// # Safety
    /// The block is of this class and nobody's.
    unsafe fn give(&self, class: usize, block: NonNull<Free>) {
        let mut chain = self.current.get();
        if chain.len == CHAIN {
            let full = self.spare.replace(chain);
            if full.len != 0 {
                DEPOT[class].give(class, full);
            }
            chain = EMPTY;
        }
        // SAFETY: (1): by the contract; every class has room for the two words.
        unsafe { block.write(Free { next: chain.first, next_chain: ptr::null_mut() }) };
        self.current.set(Chain { first: block.as_ptr(), len: chain.len + 1 });
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        for (class, magazine) in self.0.iter().enumerate() {
            let spare = magazine.spare.replace(EMPTY);
            if spare.len != 0 {
                DEPOT[class].give(class, spare);
            }
            free(class, magazine.current.replace(EMPTY));
        }
    }
}

/// Gives a chain back to the allocator.
fn free(class: usize, chain: Chain) {
    let mut block = chain.first;
    while let Some(this) = NonNull::new(block) {
        // SAFETY: (1), (2): a block of our chain; its link is read before it goes.
        unsafe {
            block = this.as_ref().next;
            dealloc(this.as_ptr().cast(), layout_of(class));
        }
    }
}

/// Full chains of one class, for everybody.
struct Depot(Mutex<Chains>);

struct Chains {
    first: *mut Free,
    len: usize,
}

// SAFETY: (1): the chains belong to the depot, whose mutex hands them on.
unsafe impl Send for Chains {}

static DEPOT: [Depot; SIZES.len()] =
    [const { Depot(Mutex::new(Chains { first: ptr::null_mut(), len: 0 })) }; SIZES.len()];

impl Depot {
    fn take(&self) -> Option<Chain> {
        let mut chains = self.0.try_lock().ok()?;
        let first = NonNull::new(chains.first)?;
        // SAFETY: (1): the depot's, under its lock.
        chains.first = unsafe { first.as_ref().next_chain };
        chains.len -= 1;
        Some(Chain { first: first.as_ptr(), len: CHAIN })
    }

    fn give(&self, class: usize, chain: Chain) {
        debug_assert_eq!(chain.len, CHAIN);
        match self.0.try_lock() {
            Ok(mut chains) if chains.len < DEPOT_CHAINS_MAX => {
                // SAFETY: (1): our chain, and a full one has a first block.
                unsafe { (*chain.first).next_chain = chains.first };
                chains.first = chain.first;
                chains.len += 1;
            }
            _ => free(class, chain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn classes_fit_what_they_are_chosen_for() {
        #[repr(align(128))]
        struct Aligned(#[allow(dead_code)] u8);
        assert_eq!(class_of::<[u8; 32]>(), Some(0));
        assert_eq!(class_of::<[u8; 33]>(), Some(1));
        assert_eq!(class_of::<[u64; 32]>(), Some(3));
        assert_eq!(class_of::<[u8; 257]>(), None);
        assert_eq!(class_of::<Aligned>(), None);
    }

    #[test]
    fn blocks_taken_at_a_time_are_distinct_and_come_back() {
        let rounds = || {
            for _ in 0..3 {
                let blocks: Vec<_> = (0..10 * u64::from(CHAIN))
                    .map(|n| {
                        let block = take::<[u64; 6]>();
                        // SAFETY: fresh memory for six words.
                        unsafe { block.write([n; 6]) };
                        block
                    })
                    .collect();
                assert_eq!(blocks.iter().collect::<HashSet<_>>().len(), blocks.len());
                for (n, block) in (0..).zip(blocks) {
                    // SAFETY: written above, and given back once.
                    unsafe {
                        assert_eq!(block.read(), [n; 6]);
                        give(block);
                    }
                }
            }
        };
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(rounds)).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn large_values_go_to_the_allocator_and_back() {
        let block = take::<[u64; 100]>();
        // SAFETY: fresh memory, given back once.
        unsafe {
            block.write([1; 100]);
            give(block);
        }
    }
}
