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
//! 1. `refs` counts every `BlockRef` of the block, plus, while a `Block` exists, `1 + BLOCK_PAYLOAD - given`:
//!    the writer's own reference and those it has not handed out yet. Charging them when the block is made lets
//!    the writer hand out references with a plain store; it cannot run out, as each covers at least one new byte.
//! 2. Bytes `0..filled` are initialised and immutable while any `BlockRef` exists. Bytes `filled..` belong to the
//!    `Block` alone; of them `filled..staged` are initialised.
//! 3. `filled`, `staged` and `given` are touched through the `Block` only; `data`, `release` and `kind` do not
//!    change once the first handle exists. No `&Header` is ever made, only references to single fields.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::mem::{MaybeUninit, size_of};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use crate::{cache, stats};

/// Bytes that one block takes from the allocator, its header included.
pub const BLOCK_SIZE: usize = 8192;

/// Bytes of payload in one block.
pub const BLOCK_PAYLOAD: usize = BLOCK_SIZE - size_of::<Header>();

/// The most bytes of user memory behind one reference; longer memory is split over several.
pub const USER_BLOCK_MAX: usize = u32::MAX as usize;

/// The count above which the process stops, long before it could wrap around (leaked clones only).
const REFS_MAX: usize = isize::MAX as usize;

/// `Block`s start on a cache line, so that counting does not disturb the payload of a neighbour.
const BLOCK_ALIGN: usize = 64;

const LAYOUT: Layout = match Layout::from_size_align(BLOCK_SIZE, BLOCK_ALIGN) {
    Ok(layout) => layout,
    Err(_) => panic!("block size and alignment are valid"),
};

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
enum Kind {
    /// Header and payload in one allocation of `LAYOUT`.
    Pooled,
    /// The header of a `UserBlock`.
    User,
}

#[repr(C)]
struct Header {
    refs: AtomicUsize,
    data: *const u8,
    /// Called once, with the last reference. For pooled blocks it is known, and not called through this pointer.
    release: unsafe fn(NonNull<Header>),
    kind: Kind,
    given: u16,
    filled: u16,
    staged: u16,
}

const _: () = assert!(BLOCK_PAYLOAD < u16::MAX as usize && size_of::<Header>() <= BLOCK_ALIGN);

/// The references a new block is charged with: its writer, and one for each byte it could ever hand out.
const CHARGED: usize = 1 + BLOCK_PAYLOAD;

/// The right to write the unreferenced bytes of one pooled block, see the module's contract.
#[derive(Debug)]
pub(crate) struct Block(NonNull<Header>);

// SAFETY: the handle is unique; everything it reaches without synchronisation (contract 2 and 3) goes with it.
unsafe impl Send for Block {}
// SAFETY: `&Block` gives nothing but reads of fields that only `&mut Block` writes.
unsafe impl Sync for Block {}

impl Block {
    /// A new, empty block from the allocator; aborts the process as `Vec` does when there is no memory.
    pub(crate) fn alloc() -> Self {
        // SAFETY: LAYOUT has a size other than zero.
        let raw = unsafe { alloc(LAYOUT) };
        let Some(header) = NonNull::new(raw.cast::<Header>()) else { handle_alloc_error(LAYOUT) };
        stats::BLOCKS.fetch_add(1, Ordering::Relaxed); // Relaxed: a counter only.
        // SAFETY: the allocation is large and aligned enough for a header, and nobody else knows it.
        unsafe {
            header.as_ptr().write(Header {
                refs: AtomicUsize::new(CHARGED),
                data: raw.add(size_of::<Header>()),
                release: release_pooled,
                kind: Kind::Pooled,
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

    #[inline]
    fn filled(&self) -> usize {
        // SAFETY: only this handle reaches the field.
        usize::from(unsafe { (*self.0.as_ptr()).filled })
    }

    #[inline]
    fn staged_end(&self) -> usize {
        // SAFETY: only this handle reaches the field.
        usize::from(unsafe { (*self.0.as_ptr()).staged })
    }

    #[inline]
    fn set_staged_end(&mut self, end: usize) {
        debug_assert!((self.filled()..=BLOCK_PAYLOAD).contains(&end));
        // SAFETY: only this handle reaches the field.
        unsafe { (*self.0.as_ptr()).staged = end as u16 }
    }

    /// The references that belong to this handle.
    #[inline]
    fn own_refs(&self) -> usize {
        // SAFETY: only this handle reaches the field.
        CHARGED - usize::from(unsafe { (*self.0.as_ptr()).given })
    }

    #[inline]
    fn end_ptr(&mut self) -> *mut u8 {
        // SAFETY: the payload directly follows the header, and `staged` never exceeds its length.
        unsafe { self.0.as_ptr().cast::<u8>().add(size_of::<Header>() + self.staged_end()) }
    }

    /// Bytes that can still be written.
    #[inline]
    pub(crate) fn spare(&self) -> usize {
        BLOCK_PAYLOAD - self.staged_end()
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
        // SAFETY: only this handle reaches the fields. `given` stays below CHARGED, as this reference covers at
        // least one byte that none before it did since the block was empty.
        unsafe { (*self.0.as_ptr()).filled = end as u16 };
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
        self.refs().store(CHARGED, Ordering::Relaxed);
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
            stats::BLOCKS.fetch_sub(1, Ordering::Relaxed); // Relaxed: a counter only.
            // SAFETY: the last reference is gone, and the memory came from `alloc` with this layout.
            unsafe { dealloc(self.0.as_ptr().cast(), LAYOUT) };
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

/// A header and the owner of the memory it stands for.
#[repr(C)]
struct UserBlock<T> {
    header: Header,
    meta: Option<u64>,
    owner: T,
}

/// # Safety
/// `header` is that of a `UserBlock<T>` made by `BlockRef::user`, without any reference left.
unsafe fn release_user<T>(header: NonNull<Header>) {
    stats::USER_BLOCKS.fetch_sub(1, Ordering::Relaxed); // Relaxed: a counter only.
    // SAFETY: by contract this is the box that `user` leaked, and it is given back once.
    drop(unsafe { Box::from_raw(header.cast::<UserBlock<T>>().as_ptr()) });
}

/// A counted reference to a range of immutable bytes, see the module's contract. Never empty once it is made.
#[derive(Debug)]
pub(crate) struct BlockRef {
    block: NonNull<Header>,
    range: Range,
}

/// Where in a block, in one word: a `BlockRef` then travels in two registers.
#[derive(Clone, Copy, Debug)]
struct Range(u64);

impl Range {
    #[inline]
    fn new(offset: usize, len: usize) -> Self {
        debug_assert!(offset + len <= USER_BLOCK_MAX);
        Self((offset as u64) << 32 | len as u64)
    }

    #[inline]
    fn offset(self) -> usize {
        (self.0 >> 32) as usize
    }

    #[inline]
    fn len(self) -> usize {
        self.0 as u32 as usize
    }

    #[inline]
    fn end(self) -> usize {
        self.offset() + self.len()
    }

    /// The same beginning, `n` bytes longer; offset and length together stay below 2^32.
    #[inline]
    fn grown(self, n: usize) -> Self {
        Self::new(self.offset(), self.len() + n)
    }

    /// Without the first `n` bytes, of which there are more.
    #[inline]
    fn without_front(self, n: usize) -> Self {
        Self::new(self.offset() + n, self.len() - n)
    }
}

// SAFETY: the bytes are immutable, the count is atomic, and the owner of user memory is `Send`: it may be
// dropped on any thread. Only the slice it gave is used meanwhile, never the owner itself.
unsafe impl Send for BlockRef {}
// SAFETY: as above; `&BlockRef` allows reading the bytes and counting up.
unsafe impl Sync for BlockRef {}

impl BlockRef {
    /// Refers to the bytes of `owner`, which is dropped with the last reference: one piece for each `piece_max`
    /// bytes, handed to `push` in order. Empty memory makes no piece; its owner is dropped here.
    pub(crate) fn user<T>(owner: T, meta: Option<u64>, piece_max: usize, push: &mut dyn FnMut(Self))
    where
        T: AsRef<[u8]> + Send + 'static,
    {
        assert!((1..=USER_BLOCK_MAX).contains(&piece_max));
        let mut first = Self::user_header(owner, meta);
        // SAFETY: `first` keeps the block, which is a `UserBlock<T>`, and nothing mutates the owner.
        let bytes = unsafe { &(*first.block.cast::<UserBlock<T>>().as_ptr()).owner }.as_ref();
        let (data, len) = (bytes.as_ptr(), bytes.len());
        if len == 0 {
            return; // dropping `first` drops the owner
        }
        first.set_data(data, len.min(piece_max));
        let mut done = piece_max;
        let mut others = Vec::new();
        while done < len {
            // `first` itself owns the memory that the further pieces stand for.
            let mut piece = Self::user_header(first.clone(), meta);
            // SAFETY: `done < len`, so the pointer stays inside the owner's slice.
            piece.set_data(unsafe { data.add(done) }, (len - done).min(piece_max));
            others.push(piece);
            done += piece_max;
        }
        push(first);
        others.into_iter().for_each(push);
    }

    /// A reference, as yet to no bytes, to a new block with the given owner.
    fn user_header<T>(owner: T, meta: Option<u64>) -> Self {
        let header = Header {
            refs: AtomicUsize::new(1),
            data: NonNull::dangling().as_ptr(),
            release: release_user::<T>,
            kind: Kind::User,
            given: 0,
            filled: 0,
            staged: 0,
        };
        let raw = Box::into_raw(Box::new(UserBlock { header, meta, owner }));
        stats::USER_BLOCKS.fetch_add(1, Ordering::Relaxed); // Relaxed: a counter only.
        // SAFETY: a box is never null.
        let block = unsafe { NonNull::new_unchecked(raw.cast()) };
        Self { block, range: Range::new(0, 0) }
    }

    fn set_data(&mut self, data: *const u8, len: usize) {
        // SAFETY: called before the reference is shared, on the header that `user_header` made.
        unsafe { (*self.block.as_ptr()).data = data };
        self.range = Range::new(0, len);
    }

    #[inline]
    fn refs(&self) -> &AtomicUsize {
        // SAFETY: the block lives while a handle does; this borrows one field.
        unsafe { &(*self.block.as_ptr()).refs }
    }

    /// Bytes referred to.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.range.len()
    }

    /// The bytes referred to.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: contract 2: the range is initialised, and immutable while this reference exists. A user block's
        // owner lives as long, and its slice is only ever read.
        unsafe {
            let data = (*self.block.as_ptr()).data;
            std::slice::from_raw_parts(data.add(self.range.offset()), self.range.len())
        }
    }

    /// The value that the user attached to this memory.
    #[inline]
    pub(crate) fn meta(&self) -> Option<u64> {
        // SAFETY: `kind` does not change; a block of kind User is a `UserBlock<T>`, in which `repr(C)` puts the
        // meta, which comes before the owner, at the same place for every T.
        unsafe {
            match (*self.block.as_ptr()).kind {
                Kind::Pooled => None,
                Kind::User => (*self.block.cast::<UserBlock<()>>().as_ptr()).meta,
            }
        }
    }

    /// A further reference to `n` bytes from `pos` on. Panics unless that is a range of at least one byte inside
    /// this one.
    #[inline]
    pub(crate) fn share(&self, pos: usize, n: usize) -> Self {
        assert!(n > 0 && pos < self.len() && n <= self.len() - pos, "range outside the reference");
        // Relaxed: the reference it is made from keeps the block alive meanwhile, and publishes the bytes.
        if self.refs().fetch_add(1, Ordering::Relaxed) > REFS_MAX {
            std::process::abort();
        }
        Self { block: self.block, range: Range::new(self.range.offset() + pos, n) }
    }

    /// Takes the first `n` bytes off into a reference of their own. Panics unless `0 < n < len`.
    #[inline]
    pub(crate) fn split_front(&mut self, n: usize) -> Self {
        assert!(n > 0 && n < self.len(), "split outside the reference");
        // A count of one means that this reference, borrowed exclusively, is all there is: nobody can change the
        // count meanwhile. Acquire: pairs with the Release decrements so far, as the plain store cuts the later
        // releaser off from them.
        if self.refs().load(Ordering::Acquire) == 1 {
            // Relaxed: whoever gets the new reference gets it by other synchronisation.
            self.refs().store(2, Ordering::Relaxed);
        } else if self.refs().fetch_add(1, Ordering::Relaxed) > REFS_MAX {
            // Relaxed above: as in `share`.
            std::process::abort();
        }
        let front = Self { block: self.block, range: Range::new(self.range.offset(), n) };
        self.range = self.range.without_front(n);
        front
    }

    /// Drops the first `n` bytes. Panics unless `n < len`.
    #[inline]
    pub(crate) fn advance(&mut self, n: usize) {
        assert!(n < self.len(), "advance past the reference");
        self.range = self.range.without_front(n);
    }

    /// Keeps the first `n` bytes. Panics unless `0 < n <= len`.
    #[inline]
    pub(crate) fn truncate(&mut self, n: usize) {
        assert!(n > 0 && n <= self.len(), "truncate outside the reference");
        self.range = Range::new(self.range.offset(), n);
    }

    /// Takes `next` in if it begins where this one ends; gives it back otherwise.
    #[inline]
    pub(crate) fn merge(&mut self, next: Self) -> Result<(), Self> {
        if self.block != next.block || self.range.end() != next.range.offset() {
            return Err(next);
        }
        // Both ranges lie in one block, whose length a u32 holds.
        self.range = self.range.grown(next.len());
        Ok(())
    }

    /// Where in this reference the first byte of `other` is, if it is the same byte of the same block.
    pub(crate) fn position_of(&self, other: &Self) -> Option<usize> {
        let (mine, theirs) = (self.range, other.range.offset());
        let inside = self.block == other.block && (mine.offset()..mine.end()).contains(&theirs);
        inside.then(|| theirs - mine.offset())
    }
}

impl Clone for BlockRef {
    #[inline]
    fn clone(&self) -> Self {
        // Relaxed: as in `share`.
        if self.refs().fetch_add(1, Ordering::Relaxed) > REFS_MAX {
            std::process::abort();
        }
        Self { block: self.block, range: self.range }
    }
}

impl Drop for BlockRef {
    #[inline]
    fn drop(&mut self) {
        // Acquire, and the fence: pair with the Release decrement of the handles that are gone, whose accesses
        // must have happened before the release. A count of one means that this is the last.
        if self.refs().load(Ordering::Acquire) != 1 {
            // Release: pairs with the Acquire of whoever finds itself to be the last.
            if self.refs().fetch_sub(1, Ordering::Release) != 1 {
                return;
            }
            fence(Ordering::Acquire);
        }
        // SAFETY: that was the last reference, and no `Block` exists, as it would hold at least one itself.
        unsafe {
            match (*self.block.as_ptr()).kind {
                Kind::Pooled => release_pooled(self.block),
                Kind::User => ((*self.block.as_ptr()).release)(self.block),
            }
        }
    }
}

impl AsRef<[u8]> for BlockRef {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}
