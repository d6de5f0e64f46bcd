//! The bound of the pool for blocking calls, alone in its process since it takes all threads there are.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bthread::{BLOCKING_THREADS_MAX, spawn_blocking};

#[test]
fn there_are_no_more_threads_than_the_bound_and_all_calls_are_made() {
    const CALLS: usize = BLOCKING_THREADS_MAX + 100;
    let open = Arc::new((Mutex::new(false), Condvar::new()));
    let inside = Arc::new(AtomicUsize::new(0));
    let calls: Vec<_> = (0..CALLS)
        .map(|n| {
            let (open, inside) = (open.clone(), inside.clone());
            spawn_blocking(move || {
                inside.fetch_add(1, Ordering::SeqCst);
                let mut is_open = open.0.lock().unwrap();
                while !*is_open {
                    is_open = open.1.wait(is_open).unwrap();
                }
                n
            })
        })
        .collect();
    while inside.load(Ordering::SeqCst) < BLOCKING_THREADS_MAX {
        std::thread::yield_now();
    }
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(inside.load(Ordering::SeqCst), BLOCKING_THREADS_MAX);
    *open.0.lock().unwrap() = true;
    open.1.notify_all();
    assert!(calls.into_iter().map(|call| call.join().unwrap()).eq(0..CALLS));
}
