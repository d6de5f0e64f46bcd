//! Looking at a buffer without changing it: slices, comparison, copies out, printable forms.
//!
//! It must never consume, and never print more of a payload than it was asked to.

use std::cmp::Ordering;
use std::fmt;
use std::iter::{Flatten, FusedIterator};

use crate::block::BlockRef;
use crate::buf::IoBuf;

/// Bytes of payload that `{:?}` of an [`IoBuf`] shows.
pub const DEBUG_BYTES_MAX: usize = 64;

/// The contiguous pieces of an [`IoBuf`], from [`IoBuf::slices`]. None is empty.
#[derive(Clone)]
pub struct Slices<'a> {
    buf: &'a IoBuf,
    next: usize,
    end: usize,
}

impl<'a> Iterator for Slices<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.next >= self.end {
            return None;
        }
        let piece = self.buf.refs.get(self.next).map(BlockRef::as_slice);
        self.next += 1;
        piece
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.next, Some(self.end - self.next))
    }
}

impl DoubleEndedIterator for Slices<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        self.end -= 1;
        self.buf.refs.get(self.end).map(BlockRef::as_slice)
    }
}

impl ExactSizeIterator for Slices<'_> {}

impl fmt::Debug for Slices<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slices").field("left", &self.len()).finish()
    }
}

impl FusedIterator for Slices<'_> {}

/// The bytes of an [`IoBuf`], from [`IoBuf::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    bytes: Flatten<Slices<'a>>,
    left: usize,
}

impl Iterator for Iter<'_> {
    type Item = u8;

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes.next()?;
        self.left -= 1;
        Some(byte)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<u8> {
        let byte = *self.bytes.next_back()?;
        self.left -= 1;
        Some(byte)
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl FusedIterator for Iter<'_> {}

impl<'a> IntoIterator for &'a IoBuf {
    type Item = u8;
    type IntoIter = Iter<'a>;

    #[inline]
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl IoBuf {
    /// All bytes, one by one, from either end. To walk over some of them, share or copy ranges on the way, use
    /// [`Reader`](crate::Reader).
    #[inline]
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { bytes: self.slices().flatten(), left: self.len() }
    }

    /// The first contiguous piece, empty only if the buffer is. Neither parks nor blocks.
    #[inline]
    #[must_use]
    pub fn front(&self) -> &[u8] {
        self.refs.front().map_or(&[], BlockRef::as_slice)
    }

    /// All contiguous pieces in order.
    #[inline]
    #[must_use]
    pub fn slices(&self) -> Slices<'_> {
        Slices { buf: self, next: 0, end: self.refs.count() }
    }

    /// Number of contiguous pieces, each of them a reference to one block. Neighbouring pieces of one block are one.
    #[inline]
    #[must_use]
    pub fn block_count(&self) -> usize {
        self.refs.count()
    }

    /// The value attached to the memory that the first byte lies in, if it is user memory with one
    /// ([`append_user_data_with_deleter`](Self::append_user_data_with_deleter)); `spec/iobuf.md` §1.4.
    #[inline]
    #[must_use]
    pub fn first_meta(&self) -> Option<u64> {
        self.refs.front().and_then(BlockRef::meta)
    }

    /// Copies from byte `pos` on into `dst`, and returns how many bytes there were to copy.
    pub fn copy_to(&self, dst: &mut [u8], pos: usize) -> usize {
        let mut done = 0;
        for slice in self.slices_from(pos) {
            let n = slice.len().min(dst.len() - done);
            dst[done..done + n].copy_from_slice(&slice[..n]);
            done += n;
            if done == dst.len() {
                break;
            }
        }
        done
    }

    /// A copy of all bytes.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len());
        self.slices().for_each(|slice| all.extend_from_slice(slice));
        all
    }

    /// The first `aux.len()` bytes in one slice: those in the block if they are contiguous there, otherwise a copy
    /// in `aux`. None if there are fewer. What `aux` contains afterwards is unspecified.
    #[inline]
    #[must_use]
    pub fn fetch<'a>(&'a self, aux: &'a mut [u8]) -> Option<&'a [u8]> {
        let n = aux.len();
        if let Some(front) = self.front().get(..n) {
            return Some(front);
        }
        if self.len() < n {
            return None;
        }
        self.copy_to(aux, 0);
        Some(aux)
    }

    /// The byte at `pos`. Takes time in the number of pieces before it.
    #[inline]
    #[must_use]
    pub fn get(&self, pos: usize) -> Option<u8> {
        match self.front().get(pos) {
            Some(&byte) => Some(byte),
            None => self.slices_from(pos).next().map(|slice| slice[0]),
        }
    }

    /// Where the first occurrence of `needle` at or after byte `from` begins: of any length, with any bytes, across
    /// pieces. None if there is none or the needle is empty. Takes time linear in the bytes looked at; a parser
    /// that waits for more input passes the length it has searched, less `needle.len() - 1`.
    #[must_use]
    pub fn find(&self, needle: &[u8], from: usize) -> Option<usize> {
        crate::search::find(self.slices_from(from), needle).map(|at| from + at)
    }

    /// The pieces from byte `pos` on; none of them is empty.
    pub(crate) fn slices_from(&self, pos: usize) -> impl Iterator<Item = &[u8]> + '_ {
        let mut skip = pos;
        self.slices().filter_map(move |slice| {
            let from = skip.min(slice.len());
            skip -= from;
            (from < slice.len()).then(|| &slice[from..])
        })
    }

    /// Whether the bytes are those of `other`.
    fn equals(&self, mut other: &[u8]) -> bool {
        self.len() == other.len()
            && self.slices().all(|slice| {
                let (head, tail) = other.split_at(slice.len());
                other = tail;
                head == slice
            })
    }

    /// Something that prints the first `max` bytes as two hexadecimal digits each, with spaces between them, and how
    /// many were left out.
    #[must_use]
    pub fn hex(&self, max: usize) -> Hex<'_> {
        Hex { buf: self, max }
    }

    /// Something that prints the first `max` bytes, ASCII as it is and the rest as `\xNN`, and how many were left
    /// out.
    #[must_use]
    pub fn escape(&self, max: usize) -> Escaped<'_> {
        Escaped { buf: self, max }
    }
}

/// The printable form of a buffer, from [`IoBuf::escape`].
#[derive(Clone)]
pub struct Escaped<'a> {
    buf: &'a IoBuf,
    max: usize,
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.max;
        for slice in self.buf.slices() {
            let shown = &slice[..slice.len().min(left)];
            write!(f, "{}", shown.escape_ascii())?;
            left -= shown.len();
            if left == 0 {
                break;
            }
        }
        write_hidden(f, self.buf, self.max)
    }
}

/// The bytes of a buffer as hexadecimal digits, from [`IoBuf::hex`].
#[derive(Clone)]
pub struct Hex<'a> {
    buf: &'a IoBuf,
    max: usize,
}

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.buf.iter().take(self.max).enumerate() {
            let space = if i > 0 { " " } else { "" };
            write!(f, "{space}{byte:02x}")?;
        }
        write_hidden(f, self.buf, self.max)
    }
}

impl fmt::Debug for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// How many bytes beyond the first `max` there are.
fn write_hidden(f: &mut fmt::Formatter<'_>, buf: &IoBuf, max: usize) -> fmt::Result {
    match buf.len().saturating_sub(max) {
        0 => Ok(()),
        hidden => write!(f, "... ({hidden} more bytes)"),
    }
}

impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl fmt::Debug for IoBuf {
    /// Length, pieces and the first [`DEBUG_BYTES_MAX`] bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoBuf")
            .field("len", &self.len())
            .field("blocks", &self.block_count())
            .field("bytes", &self.escape(DEBUG_BYTES_MAX))
            .finish()
    }
}

impl Eq for IoBuf {}

impl PartialEq for IoBuf {
    /// Compares the bytes, however they are laid out.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.cmp(other).is_eq()
    }
}

impl PartialOrd for IoBuf {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for IoBuf {
    /// By the first byte that differs, however the bytes are laid out; what another buffer begins with comes before it.
    fn cmp(&self, other: &Self) -> Ordering {
        let (mut theirs, mut piece) = (other.slices(), &[][..]);
        for mut mine in self.slices() {
            while !mine.is_empty() {
                if piece.is_empty() {
                    match theirs.next() {
                        Some(next) => piece = next,
                        None => return Ordering::Greater,
                    }
                }
                let n = mine.len().min(piece.len());
                let order = mine[..n].cmp(&piece[..n]);
                if order.is_ne() {
                    return order;
                }
                (mine, piece) = (&mine[n..], &piece[n..]);
            }
        }
        self.len().cmp(&other.len())
    }
}

macro_rules! equal_to_bytes {
    ($($other:ty),*) => {$(
        impl PartialEq<$other> for IoBuf {
            #[inline]
            fn eq(&self, other: &$other) -> bool {
                self.equals(other.as_ref())
            }
        }

        impl PartialEq<IoBuf> for $other {
            #[inline]
            fn eq(&self, other: &IoBuf) -> bool {
                other == self
            }
        }
    )*};
}
equal_to_bytes!([u8], &[u8], str, &str, Vec<u8>, String, bytes::Bytes);

impl<const N: usize> PartialEq<[u8; N]> for IoBuf {
    #[inline]
    fn eq(&self, other: &[u8; N]) -> bool {
        self.equals(other)
    }
}

impl<const N: usize> PartialEq<&[u8; N]> for IoBuf {
    #[inline]
    fn eq(&self, other: &&[u8; N]) -> bool {
        self.equals(*other)
    }
}
