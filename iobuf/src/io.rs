//! Bytes in and out of blocks without a copy: descriptors ([`IoPortal`], [`IoBuf::write_to`]) and the spare room
//! that `bytes::BufMut` lends to encoders.
//!
//! It must never wait for a descriptor by itself, nor keep a pointer into a block after the call that made it.
//! Sources: `spec/iobuf.md` §1.5, `readv(2)`, `sendmsg(2)`.
//!
//! # Contract
//! Every `iovec` passed to the kernel covers bytes of a reference (to be read) or the spare room of an owned block
//! (to be written), both of which live, unmoved, until the call returns. Bytes count as initialised only as far
//! as the kernel, or the caller of `advance_mut`, says.
#![allow(unsafe_code)]

use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use bytes::buf::UninitSlice;
use bytes::{Buf, BufMut};
use libc::{c_int, c_void, iovec};
use smallvec::SmallVec;

use crate::block::{Block, BlockRef};
use crate::buf::IoBuf;
use crate::writer::Writer;
use crate::{cache, stats};

/// Pieces that one write takes at most.
pub const IOV_WRITE_MAX: usize = 256;

/// Blocks that one read fills at most: 512 KiB together, or 4 MiB where they are
/// [large ones](crate::LARGE_BLOCK_SIZE).
pub const IOV_READ_MAX: usize = 64;

/// Up to this length the bytes that an [`IoPortal`] has left over are copied rather than kept in a
/// [large block](crate::LARGE_BLOCK_SIZE), which stays whole for its last byte.
pub const REPACK_MAX: usize = 2048;

/// Blocks that an [`IoPortal`] keeps without an allocation.
const PORTAL_INLINE: usize = 2;

type WriteVec = SmallVec<[iovec; IOV_WRITE_MAX]>;
type ReadVec = SmallVec<[iovec; IOV_READ_MAX]>;

/// Repeats `call` while a signal interrupts it.
#[inline]
fn uninterrupted(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        if let Ok(n) = usize::try_from(call()) {
            return Ok(n);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn offset_of(offset: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Where a gather list is written to.
#[derive(Clone, Copy)]
enum Sink {
    Stream(RawFd),
    Socket(RawFd),
    File(RawFd, libc::off_t),
}

impl Sink {
    /// One call to the kernel, repeated only when a signal interrupted it.
    ///
    /// # Safety
    /// Each `iovec` covers initialised bytes that live and do not change until this returns.
    unsafe fn write(self, iov: &[iovec]) -> io::Result<usize> {
        let count = iov.len() as c_int; // at most IOV_WRITE_MAX
        uninterrupted(|| {
            // SAFETY: the kernel only reads what the list covers, valid by this function's contract; the header
            // of sendmsg is fully initialised, zero being valid for each of its fields.
            unsafe {
                match (self, iov) {
                    (Self::Stream(fd), [one]) => libc::write(fd, one.iov_base, one.iov_len),
                    (Self::Stream(fd), _) => libc::writev(fd, iov.as_ptr(), count),
                    (Self::File(fd, at), _) => libc::pwritev(fd, iov.as_ptr(), count, at),
                    (Self::Socket(fd), [one]) => {
                        libc::send(fd, one.iov_base, one.iov_len, libc::MSG_NOSIGNAL)
                    }
                    (Self::Socket(fd), _) => {
                        let mut message: libc::msghdr = std::mem::zeroed();
                        message.msg_iov = iov.as_ptr().cast_mut();
                        message.msg_iovlen = iov.len() as _;
                        libc::sendmsg(fd, &message, libc::MSG_NOSIGNAL)
                    }
                }
            }
        })
    }
}

/// The first `n` bytes of `slice`.
#[inline]
fn iovec_of(slice: &[u8], n: usize) -> iovec {
    debug_assert!(n <= slice.len());
    iovec { iov_base: slice.as_ptr().cast::<c_void>().cast_mut(), iov_len: n }
}

/// Lists pieces of `buf` until there are [`IOV_WRITE_MAX`] of them or `max` bytes; returns the bytes listed.
#[inline]
fn gather(buf: &IoBuf, iov: &mut WriteVec, max: usize) -> usize {
    let mut left = max;
    for slice in buf.slices() {
        if left == 0 || iov.len() == IOV_WRITE_MAX {
            break;
        }
        let n = slice.len().min(left);
        iov.push(iovec_of(slice, n));
        left -= n;
    }
    max - left
}

impl IoBuf {
    fn write_sink(&mut self, sink: Sink, max: usize) -> io::Result<usize> {
        if self.is_empty() || max == 0 {
            return Ok(0);
        }
        let n = if self.block_count() == 1 {
            let front = self.front();
            // SAFETY: the list covers a reference of `self`, hence immutable bytes; `self` is borrowed until then.
            unsafe { sink.write(&[iovec_of(front, front.len().min(max))]) }?
        } else {
            self.write_pieces(sink, max)?
        };
        Ok(self.pop_front(n))
    }

    /// Apart from the case of one piece, for the list takes 4 KiB of stack.
    #[inline(never)]
    fn write_pieces(&self, sink: Sink, max: usize) -> io::Result<usize> {
        let mut iov = WriteVec::new();
        gather(self, &mut iov, max);
        // SAFETY: the list covers references of `self`, hence immutable bytes; `self` is borrowed until then.
        unsafe { sink.write(&iov) }
    }

    /// Writes from the front with one `writev` of at most `max` bytes and [`IOV_WRITE_MAX`] pieces, drops what was
    /// written and returns how much that was. An empty buffer or `max` 0 writes nothing and returns 0.
    ///
    /// *Blocking*: blocks the thread if the descriptor is in blocking mode and full; never parks a bthread.
    ///
    /// # Errors
    /// Those of `writev(2)`, `WouldBlock` among them, with the buffer unchanged. A signal is no error, the call is
    /// repeated. On a socket whose peer is gone SIGPIPE is raised unless ignored: use [`send_to`](Self::send_to).
    pub fn write_to(&mut self, fd: BorrowedFd<'_>, max: usize) -> io::Result<usize> {
        self.write_sink(Sink::Stream(fd.as_raw_fd()), max)
    }

    /// As [`write_to`](Self::write_to), for sockets: with `sendmsg` and `MSG_NOSIGNAL`, so that no SIGPIPE is raised.
    ///
    /// *Blocking*: as [`write_to`](Self::write_to).
    ///
    /// # Errors
    /// Those of `sendmsg(2)`; `BrokenPipe` if the peer is gone.
    pub fn send_to(&mut self, fd: BorrowedFd<'_>, max: usize) -> io::Result<usize> {
        self.write_sink(Sink::Socket(fd.as_raw_fd()), max)
    }

    /// As [`write_to`](Self::write_to), at `offset` of a file, whose own position stays as it is. Several threads
    /// may write to one file in this way.
    ///
    /// *Blocking*: blocks the thread for as long as the file system takes.
    ///
    /// # Errors
    /// Those of `pwritev(2)`; `InvalidInput` if the offset is above what a file can have.
    pub fn write_to_at(&mut self, fd: BorrowedFd<'_>, offset: u64, max: usize) -> io::Result<usize> {
        self.write_sink(Sink::File(fd.as_raw_fd(), offset_of(offset)?), max)
    }
}

/// Writes several buffers, one after the other, with one `writev` of at most [`IOV_WRITE_MAX`] pieces; drops from
/// each what was written and returns how much that was together.
///
/// *Blocking*: as [`IoBuf::write_to`].
///
/// # Errors
/// Those of `writev(2)`, with all buffers unchanged.
pub fn write_many(fd: BorrowedFd<'_>, bufs: &mut [&mut IoBuf]) -> io::Result<usize> {
    let mut iov = WriteVec::new();
    for buf in bufs.iter() {
        gather(buf, &mut iov, usize::MAX);
    }
    if iov.is_empty() {
        return Ok(0);
    }
    // SAFETY: as in `write_pieces`; the buffers stay borrowed.
    let written = unsafe { Sink::Stream(fd.as_raw_fd()).write(&iov) }?;
    let mut left = written;
    for buf in bufs.iter_mut() {
        left -= buf.pop_front(left);
    }
    Ok(written)
}

/// A buffer that is filled from a descriptor. It reads into blocks that it keeps for itself, so that what arrives on
/// one connection, message by message, shares blocks and is not scattered by what the thread does meanwhile. Used
/// as the [`IoBuf`] that it dereferences to.
#[derive(Default)]
pub struct IoPortal {
    buf: IoBuf,
    /// Blocks with room, at most [`IOV_READ_MAX`]; only the first is partly filled.
    blocks: SmallVec<[Block; PORTAL_INLINE]>,
    /// Their bytes, as [`Stats::read_ahead_bytes`](crate::Stats::read_ahead_bytes) has them.
    counted: usize,
}

impl IoPortal {
    /// An empty buffer. Allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads with one `readv` at most `max` bytes, into at most [`IOV_READ_MAX`] blocks, and appends them. Returns
    /// how many those were, 0 at the end of the stream. A `max` for which room of
    /// [`LARGE_BLOCK_PAYLOAD`](crate::LARGE_BLOCK_PAYLOAD) or more is missing takes large blocks, behind a
    /// first one of the usual size: whoever expects a large message asks for much at once.
    ///
    /// Blocks that were not needed stay here for the next read. When nothing was read, they go back to the thread,
    /// but for the one that the last bytes are in, if any are left.
    ///
    /// *Blocking*: blocks the thread if the descriptor is in blocking mode and has nothing; never parks a bthread.
    ///
    /// # Errors
    /// Those of `readv(2)`, `WouldBlock` among them; `InvalidInput` if `max` is 0. A signal is no error, the call is
    /// repeated.
    pub fn read_from(&mut self, fd: BorrowedFd<'_>, max: usize) -> io::Result<usize> {
        let fd = fd.as_raw_fd();
        // SAFETY: `fill` passes room that the kernel may write to.
        self.fill(max, |iov| unsafe {
            match iov {
                [one] => libc::read(fd, one.iov_base, one.iov_len),
                _ => libc::readv(fd, iov.as_ptr(), iov.len() as c_int),
            }
        })
    }

    /// As [`read_from`](Self::read_from), at `offset` of a file, whose own position stays as it is.
    ///
    /// *Blocking*: blocks the thread for as long as the file system takes.
    ///
    /// # Errors
    /// Those of `preadv(2)`; `InvalidInput` if `max` is 0 or the offset above what a file can have.
    pub fn read_from_at(&mut self, fd: BorrowedFd<'_>, offset: u64, max: usize) -> io::Result<usize> {
        let (fd, offset) = (fd.as_raw_fd(), offset_of(offset)?);
        // SAFETY: `fill` passes room that the kernel may write to.
        self.fill(max, |iov| unsafe { libc::preadv(fd, iov.as_ptr(), iov.len() as c_int, offset) })
    }

    /// Appends what `read` says it has put in the room it is given: `read` returns as `readv` does, and at most as
    /// many bytes as there is room.
    fn fill(&mut self, max: usize, read: impl Fn(&[iovec]) -> isize) -> io::Result<usize> {
        if max == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if let Some(first) = self.blocks.first_mut() {
            first.rewind();
        }
        let room: usize = self.blocks.iter().map(Block::spare).sum();
        if room < max {
            cache::acquire_room(&mut self.blocks, max - room, IOV_READ_MAX);
        }
        let mut iov = ReadVec::new();
        let mut left = max;
        for block in &mut self.blocks {
            let room = block.spare_mut();
            let n = room.len().min(left);
            iov.push(iovec { iov_base: room.as_mut_ptr().cast(), iov_len: n });
            left -= n;
            if left == 0 {
                break;
            }
        }
        match uninterrupted(|| read(&iov)) {
            Ok(n) if n > 0 => {
                assert!(n <= max - left, "the kernel returns no more than it was given room for");
                self.commit(n);
                self.count_blocks();
                Ok(n)
            }
            nothing => {
                self.keep_blocks(usize::from(!self.buf.is_empty()));
                nothing
            }
        }
    }

    /// Appends the first `n` bytes of the blocks' room, which have been read into.
    fn commit(&mut self, n: usize) {
        let (mut left, mut full) = (n, 0);
        for block in &mut self.blocks {
            let here = block.spare().min(left);
            // SAFETY: `fill` got the kernel to write that much, in the order of the blocks.
            unsafe { block.assume_staged(here) };
            self.buf.commit(block);
            full += usize::from(block.spare() == 0);
            left -= here;
            if left == 0 {
                break;
            }
        }
        if full > 0 {
            self.blocks.drain(..full);
        }
    }

    /// Gives all blocks but the first `n` back.
    fn keep_blocks(&mut self, n: usize) {
        if self.blocks.len() > n {
            cache::release(self.blocks.drain(n..));
        }
        self.count_blocks();
    }

    fn count_blocks(&mut self) {
        let bytes = self.blocks.iter().map(|block| block.size().bytes()).sum();
        if bytes != self.counted {
            stats::add_read_ahead(bytes as isize - self.counted as isize);
            self.counted = bytes;
        }
    }

    /// Gives the blocks kept for the next read back to the thread, for other connections: to be called when no more
    /// bytes are expected soon. The beginning of a message, of up to [`REPACK_MAX`] bytes, is copied if it pins a large
    /// block. Neither parks nor blocks.
    pub fn return_cached_blocks(&mut self) {
        self.keep_blocks(0);
        if self.buf.len() <= REPACK_MAX && self.buf.refs.iter().any(BlockRef::is_large) {
            let pinning = std::mem::take(&mut self.buf);
            pinning.slices().for_each(|slice| self.buf.append(slice));
        }
    }

    /// The bytes read; the blocks kept go back to the thread.
    #[must_use]
    pub fn into_buf(mut self) -> IoBuf {
        std::mem::take(&mut self.buf)
    }
}

impl Drop for IoPortal {
    fn drop(&mut self) {
        self.return_cached_blocks();
    }
}

impl Deref for IoPortal {
    type Target = IoBuf;

    #[inline]
    fn deref(&self) -> &IoBuf {
        &self.buf
    }
}

impl DerefMut for IoPortal {
    #[inline]
    fn deref_mut(&mut self) -> &mut IoBuf {
        &mut self.buf
    }
}

impl std::fmt::Debug for IoPortal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IoPortal").field("buf", &self.buf).field("blocks_kept", &self.blocks.len()).finish()
    }
}

// SAFETY: `chunk_mut` gives the room of a block that this buffer alone may write, for as long as it is borrowed; the
// block stays put in `tail` until `advance_mut`, and is never returned full.
unsafe impl BufMut for IoBuf {
    #[inline]
    fn remaining_mut(&self) -> usize {
        usize::MAX - self.len()
    }

    #[inline]
    fn chunk_mut(&mut self) -> &mut UninitSlice {
        if let Some(block) = &mut self.tail {
            // A writer that was leaked may have left staged bytes, or a full block.
            block.discard_staged();
            if block.spare() == 0 {
                self.tail = None;
            }
        }
        UninitSlice::uninit(self.tail.get_or_insert_with(cache::acquire).spare_mut())
    }

    /// # Panics
    /// If `n` is more than the last `chunk_mut` gave.
    unsafe fn advance_mut(&mut self, n: usize) {
        if n == 0 {
            return;
        }
        let mut block = self.tail.take().expect("chunk_mut comes before advance_mut");
        assert!(n <= block.spare(), "advance_mut past the chunk");
        // SAFETY: the caller has initialised the first n bytes of the chunk, which is this block's room.
        unsafe { block.assume_staged(n) };
        self.commit(&mut block);
        cache::release([block]);
    }

    fn put<T: Buf>(&mut self, mut src: T) {
        while src.has_remaining() {
            let n = src.chunk().len();
            self.append(src.chunk());
            src.advance(n);
        }
    }

    #[inline]
    fn put_slice(&mut self, src: &[u8]) {
        self.append(src);
    }

    #[inline]
    fn put_u8(&mut self, byte: u8) {
        self.push_back(byte);
    }

    fn put_bytes(&mut self, byte: u8, n: usize) {
        self.append_fill(byte, n);
    }
}

// SAFETY: as for `IoBuf`; `block` always returns one with room, in which what is staged so far comes before the chunk.
unsafe impl BufMut for Writer<'_> {
    #[inline]
    fn remaining_mut(&self) -> usize {
        usize::MAX - self.total_len()
    }

    #[inline]
    fn chunk_mut(&mut self) -> &mut UninitSlice {
        UninitSlice::uninit(self.block().spare_mut())
    }

    /// # Panics
    /// If `n` is more than the last `chunk_mut` gave.
    #[inline]
    unsafe fn advance_mut(&mut self, n: usize) {
        if n == 0 {
            return;
        }
        let block = self.buf.tail.as_mut().expect("chunk_mut comes before advance_mut");
        assert!(n <= block.spare(), "advance_mut past the chunk");
        // SAFETY: the caller has initialised the first n bytes of the chunk, which is this block's room.
        unsafe { block.assume_staged(n) };
    }

    fn put<T: Buf>(&mut self, mut src: T) {
        while src.has_remaining() {
            let n = src.chunk().len();
            self.append(src.chunk());
            src.advance(n);
        }
    }

    #[inline]
    fn put_slice(&mut self, src: &[u8]) {
        self.append(src);
    }

    #[inline]
    fn put_u8(&mut self, byte: u8) {
        self.block().stage_byte(byte);
    }

    fn put_bytes(&mut self, byte: u8, n: usize) {
        self.append_fill(byte, n);
    }
}

#[cfg(test)]
mod tests;
