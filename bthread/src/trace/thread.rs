//! What a thread of this process is doing, seen from another one.
//!
//! A thread that is blocked in the kernel is not disturbed: the kernel tells where it stands
//! (proc(5), `/proc/pid/syscall`), and its stack is copied while it stays there. One that runs is asked by a signal.

use std::fmt;
use std::fs;
use std::io;

use super::registers::Registers;
use super::{STACK_COPY_BYTES_MAX, StackCopy, StackTrace, interrupted, unwind};

/// A thread that has not given its processor up for so long is taken to compute.
const COMPUTES_FOR: std::time::Duration = std::time::Duration::from_millis(2);
/// Copies of a blocked thread's stack that are thrown away because it ran meanwhile, before it counts as running.
const ATTEMPTS_MAX: usize = 3;

/// What holds a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// It sleeps in the kernel.
    Blocked {
        /// The number of the system call; none if it sleeps for another reason, such as a page that has to be read.
        syscall: Option<i64>,
    },
    /// It runs, or is waiting for a processor.
    Running,
}

/// As `blocked in nanosleep`, `blocked in system call 999`, `blocked in the kernel`, `running`.
impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Held::Running => f.write_str("running"),
            Held::Blocked { syscall: None } => f.write_str("blocked in the kernel"),
            Held::Blocked { syscall: Some(number) } => match syscall_name(*number) {
                Some(name) => write!(f, "blocked in {name}"),
                None => write!(f, "blocked in system call {number}"),
            },
        }
    }
}

/// A thread at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadTrace {
    /// Whether it was running.
    pub held: Held,
    /// Its calls under way. Those of a blocked thread are found without its registers: where a function cannot be
    /// left without them, its caller is the likely one, and the trace may be incomplete.
    pub stack: StackTrace,
}

/// Why there is no trace of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceError {
    /// It is the calling thread; [`capture`](super::capture) is for that.
    Itself,
    /// No thread of this process has that id.
    Gone,
    /// It did not answer within 50 ms: it has the signal blocked, or no processor.
    TimedOut,
    /// The signal (`SIGRTMAX - 3`) was taken over by other code of the program, or the system does not let it be used.
    SignalTaken,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TraceError::Itself => "a thread cannot be traced by itself in this way",
            TraceError::Gone => "no such thread in this process",
            TraceError::TimedOut => "the thread did not answer in time",
            TraceError::SignalTaken => "the signal for traces is in other hands",
        })
    }
}

impl std::error::Error for TraceError {}

/// What the thread with the id `thread` (as gettid(2) gives it) is doing now, and the calls under way in it.
///
/// A thread that sleeps in a system call is not disturbed. One that runs handles a signal, `SIGRTMAX - 3`: the handler
/// is installed at the first need and passes on what others send. It copies up to 32 KiB of stack, and restarts system
/// calls that can be restarted (signal(7)), should the thread enter one just then. One trace is made at a time.
///
/// *Blocking*: parks the bthread or blocks the thread, up to 100 ms and while others trace.
///
/// # Errors
/// See [`TraceError`].
pub fn of_thread(thread: i32) -> Result<ThreadTrace, TraceError> {
    if thread == crate::sys::thread_id() {
        return Err(TraceError::Itself);
    }
    for _ in 0..ATTEMPTS_MAX {
        let before = State::of(thread)?;
        let Some(blocked) = before.blocked else { break };
        let copy = StackCopy::of(blocked.sp, STACK_COPY_BYTES_MAX);
        if State::of(thread)? == before {
            let held = Held::Blocked { syscall: blocked.syscall };
            let stack = unwind::unwind(&copy, Registers::at(blocked.pc, blocked.sp), true);
            return Ok(ThreadTrace { held, stack });
        }
    }
    Ok(ThreadTrace { held: Held::Running, stack: interrupted::of_running(thread)? })
}

/// As [`of_thread`], of a thread that has been doing one thing for long, and careful with it: a signal is sent only to
/// one that seems to compute, since some system calls do not go on after one. Blocks the thread for a few milliseconds.
pub(crate) fn of_held(thread: i32) -> Result<ThreadTrace, TraceError> {
    let before = State::of(thread)?;
    if before.blocked.is_none() {
        std::thread::sleep(COMPUTES_FOR);
        let after = State::of(thread)?;
        let computes = after.blocked.is_none() && after.voluntary() == before.voluntary();
        if !(computes && after.can_block && is_running(thread)) && after.blocked.is_none() {
            return Err(TraceError::TimedOut);
        }
    }
    of_thread(thread)
}

/// Whether a thread of this process computes, or waits for nothing but a processor; false if the system does not say.
pub(crate) fn is_running(thread: i32) -> bool {
    let stat = read(thread, "stat").ok().flatten();
    // The state follows the name, which is in parentheses and may hold any.
    stat.is_some_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('R')))
}

/// Two equal ones tell that the thread has not run in between.
#[derive(PartialEq, Eq)]
struct State {
    /// How often it was taken off a processor, in the kernel's words.
    switches: Vec<String>,
    blocked: Option<Blocked>,
    /// The system says whether it is blocked.
    can_block: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Blocked {
    syscall: Option<i64>,
    sp: usize,
    pc: usize,
}

impl State {
    fn of(thread: i32) -> Result<State, TraceError> {
        let status = read(thread, "status")?.ok_or(TraceError::Gone)?;
        let switches = status.lines().filter(|line| line.contains("ctxt_switches:"));
        let switches = switches.map(str::to_owned).collect();
        // A kernel without this file leaves the signal.
        let syscall = read(thread, "syscall")?;
        let blocked = syscall.as_deref().and_then(Blocked::parse);
        Ok(State { switches, blocked, can_block: syscall.is_some() })
    }

    /// How often it gave its processor up by itself.
    fn voluntary(&self) -> Option<&String> {
        self.switches.iter().find(|line| line.starts_with("voluntary"))
    }
}

/// A file about a thread of this process; none if the system does not have it, or does not let it be read.
fn read(thread: i32, file: &str) -> Result<Option<String>, TraceError> {
    let folder = format!("/proc/self/task/{thread}");
    match fs::read_to_string(format!("{folder}/{file}")) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Err(TraceError::Gone),
        Err(error) if error.kind() == io::ErrorKind::NotFound && fs::metadata(&folder).is_err() => {
            Err(TraceError::Gone)
        }
        Err(_) => Ok(None),
    }
}

impl Blocked {
    /// `running`, or the number of the call, its six arguments, sp and pc; or -1, sp and pc.
    fn parse(line: &str) -> Option<Blocked> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [number, .., sp, pc] = words[..] else { return None };
        let address = |word: &str| usize::from_str_radix(word.strip_prefix("0x")?, 16).ok();
        let number: i64 = number.parse().ok()?;
        Some(Blocked { syscall: (number >= 0).then_some(number), sp: address(sp)?, pc: address(pc)? })
    }
}

/// The name of a system call that can take long.
fn syscall_name(number: i64) -> Option<&'static str> {
    macro_rules! names {
        ($($name:ident = $number:ident),* $(,)?) => {
            [$((libc::$number, stringify!($name))),*]
        };
    }
    let names = names![
        accept = SYS_accept,
        accept4 = SYS_accept4,
        clock_nanosleep = SYS_clock_nanosleep,
        close = SYS_close,
        connect = SYS_connect,
        copy_file_range = SYS_copy_file_range,
        epoll_pwait = SYS_epoll_pwait,
        epoll_pwait2 = SYS_epoll_pwait2,
        execve = SYS_execve,
        fallocate = SYS_fallocate,
        fcntl = SYS_fcntl,
        fdatasync = SYS_fdatasync,
        flock = SYS_flock,
        fsync = SYS_fsync,
        ftruncate = SYS_ftruncate,
        futex = SYS_futex,
        getdents64 = SYS_getdents64,
        getrandom = SYS_getrandom,
        io_getevents = SYS_io_getevents,
        io_uring_enter = SYS_io_uring_enter,
        ioctl = SYS_ioctl,
        madvise = SYS_madvise,
        mmap = SYS_mmap,
        mprotect = SYS_mprotect,
        msync = SYS_msync,
        munmap = SYS_munmap,
        nanosleep = SYS_nanosleep,
        openat = SYS_openat,
        ppoll = SYS_ppoll,
        pread64 = SYS_pread64,
        preadv = SYS_preadv,
        pselect6 = SYS_pselect6,
        pwrite64 = SYS_pwrite64,
        pwritev = SYS_pwritev,
        read = SYS_read,
        readv = SYS_readv,
        recvfrom = SYS_recvfrom,
        recvmmsg = SYS_recvmmsg,
        recvmsg = SYS_recvmsg,
        restart_syscall = SYS_restart_syscall,
        rt_sigsuspend = SYS_rt_sigsuspend,
        rt_sigtimedwait = SYS_rt_sigtimedwait,
        sendfile = SYS_sendfile,
        sendmmsg = SYS_sendmmsg,
        sendmsg = SYS_sendmsg,
        sendto = SYS_sendto,
        splice = SYS_splice,
        statx = SYS_statx,
        sync = SYS_sync,
        unlinkat = SYS_unlinkat,
        wait4 = SYS_wait4,
        waitid = SYS_waitid,
        write = SYS_write,
        writev = SYS_writev,
    ];
    #[cfg(target_arch = "x86_64")]
    let older = names![
        epoll_wait = SYS_epoll_wait,
        open = SYS_open,
        pause = SYS_pause,
        poll = SYS_poll,
        rename = SYS_rename,
        select = SYS_select,
        stat = SYS_stat,
        unlink = SYS_unlink,
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let older = [];
    names.into_iter().chain(older).find(|(of, _)| *of == number).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read_in_its_three_forms() {
        assert_eq!(Blocked::parse("running\n"), None);
        let line = "-1 0x7ffc10 0x401000\n";
        assert_eq!(Blocked::parse(line), Some(Blocked { syscall: None, sp: 0x7ffc10, pc: 0x401000 }));
        let line = "230 0x1 0x0 0x2 0x3 0x4 0x5 0x7f00 0x40aa\n";
        assert_eq!(Blocked::parse(line), Some(Blocked { syscall: Some(230), sp: 0x7f00, pc: 0x40aa }));
        assert_eq!(Blocked::parse(""), None);
        assert_eq!(Blocked::parse("1 2 3"), None);
    }

    #[test]
    fn what_holds_a_thread_has_a_name() {
        let futex = Held::Blocked { syscall: Some(libc::SYS_futex) };
        assert_eq!(futex.to_string(), "blocked in futex");
        assert_eq!(Held::Blocked { syscall: Some(99999) }.to_string(), "blocked in system call 99999");
        assert_eq!(Held::Blocked { syscall: None }.to_string(), "blocked in the kernel");
        assert_eq!(Held::Running.to_string(), "running");
    }
}
