//! A timer on the processor time of each thread, and the handler of the signal that they send.
//!
//! The kernel sends the signal to the very thread whose time it was (`SIGEV_THREAD_ID`, timer_create(2)). The handler
//! copies registers and a window of the stack into a buffer and returns. A timer that fires again before its signal
//! was delivered counts as an overrun, so processor time is counted right even if the kernel looks at such timers less
//! often than asked.
//!
//! Holds unsafe: the timers, which are plain numbers to the kernel, and the handler, which is async-signal-safe.

#![allow(unsafe_code)]

use std::collections::HashMap;
use std::fs;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::profile::ProfileError;
use crate::profile::buffers::Buffers;
use crate::sys;
use crate::trace::Point;
use crate::trace::signal::OurSignal;

/// Threads that have a timer at a time; the processor time of more is not seen.
const THREADS_MAX: usize = 1 << 13;
/// In the upper half of what our timers carry: a number that others are not likely to use.
const MARK: u32 = 0x626f_6262;

const NANOS_PER_SECOND: u32 = 1_000_000_000;

/// Next to the one of `trace`, far from the ends of the range, where other libraries look first.
fn signal() -> libc::c_int {
    libc::SIGRTMAX() - 4
}

/// What goes with a window.
#[derive(Clone, Copy, Default)]
struct Weight {
    count: u64,
    nanos: u64,
}

static SIGNAL: OurSignal = OurSignal::new();
static BUFFERS: Buffers<Weight> = Buffers::new();
static LOST: AtomicU64 = AtomicU64::new(0);

/// The part of `siginfo_t` that a timer's signal carries, as the kernel lays it out on 64-bit machines.
#[repr(C)]
struct FromTimer {
    signal: i32,
    error: i32,
    code: i32,
    gap: i32,
    timer: i32,
    overrun: i32,
    value: u64,
    rest: [u64; 12],
}
const _: () = assert!(size_of::<FromTimer>() == size_of::<libc::siginfo_t>());

/// Gets memory for samples, and sees that the signal comes to our handler. One caller at a time.
pub(super) fn prepare() -> Result<(), ProfileError> {
    BUFFERS.prepare();
    // SAFETY: `handle` is async-signal-safe.
    if unsafe { SIGNAL.install(signal(), handle) } { Ok(()) } else { Err(ProfileError::SignalTaken) }
}

/// The signal handler. Async-signal-safe: atomics, stores, and the system calls of a copy.
extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid description, whose first fields all signals have; the others are plain numbers
    // whatever they mean.
    let from = unsafe { &*info.cast::<FromTimer>() };
    if from.code != libc::SI_TIMER || (from.value >> 32) as u32 != MARK {
        SIGNAL.pass_on(signal, info, context);
        return;
    }
    let count = 1 + u64::from(from.overrun.max(0) as u32);
    let weight = Weight { count, nanos: count * u64::from(from.value as u32) };
    // SAFETY: the kernel passes the context, and we are in the handler.
    let point = unsafe { Point::interrupted(context) };
    if !BUFFERS.write(point, weight) {
        LOST.fetch_add(count, Ordering::Relaxed); // a statistic; `take_lost` takes each once
    }
}

/// Shows the stacks that have arrived, each with the number of periods and the nanoseconds it stands for. One caller at
/// a time.
pub(super) fn drain(mut read: impl FnMut(&[usize], u64, u64)) {
    BUFFERS.drain(|window, weight| read(window.unwind().frames(), weight.count, weight.nanos));
}

/// Samples that found no buffer since the last call.
pub(super) fn take_lost() -> u64 {
    LOST.swap(0, Ordering::Relaxed) // as in `handle`
}

/// The timers there are. Dropping it disarms none: it lives in a static.
pub(super) struct Timers {
    /// Nanoseconds between two samples; none: no timers.
    period: Option<u32>,
    timers: HashMap<i32, Timer>,
}

impl Timers {
    pub(super) fn new() -> Timers {
        Timers { period: None, timers: HashMap::new() }
    }

    /// From now on so many samples per second, or none. Timers of another frequency go; [`scan`](Self::scan) makes the
    /// new ones.
    pub(super) fn set_frequency(&mut self, frequency: Option<u32>) {
        let period = frequency.map(|frequency| NANOS_PER_SECOND / frequency.max(1));
        if self.period != period {
            self.timers.clear();
            self.period = period;
        }
    }

    /// Makes a timer for each thread that has none, but not for `except`, and takes away those of ended threads. A
    /// thread that ends meanwhile is left out.
    ///
    /// # Errors
    /// When the threads cannot be listed, or not one timer can be made.
    pub(super) fn scan(&mut self, except: i32) -> io::Result<()> {
        let Some(period) = self.period else { return Ok(()) };
        let mut refused = None;
        let threads = fs::read_dir("/proc/self/task")?;
        let mut before = std::mem::take(&mut self.timers);
        for entry in threads.map_while(Result::ok) {
            let name = entry.file_name();
            let Some(thread) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            if thread == except || self.timers.len() == THREADS_MAX {
                continue;
            }
            // Of a timer whose thread has ended the number may be another thread's by now.
            if let Some(timer) = before.remove(&thread).filter(Timer::is_armed) {
                self.timers.insert(thread, timer);
                continue;
            }
            match Timer::start(thread, period) {
                Ok(timer) => _ = self.timers.insert(thread, timer),
                // It has ended since it was listed.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) if self.timers.is_empty() => Err(error),
            _ => Ok(()),
        }
    }
}

/// A timer of the kernel's, which goes when it is dropped.
struct Timer(libc::timer_t);

// SAFETY: a number, whatever its type says; any thread may use it.
unsafe impl Send for Timer {}

impl Timer {
    /// One that fires after each `period` nanoseconds of the thread's processor time.
    fn start(thread: i32, period: u32) -> io::Result<Timer> {
        let mut timer: libc::timer_t = ptr::null_mut();
        // SAFETY: zeroed ones are valid; the fields that matter follow.
        let (mut event, mut spec): (libc::sigevent, libc::itimerspec) =
            unsafe { (MaybeUninit::zeroed().assume_init(), MaybeUninit::zeroed().assume_init()) };
        let value = u64::from(MARK) << 32 | u64::from(period);
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal();
        event.sigev_value = libc::sigval { sival_ptr: ptr::without_provenance_mut(value as usize) };
        event.sigev_notify_thread_id = thread;
        spec.it_interval.tv_sec = (period / NANOS_PER_SECOND).into();
        spec.it_interval.tv_nsec = (period % NANOS_PER_SECOND).into();
        spec.it_value = spec.it_interval;
        // SAFETY: all pointers lead to live locals.
        unsafe {
            if libc::timer_create(sys::thread_clock(thread), &mut event, &mut timer) != 0 {
                return Err(io::Error::last_os_error());
            }
            let timer = Timer(timer);
            match libc::timer_settime(timer.0, 0, &spec, ptr::null_mut()) {
                0 => Ok(timer),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }

    /// Whether it can still fire: the kernel shows no time left on a timer whose thread has ended.
    fn is_armed(&self) -> bool {
        let mut left = MaybeUninit::<libc::itimerspec>::zeroed();
        // SAFETY: a timer that we have made and not deleted, and a live local.
        unsafe {
            libc::timer_gettime(self.0, left.as_mut_ptr()) == 0 && {
                let left = left.assume_init().it_value;
                left.tv_sec != 0 || left.tv_nsec != 0
            }
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: made by us, deleted once.
        unsafe { libc::timer_delete(self.0) };
    }
}
