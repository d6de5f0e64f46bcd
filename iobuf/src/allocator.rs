//! Where the memory of blocks comes from: the process's allocator, or one that the user names before the first block.
//!
//! It must never change once a block exists, so that each block goes back to where it came from.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc};
use std::error::Error;
use std::fmt;
use std::ptr::NonNull;
use std::sync::OnceLock;

/// A source of memory for all blocks of the process: registered with a network card, locked, or from huge pages, say
/// (`spec/iobuf.md` §1.2). See [`set_block_allocator`].
///
/// Its methods run inside of operations on buffers, on any thread: they must not panic nor block for long, and may use
/// buffers themselves, which then do without the thread's caches.
///
/// # Safety
/// [`allocate`](Self::allocate) returns memory of the layout's size and alignment that nobody else uses until it is
/// given to [`deallocate`](Self::deallocate).
pub unsafe trait BlockAllocator: Send + Sync {
    /// Memory for one block, initialised or not; `None` if there is none, which ends the process.
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>>;

    /// Takes the memory of a block back.
    ///
    /// # Safety
    /// It came from [`allocate`](Self::allocate) of the same allocator with the same layout, and is not used any more.
    unsafe fn deallocate(&self, memory: NonNull<u8>, layout: Layout);
}

/// The process's allocator.
struct Global;

// SAFETY: the global allocator's own contract.
unsafe impl BlockAllocator for Global {
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: no block has a size of zero.
        NonNull::new(unsafe { alloc(layout) })
    }

    unsafe fn deallocate(&self, memory: NonNull<u8>, layout: Layout) {
        // SAFETY: by contract from `allocate` with this layout.
        unsafe { dealloc(memory.as_ptr(), layout) }
    }
}

static IN_USE: OnceLock<&'static dyn BlockAllocator> = OnceLock::new();

/// The allocator of all blocks, from now on.
pub(crate) fn in_use() -> &'static dyn BlockAllocator {
    *IN_USE.get_or_init(|| &Global)
}

/// Has all blocks of the process come from `allocator`. Neither parks nor blocks.
///
/// # Errors
/// [`BlocksInUse`] if there were blocks already, or another allocator was named: to be called before anything else.
pub fn set_block_allocator(allocator: &'static dyn BlockAllocator) -> Result<(), BlocksInUse> {
    IN_USE.set(allocator).map_err(|_| BlocksInUse)
}

/// The memory of blocks comes from somewhere else already, see [`set_block_allocator`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlocksInUse;

impl fmt::Display for BlocksInUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("blocks were allocated before")
    }
}

impl Error for BlocksInUse {}
