//! Stacks for bthreads, carved from one reservation of address space for each class of size.
//!
//! Owns the memory: where each stack lies, its guard, when it is made accessible and when its pages go back
//! to the kernel. It must never switch to a stack, run anything on one, or know what a task is.
//!
//! # Layout
//!
//! ```text
//!  base                                                                    base + capacity * slot
//!   | guard |        stack 0        | guard |        stack 1        | ...     |
//!           limit                 top       limit                 top
//! ```
//!
//! A stack grows from `top` down to `limit`; a step below `limit` hits the guard and faults (see
//! [`crate::stack_overflow`]). A slot, guard included, has an odd number of pages: tops one MiB apart would
//! share a few sets of the processor's address-translation caches. Walking 1024 stacks in turn, eight lines
//! of each, took 70 ns a stack at one MiB and takes 22 ns at one MiB and a page (AMD Zen 4).
//!
//! # Mappings
//!
//! The reservation is inaccessible at first. It is opened in order, [`STACKS_PER_GROWTH`] slots at a time,
//! which the kernel merges into one mapping, and each guard is a marker in the page table
//! (`MADV_GUARD_INSTALL`, Linux 6.13), which needs no mapping of its own. So a million stacks cost two
//! mappings. Where the kernel has no such markers, or refuses them (memory locked by `mlockall`), each stack
//! is opened by itself between guards left closed: two mappings a stack, of which `vm.max_map_count` allows
//! 65,530, so about 32,000 stacks. Beyond that `get` returns the kernel's error.
//!
//! Huge pages are turned off for the reservation: one would put memory behind a whole stack at its first
//! touch.
//!
//! # Memory
//!
//! A bthread that waits with little on its stack holds one page of it, and its share of a page of page
//! tables, each of which spans 2 MiB: 2 KiB at the default size, 0.5 KiB at 256 KiB. So a million of them
//! take 4 GB and 2 GB. The default stays at the 1 MiB that users of threads and of brpc count on; who wants
//! a million has [`StackClass::Small`].
//!
//! A free stack is in one of three states:
//!
//! | | pages | guard | page table |
//! |---|---|---|---|
//! | warm | kept: up to [`STACKS_WARM_BYTES_MAX`] in a pool | in place | kept |
//! | cold | given back | in place | kept |
//! | bare | given back | to be put back | given back in long runs, where the kernel does so (x86-64, Linux 6.14) |
//!
//! [`StackPool::trim`], called once a second, cools half of the warm stacks that nobody needed since the
//! call before, and strips those that stay cold. So of what was used once, a thousandth is left after ten seconds.

#![allow(unsafe_code)]

#[cfg(test)]
pub(crate) mod child;
mod depth;
mod free_list;
mod pool;
mod pools;
mod reservation;
#[cfg(test)]
mod tests;
mod trim;
#[cfg(test)]
mod trim_tests;
#[cfg(feature = "valgrind")]
mod valgrind;

pub(crate) use pool::StackPool;
pub(crate) use pools::StackPools;
pub use pools::StackStats;
pub(crate) use reservation::page_size;

use std::io;
use std::ptr::NonNull;

/// Bytes of a stack of each class, unless configured.
pub(crate) const STACK_SIZES: [usize; StackClass::ALL.len()] = [32 << 10, 1 << 20, 8 << 20];
/// The largest stack that can be configured.
pub(crate) const STACK_SIZE_MAX: usize = 1 << 30;
/// Pages of the smallest stack; a smaller size is rounded up to this.
pub(crate) const STACK_PAGES_MIN: usize = 2;
/// Stacks of a pool of each class, unless configured: 36 GiB, 1 TiB and 128 GiB of address space.
pub(crate) const STACKS_MAX: [u32; StackClass::ALL.len()] = [1 << 20, 1 << 20, 1 << 14];
/// The largest number of stacks that can be configured for one pool.
pub(crate) const STACKS_LIMIT: u32 = 1 << 24;
/// Bytes of memory that the free stacks of one pool keep together, unless configured.
pub(crate) const STACKS_WARM_BYTES_MAX: usize = 1 << 30;
/// Slots opened by one system call.
pub(crate) const STACKS_PER_GROWTH: u32 = 64;

/// How large the stack of a bthread is.
///
/// Only pages that a bthread has touched take memory, so a large stack costs address space and page tables (up to
/// 4 KiB), not memory. A bthread that overflows its stack ends the process with a report.
///
/// Source: spec/bthread.md §4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StackClass {
    /// 32 KiB unless configured: for very many bthreads that do little each. Too small for much of `std`'s formatting
    /// in debug builds, for regular expressions, TLS handshakes and the like.
    Small,
    /// 1 MiB unless configured.
    #[default]
    Normal,
    /// 8 MiB unless configured, as much as a program's first thread has: for deep recursion.
    Large,
}

impl StackClass {
    /// All classes, the smallest first.
    pub const ALL: [StackClass; 3] = [StackClass::Small, StackClass::Normal, StackClass::Large];
}

/// What a pool is made of.
#[derive(Clone, Debug)]
pub(crate) struct StackConfig {
    /// What its stacks say they are.
    pub(crate) class: StackClass,
    /// Usable bytes of each stack, rounded up to whole pages and at least [`STACK_PAGES_MIN`] of them.
    pub(crate) stack_size: usize,
    /// Bytes below each stack that fault, rounded up to whole pages and at least one.
    pub(crate) guard_size: usize,
    /// How many stacks there can be, from 1 to [`STACKS_LIMIT`].
    pub(crate) stacks_max: u32,
    /// How much memory the free stacks keep together, by what samples say of one; at the bound, a stack put back
    /// loses its own. Each counts as one page at least.
    pub(crate) warm_bytes_max: usize,
}

impl StackConfig {
    /// The defaults of a class.
    pub(crate) fn new(class: StackClass) -> StackConfig {
        StackConfig {
            class,
            stack_size: STACK_SIZES[class as usize],
            guard_size: 1,
            stacks_max: STACKS_MAX[class as usize],
            warm_bytes_max: STACKS_WARM_BYTES_MAX,
        }
    }

    /// # Errors
    ///
    /// `InvalidInput` for a number of stacks out of range, or a stack or guard above [`STACK_SIZE_MAX`].
    fn check(&self) -> io::Result<()> {
        let size = self.stack_size.max(self.guard_size);
        if (1..=STACKS_LIMIT).contains(&self.stacks_max) && size <= STACK_SIZE_MAX {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "stack pool: size or number out of range"))
    }
}

/// A stack, owned. Dropping it instead of handing it to [`StackPool::put_all`] leaves the slot in use for ever.
#[derive(Debug)]
#[must_use = "a stack that is not put back is lost to its pool"]
pub(crate) struct Stack {
    top: NonNull<u8>,
    limit: NonNull<u8>,
    index: u32,
    class: StackClass,
}

// SAFETY: a stack is memory that its owner alone may use, from whatever thread it is on.
unsafe impl Send for Stack {}
// SAFETY: a shared reference gives addresses only.
unsafe impl Sync for Stack {}

impl Stack {
    /// One past the highest byte, a multiple of the page size.
    pub(crate) fn top(&self) -> *mut u8 {
        self.top.as_ptr()
    }

    /// The lowest usable byte. The guard lies below it.
    pub(crate) fn limit(&self) -> *mut u8 {
        self.limit.as_ptr()
    }

    /// The class of the pool it comes from.
    pub(crate) fn class(&self) -> StackClass {
        self.class
    }

    /// The slot's number in its pool, below the pool's capacity; stays the same for the pool's life.
    #[cfg(test)]
    pub(crate) fn index(&self) -> u32 {
        self.index
    }
}
