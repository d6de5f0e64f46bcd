//! The few system calls that neither std nor mio offers: a wait on epoll that only one named thread's wake-up
//! interrupts, and that wake-up; a look at one descriptor's readiness, and its non-blocking mode.
//!
//! Holds unsafe: calls into libc, each with plain data that lives through the call.
//!
//! A sleeping worker is woken by a signal that is blocked everywhere but inside its epoll wait. So all idle workers
//! can share one epoll descriptor, the kernel picks one of them for each event, and still any single one can be
//! woken by name, which an event on a shared descriptor could not do. `SIGURG` is used because it is ignored by
//! default and debuggers pass it silently.

#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Most events taken in one look.
pub(crate) const EVENTS_MAX: usize = 64;

const WAKE_SIGNAL: libc::c_int = libc::SIGURG;

/// One event as the kernel wrote it.
#[derive(Clone, Copy)]
pub(crate) struct Event {
    pub(crate) token: u64,
    pub(crate) flags: u32,
}

impl Event {
    pub(crate) const NONE: Event = Event { token: 0, flags: 0 };
}

/// The signals that stay blocked while a worker waits.
#[derive(Clone, Copy)]
pub(crate) struct WaitMask(libc::sigset_t);

/// Prepares the calling thread for being woken by [`wake`] inside [`wait`]: the signal has a handler in this process
/// and is blocked in this thread from here on.
pub(crate) fn prepare_waiter() -> io::Result<WaitMask> {
    extern "C" fn ignore(_signal: libc::c_int) {}
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    let mut old = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: all pointers lead to live locals; an empty handler is async-signal-safe; a zeroed sigaction is valid.
    unsafe {
        let mut current = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        check(libc::sigaction(WAKE_SIGNAL, ptr::null(), &mut current))?;
        if current.sa_sigaction == libc::SIG_DFL || current.sa_sigaction == libc::SIG_IGN {
            let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
            action.sa_sigaction = ignore as extern "C" fn(libc::c_int) as usize;
            action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
            check(libc::sigaction(WAKE_SIGNAL, &action, ptr::null_mut()))?;
        }
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), WAKE_SIGNAL);
        let error = libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), old.as_mut_ptr());
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        let mut mask = old.assume_init();
        libc::sigdelset(&mut mask, WAKE_SIGNAL);
        Ok(WaitMask(mask))
    }
}

/// The clock of the processor time of a thread of this process, as the kernel numbers clocks: the inverted id above three
/// bits that say "of a thread" and "as the scheduler counts".
pub(crate) fn thread_clock(thread: i32) -> libc::clockid_t {
    (!thread << 3) | 0b110
}

/// The processor time that a thread of this process has taken; none if it is no more.
pub(crate) fn thread_cpu_time(thread: i32) -> Option<Duration> {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the pointer leads to a live local; a zeroed timespec is valid, and an unknown clock is an error.
    let time = unsafe {
        check(libc::clock_gettime(thread_clock(thread), time.as_mut_ptr())).ok()?;
        time.assume_init()
    };
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

/// Takes back what the calling thread has inherited from a worker that started it: that the signal is blocked. It would
/// hand that on to child processes.
pub(crate) fn unblock_wake_signal() {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the pointers lead to a live local. No error is possible with these arguments.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), WAKE_SIGNAL);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut());
    }
}

/// Waits on `epoll` until an event, a wake-up or the timeout; fills `events` and returns how many. A wake-up or any
/// other signal gives 0. Never returns before the timeout for want of precision.
pub(crate) fn wait(
    epoll: BorrowedFd<'_>,
    events: &mut [Event; EVENTS_MAX],
    timeout: Option<Duration>,
    mask: Option<&WaitMask>,
) -> io::Result<usize> {
    /// The kernel is older than 5.11, or a filter of system calls is.
    static NO_NANOSECONDS: AtomicBool = AtomicBool::new(false);

    let mut raw = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
    let sigmask = mask.map_or(ptr::null(), |mask| ptr::from_ref(&mask.0));
    // Relaxed: whoever reads an old value asks the kernel once more.
    let mut count = -1;
    let mut done = false;
    if !NO_NANOSECONDS.load(Ordering::Relaxed) {
        let timespec = timeout.map(|timeout| libc::timespec {
            tv_sec: timeout.as_secs().min(i64::MAX as u64) as libc::time_t,
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let timespec = timespec.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the pointers lead to live data of the sizes given; the kernel's signal set has 8 bytes.
        let result = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                epoll.as_raw_fd(),
                raw.as_mut_ptr(),
                EVENTS_MAX as libc::c_int,
                timespec,
                sigmask,
                8usize,
            )
        };
        // EPERM: what old container runtimes answer for system calls that they do not know.
        done = result >= 0
            || !matches!(io::Error::last_os_error().raw_os_error(), Some(libc::ENOSYS | libc::EPERM));
        if !done {
            NO_NANOSECONDS.store(true, Ordering::Relaxed);
        }
        count = result as libc::c_int;
    }
    if !done {
        let millis =
            timeout.map_or(-1, |timeout| timeout.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as i32);
        // SAFETY: as above.
        count = unsafe {
            libc::epoll_pwait(epoll.as_raw_fd(), raw.as_mut_ptr(), EVENTS_MAX as libc::c_int, millis, sigmask)
        };
    }
    if count < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted { Ok(0) } else { Err(error) };
    }
    for (event, raw) in events.iter_mut().zip(&raw[..count as usize]) {
        *event = Event { token: raw.u64, flags: raw.events };
    }
    Ok(count as usize)
}

/// The epoll descriptor of a mio poll.
pub(crate) fn borrow(poll: &mio::Poll) -> BorrowedFd<'_> {
    // SAFETY: the descriptor lives as long as `poll`, which stays borrowed.
    unsafe { BorrowedFd::borrow_raw(poll.as_raw_fd()) }
}

/// The calling thread's id, as [`wake`] takes it.
pub(crate) fn thread_id() -> i32 {
    // SAFETY: takes and gives plain numbers.
    unsafe { libc::gettid() }
}

/// Has `f` called in the children that this process forks off, once for all; a later call changes nothing. `f` must be
/// async-signal-safe.
pub(crate) fn in_forked_child(f: fn()) -> io::Result<()> {
    static CHILD: OnceLock<(fn(), libc::c_int)> = OnceLock::new();
    extern "C" fn child() {
        if let Some((f, _)) = CHILD.get() {
            f();
        }
    }
    // SAFETY: a function that lives for ever.
    let (_, error) = *CHILD.get_or_init(|| (f, unsafe { libc::pthread_atfork(None, None, Some(child)) }));
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Binds the calling thread to one CPU.
pub(crate) fn bind_to_cpu(cpu: usize) -> io::Result<()> {
    // SAFETY: a zeroed set is empty; the kernel reads as many bytes as we say.
    unsafe {
        let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed().assume_init();
        libc::CPU_SET(cpu, &mut set);
        check(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set))
    }
}

/// Ends the current [`wait`] of that thread of this process, or the next one.
pub(crate) fn wake(thread: i32) {
    // SAFETY: takes and gives plain numbers. It fails only for a thread that has ended, which workers never do.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, WAKE_SIGNAL) };
}

/// Which of `flags` (those of epoll, which are those of `poll`), errors and hang-ups a descriptor shows right now.
pub(crate) fn poll_now(fd: BorrowedFd<'_>, flags: u32) -> io::Result<u32> {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: flags as libc::c_short, revents: 0 };
    loop {
        // SAFETY: one live entry.
        let count = unsafe { libc::poll(&mut entry, 1, 0) };
        if count >= 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    if entry.revents & libc::POLLNVAL != 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    Ok(u32::from(entry.revents as u16))
}

/// Puts a descriptor into non-blocking mode.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes and gives plain numbers.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    if flags & libc::O_NONBLOCK != 0 {
        return Ok(());
    }
    // SAFETY: as above.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_up_ends_the_wait_even_if_it_came_before() {
        std::thread::spawn(|| {
            let mask = prepare_waiter().unwrap();
            let epoll = mio::Poll::new().unwrap();
            let fd = borrow(&epoll);
            let mut events = [Event::NONE; EVENTS_MAX];
            wake(thread_id());
            assert_eq!(wait(fd, &mut events, None, Some(&mask)).unwrap(), 0);
            let id = thread_id();
            let waker = std::thread::spawn(move || wake(id));
            assert_eq!(wait(fd, &mut events, None, Some(&mask)).unwrap(), 0);
            waker.join().unwrap();
            assert_eq!(wait(fd, &mut events, Some(Duration::from_micros(1)), Some(&mask)).unwrap(), 0);
        })
        .join()
        .unwrap();
    }
}
