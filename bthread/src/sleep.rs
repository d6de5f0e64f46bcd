//! Giving way and sleeping.

use std::time::{Duration, Instant};

use crate::{wait, worker};

/// Lets the other runnable bthreads of this worker go first. It gives no worker to anybody else, and there are no
/// priorities. Outside of bthreads it is `std::thread::yield_now`.
pub fn yield_now() {
    if !worker::yield_now() {
        std::thread::yield_now();
    }
}

/// Sleeps for at least `duration`. *Blocking*: parks the calling bthread, or blocks the calling thread.
///
/// ```
/// bthread::spawn(|| bthread::sleep(std::time::Duration::from_millis(1))).join().unwrap();
/// ```
pub fn sleep(duration: Duration) {
    match Instant::now().checked_add(duration) {
        Some(deadline) => sleep_until(deadline),
        None => loop {
            sleep(Duration::from_secs(1 << 32));
        },
    }
}

/// Sleeps until `deadline` has passed. *Blocking*: parks the calling bthread, or blocks the calling thread.
pub fn sleep_until(deadline: Instant) {
    let parker = wait::current_parker();
    while Instant::now() < deadline {
        wait::park(parker, Some(deadline));
    }
}

/// Whether the caller is a bthread.
pub fn is_bthread() -> bool {
    worker::current_task().is_some()
}
