//! [`Writer`]: many small writes into one block, without looking up the thread's cache for each.
//!
//! It must never leave staged bytes behind: they are part of the buffer when the writer is dropped.

use std::io::{self, IoSlice, Write};

use crate::block::Block;
use crate::buf::IoBuf;
use crate::cache;

/// Appends to an [`IoBuf`]: as `bytes::BufMut`, so that a prost message is encoded straight into a block, and as
/// `std::io::Write`. It holds a block of its own while it exists, which goes back to the thread afterwards; if it
/// is leaked (`mem::forget`), the bytes since the last [`flush`](Write::flush) are lost. No call fails, parks or
/// blocks.
///
/// ```
/// use bytes::BufMut;
/// use iobuf::{IoBuf, Writer};
///
/// let mut buf = IoBuf::new();
/// let mut writer = Writer::new(&mut buf);
/// writer.put_u16(258);
/// writer.put_slice(b"body");
/// drop(writer);
/// assert_eq!(buf, b"\x01\x02body");
/// ```
#[derive(Debug)]
pub struct Writer<'a> {
    pub(crate) buf: &'a mut IoBuf,
}

impl<'a> Writer<'a> {
    /// Writes behind what `buf` has.
    #[inline]
    #[must_use]
    pub fn new(buf: &'a mut IoBuf) -> Self {
        if let Some(block) = &mut buf.tail {
            block.discard_staged();
        }
        Self { buf }
    }

    /// Bytes in the buffer, those just written included.
    #[inline]
    #[must_use]
    pub fn total_len(&self) -> usize {
        self.buf.len() + self.buf.tail.as_ref().map_or(0, Block::staged)
    }

    /// The block to write to, with room.
    #[inline]
    pub(crate) fn block(&mut self) -> &mut Block {
        if self.buf.tail.as_ref().is_none_or(|block| block.spare() == 0) {
            self.next_block();
        }
        self.buf.tail.get_or_insert_with(cache::acquire)
    }

    #[cold]
    fn next_block(&mut self) {
        self.finish_block();
        self.buf.tail = Some(cache::acquire());
    }

    /// Makes the staged bytes part of the buffer and gives the block back.
    #[inline]
    fn finish_block(&mut self) {
        if let Some(mut block) = self.buf.tail.take() {
            self.buf.commit(&mut block);
            cache::release([block]);
        }
    }

    /// Copies all of `bytes` to the back.
    #[inline]
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let n = self.block().stage(rest);
            rest = &rest[n..];
        }
    }

    /// Appends `n` times the same byte.
    pub(crate) fn append_fill(&mut self, byte: u8, n: usize) {
        let mut left = n;
        while left > 0 {
            left -= self.block().stage_fill(byte, left);
        }
    }
}

impl Drop for Writer<'_> {
    #[inline]
    fn drop(&mut self) {
        self.finish_block();
    }
}

impl Write for Writer<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes);
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        slices.iter().for_each(|slice| self.append(slice));
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.append(bytes);
        Ok(())
    }

    /// Makes what was written part of the buffer.
    fn flush(&mut self) -> io::Result<()> {
        if let Some(mut block) = self.buf.tail.take() {
            self.buf.commit(&mut block);
            self.buf.tail = Some(block);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
