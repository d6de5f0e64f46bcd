//! Blocks and the references to them: allocation, the reference count, and who may write where.
//!
//! Two handles share a block, and the types keep them apart:
//! - [`Block`] is unique. Whoever holds it, and nobody else, may write the bytes that no reference covers yet.
//! - [`BlockRef`] is one counted reference to a range of bytes that are written and never change again.
//!
//! Holds the crate's memory unsafety. It must never call user code while a handle is in an unfinished state,
//! and never know what a buffer is.
//!
//! # Contract
//! 1. `refs` counts every `BlockRef` of the block, plus, while a `Block` exists, `1 + payload - given`:
//!    the writer's own reference and those it has not handed out yet. Charging them when the block is made lets
//!    the writer hand out references with a plain store; it cannot run out, as each covers at least one new byte.
//! 2. Bytes `0..filled` are initialised and immutable while any `BlockRef` exists. Bytes `filled..` belong to the
//!    `Block` alone; of them `filled..staged` are initialised.
//! 3. `filled`, `staged` and `given` are touched through the `Block` only; `data` and `kind` do not
//!    change once the first handle exists. No `&Header` is ever made, only references to single fields.
#![allow(unsafe_code)]

use std::alloc::{Layout, handle_alloc_error};
use std::mem::{MaybeUninit, size_of};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use crate::{allocator, cache, stats};

mod piece;

pub(crate) use piece::BlockRef;
use piece::Range;

/// Bytes that one block takes from the allocator, its header included. Bytes are appended to such blocks.
pub const BLOCK_SIZE: usize = 8192;

/// Bytes of payload in one block.
pub const BLOCK_PAYLOAD: usize = Size::Small.payload();

/// Bytes that one of the larger blocks takes from the allocator, which long reads of an
/// [`IoPortal`](crate::IoPortal) go to.
pub const LARGE_BLOCK_SIZE: usize = 64 << 10;

/// Bytes of payload in one of the larger blocks.
pub const LARGE_BLOCK_PAYLOAD: usize = Size::Large.payload();

/// The most bytes of user memory behind one reference; longer memory is split over several.
pub const USER_BLOCK_MAX: usize = u32::MAX as usize;

/// The count above which the process stops, long before it could wrap around (leaked clones only).
const REFS_MAX: usize = isize::MAX as usize;

/// `Block`s start on a cache line, so that counting does not disturb the payload of a neighbour.
const BLOCK_ALIGN: usize = 64;

/// How large a pooled block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// [`BLOCK_SIZE`], for everything but long reads.
    Small,
    /// [`LARGE_BLOCK_SIZE`], for reads that want a large message's bytes.
    Large,
}

impl Size {
    /// All of them, each at the place that [`index`](Self::index) says.
    pub(crate) const ALL: [Self; 2] = [Self::Small, Self::Large];

    /// A place in a table with one element for each size.
    #[inline]
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// Bytes taken from the allocator.
    #[inline]
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Small => BLOCK_SIZE,
            Self::Large => LARGE_BLOCK_SIZE,
        }
    }

    /// Bytes behind the header.
    #[inline]
    pub(crate) const fn payload(self) -> usize {
        self.bytes() - size_of::<Header>()
    }

    /// The references a new block is charged with: its writer, and one for each byte it could ever hand out.
    #[inline]
    const fn charged(self) -> usize {
        1 + self.payload()
    }

    const fn layout(self) -> Layout {
        match Layout::from_size_align(self.bytes(), BLOCK_ALIGN) {
            Ok(layout) => layout,
            Err(_) => panic!("block size and alignment are valid"),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Header and payload in one allocation of the size's layout.
    Pooled(Size),
    /// The header of a `UserBlock`.
    User,
}

#[repr(C)]
struct Header {
    refs: AtomicUsize,
    data: *const u8,
    kind: Kind,
    given: u32,
    /// Of a user block: its length.
    filled: u32,
    staged: u32,
}

const _: () = assert!(LARGE_BLOCK_SIZE < u32::MAX as usize && size_of::<Header>() <= BLOCK_ALIGN);

/// The right to write the unreferenced bytes of one pooled block, see the module's contract.
#[derive(Debug)]
pub(crate) struct Block(NonNull<Header>);

// SAFETY: the handle is unique; everything it reaches without synchronisation (contract 2 and 3) goes with it.
unsafe impl Send for Block {}
// SAFETY: `&Block` gives nothing but reads of fields that only `&mut Block` writes.
unsafe impl Sync for Block {}

impl Block {
    /// A new, empty block from the allocator; aborts the process as `Vec` does when there is no memory.
    pub(crate) fn alloc(size: Size) -> Self {
        let layout = size.layout();
        let Some(raw) = allocator::in_use().allocate(layout) else { handle_alloc_error(layout) };
        let header = raw.cast::<Header>();
        stats::BLOCKS[size.index()].fetch_add(1, Ordering::Relaxed); // Relaxed: a counter only.
        // SAFETY: the allocation is large and aligned enough for a header, and nobody else knows it.
        unsafe {
            header.as_ptr().write(Header {
                refs: AtomicUsize::new(size.charged()),
                data: raw.as_ptr().add(size_of::<Header>()),
                kind: Kind::Pooled(size),
                given: 0,
                filled: 0,
                staged: 0,
            });
        }
        Self(header)
    }

    #[inline]
    fn refs(&self) -> &AtomicUsize {
        // SAFETY: the block lives while a handle does; this borrows one field.
        unsafe { &(*self.0.as_ptr()).refs }
    }

    /// How large it is.
    #[inline]
    pub(crate) fn size(&self) -> Size {
        // SAFETY: the field does not change. Of a user block there is never a `Block`.
        match unsafe { (*self.0.as_ptr()).kind } {
            Kind::Pooled(size) => size,
            Kind::User => unreachable!("user memory has no writer"),
        }
    }

    #[inline]
    fn filled(&self) -> usize {
        // SAFETY: only this handle reaches the field.
        unsafe { (*self.0.as_ptr()).filled as usize }
    }

    #[inline]
    fn staged_end(&self) -> usize {
        // SAFETY: only this handle reaches the field.
        unsafe { (*self.0.as_ptr()).staged as usize }
    }

    #[inline]
    fn set_staged_end(&mut self, end: usize) {
        debug_assert!((self.filled()..=self.size().payload()).contains(&end));
        // SAFETY: only this handle reaches the field.
        unsafe { (*self.0.as_ptr()).staged = end as u32 }
    }

    /// The references that belong to this handle.
    #[inline]
    fn own_refs(&self) -> usize {
        // SAFETY: only this handle reaches the field.
        self.size().charged() - unsafe { (*self.0.as_ptr()).given as usize }
    }

    #[inline]
    fn end_ptr(&mut self) -> *mut u8 {
        // SAFETY: the payload directly follows the header, and `staged` never exceeds its length.
        unsafe { self.0.as_ptr().cast::<u8>().add(size_of::<Header>() + self.staged_end()) }
    }

    /// Bytes that can still be written.
    #[inline]
    pub(crate) fn spare(&self) -> usize {
        self.size().payload() - self.staged_end()
    }

    /// Bytes written and not yet committed.
    #[inline]
    pub(crate) fn staged(&self) -> usize {
        self.staged_end() - self.filled()
    }

    /// Forgets the staged bytes.
    #[inline]
    pub(crate) fn discard_staged(&mut self) {
        if self.staged() > 0 {
            self.set_staged_end(self.filled());
        }
    }

    /// Copies as much of `src` as there is room for behind the staged bytes, and returns how much that was.
    #[inline]
    pub(crate) fn stage(&mut self, src: &[u8]) -> usize {
        let n = src.len().min(self.spare());
        // SAFETY: n bytes from the staged end on are inside the payload and belong to this handle (contract 2),
        // so that they cannot overlap `src`.
        unsafe { self.end_ptr().copy_from_nonoverlapping(src.as_ptr(), n) };
        self.set_staged_end(self.staged_end() + n);
        n
    }

    /// Stages one byte if there is room for it.
    #[inline]
    pub(crate) fn stage_byte(&mut self, byte: u8) -> bool {
        if self.spare() == 0 {
            return false;
        }
        // SAFETY: as in `stage`.
        unsafe { self.end_ptr().write(byte) };
        self.set_staged_end(self.staged_end() + 1);
        true
    }

    /// The bytes staged last, `n` of them.
    #[inline]
    pub(crate) fn staged_tail_mut(&mut self, n: usize) -> &mut [u8] {
        assert!(n <= self.staged(), "more than is staged");
        // SAFETY: the staged bytes are initialised and belong to this handle alone (contract 2).
        unsafe { std::slice::from_raw_parts_mut(self.end_ptr().sub(n), n) }
    }

    /// Forgets the bytes staged last, `n` of them.
    #[inline]
    pub(crate) fn unstage(&mut self, n: usize) {
        assert!(n <= self.staged(), "more than is staged");
        self.set_staged_end(self.staged_end() - n);
    }

    /// Stages up to `n` times the same byte, and returns how many there was room for.
    pub(crate) fn stage_fill(&mut self, byte: u8, n: usize) -> usize {
        let n = n.min(self.spare());
        // SAFETY: as in `stage`.
        unsafe { self.end_ptr().write_bytes(byte, n) };
        self.set_staged_end(self.staged_end() + n);
        n
    }

    /// The room behind the staged bytes.
    #[inline]
    pub(crate) fn spare_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        let spare = self.spare();
        // SAFETY: the bytes are inside the payload, belong to this handle, and need not be initialised.
        unsafe { std::slice::from_raw_parts_mut(self.end_ptr().cast(), spare) }
    }

    /// Counts the first `n` bytes of [`spare_mut`](Self::spare_mut) as staged.
    ///
    /// # Safety
    /// They have been initialised, and `n` is not more than [`spare`](Self::spare).
    #[inline]
    pub(crate) unsafe fn assume_staged(&mut self, n: usize) {
        self.set_staged_end(self.staged_end() + n);
    }

    /// Makes the staged bytes immutable and referenced: by `last`, if it ends where they begin, else by the
    /// reference returned. None as well if nothing was staged.
    #[inline]
    pub(crate) fn commit(&mut self, last: Option<&mut BlockRef>) -> Option<BlockRef> {
        let (begin, end) = (self.filled(), self.staged_end());
        if begin == end {
            return None;
        }
        let len = end - begin;
        // SAFETY: only this handle reaches the fields. `given` stays below what was charged, as this reference covers at
        // least one byte that none before it did since the block was empty.
        unsafe { (*self.0.as_ptr()).filled = end as u32 };
        match last {
            Some(last) if last.block == self.0 && last.range.end() == begin => {
                last.range = last.range.grown(len);
                None
            }
            _ => {
                // SAFETY: see above.
                unsafe { (*self.0.as_ptr()).given += 1 };
                Some(BlockRef { block: self.0, range: Range::new(begin, len) })
            }
        }
    }

    /// Starts over at the first byte if no reference to this block is left, and says whether it did.
    #[inline]
    pub(crate) fn rewind(&mut self) -> bool {
        debug_assert_eq!(self.staged(), 0);
        if self.filled() == 0 {
            return true; // no reference was ever given out
        }
        // Acquire: pairs with the Release decrement of every BlockRef that is gone, whose reads happened before.
        if self.refs().load(Ordering::Acquire) != self.own_refs() {
            return false;
        }
        // SAFETY: no reference exists, and none can be made without this handle.
        unsafe { self.reset() };
        true
    }

    /// # Safety
    /// No `BlockRef` exists, and all accesses through former ones happened before.
    #[inline]
    unsafe fn reset(&mut self) {
        // SAFETY: only this handle reaches the block.
        unsafe {
            let header = self.0.as_ptr();
            (*header).given = 0;
            (*header).filled = 0;
            (*header).staged = 0;
        }
        // Relaxed: this handle is alone; what it does next is published with the references it gives out.
        self.refs().store(self.size().charged(), Ordering::Relaxed);
    }

    /// Gives the writer's references back; true if they were the last ones.
    #[inline]
    fn give_up(&mut self) -> bool {
        let own = self.own_refs();
        // Acquire, and the fence: pair with the Release decrement of the references that are gone.
        if self.refs().load(Ordering::Acquire) == own {
            return true;
        }
        // Release: pairs with the Acquire of whoever finds itself to be the last.
        if self.refs().fetch_sub(own, Ordering::Release) != own {
            return false;
        }
        fence(Ordering::Acquire);
        true
    }

    /// Gives up the block without keeping it in a cache: the memory is freed here if nothing refers to it.
    pub(crate) fn destroy(mut self) {
        if self.give_up() {
            let size = self.size();
            stats::BLOCKS[size.index()].fetch_sub(1, Ordering::Relaxed); // Relaxed: a counter only.
            // SAFETY: the last reference is gone, and the memory came from the same allocator with this layout.
            unsafe { allocator::in_use().deallocate(self.0.cast(), size.layout()) };
        }
        std::mem::forget(self);
    }
}

impl Drop for Block {
    /// Gives up the right to write. Without any reference left, the thread's free list takes the block.
    #[inline]
    fn drop(&mut self) {
        if self.give_up() {
            // SAFETY: no reference is left.
            unsafe { release_pooled(self.0) };
        }
    }
}

/// # Safety
/// `header` is a pooled block without any handle left, all accesses to which happened before.
#[inline(never)]
unsafe fn release_pooled(header: NonNull<Header>) {
    let mut block = Block(header);
    // SAFETY: by contract the new handle is the only one.
    unsafe { block.reset() };
    cache::recycle(block);
}
