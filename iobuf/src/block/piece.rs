//! References to blocks, and memory of the user's behind them.
//!
//! Part of `block.rs`, whose contract it keeps: a [`BlockRef`] counts, reads bytes that never change, and releases the
//! block as the last one. It must never write to a block.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use super::{Header, Kind, REFS_MAX, Size, USER_BLOCK_MAX, release_pooled};
use crate::stats;

/// A header and the owner of the memory it stands for.
#[repr(C)]
struct UserBlock<T> {
    header: Header,
    /// Called once, with the last reference.
    release: unsafe fn(NonNull<Header>),
    meta: Option<u64>,
    owner: T,
}

/// # Safety
/// `header` is that of a `UserBlock<T>` made by `BlockRef::user`, without any reference left.
unsafe fn release_user<T>(header: NonNull<Header>) {
    // SAFETY: by contract nobody else reaches the header, whose `filled` is the length that was counted.
    let len = unsafe { (*header.as_ptr()).filled as usize };
    stats::USER_BLOCKS.fetch_sub(1, Ordering::Relaxed); // Relaxed: a counter only.
    stats::USER_BYTES.fetch_sub(len, Ordering::Relaxed); // Relaxed: a counter only.
    // SAFETY: by contract this is the box that `user` leaked, and it is given back once.
    drop(unsafe { Box::from_raw(header.cast::<UserBlock<T>>().as_ptr()) });
}

/// A counted reference to a range of immutable bytes, see the module's contract. Never empty once it is made.
#[derive(Debug)]
pub(crate) struct BlockRef {
    pub(super) block: NonNull<Header>,
    pub(super) range: Range,
}

/// Where in a block, in one word: a `BlockRef` then travels in two registers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range(u64);

impl Range {
    #[inline]
    pub(super) fn new(offset: usize, len: usize) -> Self {
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
    pub(super) fn end(self) -> usize {
        self.offset() + self.len()
    }

    /// The same beginning, `n` bytes longer; offset and length together stay below 2^32.
    #[inline]
    pub(super) fn grown(self, n: usize) -> Self {
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
            kind: Kind::User,
            given: 0,
            filled: 0,
            staged: 0,
        };
        let raw = Box::into_raw(Box::new(UserBlock { header, release: release_user::<T>, meta, owner }));
        stats::USER_BLOCKS.fetch_add(1, Ordering::Relaxed); // Relaxed: a counter only.
        // SAFETY: a box is never null.
        let block = unsafe { NonNull::new_unchecked(raw.cast()) };
        Self { block, range: Range::new(0, 0) }
    }

    fn set_data(&mut self, data: *const u8, len: usize) {
        // SAFETY: called before the reference is shared, on the header that `user_header` made.
        unsafe {
            (*self.block.as_ptr()).data = data;
            (*self.block.as_ptr()).filled = len as u32; // at most USER_BLOCK_MAX
        }
        stats::USER_BYTES.fetch_add(len, Ordering::Relaxed); // Relaxed: a counter only.
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

    /// Whether it keeps one of the larger blocks.
    #[inline]
    pub(crate) fn is_large(&self) -> bool {
        // SAFETY: `kind` does not change.
        matches!(unsafe { (*self.block.as_ptr()).kind }, Kind::Pooled(Size::Large))
    }

    /// The value that the user attached to this memory.
    #[inline]
    pub(crate) fn meta(&self) -> Option<u64> {
        // SAFETY: `kind` does not change; a block of kind User is a `UserBlock<T>`, in which `repr(C)` puts the
        // meta, which comes before the owner, at the same place for every T.
        unsafe {
            match (*self.block.as_ptr()).kind {
                Kind::Pooled(_) => None,
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
                Kind::Pooled(_) => release_pooled(self.block),
                // `repr(C)` puts the function, which comes before the owner, at the same place for every T.
                Kind::User => ((*self.block.cast::<UserBlock<()>>().as_ptr()).release)(self.block),
            }
        }
    }
}

impl AsRef<[u8]> for BlockRef {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}
