//! The lines of `spec/iobuf.md` §5 that no test beside the code is about; `docs/iobuf.md` has the table of all.

use std::fmt::Write as _;
use std::io::{BufRead, ErrorKind, IoSlice, Read, Write as _};
use std::path::Path;

use bytes::BufMut;
use iobuf::{BLOCK_PAYLOAD, IoBuf, Reader, Writer};

#[test]
fn the_table_names_tests_that_exist() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(package.join("../docs/iobuf.md")).unwrap();
    let mut named = 0;
    for test in table.split('`').skip(1).step_by(2) {
        let Some((file, function)) = test.split_once("::").filter(|(file, _)| file.ends_with(".rs")) else {
            continue;
        };
        let source = std::fs::read_to_string(package.join(file)).unwrap_or_else(|_| panic!("no {file}"));
        assert!(source.contains(&format!("fn {function}(")), "{file} has no {function}");
        named += 1;
    }
    assert!(named > 60, "{named}: is it the right file?");
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").collect();
        assert!(cells.len() == 2 && cells.iter().all(|cell| !cell.trim().is_empty()), "{row}");
    }
}

fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 31 + i / 253) as u8).collect()
}

/// The bytes in pieces of `n` that no two neighbours of make one.
fn scattered(bytes: &[u8], n: usize) -> IoBuf {
    bytes.chunks(n).fold(IoBuf::new(), |mut buf, chunk| {
        buf.append_user_data(chunk.to_vec());
        buf
    })
}

#[test]
fn several_strings_are_appended_at_once() {
    let bytes = pattern(3 * BLOCK_PAYLOAD);
    for lens in [&[0, 1, 2, 3, 0][..], &[BLOCK_PAYLOAD + 1, 5, 2 * BLOCK_PAYLOAD - 100], &[]] {
        let mut rest = &bytes[..];
        let mut slices: Vec<IoSlice<'_>> = Vec::new();
        for &len in lens {
            // Shorter than what there is.
            slices.push(IoSlice::new(&rest[..len]));
            rest = &rest[len..];
        }
        let mut buf = IoBuf::from(">");
        buf.append_slices(&slices);
        assert_eq!(buf.cut(1), ">");
        assert_eq!(buf, bytes[..lens.iter().sum()]);
        assert!(buf.block_count() <= buf.len() / BLOCK_PAYLOAD + 2);
    }
}

#[test]
fn buffers_of_every_form_are_swapped() {
    let bytes = pattern(100);
    for (a, b) in [(1, 100), (2, 100), (40, 50), (33, 1), (0, 40), (0, 0)] {
        let make = |pieces: usize| scattered(&bytes[..pieces], 1);
        let (mut first, mut second) = (make(a), make(b));
        std::mem::swap(&mut first, &mut second);
        assert_eq!((first, second), (make(b), make(a)));
    }
}

#[test]
fn resizing_truncates_and_pads() {
    let mut buf = scattered(b"abcdef", 2);
    buf.resize(6, b'x');
    assert_eq!(buf, "abcdef");
    buf.resize(3, b'x');
    assert_eq!(buf, "abc");
    let before = buf.clone();
    buf.resize(5, b'x');
    assert_eq!((&before, &buf), (&IoBuf::from("abc"), &IoBuf::from("abcxx")));
    buf.resize(3 * BLOCK_PAYLOAD, 0);
    assert_eq!(
        (buf.len(), buf.get(5), buf.get(3 * BLOCK_PAYLOAD - 1)),
        (3 * BLOCK_PAYLOAD, Some(0), Some(0))
    );
    buf.resize(0, 1);
    assert!(buf.is_empty() && buf.block_count() == 0);
}

#[test]
fn one_contiguous_piece() {
    let bytes = pattern(5 * BLOCK_PAYLOAD);
    assert_eq!(IoBuf::new().make_contiguous(), b"");
    for n in [1, 2, 100, BLOCK_PAYLOAD, bytes.len()] {
        let mut buf = scattered(&bytes, n);
        let shared = buf.clone();
        for _ in 0..2 {
            assert_eq!(buf.make_contiguous(), bytes);
            assert_eq!(buf.block_count(), 1);
        }
        assert_eq!(shared.block_count(), bytes.len().div_ceil(n), "others keep their pieces");
        if n == bytes.len() {
            assert_eq!(buf.front().as_ptr(), shared.front().as_ptr(), "nothing was copied");
        }
        // It grows as any other does.
        buf.append(b"tail");
        assert_eq!((buf.cut(bytes.len()), buf), (shared, IoBuf::from("tail")));
    }
}

#[test]
fn bytes_one_by_one() {
    let bytes = pattern(1000);
    let mut buf = scattered(&bytes, 7);
    let mut iter = buf.iter();
    for (i, byte) in bytes.iter().enumerate() {
        assert_eq!(iter.len(), 1000 - i);
        assert_eq!(iter.next(), Some(*byte));
    }
    assert_eq!((iter.next(), iter.next(), iter.next_back(), iter.len()), (None, None, None, 0));
    buf.append(b"!");
    assert_eq!(buf.iter().next_back(), Some(b'!'));
    assert_eq!(
        (&buf).into_iter().map(u64::from).sum::<u64>(),
        bytes.iter().map(|&b| u64::from(b)).sum::<u64>() + 33
    );
}

#[test]
fn ranges_are_shared_and_copied_on_the_way() {
    let bytes = pattern(1000);
    let buf = scattered(&bytes, 9);
    let mut reader = Reader::new(&buf);
    let mut copy = [0; 100];
    bytes::Buf::advance(&mut reader, 50);
    reader.read_exact(&mut copy).unwrap();
    assert_eq!(copy, bytes[50..150]);
    let shared = reader.share(300);
    assert_eq!(shared, bytes[150..450]);
    // In the middle of a piece, which the buffer's own slices begin before.
    assert!(buf.slices().any(|slice| slice.as_ptr_range().contains(&shared.front().as_ptr())));
    assert_eq!(reader.position(), 450);
    assert_eq!(reader.share(usize::MAX), bytes[450..]);
    assert_eq!((reader.position(), reader.share(1)), (1000, IoBuf::new()));
}

#[test]
fn streams_of_std() {
    let mut empty = IoBuf::new();
    assert_eq!(Reader::new(&empty).read(&mut [0; 10]).unwrap(), 0);
    assert_eq!(Reader::new(&empty).fill_buf().unwrap(), b"");
    Writer::new(&mut empty).write_all(b"").unwrap();
    assert!(empty.is_empty());

    let bytes = pattern(10 * BLOCK_PAYLOAD);
    let mut buf = IoBuf::new();
    let mut writer = Writer::new(&mut buf);
    assert_eq!(std::io::copy(&mut &bytes[..], &mut writer).unwrap(), bytes.len() as u64);
    drop(writer);
    assert_eq!(buf, bytes);
    let mut back = Vec::new();
    assert_eq!(Reader::new(&buf).read_to_end(&mut back).unwrap(), bytes.len());
    assert_eq!(back, bytes);
    let too_long = Reader::new(&buf).read_exact(&mut vec![0; bytes.len() + 1]);
    assert_eq!(too_long.unwrap_err().kind(), ErrorKind::UnexpectedEof);

    let text = scattered(b"first line\nsecond\n\nlast", 4);
    let lines: Vec<String> = Reader::new(&text).lines().map(Result::unwrap).collect();
    assert_eq!(lines, ["first line", "second", "", "last"]);
}

#[test]
fn what_is_written_counts_when_it_is_flushed() {
    let mut buf = IoBuf::new();
    let mut writer = Writer::new(&mut buf);
    writer.write_all(b"0123456789").unwrap();
    assert_eq!(writer.total_len(), 10);
    writer.flush().unwrap();
    writer.put_u8(b'a');
    drop(writer);
    assert_eq!((buf.len(), buf.block_count()), (11, 1));
}

#[test]
fn numbers_are_printed_into_a_buffer() {
    let mut buf = IoBuf::new();
    for number in [0, 1, -1, 42, i64::MAX, i64::MIN] {
        write!(buf, "{number},").unwrap();
    }
    assert_eq!(buf, "0,1,-1,42,9223372036854775807,-9223372036854775808,");
    let mut same = IoBuf::new();
    let mut writer = Writer::new(&mut same);
    for number in [0, 1, -1, 42, i64::MAX, i64::MIN] {
        write!(std::io::Write::by_ref(&mut writer), "{number},").unwrap();
    }
    drop(writer);
    assert_eq!(buf, same);
}

#[test]
fn printing_as_digits_is_truncated() {
    let buf = scattered(&[0x00, 0x0f, 0xff, 0x41, 0x0a], 2);
    assert_eq!(buf.hex(5).to_string(), "00 0f ff 41 0a");
    assert_eq!(buf.hex(3).to_string(), "00 0f ff... (2 more bytes)");
    assert_eq!(buf.hex(0).to_string(), "... (5 more bytes)");
    assert_eq!(IoBuf::new().hex(9).to_string(), "");
    assert_eq!(buf.escape(4).to_string(), "\\x00\\x0f\\xffA... (1 more bytes)");
}

#[test]
fn order_is_that_of_the_bytes() {
    let texts: [&[u8]; 7] = [b"", b"\0", b"a", b"ab", b"abc", b"b", b"\xff"];
    for (i, a) in texts.iter().enumerate() {
        for (j, b) in texts.iter().enumerate() {
            for (m, n) in [(1, 1), (1, 2), (3, 1), (5, 5)] {
                assert_eq!(scattered(a, m).cmp(&scattered(b, n)), i.cmp(&j));
                assert_eq!(scattered(a, m) < scattered(b, n), i < j);
            }
        }
    }
}
