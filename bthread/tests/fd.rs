//! Waiting on descriptors of all kinds, from bthreads and threads.

use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

mod waits;

use bthread::fd::{self, Interest, Watched};
use bthread::{Runtime, interrupt, stop};
use waits::until_it_waits;

/// Runs `f` once in a bthread and once on a thread.
fn on_both(f: fn()) {
    bthread::spawn(f).join().unwrap();
    std::thread::spawn(f).join().unwrap();
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_millis(10))
}

fn read_byte(reader: &PipeReader) -> io::Result<u8> {
    let mut byte = [0];
    let mut reader = reader;
    reader.read_exact(&mut byte).map(|()| byte[0])
}

/// An eventfd that gives one at each read.
fn semaphore() -> OwnedFd {
    // SAFETY: takes and gives plain numbers; a new descriptor is nobody else's.
    unsafe {
        let fd = libc::eventfd(0, libc::EFD_SEMAPHORE | libc::EFD_CLOEXEC);
        assert!(fd >= 0);
        OwnedFd::from_raw_fd(fd)
    }
}

#[test]
fn a_write_ends_the_wait_of_the_reader() {
    on_both(|| {
        let (reader, mut writer) = io::pipe().unwrap();
        let waiter = bthread::spawn(move || {
            fd::wait_readable(&reader, None).unwrap();
            read_byte(&reader).unwrap()
        });
        until_it_waits(&waiter);
        writer.write_all(b"x").unwrap();
        assert_eq!(waiter.join().unwrap(), b'x');

        let (reader, mut writer) = io::pipe().unwrap();
        let later = bthread::spawn(move || {
            bthread::sleep(Duration::from_millis(2));
            writer.write_all(b"y").unwrap();
        });
        fd::wait_readable(&reader, None).unwrap();
        assert_eq!(read_byte(&reader).unwrap(), b'y');
        later.join().unwrap();
    });
}

#[test]
fn a_deadline_ends_the_wait_and_not_before() {
    on_both(|| {
        let (reader, _writer) = io::pipe().unwrap();
        let deadline = soon();
        assert_eq!(fd::wait_readable(&reader, deadline).unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(Instant::now() >= deadline.unwrap());
        let watched = Watched::new(reader).unwrap();
        let deadline = soon();
        assert_eq!(watched.wait_readable(deadline).unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(Instant::now() >= deadline.unwrap());
    });
}

#[test]
fn what_is_ready_is_so_after_the_deadline_too() {
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    let past = Some(Instant::now());
    assert!(fd::wait(&reader, Interest::READABLE, past).unwrap().is_readable());
    assert!(fd::wait(&writer, Interest::WRITABLE, past).unwrap().is_writable());
    let reader = Watched::new(reader).unwrap();
    assert_eq!(reader.with_readable(past, read_byte).unwrap(), b'x');
    assert_eq!(reader.with_readable(past, read_byte).unwrap_err().kind(), ErrorKind::TimedOut);
}

#[test]
fn a_call_is_tried_once_more_at_the_deadline() {
    let one = Runtime::builder().workers(1).start().unwrap();
    let (reader, mut writer) = io::pipe().unwrap();
    let reader = one.spawn(|| Watched::new(reader).unwrap()).join().unwrap();
    // The only worker that could see the event is held.
    let (free, held) = std::sync::mpsc::channel::<()>();
    let (holding, is_held) = std::sync::mpsc::channel();
    let holder = one.spawn(move || {
        holding.send(()).unwrap();
        held.recv()
    });
    is_held.recv().unwrap();
    let mut calls = 0;
    let byte = reader.with_readable(soon(), |reader| {
        calls += 1;
        if calls == 1 {
            writer.write_all(b"x")?;
            return Err(ErrorKind::WouldBlock.into());
        }
        read_byte(reader)
    });
    assert_eq!((byte.unwrap(), calls), (b'x', 2));
    free.send(()).unwrap();
    holder.join().unwrap().unwrap();
}

#[test]
fn either_of_two_interests_is_enough() {
    let (mut left, right) = std::os::unix::net::UnixStream::pair().unwrap();
    let either = Interest::READABLE | Interest::WRITABLE;
    let ready = fd::wait(&right, either, None).unwrap();
    assert!(ready.is_writable() && !ready.is_readable());
    left.write_all(b"x").unwrap();
    let ready = fd::wait(&right, either, None).unwrap();
    assert!(ready.is_writable() && ready.is_readable());
}

#[test]
fn a_writer_waits_for_room() {
    on_both(|| {
        let (mut reader, writer) = io::pipe().unwrap();
        let writer = Watched::new(writer).unwrap();
        let chunk = [7u8; 4096];
        let mut written = 0;
        while let Ok(bytes) = writer.with_writable(Some(Instant::now()), |mut pipe| pipe.write(&chunk)) {
            written += bytes;
        }
        let drain = bthread::spawn_blocking(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all.len())
        });
        for _ in 0..100 {
            written += writer.with_writable(None, |mut pipe| pipe.write(&chunk)).unwrap();
        }
        drop(writer);
        assert_eq!(drain.join().unwrap().unwrap(), written);
    });
}

#[test]
fn the_end_of_the_other_side_ends_the_wait() {
    let (reader, writer) = io::pipe().unwrap();
    let waiter = bthread::spawn(move || fd::wait(&reader, Interest::READABLE, None).unwrap());
    until_it_waits(&waiter);
    drop(writer);
    let ready = waiter.join().unwrap();
    assert!(ready.is_readable() && ready.is_read_closed());
}

#[test]
fn files_are_always_ready_and_cannot_be_watched() {
    let file = File::open("/proc/self/exe").unwrap();
    assert!(fd::wait(&file, Interest::READABLE, Some(Instant::now())).unwrap().is_readable());
    let file = Watched::new(file).unwrap_err();
    assert_eq!(file.raw_os_error(), Some(libc::EPERM));
}

#[test]
fn many_wait_on_one_descriptor_each_for_itself_and_beside_a_watched() {
    let (reader, mut writer) = io::pipe().unwrap();
    let reader = Arc::new(reader);
    let _watched = Watched::new(reader.as_fd().try_clone_to_owned().unwrap()).unwrap();
    let again = Watched::new(reader.clone()).unwrap();
    assert_eq!(Watched::new(reader.as_fd()).unwrap_err().raw_os_error(), Some(libc::EEXIST));
    let bthreads: Vec<_> = (0..50)
        .map(|_| {
            let reader = reader.clone();
            bthread::spawn(move || fd::wait_readable(&*reader, None).unwrap())
        })
        .collect();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let reader = reader.clone();
            std::thread::spawn(move || fd::wait_readable(&*reader, None).unwrap())
        })
        .collect();
    bthread::sleep(Duration::from_millis(5));
    writer.write_all(b"x").unwrap();
    bthreads.into_iter().for_each(|waiter| waiter.join().unwrap());
    threads.into_iter().for_each(|waiter| waiter.join().unwrap());
    assert!(again.wait_readable(None).unwrap().is_readable());
}

#[test]
fn every_unit_of_an_eventfd_goes_to_one_of_many_waiters() {
    const UNITS: u64 = 3000;
    let event = Arc::new(Watched::new(File::from(semaphore())).unwrap());
    let take = |event: &Watched<File>, units: u64| {
        for _ in 0..units {
            let mut one = [0; 8];
            event.with_readable(None, |mut file| file.read_exact(&mut one)).unwrap();
            assert_eq!(u64::from_ne_bytes(one), 1);
        }
    };
    let bthreads: Vec<_> = (0..20)
        .map(|_| {
            let event = event.clone();
            bthread::spawn(move || take(&event, UNITS / 30))
        })
        .collect();
    let threads: Vec<_> = (0..10)
        .map(|_| {
            let event = event.clone();
            std::thread::spawn(move || take(&event, UNITS / 30))
        })
        .collect();
    for unit in 0..UNITS {
        event.with_writable(None, |mut file| file.write_all(&1u64.to_ne_bytes())).unwrap();
        if unit % 64 == 0 {
            std::thread::yield_now();
        }
    }
    bthreads.into_iter().for_each(|waiter| waiter.join().unwrap());
    threads.into_iter().for_each(|waiter| waiter.join().unwrap());
    let past = event.wait_readable(Some(Instant::now()));
    assert_eq!(past.unwrap_err().kind(), ErrorKind::TimedOut);
}

#[test]
fn a_close_wakes_bthreads_and_threads_and_is_final() {
    let (reader, mut writer) = io::pipe().unwrap();
    let reader = Arc::new(Watched::new(reader).unwrap());
    let wait = |reader: Arc<Watched<PipeReader>>| {
        move || reader.with_readable(None, read_byte).unwrap_err().raw_os_error()
    };
    let bthreads: Vec<_> = (0..10).map(|_| bthread::spawn(wait(reader.clone()))).collect();
    let threads: Vec<_> = (0..3).map(|_| std::thread::spawn(wait(reader.clone()))).collect();
    bthread::sleep(Duration::from_millis(5));
    reader.close();
    for waiter in bthreads {
        assert_eq!(waiter.join().unwrap(), Some(libc::EBADF));
    }
    for waiter in threads {
        assert_eq!(waiter.join().unwrap(), Some(libc::EBADF));
    }
    writer.write_all(b"x").unwrap();
    assert_eq!(reader.with_readable(None, read_byte).unwrap_err().raw_os_error(), Some(libc::EBADF));
    reader.close();
    let reader = Arc::into_inner(reader).unwrap().into_inner();
    assert_eq!(read_byte(&reader).unwrap(), b'x');
}

#[test]
fn an_interruption_ends_both_kinds_of_wait() {
    let (reader, mut writer) = io::pipe().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let waiter = bthread::spawn(move || {
        assert_eq!(fd::wait_readable(&reader, None).unwrap_err().kind(), ErrorKind::Interrupted);
        tell.send(()).unwrap();
        let reader = Watched::new(reader).unwrap();
        assert_eq!(reader.with_readable(None, read_byte).unwrap_err().kind(), ErrorKind::Interrupted);
        tell.send(()).unwrap();
        reader.with_readable(None, read_byte).unwrap()
    });
    // Two that come before it looks would be one.
    assert!(interrupt(waiter.id()));
    told.recv().unwrap();
    assert!(stop(waiter.id()));
    told.recv().unwrap();
    writer.write_all(b"x").unwrap();
    assert_eq!(waiter.join().unwrap(), b'x');
}

#[test]
fn what_is_always_ready_does_not_hold_up_the_worker() {
    let one = Runtime::builder().workers(1).start().unwrap();
    let (reader, _writer) = io::pipe().unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let busy = one.spawn({
        let done = done.clone();
        move || {
            let reader = Watched::new(reader).unwrap();
            let other = bthread::spawn({
                let done = done.clone();
                move || done.store(true, Ordering::Relaxed)
            });
            while !done.load(Ordering::Relaxed) {
                reader.with_readable(None, |_| Ok(())).unwrap();
            }
            other.join().unwrap();
        }
    });
    busy.join().unwrap();
}
