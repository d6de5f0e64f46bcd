//! Writing from several threads at once.
//!
//! Holds unsafe: the CPU time of a thread.

#![allow(unsafe_code)]

use std::sync::Barrier;
use std::thread;

/// Latencies that are recorded one after another: exponential around 1000, the same for all peers.
pub(crate) fn latencies() -> Vec<u64> {
    let mut state = 1u64;
    let mut latency = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let uniform = ((state >> 33) as f64 + 1.0) / (1u64 << 31) as f64;
        (-uniform.ln() * 1000.0) as u64 + 1
    };
    (0..LATENCIES).map(|_| latency()).collect()
}

/// How many there are: a power of two.
pub(crate) const LATENCIES: usize = 1024;

/// The nanoseconds of CPU time that one operation takes: `count` of them, spread over so many threads that start
/// together. `operation` does its argument's number of operations.
pub(crate) fn nanos(count: usize, threads: usize, operation: impl Fn(usize) + Sync) -> f64 {
    let each = (count / threads).max(1);
    let start = Barrier::new(threads);
    let times: Vec<f64> = thread::scope(|scope| {
        let run = || {
            operation(each / 10);
            start.wait();
            let begun = thread_nanos();
            operation(each);
            (thread_nanos() - begun) / each as f64
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    times.iter().sum::<f64>() / threads as f64
}

fn thread_nanos() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid place to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
