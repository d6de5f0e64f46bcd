//! [`IoBuf`]: a queue of bytes made of references to shared blocks.
//!
//! Owns appending, cutting, sharing and holes. It must never copy payload from one buffer to another, and never
//! change a byte that another buffer could see.

use std::fmt;
use std::io::IoSlice;

use smallvec::SmallVec;

use crate::block::{Block, BlockRef, USER_BLOCK_MAX};
use crate::cache;
use crate::refs::RefQueue;

/// Up to this length a conversion from owned memory (`Vec`, `String`, `Bytes`) copies, which costs less than
/// keeping track of the memory.
pub const COPY_MAX: usize = 512;

/// A queue of bytes in shared blocks: appended at the back, taken from the front, without copying what other
/// buffers already hold (`spec/iobuf.md` §1).
///
/// An empty buffer owns nothing, and up to two pieces need no allocation but their blocks. `Clone` shares the
/// bytes. A buffer is used by one thread at a time and may move between threads; the blocks beneath may be shared
/// by buffers of different threads. Written bytes never change, so nothing that one buffer does shows in another.
///
/// No method parks or blocks, apart from those that take a descriptor. None fails: running out of memory aborts
/// the process, as in `Vec`.
#[derive(Default)]
pub struct IoBuf {
    pub(crate) refs: RefQueue,
    len: usize,
    /// The block lent out by `BufMut::chunk_mut`, or that a `Writer` stages into. Nothing in it is part of the
    /// buffer until it is committed.
    pub(crate) tail: Option<Block>,
}

const _: () = assert!(size_of::<IoBuf>() <= 56);

impl Clone for IoBuf {
    /// Shares the bytes: costs one count per piece.
    #[inline]
    fn clone(&self) -> Self {
        Self { refs: self.refs.clone(), len: self.len, tail: None }
    }
}

/// A hole in an [`IoBuf`], from [`IoBuf::reserve`], to be filled by [`IoBuf::assign`]. It keeps the block that
/// the hole begins in.
#[must_use = "a hole that is not assigned stays filled with zeros"]
#[derive(Debug)]
pub struct Area {
    mark: Option<BlockRef>,
    len: usize,
}

impl Area {
    /// Bytes in the hole.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the hole has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl IoBuf {
    /// An empty buffer. Allocates nothing.
    #[inline]
    #[must_use]
    pub const fn new() -> Self {
        Self { refs: RefQueue::new(), len: 0, tail: None }
    }

    /// Bytes in the buffer; takes constant time.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no byte.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Drops all bytes. May run the deleters of user memory.
    #[inline]
    pub fn clear(&mut self) {
        self.len = 0;
        self.refs.clear();
    }

    /// Copies bytes to the back, into the block that the thread is filling. Consecutive appends share blocks and
    /// make one piece.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            cache::append(&mut self.refs, bytes);
            self.len += bytes.len();
        }
    }

    /// Appends one byte.
    #[inline]
    pub fn push_back(&mut self, byte: u8) {
        cache::push(&mut self.refs, byte);
        self.len += 1;
    }

    /// Appends `n` times the same byte.
    pub fn append_fill(&mut self, byte: u8, n: usize) {
        cache::append_fill(&mut self.refs, byte, n);
        self.len += n;
    }

    /// Copies several byte strings to the back, one after the other.
    #[inline]
    pub fn append_slices(&mut self, slices: &[IoSlice<'_>]) {
        slices.iter().for_each(|slice| self.append(slice));
    }

    /// Appends as many times `byte`, or drops as many bytes from the back, as it takes to have `n` of them.
    pub fn resize(&mut self, n: usize, byte: u8) {
        match n.checked_sub(self.len) {
            Some(missing) => self.append_fill(byte, missing),
            None => _ = self.pop_back(self.len - n),
        }
    }

    /// Has all bytes lie in one piece, and returns them. They are copied, to memory of just that length, unless they do
    /// already; no copy in other buffers changes.
    pub fn make_contiguous(&mut self) -> &[u8] {
        if self.block_count() > 1 {
            let whole = self.to_vec();
            self.clear();
            self.append_user_data(whole);
        }
        self.front()
    }

    /// Moves all bytes of `other` to the back. To share them instead, append a clone.
    #[inline]
    pub fn append_buf(&mut self, mut other: Self) {
        self.refs.append(&mut other.refs);
        self.len += other.len;
        other.len = 0;
    }

    /// Appends memory without copying it. `owner` is dropped, on whichever thread that happens, when the last
    /// buffer lets go of the last of its bytes; at once if it has none. [`USER_BLOCK_MAX`] bytes make one piece.
    ///
    /// # Panics
    /// Only if `owner.as_ref()` does.
    pub fn append_user_data<T>(&mut self, owner: T)
    where
        T: AsRef<[u8]> + Send + 'static,
    {
        self.append_user_pieces(owner, None, USER_BLOCK_MAX);
    }

    /// As [`append_user_data`](Self::append_user_data), with a value that [`first_meta`](Self::first_meta) finds
    /// (a registration key, say), and a function that gets the owner back in the end. It runs on the thread that
    /// lets go last, inside of the operation that does so: it must not panic, should not block, and may use other
    /// buffers.
    pub fn append_user_data_with_deleter<T, F>(&mut self, owner: T, meta: u64, deleter: F)
    where
        T: AsRef<[u8]> + Send + 'static,
        F: FnOnce(T) + Send + 'static,
    {
        self.append_user_pieces(Deleting { parts: Some((owner, deleter)) }, Some(meta), USER_BLOCK_MAX);
    }

    fn append_user_pieces<T>(&mut self, owner: T, meta: Option<u64>, piece_max: usize)
    where
        T: AsRef<[u8]> + Send + 'static,
    {
        BlockRef::user(owner, meta, piece_max, &mut |piece| self.push_ref_unmerged(piece));
    }

    /// Moves the first `n` bytes, or all if there are fewer, to a buffer of their own.
    #[inline]
    #[must_use = "to drop the bytes, use pop_front"]
    pub fn cut(&mut self, n: usize) -> Self {
        if n >= self.len {
            return Self { refs: self.refs.take(), len: std::mem::take(&mut self.len), tail: None };
        }
        if n > 0
            && let Some(front) = self.refs.front_mut().filter(|front| n < front.len())
        {
            let piece = front.split_front(n);
            self.len -= n;
            // Made in place: the buffer is not moved again right after it was written.
            return Self { refs: RefQueue::one(piece), len: n, tail: None };
        }
        let mut out = Self::new();
        self.cut_short(&mut out, n);
        out
    }

    /// Moves the first `n` bytes, or all if there are fewer, to the back of `out`, and returns how many those were.
    #[inline]
    pub fn cut_into(&mut self, out: &mut Self, n: usize) -> usize {
        if n >= self.len {
            let n = std::mem::take(&mut self.len);
            out.refs.append(&mut self.refs);
            out.len += n;
            return n;
        }
        self.cut_short(out, n);
        n
    }

    /// Moves the first `n` bytes, fewer than there are, to the back of `out`.
    fn cut_short(&mut self, out: &mut Self, n: usize) {
        self.len -= n;
        out.len += n;
        let mut left = n;
        while left > 0 {
            let Some(front) = self.refs.front_mut() else { break };
            if left < front.len() {
                let piece = front.split_front(left);
                out.refs.push(piece);
                break;
            }
            left -= front.len();
            if let Some(piece) = self.refs.pop_front() {
                out.refs.push(piece);
            }
        }
    }

    /// Moves bytes from the front to `dst` until it is full or the buffer empty, and returns how many those were.
    pub fn cut_to_slice(&mut self, dst: &mut [u8]) -> usize {
        let n = self.copy_to(dst, 0);
        self.pop_front(n)
    }

    /// Moves the bytes before the first occurrence of `delim` to a buffer of their own, and drops the delimiter. It
    /// may be of any length and have any bytes. None, and nothing changes, if it does not occur or is empty.
    pub fn cut_until(&mut self, delim: &[u8]) -> Option<Self> {
        let at = self.find(delim, 0)?;
        let out = self.cut(at);
        self.pop_front(delim.len());
        Some(out)
    }

    /// Drops the first `n` bytes, or all if there are fewer, and returns how many those were.
    #[inline]
    pub fn pop_front(&mut self, n: usize) -> usize {
        if n >= self.len {
            let n = self.len;
            self.clear();
            return n;
        }
        self.len -= n;
        let mut left = n;
        while left > 0 {
            let Some(front) = self.refs.front_mut() else { break };
            if left < front.len() {
                front.advance(left);
                break;
            }
            left -= front.len();
            self.refs.pop_front();
        }
        n
    }

    /// Drops the last `n` bytes, or all if there are fewer, and returns how many those were.
    pub fn pop_back(&mut self, n: usize) -> usize {
        if n >= self.len {
            let n = self.len;
            self.clear();
            return n;
        }
        self.len -= n;
        let mut left = n;
        while left > 0 {
            let Some(back) = self.refs.back_mut() else { break };
            if left < back.len() {
                back.truncate(back.len() - left);
                break;
            }
            left -= back.len();
            self.refs.pop_back();
        }
        n
    }

    /// Shares `n` bytes from `pos` on, or as many as there are, with the back of `out`; returns how many those were.
    pub fn append_to(&self, out: &mut Self, n: usize, pos: usize) -> usize {
        let (mut skip, mut left) = (pos, n);
        for piece in self.refs.iter() {
            if left == 0 {
                break;
            }
            if skip >= piece.len() {
                skip -= piece.len();
                continue;
            }
            let take = left.min(piece.len() - skip);
            out.push_ref(piece.share(skip, take));
            left -= take;
            skip = 0;
        }
        n - left
    }

    /// Appends a hole of `n` zeros, to be filled once its bytes are known: a length before the body it counts, say.
    pub fn reserve(&mut self, n: usize) -> Area {
        let begin = self.len;
        self.append_fill(0, n);
        let mut end = self.len;
        // From the back, since that is where the hole is.
        let mark = self.refs.iter().rev().find_map(|piece| {
            end -= piece.len();
            (n > 0 && end <= begin).then(|| piece.share(begin - end, 1))
        });
        Area { mark, len: n }
    }

    /// Fills a hole of this buffer. Buffers that share the hole's bytes keep the zeros they saw. Takes time in the
    /// number of pieces; the rest of the buffer stays where it is, while the filled hole is a piece of its own.
    ///
    /// # Panics
    /// If `bytes` is not as long as the hole, or the byte that the hole begins with is no longer in this buffer, or so
    /// close to its end that the hole cannot be. Bytes that took the place of a hole's end are not told from it.
    pub fn assign(&mut self, area: Area, bytes: &[u8]) {
        assert_eq!(bytes.len(), area.len, "an area is filled with as many bytes as it has");
        let Some(mark) = area.mark else { return };
        let mut begin = 0;
        let found = self.refs.iter().find_map(|piece| {
            let inside = piece.position_of(&mark).map(|at| begin + at);
            begin += piece.len();
            inside
        });
        let at = found.filter(|at| self.len - at >= area.len).expect("the area is in this buffer");
        let mut whole = self.cut(at);
        self.pop_front(area.len);
        whole.append(bytes);
        whole.refs.append(&mut self.refs);
        self.refs = whole.refs;
        self.len += at + area.len;
    }

    /// Adds a piece, merged where it continues the last one.
    #[inline]
    pub(crate) fn push_ref(&mut self, piece: BlockRef) {
        self.len += piece.len();
        self.refs.push(piece);
    }

    #[inline]
    fn push_ref_unmerged(&mut self, piece: BlockRef) {
        self.len += piece.len();
        self.refs.push_unmerged(piece);
    }

    /// Makes what is staged in `block` part of this buffer.
    #[inline]
    pub(crate) fn commit(&mut self, block: &mut Block) {
        self.len += block.staged();
        self.refs.commit(block);
    }
}

/// An owner that is handed to a function instead of being dropped.
struct Deleting<T, F: FnOnce(T)> {
    parts: Option<(T, F)>,
}

impl<T: AsRef<[u8]>, F: FnOnce(T)> AsRef<[u8]> for Deleting<T, F> {
    fn as_ref(&self) -> &[u8] {
        self.parts.as_ref().map_or(&[], |(owner, _)| owner.as_ref())
    }
}

impl<T, F: FnOnce(T)> Drop for Deleting<T, F> {
    fn drop(&mut self) {
        if let Some((owner, deleter)) = self.parts.take() {
            deleter(owner);
        }
    }
}

impl From<&[u8]> for IoBuf {
    fn from(bytes: &[u8]) -> Self {
        let mut buf = Self::new();
        buf.append(bytes);
        buf
    }
}

impl<const N: usize> From<&[u8; N]> for IoBuf {
    fn from(bytes: &[u8; N]) -> Self {
        Self::from(bytes.as_slice())
    }
}

impl From<&str> for IoBuf {
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes())
    }
}

macro_rules! from_owned {
    ($($owner:ty),*) => {$(
        impl From<$owner> for IoBuf {
            /// Copies up to [`COPY_MAX`] bytes; takes the memory over if there are more.
            fn from(owner: $owner) -> Self {
                let mut buf = Self::new();
                if owner.len() <= COPY_MAX {
                    buf.append(owner.as_ref());
                } else {
                    buf.append_user_data(owner);
                }
                buf
            }
        }
    )*};
}
from_owned!(Vec<u8>, Box<[u8]>, String, bytes::Bytes);

impl Extend<u8> for IoBuf {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        let mut chunk = SmallVec::<[u8; COPY_MAX]>::new();
        for byte in bytes {
            if chunk.len() == COPY_MAX {
                self.append(&chunk);
                chunk.clear();
            }
            chunk.push(byte);
        }
        self.append(&chunk);
    }
}

impl Extend<IoBuf> for IoBuf {
    fn extend<I: IntoIterator<Item = IoBuf>>(&mut self, bufs: I) {
        bufs.into_iter().for_each(|buf| self.append_buf(buf));
    }
}

impl<'a> Extend<&'a [u8]> for IoBuf {
    fn extend<I: IntoIterator<Item = &'a [u8]>>(&mut self, slices: I) {
        slices.into_iter().for_each(|slice| self.append(slice));
    }
}

impl<T> FromIterator<T> for IoBuf
where
    Self: Extend<T>,
{
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut buf = Self::new();
        buf.extend(items);
        buf
    }
}

impl fmt::Write for IoBuf {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.append(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
