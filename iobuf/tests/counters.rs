//! The process-wide counters return to where they were: nothing leaks, caches are bounded. In a binary of its own,
//! one test at a time, since all tests of a process share the counters.

use std::io::Write as _;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};

use iobuf::{
    BLOCK_PAYLOAD, BLOCK_SIZE, FREE_BLOCKS_MAX, FREE_LARGE_BLOCKS_MAX, IoBuf, IoPortal, LARGE_BLOCK_PAYLOAD,
    LARGE_BLOCK_SIZE, PARTIAL_BLOCKS_MAX, SHARED_BYTES_MAX, Stats, Writer, stats, trim, trim_thread,
};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Empties the cache that all threads share: what was not used between two calls is idle.
fn free_shared() {
    trim();
    trim();
    assert_eq!(stats().shared_cache_bytes, 0);
}

/// Runs `test` on a thread of its own, whose caches end with it, and checks that nothing remains.
fn leaves_nothing(test: impl FnOnce() + Send + 'static) {
    let _alone = alone();
    free_shared();
    let before = stats();
    std::thread::spawn(test).join().unwrap();
    free_shared();
    let after = stats();
    assert_eq!((after.block_count, after.block_memory), (before.block_count, before.block_memory));
    assert_eq!(after.user_blocks, before.user_blocks);
}

#[test]
fn append_and_cut_all_thousands_of_times() {
    leaves_nothing(|| {
        let before = stats().block_count;
        let (mut buf, mut out) = (IoBuf::new(), IoBuf::new());
        for i in 0..5000_usize {
            buf.append_fill(i as u8, i % 20_000);
            out.append_buf(buf.cut(i));
            assert!(buf.is_empty());
            if i % 100 == 0 {
                out.clear();
            }
        }
        out.clear();
        // All of them are empty now and wait for reuse.
        let shared = stats().shared_cache_bytes / BLOCK_SIZE;
        assert!(stats().block_count - before <= FREE_BLOCKS_MAX + PARTIAL_BLOCKS_MAX + shared);
        assert_eq!(stats().block_memory, stats().block_count * BLOCK_SIZE);
    });
}

#[test]
fn reuse_takes_nothing_from_the_allocator() {
    leaves_nothing(|| {
        drop(IoBuf::from("warm up"));
        let before = stats();
        for i in 0..100_000_usize {
            let mut buf = IoBuf::new();
            buf.append_fill(0, i % 100);
            let copy = buf.clone();
            drop(buf.cut(50));
            drop(copy);
        }
        assert_eq!(stats(), before);
        assert_eq!(before.block_count, 1);
    });
}

#[test]
fn user_memory_is_counted() {
    leaves_nothing(|| {
        let before: Stats = stats();
        let mut buf = IoBuf::new();
        for _ in 0..10 {
            buf.append_user_data(vec![0; 10]);
        }
        let copy = buf.clone();
        buf.pop_front(95);
        assert_eq!(stats().user_blocks, before.user_blocks + 10);
        assert_eq!(stats().user_bytes, before.user_bytes + 100);
        drop(copy);
        assert_eq!(stats().user_blocks, before.user_blocks + 1);
        assert_eq!(stats().block_count, before.block_count);
    });
}

#[test]
fn the_ninth_partly_filled_block_is_given_up_and_counted() {
    leaves_nothing(|| {
        let before = stats();
        let mut bufs: Vec<IoBuf> = (0..PARTIAL_BLOCKS_MAX + 3).map(|_| IoBuf::new()).collect();
        let mut writers: Vec<Writer<'_>> = bufs.iter_mut().map(Writer::new).collect();
        for writer in &mut writers {
            bytes::BufMut::put_u8(writer, 1);
        }
        assert_eq!(stats().block_count - before.block_count, PARTIAL_BLOCKS_MAX + 3, "one each");
        drop(writers);
        assert_eq!(stats().cache_hit_threshold, before.cache_hit_threshold + 3);
        assert!(bufs.iter().all(|buf| *buf == [1]));
    });
}

#[test]
fn empty_blocks_beyond_the_bounds_are_freed() {
    leaves_nothing(|| {
        let most = SHARED_BYTES_MAX / BLOCK_SIZE + FREE_BLOCKS_MAX;
        let before = stats().block_count;
        let mut buf = IoBuf::new();
        buf.append_fill(0, BLOCK_PAYLOAD * (most + 1000));
        assert_eq!(stats().block_count - before, most + 1000);
        drop(buf);
        assert!(stats().block_count - before <= most);
        assert_eq!(stats().shared_cache_bytes, SHARED_BYTES_MAX);
        assert!(stats().thread_cache_bytes <= FREE_BLOCKS_MAX * BLOCK_SIZE);
        assert_eq!(stats().referenced_bytes, 0);
    });
}

#[test]
fn idle_memory_is_given_back() {
    leaves_nothing(|| {
        let mut buf = IoBuf::new();
        buf.append_fill(0, BLOCK_PAYLOAD * 500);
        drop(buf);
        let full = stats();
        assert!(full.shared_cache_bytes > 0 && full.thread_cache_bytes > 0);
        assert_eq!(trim(), 0, "all of them were in use since the last time");
        assert_eq!(trim(), full.shared_cache_bytes);
        // The thread gives its own back when it next has to do with blocks: the first time all of them were in use.
        for _ in 0..2 {
            drop(Writer::new(&mut IoBuf::new()).by_ref().write(b"a block is taken and given back"));
            trim();
        }
        drop(Writer::new(&mut IoBuf::new()).by_ref().write(b"once more"));
        let idle = stats();
        assert_eq!((idle.shared_cache_bytes, idle.thread_cache_bytes), (0, 0));
        assert_eq!(idle.block_memory, idle.partial_bytes);
    });
}

#[test]
fn an_idle_thread_gives_its_own_back() {
    leaves_nothing(|| {
        let mut buf = IoBuf::new();
        buf.append_fill(0, BLOCK_PAYLOAD * 20);
        drop(buf);
        assert_eq!(stats().thread_cache_bytes, 20 * BLOCK_SIZE);
        trim_thread();
        assert_eq!(stats().thread_cache_bytes, 20 * BLOCK_SIZE, "all of them were in use just now");
        trim_thread();
        assert_eq!(stats().block_memory, stats().partial_bytes);
    });
}

#[test]
fn what_is_used_is_not_given_back() {
    leaves_nothing(|| {
        for _ in 0..5 {
            let mut buf = IoBuf::new();
            buf.append_fill(0, BLOCK_PAYLOAD * 200);
            drop(buf);
            trim();
        }
        let before = stats().block_count;
        let mut buf = IoBuf::new();
        buf.append_fill(0, BLOCK_PAYLOAD * 200);
        assert!(stats().block_count <= before + 1, "all of them came from the caches");
    });
}

#[test]
fn blocks_freed_on_another_thread_come_back() {
    leaves_nothing(|| {
        let (send, receive) = mpsc::sync_channel::<IoBuf>(4);
        let dropping = std::thread::spawn(move || receive.into_iter().for_each(drop));
        let before = stats().block_count;
        for _ in 0..2000 {
            let mut buf = IoBuf::new();
            buf.append_fill(0, 20 * BLOCK_PAYLOAD);
            send.send(buf).unwrap();
        }
        drop(send);
        dropping.join().unwrap();
        // 40,000 blocks went over: those of the buffers under way, and the two caches' are all there ever were.
        let most = 6 * 21 + 2 * (FREE_BLOCKS_MAX + PARTIAL_BLOCKS_MAX) + FREE_BLOCKS_MAX;
        assert!(stats().block_count - before <= most, "{}", stats().block_count - before);
    });
}

#[test]
fn long_reads_take_large_blocks_and_each_cause_has_its_bytes() {
    leaves_nothing(|| {
        let (receiver, sender) = UnixStream::pair().unwrap();
        let mut portal = IoPortal::new();
        std::thread::scope(|scope| {
            scope.spawn(|| (&sender).write_all(&[b'm'; 100_000]).unwrap());
            while portal.len() < 100_000 {
                portal.read_from(receiver.as_fd(), 512 * 1024).unwrap();
            }
        });
        let held = stats();
        let lens: Vec<usize> = portal.slices().map(<[u8]>::len).collect();
        assert_eq!(lens[..2], [BLOCK_PAYLOAD, LARGE_BLOCK_PAYLOAD]);
        let large = (512 * 1024 - BLOCK_PAYLOAD).div_ceil(LARGE_BLOCK_PAYLOAD);
        assert!(held.large_block_count >= large, "{held:?}");
        assert!(held.read_ahead_bytes >= (large - 1) * LARGE_BLOCK_SIZE, "{held:?}");
        portal.return_cached_blocks();
        let held = stats();
        assert_eq!((held.read_ahead_bytes, held.referenced_bytes), (0, BLOCK_SIZE + 2 * LARGE_BLOCK_SIZE));
        assert!(held.thread_cache_bytes / LARGE_BLOCK_SIZE <= FREE_LARGE_BLOCKS_MAX);
        drop(portal);
        assert_eq!(stats().referenced_bytes, 0);
    });
}

#[test]
fn the_beginning_of_a_message_pins_no_large_block() {
    leaves_nothing(|| {
        let (read, mut write) = std::io::pipe().unwrap();
        let mut portal = IoPortal::new();
        let mut received = IoBuf::new();
        while received.len() < 60_000 {
            write.write_all(&[b'x'; 30_000]).unwrap();
            portal.read_from(read.as_fd(), 512 * 1024).unwrap();
            let whole = portal.len() - 11;
            portal.cut_into(&mut received, whole);
        }
        drop(received);
        assert!(stats().referenced_bytes + stats().read_ahead_bytes >= LARGE_BLOCK_SIZE);
        portal.return_cached_blocks();
        assert_eq!(*portal, "xxxxxxxxxxx");
        assert_eq!((stats().referenced_bytes, stats().read_ahead_bytes), (0, 0));
        assert_eq!(stats().partial_bytes, BLOCK_SIZE, "where the thread goes on");
    });
}

#[test]
fn the_third_piece_is_counted() {
    leaves_nothing(|| {
        let before = stats().big_views;
        let mut buf = IoBuf::new();
        (0..4).for_each(|i| buf.append_user_data([i]));
        assert_eq!(stats().big_views, before + 1);
    });
    // By a thread that has ended.
    let _alone = alone();
    assert!(stats().big_views > 0);
}

#[test]
fn blocks_outlive_the_thread_that_made_them() {
    leaves_nothing(|| {
        let made = std::thread::spawn(|| {
            let mut buf = IoBuf::from("from a thread that is gone");
            buf.append_fill(b'.', 3 * BLOCK_PAYLOAD);
            buf
        });
        let mut buf = made.join().unwrap();
        assert_eq!(buf.cut(26), "from a thread that is gone");
        let copies: Vec<_> = (0..4).map(|_| buf.clone()).collect();
        let threads: Vec<_> =
            copies.into_iter().map(|copy| std::thread::spawn(move || copy.to_vec())).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), vec![b'.'; 3 * BLOCK_PAYLOAD]);
        }
    });
}

#[test]
fn buffers_in_thread_locals_end_with_the_thread() {
    struct Last(IoBuf);
    impl Drop for Last {
        fn drop(&mut self) {
            // Depending on the order of destruction the thread's cache is gone by now.
            self.0.append(b"last words");
            self.0.append_user_data(vec![1, 2, 3]);
            let mut writer = Writer::new(&mut self.0);
            bytes::BufMut::put_slice(&mut writer, &[0; 2 * BLOCK_PAYLOAD]);
        }
    }
    thread_local! {
        static BEFORE: std::cell::RefCell<Option<Last>> = const { std::cell::RefCell::new(None) };
        static AFTER: std::cell::RefCell<Option<Last>> = const { std::cell::RefCell::new(None) };
    }
    leaves_nothing(|| {
        BEFORE.set(Some(Last(IoBuf::new())));
        drop(IoBuf::from("makes the cache"));
        AFTER.set(Some(Last(IoBuf::from("x"))));
    });
}

#[test]
fn connections_hold_what_they_received() {
    leaves_nothing(|| {
        let before = stats().block_count;
        let mut connections = Vec::new();
        for _ in 0..200 {
            let (read, mut write) = std::io::pipe().unwrap();
            let mut portal = IoPortal::new();
            write.write_all(b"half a mess").unwrap();
            assert_eq!(portal.read_from(read.as_fd(), 512 * 1024).unwrap(), 11);
            portal.return_cached_blocks();
            connections.push((read, write, portal));
        }
        // 2200 bytes in all, behind each other, and the blocks for one long read.
        assert!(stats().block_count - before <= 66, "{}", stats().block_count - before);
        assert!(connections.iter().all(|(_, _, portal)| **portal == "half a mess"));
    });
}
