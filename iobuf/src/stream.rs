//! Bytes in and out of a buffer through `std::io::Read` and `Write`: TLS, files, compressors, whatever is no plain
//! descriptor.
//!
//! It must never call a reader or a writer more than once, nor wait by itself: what the stream does to the thread is the
//! caller's affair.

use std::io::{self, IoSlice, Read, Write};

use smallvec::SmallVec;

use crate::buf::IoBuf;
use crate::cache;

/// Pieces that one call of a writer is given at most.
const SLICES_MAX: usize = 64;

impl IoBuf {
    /// Reads once, at most `max` bytes or what fits one block, and appends what came; returns how many bytes those were,
    /// 0 at the end of the stream. `std::io::copy` into a [`Writer`](crate::Writer) reads all there is.
    ///
    /// *Blocking*: as the reader is.
    ///
    /// # Errors
    /// Those of the reader, with the buffer unchanged, an interruption among them; `InvalidInput` if `max` is 0, and
    /// `InvalidData` if the reader says that it has read more than it was given room for.
    pub fn append_from<R: Read + ?Sized>(&mut self, reader: &mut R, max: usize) -> io::Result<usize> {
        if max == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut blocks: SmallVec<[_; 1]> = SmallVec::new();
        cache::acquire_room(&mut blocks, max, 1);
        let block = &mut blocks[0];
        // A reader must not see memory that was never written.
        let room = block.stage_fill(0, max);
        let result = match reader.read(block.staged_tail_mut(room)) {
            Ok(n) if n > room => Err(io::ErrorKind::InvalidData.into()),
            result => result,
        };
        block.unstage(room - *result.as_ref().unwrap_or(&0));
        self.commit(block);
        cache::release(blocks);
        result
    }

    /// Writes once, from the front at most `max` bytes, drops what the writer took and returns how many bytes those
    /// were. An empty buffer or `max` 0 writes nothing and returns 0. `std::io::copy` from a
    /// [`Reader`](crate::Reader) writes all there is.
    ///
    /// *Blocking*: as the writer is.
    ///
    /// # Errors
    /// Those of the writer, with the buffer unchanged, an interruption among them; `InvalidData` if the writer says that
    /// it has taken more than there was.
    pub fn write_into<W: Write + ?Sized>(&mut self, writer: &mut W, max: usize) -> io::Result<usize> {
        let mut left = max.min(self.len());
        if left == 0 {
            return Ok(0);
        }
        let mut slices = SmallVec::<[IoSlice<'_>; SLICES_MAX]>::new();
        for slice in self.slices().take(SLICES_MAX) {
            let n = slice.len().min(left);
            slices.push(IoSlice::new(&slice[..n]));
            left -= n;
            if left == 0 {
                break;
            }
        }
        let listed: usize = slices.iter().map(|slice| slice.len()).sum();
        let n = writer.write_vectored(&slices)?;
        drop(slices);
        if n > listed {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(self.pop_front(n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{BLOCK_PAYLOAD, LARGE_BLOCK_PAYLOAD};

    /// Says how much it has read or written.
    struct Says(usize);

    impl Read for Says {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            assert!(into.iter().all(|&byte| byte == 0), "nothing of others shows");
            into.fill(7);
            Ok(self.0)
        }
    }

    impl Write for Says {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Ok(self.0)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Fails;

    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    #[test]
    fn what_a_reader_gives_is_appended() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
        for max in [1, 1000, BLOCK_PAYLOAD, 50_000, 300_000] {
            let (mut buf, mut reader) = (IoBuf::from("before "), &bytes[..20_000.max(max).min(bytes.len())]);
            let whole = reader.len();
            let first = buf.append_from(&mut reader, max).unwrap();
            assert!(first <= max && first <= LARGE_BLOCK_PAYLOAD && first > 0);
            while buf.append_from(&mut reader, max).unwrap() > 0 {}
            assert_eq!(buf.cut(7), "before ");
            assert_eq!(buf, bytes[..whole]);
        }
    }

    #[test]
    fn readers_that_fail_or_lie_change_nothing() {
        let mut buf = IoBuf::from("before");
        assert_eq!(buf.append_from(&mut Fails, 10).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(buf.append_from(&mut Says(11), 10).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(buf.append_from(&mut Says(1), 0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(buf, "before");
        assert_eq!(buf.append_from(&mut Says(3), 10).unwrap(), 3);
        buf.append(b".");
        assert_eq!(buf, b"before\x07\x07\x07.");
    }

    #[test]
    fn what_a_writer_takes_is_dropped() {
        let mut buf = IoBuf::from("head ");
        (0..100_u8).for_each(|i| buf.append_user_data([i]));
        let all = buf.to_vec();
        let mut written = Vec::new();
        assert_eq!(buf.write_into(&mut written, 0).unwrap(), 0);
        assert_eq!(buf.write_into(&mut written, 7).unwrap(), 7);
        assert_eq!(buf.write_into(&mut written, usize::MAX).unwrap(), SLICES_MAX, "one byte each");
        while buf.write_into(&mut written, usize::MAX).unwrap() > 0 {}
        assert_eq!((written, buf.len()), (all, 0));
        buf.append(b"abc");
        assert_eq!(buf.write_into(&mut Says(4), 9).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(buf.write_into(&mut Says(2), 9).unwrap(), 2);
        assert_eq!(buf, "c");
    }
}
