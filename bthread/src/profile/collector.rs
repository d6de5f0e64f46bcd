//! The thread of a profiler: takes a turn from time to time, until a turn says that there is nothing left to do.

use std::io;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

/// At most one thread at a time that calls `turn`, and sleeps for as long as that says.
pub(super) struct Collector {
    name: &'static str,
    turn: fn() -> Option<Duration>,
    /// The thread's id while it runs.
    thread: AtomicI32,
}

impl Collector {
    pub(super) const fn new(name: &'static str, turn: fn() -> Option<Duration>) -> Collector {
        Collector { name, turn, thread: AtomicI32::new(0) }
    }

    /// Starts the thread. By whoever has seen to it that none runs: `turn` said so last, or it never started.
    pub(super) fn start(&'static self) -> io::Result<()> {
        let run = move || {
            crate::sys::unblock_wake_signal();
            self.thread.store(crate::sys::thread_id(), Ordering::Relaxed); // for `thread`
            while let Some(pause) = (self.turn)() {
                std::thread::sleep(pause);
            }
        };
        std::thread::Builder::new().name(self.name.into()).spawn(run).map(drop)
    }

    /// The id of the thread that was started last; 0 if it has not begun.
    pub(super) fn thread(&self) -> i32 {
        self.thread.load(Ordering::Relaxed) // an id that is a moment old does no harm
    }
}
