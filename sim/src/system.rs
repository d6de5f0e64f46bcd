//! The system's clock and random source, as the simulated thread sees them: virtual time and numbers from the seed.
//!
//! Services ask std for both ([`Instant::now`](std::time::Instant::now), [`SystemTime::now`](std::time::SystemTime::now), the
//! keys of every `HashMap`), and nothing in std can be told to ask elsewhere. std asks libc's `clock_gettime` and
//! `getrandom`; the functions of this file have these names, so the linker takes them instead. Threads that are not
//! simulated get what the kernel says, as do the clocks that measure work done rather than time.
//!
//! Holds unsafe: the definitions stand in for those of libc and keep their contracts.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::hash::RandomState;
use std::ptr;
use std::slice;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use libc::{c_int, c_long, c_uint, c_void, clockid_t, size_t, ssize_t, timespec};

use crate::clock;
use crate::random::Random;

/// What the monotonic clock shows when a run begins: seconds. More than any machine has been up for, so that what was
/// asked before lies in the past.
const MONOTONIC_START: u64 = 1 << 30;
/// What the wall clock shows then: the first moment of 2025, in seconds since 1970.
const WALL_START: u64 = 1_735_689_600;
const NANOS: u64 = 1_000_000_000;

/// Where the random bytes of the simulated thread come from.
static BYTES: Mutex<Option<Random>> = Mutex::new(None);

thread_local! {
    /// Whether this thread's random bytes come from the seed.
    static SEEDED: Cell<bool> = const { Cell::new(false) };
}

/// Makes the calling thread a simulated one: nothing may have asked for time or hash keys on it before.
///
/// # Panics
/// If this program asks the system all the same: another library has defined the same functions, or std is linked in a way
/// that hides them.
pub(crate) fn take_over(seed: u64) {
    *lock_bytes() = Some(Random::new(seed));
    assert!(gives_hash_keys(), "this program's hash keys are not the simulator's");
    *lock_bytes() = Some(Random::stream(seed, "system", 0));
    SEEDED.set(true);
    clock::become_virtual();
    // Also makes the linker keep this file's functions.
    let ours: [*const (); 2] = [clock_gettime as *const (), getrandom as *const ()];
    assert!(!ours.contains(&ptr::null()));
    let before = Instant::now();
    assert!(before == Instant::now(), "this program's clock is not the simulator's");
}

/// Whether the keys of std's hash maps come from [`BYTES`], as a thread sees it that has none yet.
fn gives_hash_keys() -> bool {
    let next = || lock_bytes().clone().map(|mut random| random.u64());
    let before = next();
    let probe = || {
        SEEDED.set(true);
        let _keys = RandomState::new();
    };
    thread::spawn(probe).join().is_ok() && before != next()
}

fn lock_bytes() -> MutexGuard<'static, Option<Random>> {
    BYTES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a clock of the system shows on the simulated thread; `None` for those that go on as they are.
fn virtual_clock(clock: clockid_t) -> Option<(u64, u64)> {
    if !clock::is_virtual() {
        return None;
    }
    let (start, ahead) = match clock {
        libc::CLOCK_MONOTONIC
        | libc::CLOCK_MONOTONIC_RAW
        | libc::CLOCK_MONOTONIC_COARSE
        | libc::CLOCK_BOOTTIME => (MONOTONIC_START, false),
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE | libc::CLOCK_TAI => (WALL_START, true),
        _ => return None,
    };
    let (reading, wall_ahead) = clock::look();
    let shown = (start * NANOS).saturating_add(reading);
    let shown = if ahead { shown.saturating_add_signed(wall_ahead) } else { shown };
    Some((shown / NANOS, shown % NANOS))
}

/// libc's.
///
/// # Safety
/// `out` is valid for a write.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: clockid_t, out: *mut timespec) -> c_int {
    if let Some((seconds, nanos)) = virtual_clock(clock) {
        // SAFETY: all zeros is a timespec.
        let mut shown: timespec = unsafe { std::mem::zeroed() };
        shown.tv_sec = seconds as libc::time_t;
        shown.tv_nsec = nanos as c_long;
        // SAFETY: the caller's promise.
        unsafe { out.write(shown) };
        return 0;
    }
    // SAFETY: the kernel's call of this name has the same contract, errno included.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, out) as c_int }
}

/// libc's.
///
/// # Safety
/// `buffer` is valid for writes of `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: size_t, flags: c_uint) -> ssize_t {
    if SEEDED.get() && !buffer.is_null() {
        let mut bytes = lock_bytes();
        if let Some(random) = &mut *bytes {
            // SAFETY: the caller's promise; zeroed first, as it may be uninitialised.
            let buffer = unsafe {
                ptr::write_bytes(buffer.cast::<u8>(), 0, length);
                slice::from_raw_parts_mut(buffer.cast::<u8>(), length)
            };
            random.fill(buffer);
            return length as ssize_t;
        }
    }
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as ssize_t }
}

#[cfg(not(target_pointer_width = "64"))]
compile_error!("the system calls of 32-bit machines have other times");
