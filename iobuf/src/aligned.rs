//! Memory that begins where direct I/O wants it to: [`AlignedRoom`].
//!
//! It must never hand out memory that was not written.

use std::error::Error;
use std::fmt;

use crate::buf::IoBuf;

/// The largest alignment of an [`AlignedRoom`].
pub const ALIGN_MAX: usize = 1 << 20;

/// The most bytes that one piece of an [`AlignedRoom`] has; with a larger alignment, that many.
pub const ALIGNED_PIECE_MAX: usize = 256 << 10;

/// Zeroed memory each piece of which begins at a multiple of some power of two, to be filled, by reads with `O_DIRECT` as
/// a rule, and then made part of an [`IoBuf`] (`spec/iobuf.md` §1.4, aligned reserve). Neither parks nor blocks.
///
/// ```
/// use iobuf::{AlignedRoom, IoBuf};
///
/// let mut room = AlignedRoom::new(5000, 4096).unwrap();
/// for piece in room.pieces_mut() {
///     assert_eq!(piece.as_ptr() as usize % 4096, 0);
///     piece.fill(b'x'); // file.read_at(piece, offset)
/// }
/// let mut buf = IoBuf::new();
/// room.append_to(&mut buf, 4500);
/// assert_eq!(buf.len(), 4500);
/// ```
pub struct AlignedRoom {
    pieces: Vec<Piece>,
}

/// Part of an allocation.
struct Piece {
    memory: Vec<u8>,
    begin: usize,
    len: usize,
}

impl Piece {
    fn new(len: usize, align: usize) -> Self {
        let memory = vec![0; len + align - 1];
        let address = memory.as_ptr() as usize;
        Self { begin: address.next_multiple_of(align) - address, memory, len }
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.memory[self.begin..][..self.len]
    }
}

impl AlignedRoom {
    /// Room for `n` bytes in pieces that begin at multiples of `align`. All but the last have a length that is one, too.
    ///
    /// # Errors
    /// [`InvalidAlignment`] unless `align` is a power of two of at most [`ALIGN_MAX`].
    pub fn new(n: usize, align: usize) -> Result<Self, InvalidAlignment> {
        if !align.is_power_of_two() || align > ALIGN_MAX {
            return Err(InvalidAlignment);
        }
        let most = ALIGNED_PIECE_MAX.max(align);
        let pieces = (0..n).step_by(most).map(|begin| Piece::new(most.min(n - begin), align)).collect();
        Ok(Self { pieces })
    }

    /// The pieces in order; there is none if there is room for 0 bytes.
    pub fn pieces_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.pieces.iter_mut().map(|piece| &mut piece.memory[piece.begin..][..piece.len])
    }

    /// Makes the first `n` bytes, or all if there are fewer, the back of `buf`, without copying them.
    pub fn append_to(self, buf: &mut IoBuf, n: usize) {
        let mut left = n;
        for mut piece in self.pieces {
            piece.len = piece.len.min(left);
            left -= piece.len;
            buf.append_user_data(piece);
        }
    }
}

impl fmt::Debug for AlignedRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedRoom").field("pieces", &self.pieces.len()).finish()
    }
}

/// Memory cannot be aligned so, see [`AlignedRoom::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidAlignment;

impl fmt::Display for InvalidAlignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an alignment is a power of two of at most {ALIGN_MAX}")
    }
}

impl Error for InvalidAlignment {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_is_aligned() {
        for align in [1, 2, 512, 4096, 1 << 19, ALIGN_MAX] {
            for n in [0, 1, align - 1, align, 3 * align + 5, 600_000] {
                let mut room = AlignedRoom::new(n, align).unwrap();
                let mut written = 0;
                for (i, piece) in room.pieces_mut().enumerate() {
                    assert_eq!(piece.as_ptr() as usize % align, 0);
                    piece.fill(i as u8 + 1);
                    written += piece.len();
                }
                assert_eq!(written, n);
                let addresses: Vec<usize> = room.pieces_mut().map(|piece| piece.as_ptr() as usize).collect();
                let mut buf = IoBuf::new();
                room.append_to(&mut buf, usize::MAX);
                assert_eq!(buf.len(), n);
                assert!(buf.slices().map(|slice| slice.as_ptr() as usize).eq(addresses), "nothing has moved");
                assert!(buf.slices().zip(1..).all(|(slice, i)| slice.iter().all(|&byte| byte == i)));
            }
        }
    }

    #[test]
    fn what_was_not_filled_is_left_out() {
        let mut buf = IoBuf::new();
        AlignedRoom::new(2 * ALIGNED_PIECE_MAX, 4096).unwrap().append_to(&mut buf, 10);
        assert_eq!((buf.len(), buf.block_count()), (10, 1));
    }

    #[test]
    fn other_alignments_are_refused() {
        for align in [0, 3, 4095, ALIGN_MAX * 2, usize::MAX] {
            assert_eq!(AlignedRoom::new(10, align).unwrap_err(), InvalidAlignment);
        }
    }
}
