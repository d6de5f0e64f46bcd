//! Memory for the nodes of [`List`](super::list::List): taken by producers, given back by consumers, which are
//! mostly other threads, so that neither goes to the allocator for each item.
//!
//! Every thread keeps two chains of free blocks for each size; full chains travel through a depot that all threads
//! share. Nothing here waits: when the depot is locked or out of its bounds, the allocator serves. Bounds: two chains
//! of [`CHAIN`] blocks and a slab for each thread and size, [`DEPOT_BYTES_MAX`] bytes of each size in the depot.
//! Beyond, blocks go back to the slabs that they were cut from, and a slab that has all of its own goes to the
//! allocator.
//!
//! Holds unsafe. The argument, once:
//! (1) A free block belongs to the one chain it is in, a chain to the one thread or depot it is in; the words of a
//!     block are written and read by its owner alone. The depot's mutex hands chains from thread to thread.
//! (2) A block lies in a slab of its class, which is aligned to its size and begins with its count of blocks that are
//!     not back. Whoever owns a block of a slab may therefore use the slab's head; who gives the last one back frees
//!     it.
//! (3) The thread-local is reached in functions that are never inlined and never wait.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// Blocks in a full chain.
const CHAIN: u32 = 32;
/// Bytes of one size that the depot keeps.
const DEPOT_BYTES_MAX: usize = 4 << 20;
/// Bytes of the blocks of each class. Larger nodes are left to the allocator.
const SIZES: [usize; 4] = [32, 64, 128, 256];
/// How blocks are aligned.
const ALIGN: usize = 32;
/// Bytes of a slab, and their alignment.
const SLAB: usize = 8 << 10;

const SLAB_LAYOUT: Layout = match Layout::from_size_align(SLAB, SLAB) {
    Ok(layout) => layout,
    Err(_) => panic!("a power of two"),
};

/// Blocks in a slab of this class; the first place is the head's.
const fn blocks_of(class: usize) -> u32 {
    (SLAB / SIZES[class] - 1) as u32
}

/// The smallest class whose blocks hold a `V`.
const fn class_of<V>() -> Option<usize> {
    let mut class = 0;
    while class < SIZES.len() {
        if size_of::<V>() <= SIZES[class] && align_of::<V>() <= ALIGN {
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

/// Blocks of a slab that were never taken: so many from here on.
#[derive(Clone, Copy)]
struct Fresh {
    next: *mut u8,
    len: u32,
}

/// One thread's free blocks of one class. `spare` is full or empty.
struct Magazine {
    current: Cell<Chain>,
    spare: Cell<Chain>,
    fresh: Cell<Fresh>,
}

impl Magazine {
    const fn new() -> Self {
        let fresh = Fresh { next: ptr::null_mut(), len: 0 };
        Magazine { current: Cell::new(EMPTY), spare: Cell::new(EMPTY), fresh: Cell::new(fresh) }
    }
}

struct Cache([Magazine; SIZES.len()]);

thread_local! {
    static CACHE: Cache = const { Cache([const { Magazine::new() }; SIZES.len()]) };
}

/// Never inlined (3).
#[inline(never)]
fn take_block(class: usize) -> NonNull<u8> {
    CACHE.try_with(|cache| cache.0[class].take(class)).unwrap_or_else(|_| {
        // The thread is about to end: one block, and the rest of its slab goes back.
        let fresh = new_slab(class);
        // SAFETY: (2): our slab, with two blocks at least.
        unsafe {
            give_back(fresh.next, fresh.len - 1);
            NonNull::new_unchecked(fresh.next)
        }
    })
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
        // SAFETY: by the contract. The thread is about to end.
        unsafe { give_back(block.as_ptr(), 1) };
    }
}

impl Magazine {
    fn take(&self, class: usize) -> NonNull<u8> {
        let mut chain = self.current.get();
        if chain.len == 0 {
            chain = self.spare.replace(EMPTY);
            if chain.len == 0 {
                match self.take_fresh(class) {
                    Ok(block) => return block,
                    Err(full) => chain = full,
                }
            }
        }
        let block = chain.first;
        // SAFETY: (1): a chain that is not empty begins with a free block of ours.
        self.current.set(Chain { first: unsafe { (*block).next }, len: chain.len - 1 });
        // SAFETY: as above.
        unsafe { NonNull::new_unchecked(block.cast()) }
    }

    /// A block that was never taken; instead of a new slab, a chain from the depot.
    fn take_fresh(&self, class: usize) -> Result<NonNull<u8>, Chain> {
        let mut fresh = self.fresh.get();
        if fresh.len == 0 {
            if let Some(full) = DEPOT[class].take() {
                return Err(full);
            }
            fresh = new_slab(class);
        }
        // SAFETY: (2): within the slab, or one past its end with `len` 0.
        let next = unsafe { fresh.next.add(SIZES[class]) };
        self.fresh.set(Fresh { next, len: fresh.len - 1 });
        // SAFETY: a block of a slab.
        Ok(unsafe { NonNull::new_unchecked(fresh.next) })
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
            free(magazine.current.replace(EMPTY));
            let fresh = magazine.fresh.get();
            if fresh.len != 0 {
                // SAFETY: (2): blocks of ours.
                unsafe { give_back(fresh.next, fresh.len) };
            }
        }
    }
}

/// A slab whose blocks are all to be had.
#[cold]
fn new_slab(class: usize) -> Fresh {
    let slab = allocate(SLAB_LAYOUT).as_ptr();
    let len = blocks_of(class);
    // SAFETY: (2): fresh memory; the head fits into the place of the first block.
    unsafe {
        slab.cast::<AtomicU32>().write(AtomicU32::new(len));
        Fresh { next: slab.add(SIZES[class]), len }
    }
}

/// Gives so many blocks back to the slab that `block` lies in.
///
/// # Safety
/// They are the caller's, and it does not use them again.
unsafe fn give_back(block: *mut u8, count: u32) {
    let slab = block.map_addr(|address| address & !(SLAB - 1));
    // SAFETY: (2): the slab is there as long as we have a block of it.
    let missing = unsafe { &*slab.cast::<AtomicU32>() };
    // AcqRel, as with an `Arc`: all uses of the blocks come before the free.
    if missing.fetch_sub(count, Ordering::AcqRel) == count {
        // SAFETY: (2): ours was the last.
        unsafe { dealloc(slab, SLAB_LAYOUT) };
    }
}

/// Gives a chain back to its slabs; neighbours, which most are, at once.
fn free(chain: Chain) {
    let slab_of = |block: *mut Free| block.addr() & !(SLAB - 1);
    let mut block = chain.first;
    while !block.is_null() {
        let (first, mut count) = (block, 0);
        while !block.is_null() && slab_of(block) == slab_of(first) {
            count += 1;
            // SAFETY: (1): a block of our chain, not given back yet.
            block = unsafe { (*block).next };
        }
        // SAFETY: (1): blocks of our chain, in one slab.
        unsafe { give_back(first.cast(), count) };
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
            Ok(mut chains) if chains.len < DEPOT_BYTES_MAX / (CHAIN as usize * SIZES[class]) => {
                // SAFETY: (1): our chain, and a full one has a first block.
                unsafe { (*chain.first).next_chain = chains.first };
                chains.first = chain.first;
                chains.len += 1;
            }
            _ => free(chain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn classes_fit_what_they_are_chosen_for() {
        #[repr(align(64))]
        struct Aligned;
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
