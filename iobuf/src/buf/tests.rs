//! Tests of building, cutting and sharing buffers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::block::BLOCK_PAYLOAD;

/// `count` one-byte pieces that cannot merge, since another buffer's bytes lie in between.
fn scattered(count: usize) -> (IoBuf, Vec<u8>) {
    let (mut buf, mut between, mut model) = (IoBuf::new(), IoBuf::new(), Vec::new());
    for i in 0..count {
        buf.push_back(i as u8);
        between.push_back(0xff);
        model.push(i as u8);
    }
    assert_eq!(buf.block_count(), count);
    (buf, model)
}

fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 7 + i / 251) as u8).collect()
}

#[test]
fn handles_are_small_and_cross_threads() {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<IoBuf>();
    crosses::<Area>();
    crosses::<crate::IoPortal>();
    assert!(size_of::<Option<BlockRef>>() == 16);
}

#[test]
fn empty_operations() {
    let mut buf = IoBuf::new();
    buf.append(b"");
    buf.append_fill(1, 0);
    buf.append_buf(IoBuf::new());
    assert_eq!((buf.len(), buf.block_count(), buf.front().len()), (0, 0, 0));
    assert_eq!((buf.pop_front(3), buf.pop_back(3), buf.cut(3).len()), (0, 0, 0));
    assert_eq!(buf.copy_to(&mut [0; 4], 0), 0);
    assert_eq!(buf.first_meta(), None);
    assert_eq!(buf, "");
    assert!(buf.cut_until(b"x").is_none());
}

#[test]
fn append_in_all_sizes() {
    for n in [1, 2, 100, BLOCK_PAYLOAD - 1, BLOCK_PAYLOAD, BLOCK_PAYLOAD + 1, 5 * BLOCK_PAYLOAD + 7] {
        let bytes = pattern(n);
        let mut buf = IoBuf::new();
        buf.append(&bytes);
        buf.append(&bytes);
        assert_eq!((buf.len(), buf.to_vec()), (2 * n, [&bytes[..], &bytes[..]].concat()));
        assert!(buf.block_count() <= 2 * n / BLOCK_PAYLOAD + 2);
    }
}

#[test]
fn consecutive_appends_make_one_piece() {
    // On a thread of its own, whose block is fresh.
    std::thread::spawn(|| {
        let mut buf = IoBuf::new();
        for _ in 0..100 {
            buf.append(b"0123456789");
            buf.push_back(b'!');
        }
        assert_eq!((buf.len(), buf.block_count()), (1100, 1));
        let rest = buf.cut(500);
        let mut whole = rest;
        whole.append_buf(buf);
        assert_eq!(whole.block_count(), 1, "cut pieces merge when they meet again");
    })
    .join()
    .unwrap();
}

#[test]
fn pops_at_both_ends() {
    let mut buf = IoBuf::from("0123456789");
    assert_eq!((buf.pop_front(0), buf.pop_back(0)), (0, 0));
    assert_eq!((buf.pop_front(2), buf.pop_back(3)), (2, 3));
    assert_eq!(buf, "23456");
    assert_eq!(buf.pop_back(100), 5);
    assert!(buf.is_empty());
    let (mut buf, model) = scattered(10);
    assert_eq!((buf.pop_front(4), buf.pop_back(4)), (4, 4));
    assert_eq!(buf, model[4..6]);
    assert_eq!(buf.pop_front(100), 2);
}

#[test]
fn a_ring_wraps_and_falls_back() {
    let (mut buf, mut model) = scattered(100);
    for round in 0..200_u8 {
        // Front leaves, back arrives: the ring's ends pass its seam.
        assert_eq!(buf.pop_front(3), 3);
        model.drain(..3);
        let (more, bytes) = scattered(3);
        buf.append_buf(more);
        model.extend(bytes);
        assert_eq!(buf, model, "{round}");
        assert_eq!(buf.block_count(), 100);
    }
    assert_eq!(buf.cut(99), model[..99]);
    assert_eq!(buf.block_count(), 1);
    assert_eq!(buf.pop_front(1), 1);
    buf.append(b"small again");
    assert_eq!(buf, "small again");
}

#[test]
fn clones_of_small_and_big_share() {
    for count in [0, 1, 2, 3, 16, 17, 64] {
        let (buf, model) = scattered(count);
        let mut copy = buf.clone();
        assert_eq!(
            copy.slices().map(<[u8]>::as_ptr).collect::<Vec<_>>(),
            buf.slices().map(<[u8]>::as_ptr).collect::<Vec<_>>()
        );
        copy.append(b"only here");
        copy.pop_front(1);
        assert_eq!(buf, model);
        let mut target = scattered(5).0;
        target.clone_from(&buf);
        assert_eq!(target, model);
    }
}

#[test]
fn appends_behind_a_clone_do_not_show_in_it() {
    let mut buf = IoBuf::from("shared");
    let copy = buf.clone();
    buf.append(b" and more");
    let mut other = copy.clone();
    other.append(b" but not that");
    assert_eq!(
        (copy == "shared", buf == "shared and more", other == "shared but not that"),
        (true, true, true)
    );
}

#[test]
fn append_buf_moves_every_form_into_every_form() {
    for left in [0, 1, 2, 3, 20] {
        for right in [0, 1, 2, 3, 20] {
            let ((mut a, mut model), (b, more)) = (scattered(left), scattered(right));
            model.extend(more);
            a.append_buf(b);
            assert_eq!((a.len(), a.to_vec()), (left + right, model));
        }
    }
}

#[test]
fn cut_at_every_place() {
    let mut buf = IoBuf::new();
    buf.append(b"0123");
    buf.append_user_data(*b"456789");
    let (middle, _) = scattered(3);
    buf.append_buf(middle);
    buf.append_user_data(Vec::from(b"end"));
    let model = buf.to_vec();
    for n in 0..=model.len() + 1 {
        let mut rest = buf.clone();
        let head = rest.cut(n);
        let at = n.min(model.len());
        assert_eq!((head.to_vec(), rest.to_vec()), (model[..at].to_vec(), model[at..].to_vec()));
        assert_eq!(head.len() + rest.len(), model.len());

        let (mut rest, mut out) = (buf.clone(), IoBuf::from("out:"));
        assert_eq!(rest.cut_into(&mut out, n), at);
        assert_eq!(out.pop_front(4), 4);
        assert_eq!((out.to_vec(), rest.to_vec()), (model[..at].to_vec(), model[at..].to_vec()));

        let (mut rest, mut slice) = (buf.clone(), vec![0; n]);
        assert_eq!(rest.cut_to_slice(&mut slice), at);
        assert_eq!((&slice[..at], rest.to_vec()), (&model[..at], model[at..].to_vec()));
    }
}

#[test]
fn a_large_buffer_is_cut_in_small_pieces() {
    let bytes = pattern(100_000);
    let mut buf = IoBuf::from(&bytes[..]);
    let mut back = IoBuf::new();
    while !buf.is_empty() {
        let piece = buf.cut(97);
        back.append_buf(piece);
    }
    assert_eq!(back, bytes);
    assert!(back.block_count() <= 100_000 / BLOCK_PAYLOAD + 2);
}

#[test]
fn ranges_are_copied_and_shared() {
    let mut buf = IoBuf::from("0123456789");
    buf.append_user_data("abcdefghij");
    for pos in 0..22 {
        for n in 0..22 {
            let expected = b"0123456789abcdefghij".get(pos..).unwrap_or_default();
            let expected = &expected[..n.min(expected.len())];
            let mut slice = vec![0; n];
            assert_eq!(buf.copy_to(&mut slice, pos), expected.len());
            assert_eq!(&slice[..expected.len()], expected);
            let mut out = IoBuf::new();
            assert_eq!(buf.append_to(&mut out, n, pos), expected.len());
            assert_eq!((out.len(), out.to_vec()), (expected.len(), expected.to_vec()));
        }
    }
    let mut out = IoBuf::new();
    assert_eq!(buf.append_to(&mut out, usize::MAX, usize::MAX), 0);
    assert_eq!(buf.append_to(&mut out, usize::MAX, 1), 19);
}

#[test]
fn fetch_gives_the_block_or_a_copy() {
    let mut buf = IoBuf::from("0123");
    buf.append_user_data(*b"4567");
    let inside = buf.front().as_ptr();
    let mut aux = [0; 4];
    assert_eq!(buf.fetch(&mut aux).map(<[u8]>::as_ptr), Some(inside));
    let mut aux = [0; 6];
    let aux_ptr = aux.as_ptr();
    let fetched = buf.fetch(&mut aux).expect("long enough");
    assert_eq!((fetched, fetched.as_ptr()), (&b"012345"[..], aux_ptr));
    assert_eq!(buf.fetch(&mut [0; 9]), None);
    assert_eq!(buf.fetch(&mut []), Some(&[][..]));
    assert_eq!((buf.get(0), buf.get(3), buf.get(4), buf.get(8)), (Some(b'0'), Some(b'3'), Some(b'4'), None));
}

#[test]
fn delimiters() {
    let mut buf = IoBuf::from("GET / HT");
    buf.append_user_data("TP/1.1\r");
    buf.append_user_data("\nHost: x\r\n\r\n");
    buf.append_user_data(*b"body\xff\x80");
    assert_eq!(buf.cut_until(b"").map(|_| ()), None);
    assert_eq!(buf.cut_until(b"absent").map(|_| ()), None);
    assert_eq!(buf.len(), 33, "nothing has changed");
    assert_eq!(buf.cut_until(b" ").unwrap(), "GET");
    assert_eq!(buf.cut_until(b"\r\n").unwrap(), "/ HTTP/1.1");
    assert_eq!(buf.find(b"\r\n", 0), Some(7));
    assert_eq!(buf.find(b"\r\n", 8), Some(9));
    assert_eq!(buf.find(b"\r\n", 10), None);
    assert_eq!(buf.find(b"x", usize::MAX), None);
    assert_eq!(buf.cut_until(b"\r\n\r\nbody").unwrap(), "Host: x", "longer than eight bytes works as well");
    assert_eq!(buf.cut_until(b"\xff\x80").unwrap(), "");
    assert!(buf.is_empty());
}

#[test]
fn holes_are_filled_later() {
    for before in [0, 5, BLOCK_PAYLOAD - 2] {
        for hole in [1, 4, 3 * BLOCK_PAYLOAD] {
            let mut buf = IoBuf::new();
            buf.append_fill(b'a', before);
            let area = buf.reserve(hole);
            assert_eq!((area.len(), buf.len()), (hole, before + hole));
            buf.append(b"behind");
            buf.append(&pattern(BLOCK_PAYLOAD));
            buf.pop_back(BLOCK_PAYLOAD);
            let copy = buf.clone();
            let bytes = pattern(hole);
            buf.assign(area, &bytes);
            let expected = [&vec![b'a'; before][..], &bytes, b"behind"].concat();
            assert_eq!((buf.len(), buf.to_vec()), (expected.len(), expected));
            assert_eq!(copy.to_vec(), [&vec![b'a'; before][..], &vec![0; hole], b"behind"].concat());
        }
    }
}

#[test]
fn a_hole_moves_with_its_bytes() {
    let mut buf = IoBuf::from("front|");
    let first = buf.reserve(2);
    buf.append(b"|");
    let second = buf.reserve(2);
    buf.pop_front(6);
    buf.assign(second, b"22");
    let mut other = buf.cut(3);
    other.assign(first, b"11");
    assert_eq!(other, "11|");
    assert_eq!(buf, "22");
    let none = buf.reserve(0);
    assert!(none.is_empty());
    buf.assign(none, b"");
    assert_eq!(buf, "22");
}

#[test]
#[should_panic(expected = "the area is in this buffer")]
fn a_hole_that_was_cut_off_is_refused() {
    let mut buf = IoBuf::new();
    let area = buf.reserve(4);
    buf.append(b"rest");
    buf.pop_front(1);
    buf.assign(area, b"1234");
}

#[test]
#[should_panic(expected = "the area is in this buffer")]
fn a_hole_that_was_cut_in_its_end_is_refused() {
    let mut buf = IoBuf::new();
    let area = buf.reserve(4);
    buf.pop_back(1);
    buf.assign(area, b"1234");
}

#[test]
#[should_panic(expected = "as many bytes as it has")]
fn a_hole_is_filled_as_a_whole() {
    let mut buf = IoBuf::new();
    let area = buf.reserve(4);
    buf.assign(area, b"123");
}

#[test]
fn layouts_do_not_matter_for_equality() {
    let bytes = pattern(3 * BLOCK_PAYLOAD);
    let one = IoBuf::from(&bytes[..]);
    let many: IoBuf = bytes.chunks(1000).map(|chunk| IoBuf::from(chunk.to_vec())).collect();
    assert!(one.block_count() != many.block_count());
    assert_eq!(one, many);
    assert_eq!(many, bytes);
    let mut shorter = many.clone();
    shorter.pop_back(1);
    assert_ne!(one, shorter);
    shorter.push_back(bytes[bytes.len() - 1] ^ 1);
    assert_ne!(one, shorter);
    assert_ne!(shorter, bytes);
    assert_eq!(IoBuf::from("text"), *"text");
    assert_ne!(IoBuf::from("text"), *"text and more");
    assert_ne!(IoBuf::from("text"), *"tex");
    assert_eq!(IoBuf::from(b"text"), b"text");
    assert_eq!("text", IoBuf::from(String::from("text")));
}

#[test]
fn conversions_copy_small_and_lend_large() {
    let large = vec![7; COPY_MAX + 1];
    let at = large.as_ptr();
    let buf = IoBuf::from(large);
    assert_eq!(buf.front().as_ptr(), at);
    let small = vec![7; COPY_MAX];
    let at = small.as_ptr();
    let buf = IoBuf::from(small);
    assert_ne!(buf.front().as_ptr(), at);
    let bytes = bytes::Bytes::from(pattern(2000));
    assert_eq!(IoBuf::from(bytes.clone()), bytes);
    assert_eq!((0..2000).map(|i| i as u8).collect::<IoBuf>(), (0..2000).map(|i| i as u8).collect::<Vec<_>>());
    assert_eq!([&b"ab"[..], b"cd"].into_iter().collect::<IoBuf>(), "abcd");
    let mut text = IoBuf::new();
    fmt::Write::write_fmt(&mut text, format_args!("{}-{:02}", i64::MIN, 7)).unwrap();
    assert_eq!(text, "-9223372036854775808-07");
}

#[test]
fn printing_is_bounded() {
    let mut buf = IoBuf::from("ab\r\n");
    buf.append_user_data(*b"\x00\xff tail");
    assert_eq!(buf.escape(100).to_string(), "ab\\r\\n\\x00\\xff tail");
    assert_eq!(buf.escape(5).to_string(), "ab\\r\\n\\x00... (6 more bytes)");
    assert_eq!(buf.escape(0).to_string(), "... (11 more bytes)");
    assert_eq!(format!("{:?}", buf.escape(2)), "\"ab... (9 more bytes)\"");
    buf.append_fill(0, 1 << 20);
    let shown = format!("{buf:?}");
    assert!(shown.len() < 1000 && shown.contains("len: 1048587"), "{shown}");
}

/// Counts how often it is dropped.
struct Owner(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn user_memory_is_given_back_once_with_the_last_piece() {
    let drops = Arc::new(AtomicUsize::new(0));
    let dropped = || drops.load(Ordering::Relaxed);
    let mut buf = IoBuf::from("before ");
    let owner = Owner(b"lent memory".to_vec(), drops.clone());
    let at = owner.0.as_ptr();
    buf.append_user_data(owner);
    assert_eq!(buf.slices().next_back().map(<[u8]>::as_ptr), Some(at), "not copied");
    buf.append(b" behind");
    assert_eq!(buf, "before lent memory behind");
    let copy = buf.clone();
    let head = buf.cut(10);
    drop(buf);
    assert_eq!((dropped(), &copy.to_vec()[7..18]), (0, &b"lent memory"[..]));
    drop(copy);
    assert_eq!(dropped(), 0);
    std::thread::spawn(move || drop(head)).join().unwrap();
    assert_eq!(dropped(), 1);

    let mut buf = IoBuf::new();
    buf.append_user_data(Owner(Vec::new(), drops.clone()));
    assert_eq!((dropped(), buf.block_count()), (2, 0), "nothing to lend: given back at once");
}

#[test]
fn deleters_get_the_owner_and_metas_stay_with_their_piece() {
    let got = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut buf = IoBuf::new();
    for meta in [11, 22] {
        let got = got.clone();
        let owner = format!("memory {meta}");
        buf.append_user_data_with_deleter(owner, meta, move |owner| got.lock().unwrap().push((meta, owner)));
    }
    buf.append(b"plain");
    buf.append_user_data("no meta");
    assert_eq!(buf.first_meta(), Some(11));
    buf.pop_front(4);
    assert_eq!((buf.first_meta(), buf.clone().cut(1).first_meta()), (Some(11), Some(11)));
    buf.pop_front(5);
    assert_eq!((buf.first_meta(), got.lock().unwrap().len()), (Some(22), 1));
    buf.pop_front(9);
    assert_eq!(buf.first_meta(), None);
    buf.pop_front(5);
    assert_eq!((buf.first_meta(), buf.to_vec()), (None, b"no meta".to_vec()));
    assert_eq!(*got.lock().unwrap(), [(11, "memory 11".to_string()), (22, "memory 22".to_string())]);

    let ran = Arc::new(AtomicUsize::new(0));
    let count = ran.clone();
    buf.append_user_data_with_deleter([0_u8; 0], 1, move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!(ran.load(Ordering::Relaxed), 1);
}

#[test]
fn a_deleter_may_use_buffers() {
    let (sent, received) = std::sync::mpsc::channel();
    let mut buf = IoBuf::new();
    buf.append_user_data_with_deleter(*b"owner", 0, move |owner| {
        let mut note = IoBuf::from("got ");
        note.append(&owner);
        sent.send(note).unwrap();
    });
    buf.clear();
    assert_eq!(received.recv().unwrap(), "got owner");
}

#[test]
fn longer_user_memory_than_a_reference_can_span_is_split() {
    let drops = Arc::new(AtomicUsize::new(0));
    for (len, pieces) in [(0, 0), (1, 1), (10, 1), (11, 2), (30, 3), (35, 4)] {
        let bytes = pattern(len);
        let mut buf = IoBuf::new();
        buf.append_user_pieces(Owner(bytes.clone(), drops.clone()), Some(5), 10);
        assert_eq!((buf.block_count(), buf.to_vec()), (pieces, bytes));
        let before = drops.load(Ordering::Relaxed);
        while buf.len() > 1 {
            assert_eq!(buf.first_meta(), Some(5));
            buf.pop_front(1);
        }
        assert_eq!(drops.load(Ordering::Relaxed), before, "one byte keeps all of it");
        drop(buf);
        assert_eq!(drops.load(Ordering::Relaxed), before + usize::from(len > 0));
    }
}

#[test]
fn an_owner_with_its_bytes_inside_does_not_move() {
    let mut buf = IoBuf::new();
    for i in 0..100_u8 {
        buf.append_user_data([i; 3]);
    }
    assert_eq!(buf.to_vec(), (0..100).flat_map(|i| [i; 3]).collect::<Vec<u8>>());
}

#[test]
fn a_panicking_owner_or_deleter_loses_nothing_else() {
    struct Bad;
    impl AsRef<[u8]> for Bad {
        fn as_ref(&self) -> &[u8] {
            panic!("no bytes")
        }
    }
    let mut buf = IoBuf::from("kept");
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| buf.append_user_data(Bad)));
    assert!(result.is_err());
    assert_eq!(buf, "kept");
    let mut buf = IoBuf::new();
    buf.append_user_data_with_deleter("x", 0, |_| panic!("in the deleter"));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| buf.clear()));
    assert!(result.is_err());
    assert_eq!((buf.len(), buf.block_count()), (0, 0));
}
