//! The readers-writer lock without its data: one 64-bit state, and a butex for each kind of waiter.
//!
//! Writers come first (`spec/bthread.md` §7): from the moment that a writer waits until no writer waits or holds, no
//! new reader gets in. So writers are not starved by readers; readers can be by writers.
//!
//! | bits of the state | meaning |
//! |---|---|
//! | 0 to 29 | readers that hold |
//! | 30 | readers may be waiting; only while writers are in flight |
//! | 31 | a writer holds |
//! | 32 to 63 | writers in flight: waiting, or the one that holds |
//!
//! The butex words count wake-ups, so that a waiter that looked at the state before a change does not sleep after it:
//! it reads the word first and then the state; a waker changes the state first and then the word.

use std::time::Instant;

use super::contention::{self, Lock};
use crate::atomic::{AtomicU64, Ordering, const_fn};
use crate::butex::{Butex, Manner, WaitResult};

const READER: u64 = 1;
/// Readers that can hold at once.
const READERS_MAX: u64 = (1 << 30) - 1;
const READERS_WAIT: u64 = 1 << 30;
const HELD: u64 = 1 << 31;
const WRITER: u64 = 1 << 32;

pub(in crate::sync) struct RawRwLock {
    state: AtomicU64,
    readers: Butex,
    writers: Butex,
}

fn readers(state: u64) -> u64 {
    state & READERS_MAX
}

fn writers(state: u64) -> u64 {
    state / WRITER
}

fn is_free(state: u64) -> bool {
    state & HELD == 0 && readers(state) == 0
}

impl RawRwLock {
    const_fn! {
        pub(in crate::sync) const fn new() -> Self {
            RawRwLock { state: AtomicU64::new(0), readers: Butex::new(0), writers: Butex::new(0) }
        }
    }

    /// False when writers are in flight, or all reader places are taken.
    #[inline]
    pub(in crate::sync) fn try_read(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed); // the exchange decides
        while writers(state) == 0 && readers(state) < READERS_MAX {
            // Acquire pairs with the Releases of writers that unlock.
            match self.state.compare_exchange_weak(
                state,
                state + READER,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// False when the deadline passed first. Panics when all reader places are taken.
    #[inline]
    pub(in crate::sync) fn read_until(&self, deadline: Option<Instant>) -> bool {
        self.try_read() || self.read_slow(deadline)
    }

    #[cold]
    fn read_slow(&self, deadline: Option<Instant>) -> bool {
        let mut watched = None;
        loop {
            let seen = self.readers.value().load(Ordering::Acquire); // before the state; pairs with `open_to_readers`
            if self.try_read() {
                return true;
            }
            let state = self.state.load(Ordering::Relaxed); // the exchange decides
            if writers(state) == 0 {
                assert!(readers(state) < READERS_MAX, "too many readers hold the lock");
                continue;
            }
            // Relaxed: it publishes nothing; the writer that lets readers in sees the bit in the very word it changes.
            if state & READERS_WAIT == 0
                && self
                    .state
                    .compare_exchange(state, state | READERS_WAIT, Ordering::Relaxed, Ordering::Relaxed)
                    .is_err()
            {
                continue;
            }
            watched.get_or_insert_with(|| contention::begin(Lock::Read));
            let manner = Manner { deadline, ..Manner::default() };
            if self.readers.wait_as(seen, manner) == WaitResult::TimedOut {
                return false;
            }
        }
    }

    /// Only by a reader that holds.
    #[inline]
    pub(in crate::sync) fn unlock_read(&self) {
        // Release pairs with the Acquire of the writer that gets in.
        let state = self.state.fetch_sub(READER, Ordering::Release);
        if readers(state) == 1 && writers(state) > 0 {
            self.wake_writer();
        }
    }

    /// False when somebody holds it.
    #[inline]
    pub(in crate::sync) fn try_write(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed); // the exchange decides
        while is_free(state) {
            let next = state + WRITER + HELD;
            // Acquire pairs with the Releases of those who unlock.
            match self.state.compare_exchange_weak(state, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// False when the deadline passed first.
    #[inline]
    pub(in crate::sync) fn write_until(&self, deadline: Option<Instant>) -> bool {
        self.try_write() || self.write_slow(deadline)
    }

    #[cold]
    fn write_slow(&self, deadline: Option<Instant>) -> bool {
        self.state.fetch_add(WRITER, Ordering::Relaxed); // keeps new readers out; publishes nothing
        let mut woken = false;
        let mut watched = None;
        loop {
            let seen = self.writers.value().load(Ordering::Acquire); // before the state; pairs with `wake_writer`
            let state = self.state.load(Ordering::Relaxed); // the exchange decides
            if is_free(state) {
                // In flight already. Acquire pairs with the Releases of those who unlock.
                if self
                    .state
                    .compare_exchange(state, state | HELD, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
                {
                    return true;
                }
                continue;
            }
            watched.get_or_insert_with(|| contention::begin(Lock::Write));
            match self.writers.wait_as(seen, Manner { deadline, first: woken, ..Manner::default() }) {
                WaitResult::Woken => woken = true,
                WaitResult::Mismatch => {}
                WaitResult::TimedOut => {
                    self.leave(WRITER, Ordering::Relaxed); // we have written nothing
                    return false;
                }
                WaitResult::Interrupted => unreachable!("locks ignore interruptions"),
            }
        }
    }

    /// Only by the writer that holds.
    #[inline]
    pub(in crate::sync) fn unlock_write(&self) {
        // Release pairs with the Acquires of those who lock.
        if self.state.compare_exchange(WRITER + HELD, 0, Ordering::Release, Ordering::Relaxed).is_err() {
            self.leave(WRITER + HELD, Ordering::Release);
        }
    }

    /// From writing to reading, without letting another writer in between. Only by the writer that holds.
    pub(in crate::sync) fn downgrade(&self) {
        // Release pairs with the Acquires of the other readers.
        self.leave(WRITER + HELD - READER, Ordering::Release);
    }

    /// A writer takes what is its own out of the state, and sees to who comes next.
    #[cold]
    fn leave(&self, own: u64, ordering: Ordering) {
        let mut state = self.state.load(Ordering::Relaxed); // the exchange decides
        let (before, after) = loop {
            let mut next = state - own;
            if writers(next) == 0 {
                next &= !READERS_WAIT;
            }
            match self.state.compare_exchange_weak(state, next, ordering, Ordering::Relaxed) {
                Ok(_) => break (state, next),
                Err(now) => state = now,
            }
        };
        if writers(after) == 0 {
            if before & READERS_WAIT != 0 {
                self.open_to_readers();
            }
        } else if is_free(after) {
            // Also by a writer that gives up: the wake-up that it may have got is for another one.
            self.wake_writer();
        }
    }

    fn wake_writer(&self) {
        self.writers.value().fetch_add(1, Ordering::Release); // pairs with the load in `write_slow`
        self.writers.wake_one();
    }

    #[cold]
    fn open_to_readers(&self) {
        self.readers.value().fetch_add(1, Ordering::Release); // pairs with the load in `read_slow`
        self.readers.wake_all();
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::atomic::AtomicU32;
    use loom::sync::Arc;
    use loom::thread;
    use std::time::Duration;

    #[derive(Clone)]
    struct Pair(Arc<(RawRwLock, AtomicU32, AtomicU32)>);

    impl Pair {
        fn new() -> Self {
            Pair(Arc::new((RawRwLock::new(), AtomicU32::new(0), AtomicU32::new(0))))
        }

        fn write(&self, deadline: Option<Instant>) -> bool {
            let locked = self.0.0.write_until(deadline);
            if locked {
                let next = self.0.1.load(Ordering::Relaxed) + 1;
                self.0.1.store(next, Ordering::Relaxed);
                self.0.2.store(next, Ordering::Relaxed);
                self.0.0.unlock_write();
            }
            locked
        }

        fn read(&self, deadline: Option<Instant>) {
            if self.0.0.read_until(deadline) {
                assert_eq!(self.0.1.load(Ordering::Relaxed), self.0.2.load(Ordering::Relaxed));
                self.0.0.unlock_read();
            }
        }
    }

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(3600))
    }

    #[test]
    fn loom_readers_and_writers_all_get_in() {
        crate::atomic::model(|| {
            let pair = Pair::new();
            let writer = thread::spawn({
                let pair = pair.clone();
                move || pair.write(None)
            });
            let reader = thread::spawn({
                let pair = pair.clone();
                move || pair.read(None)
            });
            pair.write(None);
            writer.join().unwrap();
            reader.join().unwrap();
            assert_eq!(pair.0.0.state.load(Ordering::Relaxed), 0);
        });
    }

    #[test]
    fn loom_a_writer_that_gives_up_strands_nobody() {
        crate::atomic::model(|| {
            let pair = Pair::new();
            assert!(pair.0.0.try_read());
            let impatient = thread::spawn({
                let pair = pair.clone();
                move || pair.write(soon())
            });
            let reader = thread::spawn({
                let pair = pair.clone();
                move || pair.read(None)
            });
            pair.0.0.unlock_read();
            impatient.join().unwrap();
            reader.join().unwrap();
            assert_eq!(pair.0.0.state.load(Ordering::Relaxed), 0);
        });
    }

    #[test]
    fn loom_a_writer_that_gives_up_passes_its_wake_up_on() {
        crate::atomic::model(|| {
            let pair = Pair::new();
            assert!(pair.0.0.try_read());
            let writers = [soon(), None].map(|deadline| {
                let pair = pair.clone();
                thread::spawn(move || pair.write(deadline))
            });
            pair.0.0.unlock_read();
            writers.into_iter().for_each(|writer| _ = writer.join().unwrap());
        });
    }

    #[test]
    fn loom_a_downgrade_lets_readers_in() {
        crate::atomic::model(|| {
            let pair = Pair::new();
            assert!(pair.0.0.try_write());
            let reader = thread::spawn({
                let pair = pair.clone();
                move || pair.read(None)
            });
            pair.0.0.downgrade();
            reader.join().unwrap(); // while we still read
            pair.0.0.unlock_read();
            assert_eq!(pair.0.0.state.load(Ordering::Relaxed), 0);
        });
    }
}
