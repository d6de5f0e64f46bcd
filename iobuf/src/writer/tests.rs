//! Tests of the writer and of `BufMut`.

use std::io::Write as _;

use bytes::BufMut;

use super::*;
use crate::block::BLOCK_PAYLOAD;
use crate::reader::Reader;

/// What a `BufMut` must do, whichever it is; returns the bytes expected.
fn write_all_kinds(out: &mut impl BufMut) -> Vec<u8> {
    let mut expected = Vec::new();
    for (round, n) in [0, 1, 3, 100, BLOCK_PAYLOAD, 2 * BLOCK_PAYLOAD + 5].into_iter().enumerate() {
        let bytes: Vec<u8> = (0..n).map(|i| (i + round) as u8).collect();
        out.put_u8(round as u8);
        out.put_slice(&bytes);
        out.put_u32_le(0x0403_0201);
        out.put_bytes(b'f', n);
        out.put(Reader::new(&IoBuf::from(&bytes[..])));
        expected.push(round as u8);
        expected.extend_from_slice(&bytes);
        expected.extend_from_slice(&[1, 2, 3, 4]);
        expected.extend(vec![b'f'; n]);
        expected.extend_from_slice(&bytes);
        // `Limit` goes through `chunk_mut` and `advance_mut`.
        out.limit(n).put_slice(&bytes);
        expected.extend_from_slice(&bytes);
        assert!(out.chunk_mut().len() > 0);
    }
    assert!(out.remaining_mut() > usize::MAX / 2);
    expected
}

#[test]
fn a_buffer_and_its_writer_take_all_kinds() {
    let mut buf = IoBuf::from("x");
    let expected = write_all_kinds(&mut buf);
    assert_eq!(buf.pop_front(1), 1);
    assert_eq!(buf, expected);

    let mut buf = IoBuf::from("x");
    let mut writer = Writer::new(&mut buf);
    let expected = write_all_kinds(&mut writer);
    assert_eq!(writer.total_len(), expected.len() + 1);
    drop(writer);
    assert_eq!(buf.pop_front(1), 1);
    assert_eq!(buf, expected);
}

#[test]
fn writers_of_several_buffers_do_not_mix() {
    let (mut a, mut b) = (IoBuf::new(), IoBuf::new());
    let (mut to_a, mut to_b) = (Writer::new(&mut a), Writer::new(&mut b));
    for i in 0..10_000_u32 {
        to_a.put_u32(i);
        to_b.put_u8(i as u8);
    }
    drop(to_b);
    drop(to_a);
    assert_eq!(a.to_vec(), (0..10_000_u32).flat_map(u32::to_be_bytes).collect::<Vec<_>>());
    assert_eq!(b.to_vec(), (0..10_000_u32).map(|i| i as u8).collect::<Vec<_>>());
    assert!(a.block_count() <= 40_000 / BLOCK_PAYLOAD + 2);
}

#[test]
fn a_writer_continues_where_the_last_one_stopped() {
    std::thread::spawn(|| {
        let mut buf = IoBuf::new();
        for _ in 0..100 {
            Writer::new(&mut buf).put_slice(b"0123456789");
            buf.append(b"0123456789");
        }
        assert_eq!((buf.len(), buf.block_count()), (2000, 1));
    })
    .join()
    .unwrap();
}

#[test]
fn flushing_makes_bytes_part_of_the_buffer() {
    let mut buf = IoBuf::new();
    let mut writer = Writer::new(&mut buf);
    writer.write_all(b"flushed").unwrap();
    writer.flush().unwrap();
    let vectors = [IoSlice::new(b", "), IoSlice::new(b""), IoSlice::new(b"lost")];
    assert_eq!(writer.write_vectored(&vectors).unwrap(), 6);
    std::mem::forget(writer);
    assert_eq!(buf, "flushed");
    write!(Writer::new(&mut buf), " {} and {}", 1, 2).unwrap();
    assert_eq!(buf, "flushed 1 and 2");
    std::mem::forget(Writer::new(&mut buf));
    buf.put_slice(b" end");
    assert_eq!(buf, "flushed 1 and 2 end");
}
