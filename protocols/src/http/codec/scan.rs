//! Finds the end of a head while it arrives.
//!
//! Owns the position up to which the bytes were looked at, so that each of them is looked at once however small the
//! pieces are that they come in. Lines end in CR LF and nothing else: whatever reads a lone LF as an end of line where
//! another server does not can be made to see other messages than it.

use iobuf::IoBuf;

/// What the bytes so far have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scanned {
    /// A whole head of so many bytes, the empty line included.
    Head(usize),
    /// No end yet. `in_first_line`: not even of the first line.
    More { in_first_line: bool },
    /// A line feed without a carriage return before it.
    BareLineFeed,
}

/// The state between two looks. Starts anew with [`Default`] at each head.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    /// Bytes looked at.
    at: usize,
    /// Where the current line begins.
    line: usize,
    /// The last byte looked at.
    last: u8,
}

impl HeadScan {
    /// Goes on with the bytes that are new in `input`, the beginning of which is as it was. What is behind the first
    /// `max` bytes is not looked at.
    pub(super) fn scan(&mut self, input: &IoBuf, max: usize) -> Scanned {
        let mut begin = 0;
        for slice in input.slices() {
            let skip = (self.at - begin).min(slice.len());
            let until = slice.len().min(max.saturating_sub(begin)).max(skip);
            if let Some(found) = self.scan_slice(&slice[skip..until]) {
                return found;
            }
            begin += slice.len();
        }
        Scanned::More { in_first_line: self.line == 0 }
    }

    fn scan_slice(&mut self, slice: &[u8]) -> Option<Scanned> {
        let begin = self.at;
        for feed in memchr::memchr_iter(b'\n', slice) {
            let before = if feed == 0 { self.last } else { slice[feed - 1] };
            if before != b'\r' {
                return Some(Scanned::BareLineFeed);
            }
            let next = begin + feed + 1;
            let is_empty = next - self.line == 2;
            self.line = next;
            if is_empty {
                return Some(Scanned::Head(next));
            }
        }
        self.at += slice.len();
        self.last = slice.last().copied().unwrap_or(self.last);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(bytes: &[u8], step: usize) -> Scanned {
        let (mut scan, mut input) = (HeadScan::default(), IoBuf::new());
        let mut last = Scanned::More { in_first_line: true };
        for piece in bytes.chunks(step) {
            // As pieces of their own.
            input.append_user_data(piece.to_vec());
            last = scan.scan(&input, 100);
            if !matches!(last, Scanned::More { .. }) {
                break;
            }
        }
        last
    }

    #[test]
    fn the_end_is_found_in_pieces_of_any_size() {
        for step in 1..20 {
            assert_eq!(scan(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nrest", step), Scanned::Head(27));
            assert_eq!(scan(b"GET / HTTP/1.1\r\n\r\n\r\n", step), Scanned::Head(18));
            assert_eq!(scan(b"GET / HTTP/1.1\r\nA: b\r\n\r", step), Scanned::More { in_first_line: false });
            assert_eq!(scan(b"GET / HTTP/1.1\r", step), Scanned::More { in_first_line: true });
            assert_eq!(scan(b"GET / HTTP/1.1\n", step), Scanned::BareLineFeed);
            assert_eq!(scan(b"GET / HTTP/1.1\r\nA: b\n\r\n", step), Scanned::BareLineFeed);
        }
    }
}
