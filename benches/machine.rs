//! How much of the machine there is to be had. A module of several benchmarks.
//!
//! Holds unsafe: the CPU time of a thread.

#![allow(unsafe_code)]

use std::thread;
use std::time::{Duration, Instant};

/// CPU time of the calling thread so far.
pub(crate) fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is good for the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// How many CPUs so many busy threads get between them: less than there are if others use the machine, and then the
/// figures are worth little.
pub(crate) fn cpus_to_be_had(threads: usize) -> f64 {
    const TIME: Duration = Duration::from_millis(300);
    let start = Instant::now();
    let burn = || {
        while start.elapsed() < TIME {
            std::hint::spin_loop();
        }
        thread_cpu_time()
    };
    let used = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(burn)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum::<Duration>()
    });
    used.as_secs_f64() / start.elapsed().as_secs_f64()
}
