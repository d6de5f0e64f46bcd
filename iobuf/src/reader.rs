//! Reading a buffer from front to back: [`Reader`], which leaves the buffer as it is, and the consuming
//! `bytes::Buf` of [`IoBuf`] itself.
//!
//! It must never copy more than it is asked for, nor change a buffer that is only lent.

use std::io::{self, BufRead, IoSlice, Read};

use bytes::{Buf, Bytes};

use crate::block::BlockRef;
use crate::buf::{COPY_MAX, IoBuf};

/// Walks over the bytes of an [`IoBuf`] without consuming them: as `bytes::Buf`, so that a prost message can be
/// decoded from it, and as `std::io::Read` and `BufRead`. Faster than consuming the buffer itself, as no reference
/// is touched on the way. Neither parks nor blocks.
///
/// ```
/// use bytes::Buf;
/// use iobuf::{IoBuf, Reader};
///
/// let buf = IoBuf::from(&[0, 0, 1, 2, 42]);
/// let mut reader = Reader::new(&buf);
/// assert_eq!(reader.get_u32(), 258);
/// assert_eq!(reader.remaining(), 1);
/// assert_eq!(buf.len(), 5);
/// ```
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    buf: &'a IoBuf,
    /// What is left of the current piece; empty only at the end.
    chunk: &'a [u8],
    /// The piece after the current one.
    next: usize,
    remaining: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `buf`.
    #[inline]
    #[must_use]
    pub fn new(buf: &'a IoBuf) -> Self {
        Self { buf, chunk: buf.front(), next: 1, remaining: buf.len() }
    }

    /// Bytes read or skipped so far.
    #[inline]
    #[must_use]
    pub fn position(&self) -> usize {
        self.buf.len() - self.remaining
    }

    /// Shares the next `n` bytes, or as many as there are, without copying, and skips them.
    #[must_use = "to skip the bytes, use advance"]
    pub fn share(&mut self, n: usize) -> IoBuf {
        let mut out = IoBuf::new();
        let n = self.buf.append_to(&mut out, n, self.position());
        self.skip(n);
        out
    }

    /// Skips `n` bytes, of which there must be as many.
    #[inline]
    fn skip(&mut self, n: usize) {
        if n < self.chunk.len() {
            self.chunk = &self.chunk[n..];
            self.remaining -= n;
        } else {
            self.skip_pieces(n);
        }
    }

    fn skip_pieces(&mut self, n: usize) {
        self.remaining -= n;
        let mut left = n;
        while left >= self.chunk.len() {
            left -= self.chunk.len();
            match self.buf.refs.get(self.next) {
                Some(piece) => self.chunk = piece.as_slice(),
                None => {
                    self.chunk = &[];
                    return;
                }
            }
            self.next += 1;
        }
        self.chunk = &self.chunk[left..];
    }

    fn fill_slices<'s>(&'s self, dst: &mut [IoSlice<'s>]) -> usize {
        if self.chunk.is_empty() || dst.is_empty() {
            return 0;
        }
        dst[0] = IoSlice::new(self.chunk);
        let mut count = 1;
        while let (Some(slot), Some(piece)) = (dst.get_mut(count), self.buf.refs.get(self.next + count - 1)) {
            *slot = IoSlice::new(piece.as_slice());
            count += 1;
        }
        count
    }
}

impl Buf for Reader<'_> {
    #[inline]
    fn remaining(&self) -> usize {
        self.remaining
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        self.chunk
    }

    fn chunks_vectored<'s>(&'s self, dst: &mut [IoSlice<'s>]) -> usize {
        self.fill_slices(dst)
    }

    /// # Panics
    /// If fewer than `n` bytes remain.
    #[inline]
    fn advance(&mut self, n: usize) {
        assert!(n <= self.remaining, "advance past the end: {n} of {}", self.remaining);
        self.skip(n);
    }

    /// Shares memory if the bytes are contiguous and more than [`COPY_MAX`]; copies otherwise.
    ///
    /// # Panics
    /// If fewer than `n` bytes remain.
    fn copy_to_bytes(&mut self, n: usize) -> Bytes {
        assert!(n <= self.remaining, "copy past the end: {n} of {}", self.remaining);
        if n > COPY_MAX && n <= self.chunk.len() {
            let piece =
                self.buf.refs.get(self.next - 1).map(|piece| piece.share(piece.len() - self.chunk.len(), n));
            self.skip(n);
            return piece.map_or_else(Bytes::new, Bytes::from_owner);
        }
        copy_out(self, n)
    }
}

impl Read for Reader<'_> {
    #[inline]
    fn read(&mut self, dst: &mut [u8]) -> io::Result<usize> {
        let n = dst.len().min(self.remaining);
        self.copy_to_slice(&mut dst[..n]);
        Ok(n)
    }
}

impl BufRead for Reader<'_> {
    #[inline]
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.chunk)
    }

    /// # Panics
    /// If `n` is more than the slice of `fill_buf` has.
    #[inline]
    fn consume(&mut self, n: usize) {
        assert!(n <= self.chunk.len(), "consume past the slice");
        self.skip(n);
    }
}

/// A copy of the next `n` bytes, of which there are as many.
fn copy_out(from: &mut impl Buf, n: usize) -> Bytes {
    let mut copy = vec![0; n];
    from.copy_to_slice(&mut copy);
    Bytes::from(copy)
}

/// Consumes from the front. For decoding a whole message [`Reader`] is cheaper.
impl Buf for IoBuf {
    #[inline]
    fn remaining(&self) -> usize {
        self.len()
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        self.front()
    }

    fn chunks_vectored<'s>(&'s self, dst: &mut [IoSlice<'s>]) -> usize {
        let mut count = 0;
        for (slot, slice) in dst.iter_mut().zip(self.slices()) {
            *slot = IoSlice::new(slice);
            count += 1;
        }
        count
    }

    /// # Panics
    /// If fewer than `n` bytes remain.
    #[inline]
    fn advance(&mut self, n: usize) {
        assert!(n <= self.len(), "advance past the end: {n} of {}", self.len());
        self.pop_front(n);
    }

    /// Shares memory if the bytes are contiguous and more than [`COPY_MAX`]; copies otherwise.
    ///
    /// # Panics
    /// If fewer than `n` bytes remain.
    fn copy_to_bytes(&mut self, n: usize) -> Bytes {
        assert!(n <= self.len(), "copy past the end: {n} of {}", self.len());
        if n > COPY_MAX && n <= self.front().len() {
            let piece: Option<BlockRef> = self.refs.front().map(|piece| piece.share(0, n));
            self.pop_front(n);
            return piece.map_or_else(Bytes::new, Bytes::from_owner);
        }
        copy_out(self, n)
    }
}

#[cfg(test)]
mod tests;
