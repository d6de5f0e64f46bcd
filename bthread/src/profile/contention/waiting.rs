//! What a lock call does that has to wait: nothing, or tells of its stack before and of its time afterwards.
//!
//! Called inside of locks: it must never take one of `sync`, and never wait. It uses no thread-locals, for a bthread may
//! wake up on another thread than it slept on. What is told is bounded: windows of stacks by the buffers, ends by
//! [`ENDED_MAX`], both by the budget of an interval.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use crate::atomic::lock;
use crate::profile::buffers::Buffers;
use crate::trace::Point;

/// Ends of waits that were not taken over yet.
const ENDED_MAX: usize = 1 << 15;

/// The kinds of locks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lock {
    Mutex,
    Read,
    Write,
    Semaphore,
}

impl Lock {
    fn label(self) -> &'static str {
        match self {
            Lock::Mutex => "mutex",
            Lock::Read => "rwlock (read)",
            Lock::Write => "rwlock (write)",
            Lock::Semaphore => "semaphore",
        }
    }
}

/// What goes with a window.
#[derive(Clone, Copy, Default)]
struct Tag(Option<(u64, Lock, Instant)>);

static ON: AtomicBool = AtomicBool::new(false);
/// Waits since the interval began, looked at or not.
static COUNT: AtomicU32 = AtomicU32::new(0);
/// A wait is looked at if 32 random bits are not above this.
static CHANCE: AtomicU32 = AtomicU32::new(u32::MAX);
/// Waits that may still be looked at in this interval.
static LEFT: AtomicU32 = AtomicU32::new(0);
static NEXT_ID: AtomicU64 = AtomicU64::new(1);
static BUFFERS: Buffers<Tag> = Buffers::new();
static ENDED: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

// All orderings of the statics above are relaxed: they are statistics, and what they let through is handed over by the
// buffers and by the mutex of `ENDED`.

/// A wait that is looked at; its end is told when this is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Watched {
    id: u64,
    began: Instant,
}

/// Before a wait for a lock; what is returned is to be kept until it is over.
#[inline(always)]
pub(crate) fn begin(kind: Lock) -> Option<Watched> {
    if ON.load(Ordering::Relaxed) { watch(kind) } else { None }
}

/// Is the first frame of each stack.
#[cold]
#[inline(never)]
fn watch(kind: Lock) -> Option<Watched> {
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    if mixed(number) > CHANCE.load(Ordering::Relaxed) {
        return None;
    }
    LEFT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).ok()?;
    let (id, began) = (NEXT_ID.fetch_add(1, Ordering::Relaxed), Instant::now());
    // Without a buffer it is one of those that are not looked at.
    BUFFERS.write(Point::here(), Tag(Some((id, kind, began)))).then_some(Watched { id, began })
}

impl Drop for Watched {
    fn drop(&mut self) {
        let nanos = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut ended = lock(&ENDED);
        if ended.len() < ENDED_MAX {
            ended.push((self.id, nanos));
        }
    }
}

/// Different numbers make bits that look random (the finalizer of MurmurHash3).
fn mixed(mut bits: u32) -> u32 {
    bits ^= bits >> 16;
    bits = bits.wrapping_mul(0x85eb_ca6b);
    bits ^= bits >> 13;
    bits = bits.wrapping_mul(0xc2b2_ae35);
    bits ^ bits >> 16
}

/// From now on waits are looked at, `budget` of them before the next [`set_chance`]. What was told before is forgotten.
pub(super) fn switch_on(budget: u32) {
    BUFFERS.prepare();
    BUFFERS.drain(|_, _| ());
    lock(&ENDED).clear();
    COUNT.store(0, Ordering::Relaxed);
    CHANCE.store(u32::MAX, Ordering::Relaxed);
    LEFT.store(budget, Ordering::Relaxed);
    ON.store(true, Ordering::Relaxed);
}

/// From now on no wait is looked at. Those that are will tell of their ends still.
pub(super) fn switch_off() {
    ON.store(false, Ordering::Relaxed);
}

/// A new interval: `budget` waits may be looked at, evenly chosen if there will be as many as in the last one, `all`.
pub(super) fn set_chance(budget: u32, all: u32) {
    let share = f64::from(budget) / f64::from(all.max(1));
    CHANCE.store((share * f64::from(u32::MAX)) as u32, Ordering::Relaxed); // saturates
    LEFT.store(budget, Ordering::Relaxed);
}

/// How many waits began since the last call or the switching on.
pub(super) fn take_count() -> u32 {
    COUNT.swap(0, Ordering::Relaxed)
}

/// Shows the waits that were told of: id, stack, kind of lock and beginning. One caller at a time.
pub(super) fn drain(mut read: impl FnMut(u64, &[usize], &'static str, Instant)) {
    BUFFERS.drain(|window, Tag(tag)| {
        let Some((id, kind, began)) = tag else { return };
        // The first frame is ours.
        read(id, window.unwind().frames().get(1..).unwrap_or(&[]), kind.label(), began);
    });
}

/// The waits that have ended: ids, and nanoseconds.
pub(super) fn take_ended() -> Vec<(u64, u64)> {
    std::mem::take(&mut *lock(&ENDED))
}
