//! Tests of reading, with and without consuming.

use super::*;
use crate::block::BLOCK_PAYLOAD;

/// Pieces of 1, 2, 3, ... bytes and the same bytes in a row.
fn pieces(count: usize) -> (IoBuf, Vec<u8>) {
    let all: Vec<u8> = (0..count * (count + 1) / 2).map(|i| i as u8).collect();
    let (mut buf, mut rest) = (IoBuf::new(), &all[..]);
    for n in 1..=count {
        let (piece, tail) = rest.split_at(n);
        buf.append_user_data(piece.to_vec());
        rest = tail;
    }
    (buf, all)
}

/// What a `Buf` must do, whichever it is.
fn walk<B: Buf>(make: impl Fn() -> B, all: &[u8]) {
    for step in 1..=all.len() + 1 {
        let (mut reader, mut rest) = (make(), all);
        while reader.has_remaining() {
            assert_eq!(reader.remaining(), rest.len());
            assert!(rest.starts_with(reader.chunk()) && !reader.chunk().is_empty());
            let n = step.min(rest.len());
            reader.advance(n);
            rest = &rest[n..];
        }
        assert!(rest.is_empty() && reader.chunk().is_empty());
        let (mut reader, mut rest) = (make(), all);
        while reader.has_remaining() {
            let n = step.min(rest.len());
            assert_eq!(reader.copy_to_bytes(n), rest[..n]);
            rest = &rest[n..];
        }
    }
    for slots in 0..20 {
        let mut reader = make();
        for skip in 0..all.len() {
            let mut slices = vec![IoSlice::new(&[]); slots];
            let count = reader.chunks_vectored(&mut slices);
            assert_eq!(count, slots.min(count));
            let joined: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
            assert!(all[skip..].starts_with(&joined));
            assert!(
                count == slots || joined.len() == all.len() - skip,
                "all slots are used while there are pieces"
            );
            reader.advance(1);
        }
    }
}

#[test]
fn the_consuming_and_the_lending_reader_walk_alike() {
    let (buf, all) = pieces(8);
    walk(|| buf.clone(), &all);
    walk(|| Reader::new(&buf), &all);
    assert_eq!(buf, all, "lent, not consumed");
    walk(IoBuf::new, b"");
    walk(|| Reader::new(const { &IoBuf::new() }), b"");
}

#[test]
fn numbers_cross_pieces() {
    let mut buf = IoBuf::new();
    for byte in 0..32_u8 {
        buf.append_user_data([byte]);
    }
    let mut reader = Reader::new(&buf);
    assert_eq!((reader.get_u8(), reader.get_u16(), reader.get_u32_le()), (0, 0x0102, 0x0605_0403));
    assert_eq!(reader.get_u64(), 0x0708_090a_0b0c_0d0e);
    assert_eq!((reader.position(), reader.remaining()), (15, 17));
    assert_eq!(buf.get_u32(), 0x0001_0203);
    assert!(buf.try_get_u128().is_ok());
    assert!(buf.try_get_u128().is_err());
    assert_eq!(buf.len(), 12);
}

#[test]
#[should_panic(expected = "advance past the end: 3 of 2")]
fn a_reader_does_not_advance_past_the_end() {
    Reader::new(&IoBuf::from("ab")).advance(3);
}

#[test]
#[should_panic(expected = "advance past the end: 3 of 2")]
fn a_buffer_does_not_advance_past_the_end() {
    Buf::advance(&mut IoBuf::from("ab"), 3);
}

#[test]
#[should_panic(expected = "copy past the end: 3 of 2")]
fn no_more_bytes_are_copied_than_there_are() {
    IoBuf::from("ab").copy_to_bytes(3);
}

#[test]
fn large_contiguous_ranges_are_shared() {
    let bytes: Vec<u8> = (0..4000).map(|i| i as u8).collect();
    let mut buf = IoBuf::from(bytes.clone());
    let at = buf.front().as_ptr();
    let mut reader = Reader::new(&buf);
    reader.advance(100);
    let shared = reader.copy_to_bytes(COPY_MAX + 1);
    assert_eq!((shared.as_ptr(), &shared[..]), (at.wrapping_add(100), &bytes[100..101 + COPY_MAX]));
    let copied = reader.copy_to_bytes(COPY_MAX);
    assert_eq!(copied, bytes[101 + COPY_MAX..101 + 2 * COPY_MAX]);
    assert!(!(at..at.wrapping_add(4000)).contains(&copied.as_ptr()));
    let consumed = buf.copy_to_bytes(3999);
    assert_eq!((consumed.as_ptr(), buf.len()), (at, 1));
    drop(buf);
    assert_eq!((&consumed[..], &shared[..2]), (&bytes[..3999], &bytes[100..102]), "they keep the memory");
}

#[test]
fn sharing_moves_on() {
    let (buf, all) = pieces(6);
    let mut reader = Reader::new(&buf);
    reader.advance(2);
    assert_eq!(reader.share(7), all[2..9]);
    assert_eq!((reader.position(), reader.share(1000).len(), reader.remaining()), (9, all.len() - 9, 0));
    assert!(reader.share(1).is_empty());
}

#[test]
fn std_readers_work() {
    let mut buf = IoBuf::from("first line\nsecond ");
    buf.append_user_data("line\n");
    buf.append_fill(b'x', BLOCK_PAYLOAD + 1);
    let mut reader = Reader::new(&buf);
    let mut line = String::new();
    assert_eq!(reader.read_line(&mut line).unwrap(), 11);
    assert_eq!(reader.read_line(&mut line).unwrap(), 12);
    assert_eq!(line, "first line\nsecond line\n");
    let mut rest = Vec::new();
    assert_eq!(reader.read_to_end(&mut rest).unwrap(), BLOCK_PAYLOAD + 1);
    assert_eq!(reader.read(&mut [0; 4]).unwrap(), 0, "stays at the end");
    assert!(reader.read_exact(&mut [0]).is_err());
    assert!(reader.fill_buf().unwrap().is_empty());
    reader.consume(0);
}
