//! The chunked transfer coding (RFC 9112 §7.1), both ways.
//!
//! Owns the place in the coding between two looks. Every byte that does not belong to a chunk's data is bounded and
//! consumed as it comes; data is taken over as pieces of the input, small ones as copies, so that a body in tiny
//! chunks holds no more memory than was received.

use iobuf::IoBuf;

use super::refusal::Refusal;
use super::scan::{HeadScan, Scanned};

/// The longest line with a chunk's size, extensions included.
pub(crate) const CHUNK_LINE_MAX: usize = 4096;
/// The most bytes of extensions in all chunks of a message: they carry nothing, and reading them costs as data does.
pub(crate) const EXTENSIONS_MAX: usize = 16 << 10;
/// The most bytes of trailers.
pub(crate) const TRAILERS_MAX: usize = 16 << 10;
/// The most digits of a chunk's size.
const SIZE_DIGITS_MAX: usize = 16;
/// Data up to this size is copied.
const COPIED_MAX: usize = 256;

/// Undoes the coding.
#[derive(Debug)]
pub(crate) struct ChunkedReader {
    state: State,
    extensions: usize,
}

#[derive(Debug)]
enum State {
    /// Before or in the line with the size, of which so many bytes were searched for an end.
    Size(usize),
    /// So many bytes of data are missing.
    Data(u64),
    /// Before the end of the line behind data.
    DataEnd,
    Trailers(HeadScan),
    Ended,
}

impl Default for ChunkedReader {
    fn default() -> Self {
        ChunkedReader { state: State::Size(0), extensions: 0 }
    }
}

impl ChunkedReader {
    /// Moves data from `input` to `out`, `room` bytes at most; true at the end of the body.
    ///
    /// # Errors
    /// Bytes that are not in the coding, or more than `room`.
    pub(super) fn read(&mut self, input: &mut IoBuf, out: &mut IoBuf, room: usize) -> Result<bool, Refusal> {
        let mut room = room as u64;
        loop {
            match &mut self.state {
                State::Size(searched) => {
                    let Some(feed) = input.find(b"\n", *searched) else {
                        if input.len() >= CHUNK_LINE_MAX {
                            return Err(Refusal::bad("The line of a chunk's size is too long"));
                        }
                        // Where the first bytes already are no size, no line's end is waited for.
                        if input.get(0).is_some_and(|first| !first.is_ascii_hexdigit()) {
                            return Err(Refusal::bad("A chunk without a size"));
                        }
                        *searched = input.len();
                        return Ok(false);
                    };
                    let size = self.read_size(input, feed + 1)?;
                    if size > room {
                        return Err(Refusal::too_large(size, room as usize));
                    }
                    self.state =
                        if size == 0 { State::Trailers(HeadScan::default()) } else { State::Data(size) };
                }
                State::Data(missing) => {
                    let here = (*missing).min(input.len() as u64);
                    if here == 0 {
                        return Ok(false);
                    }
                    take(input, out, here as usize);
                    room -= here;
                    *missing -= here;
                    if *missing == 0 {
                        self.state = State::DataEnd;
                    }
                }
                State::DataEnd => {
                    if input.len() < 2 && input.get(0).is_none_or(|byte| byte == b'\r') {
                        return Ok(false);
                    }
                    if input.get(0) != Some(b'\r') || input.get(1) != Some(b'\n') {
                        return Err(Refusal::bad("A chunk does not end where it should"));
                    }
                    input.pop_front(2);
                    self.state = State::Size(0);
                }
                State::Trailers(scan) => match scan.scan(input, TRAILERS_MAX) {
                    Scanned::Head(size) => {
                        check_trailers(&input.cut(size))?;
                        self.state = State::Ended;
                    }
                    Scanned::More { .. } if input.len() < TRAILERS_MAX => return Ok(false),
                    Scanned::BareLineFeed => return Err(Refusal::bad("A lone line feed")),
                    _ => return Err(Refusal::bad("The trailers are too long")),
                },
                State::Ended => return Ok(true),
            }
        }
    }

    /// Reads the line of so many bytes and drops it.
    fn read_size(&mut self, input: &mut IoBuf, line_len: usize) -> Result<u64, Refusal> {
        if line_len > CHUNK_LINE_MAX {
            return Err(Refusal::bad("The line of a chunk's size is too long"));
        }
        let mut aux = [0; SIZE_DIGITS_MAX + 2];
        if line_len <= aux.len() {
            // Without an extension, as all but the strangest are.
            let line = input.fetch(&mut aux[..line_len]).unwrap_or_default();
            let (size, extension) = split_line(line)?;
            self.count(extension)?;
            input.pop_front(line_len);
            Ok(size)
        } else {
            let line = input.cut(line_len).to_vec();
            let (size, extension) = split_line(&line)?;
            self.count(extension)?;
            Ok(size)
        }
    }

    fn count(&mut self, extension: &[u8]) -> Result<(), Refusal> {
        self.extensions += extension.len();
        if self.extensions > EXTENSIONS_MAX {
            return Err(Refusal::bad("Too many chunk extensions"));
        }
        Ok(())
    }
}

/// The size, and the extensions with what is around them.
fn split_line(line: &[u8]) -> Result<(u64, &[u8]), Refusal> {
    let line = line.strip_suffix(b"\r\n").ok_or(Refusal::bad("A lone line feed"))?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extension) = line.split_at(digits);
    if digits == 0 || digits > SIZE_DIGITS_MAX {
        return Err(Refusal::bad("A chunk's size is no number"));
    }
    let is_extension = matches!(extension.trim_ascii_start(), [] | [b';', ..]);
    // An end of line inside would be one to some readers.
    let is_text = extension.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control());
    if !is_extension || !is_text || (!extension.is_empty() && extension.trim_ascii_start().is_empty()) {
        return Err(Refusal::bad("What follows a chunk's size is no extension"));
    }
    let value = |digit: u8| char::from(digit).to_digit(16).map_or(0, u64::from);
    let size = size.iter().fold(0, |size, digit| size << 4 | value(*digit));
    Ok((size, extension))
}

/// Trailers have to be fields; which ones does not matter, as nobody is told of them: merged into the head's they
/// could change what was decided by it.
fn check_trailers(trailers: &IoBuf) -> Result<(), Refusal> {
    if trailers.len() == 2 {
        return Ok(());
    }
    let bytes = trailers.to_vec();
    let mut fields = [httparse::EMPTY_HEADER; super::fields::FIELDS_MAX];
    match httparse::parse_headers(&bytes, &mut fields) {
        Ok(httparse::Status::Complete((size, _))) if size == bytes.len() => Ok(()),
        _ => Err(Refusal::bad("Trailers that cannot be read")),
    }
}

/// Moves data, small data as a copy.
fn take(input: &mut IoBuf, out: &mut IoBuf, size: usize) {
    if size > COPIED_MAX {
        input.cut_into(out, size);
        return;
    }
    let mut copy = [0; COPIED_MAX];
    input.cut_to_slice(&mut copy[..size]);
    out.append(&copy[..size]);
}

/// The end of a body in chunks.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends `data` as one chunk, its size in upper-case digits as brpc writes it. Nothing for no data, as an empty
/// chunk would be the last one.
pub(crate) fn write_chunk(data: IoBuf, out: &mut IoBuf) {
    if data.is_empty() {
        return;
    }
    let mut line = [0; SIZE_DIGITS_MAX + 2];
    let mut at = line.len() - 2;
    line[at..].copy_from_slice(b"\r\n");
    let mut left = data.len();
    while left > 0 {
        at -= 1;
        line[at] = b"0123456789ABCDEF"[left & 15];
        left >>= 4;
    }
    out.append(&line[at..]);
    out.append_buf(data);
    out.append(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], step: usize, room: usize) -> Result<Option<Vec<u8>>, Refusal> {
        let (mut reader, mut input, mut out) = (ChunkedReader::default(), IoBuf::new(), IoBuf::new());
        for piece in bytes.chunks(step) {
            input.append(piece);
            let room = room - out.len();
            if reader.read(&mut input, &mut out, room)? {
                return Ok(Some(out.to_vec()));
            }
        }
        Ok(None)
    }

    #[test]
    fn chunks_are_joined_however_they_arrive() {
        let long = vec![b'x'; 1000];
        let mut bytes = b"5\r\nhello\r\n003E8 ; a=\"b\" ;c\r\n".to_vec();
        bytes.extend(&long);
        bytes.extend(b"\r\n0\r\nA: b\r\n\r\n");
        let expected = [b"hello".to_vec(), long].concat();
        for step in [1, 2, 3, 7, 100, bytes.len()] {
            assert_eq!(read(&bytes, step, 2000), Ok(Some(expected.clone())));
        }
        assert_eq!(read(b"1\r\nx\r\n0\r\n\r", 1, 10), Ok(None));
        assert!(read(&bytes, 10, 1004).is_err(), "one byte too many");
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for bad in [
            "x\r\n",
            "\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            "1\nx\r\n",
            "1\r\nx\n",
            "1\r\nxx\r\n",
            "1 \r\nx\r\n",
            "1 2\r\nx",
            "00000000000000001\r\nx\r\n",
            "fffffffffffffffff\r\n",
            "ffffffffffffffff\r\n",
            "1;\rx\r\n",
            "1;\0\r\n",
            "0\r\n: x\r\n\r\n",
            "0\r\nA\r\n\r\n",
            "0\r\nA : b\r\n\r\n",
            "0\r\nA: b\n\r\n",
            "1;a\nx\r\n",
            "G\r\n",
        ] {
            for step in [1, bad.len()] {
                assert!(read(bad.as_bytes(), step, 100).is_err(), "{bad:?} by {step}");
            }
        }
    }

    #[test]
    fn what_carries_nothing_is_bounded() {
        assert!(read(format!("1;{}", "a".repeat(CHUNK_LINE_MAX)).as_bytes(), 100, 10).is_err());
        let extended = format!("1;{}\r\nx\r\n", "a".repeat(4000)).repeat(5);
        assert!(read(extended.as_bytes(), 1000, 10).is_err());
        let trailers = format!("0\r\n{}", "A: b\r\n".repeat(TRAILERS_MAX / 6 + 1));
        assert!(read(trailers.as_bytes(), 1000, 10).is_err());
    }

    #[test]
    fn written_chunks_are_those_of_brpc() {
        let mut out = IoBuf::new();
        write_chunk("part-0\n".into(), &mut out);
        write_chunk(IoBuf::new(), &mut out);
        write_chunk(IoBuf::from(vec![b'y'; 0x1ab0]), &mut out);
        let expected = [&b"7\r\npart-0\n\r\n1AB0\r\n"[..], &[b'y'; 0x1ab0], b"\r\n"].concat();
        assert_eq!(out, expected);
    }
}
