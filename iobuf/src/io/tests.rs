//! Tests over pipes, socket pairs and files.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use super::*;
use crate::block::{BLOCK_PAYLOAD, LARGE_BLOCK_PAYLOAD};

fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 7 + i / 251) as u8).collect()
}

/// `count` pieces of one byte each.
fn scattered(count: usize) -> IoBuf {
    (0..count).fold(IoBuf::new(), |mut buf, i| {
        buf.append_user_data([i as u8]);
        buf
    })
}

/// An unlinked file of the test's own.
fn temporary_file(name: &str) -> File {
    let path = std::env::temp_dir().join(format!("iobuf-{}-{name}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

#[test]
fn interrupted_calls_are_repeated() {
    let mut errors = [libc::EINTR, libc::EINTR, libc::EAGAIN].into_iter();
    let mut calls = 0;
    let mut fail = || {
        calls += 1;
        // SAFETY: the thread's errno is always there.
        unsafe { *libc::__errno_location() = errors.next().unwrap() };
        -1
    };
    assert_eq!(uninterrupted(&mut fail).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(calls, 3);
    assert_eq!(uninterrupted(|| 5).unwrap(), 5);
}

#[test]
fn a_write_takes_so_many_pieces_and_bytes_at_most() {
    let (mut read, write) = std::io::pipe().unwrap();
    let mut buf = scattered(IOV_WRITE_MAX + 40);
    let all = buf.to_vec();
    assert_eq!(buf.write_to(write.as_fd(), usize::MAX).unwrap(), IOV_WRITE_MAX);
    assert_eq!((buf.len(), buf.get(0)), (40, Some(all[IOV_WRITE_MAX])));
    assert_eq!(buf.write_to(write.as_fd(), 13).unwrap(), 13);
    assert_eq!(buf.write_to(write.as_fd(), 0).unwrap(), 0);
    assert_eq!(buf.write_to(write.as_fd(), 1).unwrap(), 1);
    assert_eq!(buf.write_to(write.as_fd(), usize::MAX).unwrap(), 26);
    assert_eq!(buf.write_to(write.as_fd(), usize::MAX).unwrap(), 0, "empty: no call");
    drop(write);
    let mut got = Vec::new();
    read.read_to_end(&mut got).unwrap();
    assert_eq!(got, all);
}

#[test]
fn several_buffers_are_written_in_order() {
    let (mut read, write) = std::io::pipe().unwrap();
    let (mut a, mut b, mut c, mut d) =
        (IoBuf::from("first "), IoBuf::new(), scattered(300), IoBuf::from("last"));
    let all = [a.to_vec(), c.to_vec(), d.to_vec()].concat();
    assert_eq!(
        write_many(write.as_fd(), &mut [&mut a, &mut b, &mut c, &mut d]).unwrap(),
        6 + IOV_WRITE_MAX - 1
    );
    assert_eq!((a.len(), c.len(), d.len()), (0, 300 - (IOV_WRITE_MAX - 1), 4));
    assert_eq!(write_many(write.as_fd(), &mut [&mut a, &mut b, &mut c, &mut d]).unwrap(), 45 + 4);
    assert_eq!(write_many(write.as_fd(), &mut [&mut a, &mut d]).unwrap(), 0);
    assert_eq!(write_many(write.as_fd(), &mut []).unwrap(), 0);
    drop(write);
    let mut got = Vec::new();
    read.read_to_end(&mut got).unwrap();
    assert_eq!(got, all);
}

#[test]
fn messages_of_one_connection_share_blocks() {
    let (read, mut write) = std::io::pipe().unwrap();
    let mut portal = IoPortal::new();
    for i in 0..100_u8 {
        write.write_all(&[i; 10]).unwrap();
        assert_eq!(portal.read_from(read.as_fd(), 4096).unwrap(), 10);
        IoBuf::from("what the thread does meanwhile").push_back(i);
    }
    assert_eq!((portal.len(), portal.block_count()), (1000, 1));
    assert_eq!(portal.cut(20).to_vec()[9..11], [0, 1]);
    drop(write);
    assert_eq!(portal.read_from(read.as_fd(), 4096).unwrap(), 0);
    assert_eq!(portal.blocks.len(), 1, "the block that the last bytes are in");
    portal.return_cached_blocks();
    assert_eq!(portal.blocks.len(), 0);
    assert_eq!(portal.into_buf().len(), 980);
}

#[test]
fn a_read_is_bounded_by_bytes_and_blocks() {
    let file = temporary_file("bounded");
    let bytes = pattern(6 << 20);
    (&file).write_all(&bytes).unwrap();
    (&file).rewind().unwrap();
    let mut portal = IoPortal::new();
    assert_eq!(portal.read_from(file.as_fd(), 0).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(portal.read_from(file.as_fd(), 1).unwrap(), 1);
    assert_eq!(portal.read_from(file.as_fd(), BLOCK_PAYLOAD).unwrap(), BLOCK_PAYLOAD);
    assert_eq!(portal.block_count(), 2);
    let n = portal.read_from(file.as_fd(), usize::MAX).unwrap();
    // The first of them is a small one that had one byte taken.
    assert_eq!(n, (IOV_READ_MAX - 1) * LARGE_BLOCK_PAYLOAD + BLOCK_PAYLOAD - 1);
    while portal.read_from(file.as_fd(), 300_000).unwrap() > 0 {}
    assert_eq!(*portal, bytes);
    assert!(portal.block_count() <= bytes.len() / BLOCK_PAYLOAD + 2);
    portal.clear();
    assert_eq!(portal.read_from(file.as_fd(), 300_000).unwrap(), 0);
    assert_eq!(portal.blocks.len(), 0, "nothing was read and nothing is held");
}

#[test]
fn a_block_is_reused_once_its_messages_are_gone() {
    let (read, mut write) = std::io::pipe().unwrap();
    let mut portal = IoPortal::new();
    let mut first = std::ptr::null();
    for round in 0..1000 {
        write.write_all(&[1; 100]).unwrap();
        assert_eq!(portal.read_from(read.as_fd(), 1000).unwrap(), 100);
        if round == 0 {
            first = portal.front().as_ptr();
        }
        assert_eq!(portal.front().as_ptr(), first);
        portal.pop_front(100);
    }
}

#[test]
fn non_blocking_transfers_in_every_size() {
    for size in [1, 100, BLOCK_PAYLOAD, 70_000, 5 << 20] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let bytes = pattern(size);
        let mut buf = IoBuf::from(&bytes[..]);
        let mut portal = IoPortal::new();
        let (mut partial, mut blocked) = (0, 0);
        while !buf.is_empty() || portal.len() < size {
            let before = buf.len();
            match buf.send_to(ours.as_fd(), 1 << 20) {
                Ok(n) => {
                    assert_eq!(buf.len(), before - n);
                    partial += usize::from(n < before.min(1 << 20));
                }
                Err(error) => {
                    assert_eq!((error.kind(), buf.len()), (ErrorKind::WouldBlock, before));
                    blocked += 1;
                    while portal.read_from(theirs.as_fd(), 10_000).is_ok() {}
                }
            }
            if buf.is_empty() {
                while portal.read_from(theirs.as_fd(), 10_000).is_ok() {}
            }
        }
        assert_eq!(*portal, bytes);
        if size >= 5 << 20 {
            assert!(partial > 0 && blocked > 0, "the socket's buffer was smaller than that");
        }
        drop(ours);
        assert_eq!(portal.read_from(theirs.as_fd(), 1).unwrap(), 0);
        assert_eq!(
            IoBuf::from("late").send_to(theirs.as_fd(), 10).unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
        let mut late = scattered(2);
        assert_eq!(late.send_to(theirs.as_fd(), 10).unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(late.len(), 2);
    }
}

#[test]
fn send_raises_no_signal_and_write_does() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static RAISED: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn count(_: c_int) {
        RAISED.fetch_add(1, Ordering::SeqCst); // a counter read by the thread that the signal interrupts
    }
    let broken = || {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        ours
    };
    // SAFETY: the handler is safe to run in a signal, and the standard library's setting is put back.
    let before = unsafe { libc::signal(libc::SIGPIPE, count as extern "C" fn(c_int) as libc::sighandler_t) };
    let (mut one, mut many) = (scattered(1), scattered(2));
    for buf in [&mut one, &mut many] {
        assert_eq!(buf.send_to(broken().as_fd(), 10).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
    assert_eq!(RAISED.load(Ordering::SeqCst), 0);
    assert_eq!(one.write_to(broken().as_fd(), 10).unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_eq!(RAISED.load(Ordering::SeqCst), 1, "the signal would have been seen");
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGPIPE, before) };
}

#[test]
fn send_needs_a_socket() {
    let (_read, write) = std::io::pipe().unwrap();
    let mut buf = IoBuf::from("x");
    let error = buf.send_to(write.as_fd(), 10).unwrap_err();
    assert_eq!((error.raw_os_error(), buf.len()), (Some(libc::ENOTSOCK), 1));
}

#[test]
fn positions_leave_the_file_pointer_alone() {
    let mut file = temporary_file("positions");
    let mut buf = IoBuf::from("world");
    assert_eq!(buf.write_to_at(file.as_fd(), 6, usize::MAX).unwrap(), 5);
    let mut buf = IoBuf::from("hello");
    buf.append_user_data(" ");
    assert_eq!(buf.write_to_at(file.as_fd(), 0, usize::MAX).unwrap(), 6);
    assert_eq!(file.stream_position().unwrap(), 0);
    let mut portal = IoPortal::new();
    assert_eq!(portal.read_from_at(file.as_fd(), 4, 4).unwrap(), 4);
    assert_eq!(portal.read_from_at(file.as_fd(), 0, 100).unwrap(), 11);
    assert_eq!(portal.read_from_at(file.as_fd(), 11, 100).unwrap(), 0);
    assert_eq!(*portal, "o wohello world");
    assert_eq!(file.stream_position().unwrap(), 0);
    let kinds = (
        portal.read_from_at(file.as_fd(), u64::MAX, 1).unwrap_err().kind(),
        portal.write_to_at(file.as_fd(), u64::MAX, 1).unwrap_err().kind(),
    );
    assert_eq!(kinds, (ErrorKind::InvalidInput, ErrorKind::InvalidInput));
}

#[test]
fn threads_write_to_one_file_at_positions() {
    const EACH: usize = 100_000;
    let file = temporary_file("threads");
    std::thread::scope(|scope| {
        for i in 0..4_u8 {
            let file = &file;
            scope.spawn(move || {
                let mut buf = IoBuf::new();
                buf.append_fill(i, EACH);
                let mut at = EACH * usize::from(i);
                while !buf.is_empty() {
                    at += buf.write_to_at(file.as_fd(), at as u64, 7000).unwrap();
                }
            });
        }
    });
    let mut portal = IoPortal::new();
    while portal.read_from_at(file.as_fd(), portal.len() as u64, 1 << 19).unwrap() > 0 {}
    assert_eq!(portal.to_vec(), (0..4_u8).flat_map(|i| vec![i; EACH]).collect::<Vec<_>>());
}

#[test]
fn a_bad_descriptor_is_an_error() {
    let directory = File::open("/").unwrap();
    let mut portal = IoPortal::new();
    assert!(portal.read_from(directory.as_fd(), 10).is_err());
    portal.append(b"kept");
    assert!(portal.write_to(directory.as_fd(), 10).is_err());
    assert_eq!((portal.len(), portal.blocks.len()), (4, 0));
    assert!(format!("{portal:?}").contains("blocks_kept: 0"));
}

#[test]
fn a_chunk_is_not_given_to_anyone_else() {
    let mut buf = IoBuf::new();
    let chunk = buf.chunk_mut();
    chunk[..4].copy_from_slice(b"mine");
    let theirs = IoBuf::from("theirs"); // goes to the thread's block
    let moved = std::thread::spawn(move || {
        let elsewhere = IoBuf::from("other thread");
        // SAFETY: four bytes of the chunk have been initialised.
        unsafe {
            buf.advance_mut(4);
        }
        (buf, elsewhere)
    });
    let (buf, elsewhere) = moved.join().unwrap();
    assert_eq!((buf, theirs, elsewhere), ("mine".into(), "theirs".into(), "other thread".into()));
}

#[test]
fn a_chunk_has_room_also_behind_a_leaked_writer() {
    let mut buf = IoBuf::new();
    let mut writer = Writer::new(&mut buf);
    let room = writer.chunk_mut().len();
    writer.put_bytes(7, room);
    std::io::Write::flush(&mut writer).unwrap();
    std::mem::forget(writer); // its block, now full, stays behind
    assert_eq!(buf.len(), room);
    assert!(buf.chunk_mut().len() > 0);
}

#[test]
#[should_panic(expected = "advance_mut past the chunk")]
fn a_buffer_checks_how_far_it_is_advanced() {
    let mut buf = IoBuf::new();
    let n = buf.chunk_mut().len() + 1;
    // SAFETY: broken on purpose; the call finds that out before it relies on anything.
    unsafe {
        buf.advance_mut(n);
    }
}

#[test]
fn what_a_leaked_writer_staged_does_not_come_back() {
    let mut buf = IoBuf::new();
    let mut writer = Writer::new(&mut buf);
    writer.put_slice(b"lost");
    std::mem::forget(writer);
    buf.chunk_mut()[..2].copy_from_slice(b"ok");
    // SAFETY: two bytes of the chunk have been initialised.
    unsafe {
        buf.advance_mut(2);
    }
    assert_eq!(buf, "ok");
}
