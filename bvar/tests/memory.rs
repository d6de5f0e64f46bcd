//! What variables cost in memory. One test, so that nothing else allocates meanwhile.

use bvar::{LatencyRecorder, LatencyUnit, Sampler};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// The system's allocator, counting.
struct Counting;

// Relaxed: the only thread that matters reads what it wrote.
static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes everything on to the system's allocator.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_hundred_thousand_recorders() {
    const RECORDERS: usize = 100_000;
    let sampler = Sampler::new(Duration::ZERO);
    let before = BYTES.load(Relaxed);
    let recorders: Vec<_> =
        (0..RECORDERS).map(|_| LatencyRecorder::with_sampler(&sampler, LatencyUnit::Micros, 10)).collect();
    for second in 1..=20 {
        sampler.tick(Duration::from_secs(second));
        recorders.iter().for_each(|recorder| assert_eq!(recorder.window().count(), 0));
    }
    let idle = (BYTES.load(Relaxed) - before) / RECORDERS;
    println!("{idle} bytes for an idle recorder");
    assert!(idle < 400, "{idle} bytes for an idle recorder");

    // One of them is used: it is found among the many, and costs what its thread needs.
    recorders[RECORDERS - 1].record(100);
    let before = BYTES.load(Relaxed);
    recorders[RECORDERS - 2].record(100);
    let used = BYTES.load(Relaxed) - before;
    assert!(used <= 384 + 512, "{used} bytes for a thread's first latency");
    sampler.tick(Duration::from_secs(21));
    assert_eq!(recorders[RECORDERS - 1].window().count(), 1);
    assert_eq!(recorders[0].window().count(), 0);
}
