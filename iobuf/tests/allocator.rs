//! Blocks from an allocator of the user's, in a process of its own, as it is named once for all.

use std::alloc::{Layout, alloc, dealloc};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use iobuf::{BLOCK_SIZE, BlockAllocator, BlocksInUse, IoBuf, set_block_allocator, stats, trim};

/// Counts what it has given; uses buffers itself, as one that logs would.
struct Counting {
    taken: AtomicUsize,
    given_back: AtomicUsize,
}

static COUNTING: Counting = Counting { taken: AtomicUsize::new(0), given_back: AtomicUsize::new(0) };

thread_local! {
    static INSIDE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

fn use_buffers() {
    if !INSIDE.replace(true) {
        let mut log = IoBuf::from("a block");
        log.append_fill(b'.', 3 * BLOCK_SIZE);
        drop(log);
        INSIDE.set(false);
    }
}

// SAFETY: memory of the global allocator.
unsafe impl BlockAllocator for Counting {
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        use_buffers();
        self.taken.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: blocks have a size.
        NonNull::new(unsafe { alloc(layout) })
    }

    unsafe fn deallocate(&self, memory: NonNull<u8>, layout: Layout) {
        use_buffers();
        self.given_back.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: by contract from `allocate`.
        unsafe { dealloc(memory.as_ptr(), layout) }
    }
}

#[test]
fn all_blocks_come_from_there_and_go_back_to_it() {
    assert_eq!(set_block_allocator(&COUNTING), Ok(()));
    std::thread::spawn(|| {
        let mut buf = IoBuf::new();
        buf.append_fill(1, 300 * BLOCK_SIZE);
        let copy = buf.clone();
        drop(buf);
        assert!(COUNTING.taken.load(Ordering::Relaxed) >= 300 * BLOCK_SIZE);
        assert_eq!(copy.len(), 300 * BLOCK_SIZE);
    })
    .join()
    .unwrap();
    // With the thread's cache and the shared one empty nothing is left.
    trim();
    trim();
    trim();
    assert_eq!(stats().block_count, 0);
    assert_eq!(COUNTING.taken.load(Ordering::Relaxed), COUNTING.given_back.load(Ordering::Relaxed));
    assert_eq!(set_block_allocator(&COUNTING), Err(BlocksInUse));
    assert_eq!(BlocksInUse.to_string(), "blocks were allocated before");
}
