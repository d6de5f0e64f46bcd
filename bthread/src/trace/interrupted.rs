//! The stack of a thread that is running, copied by the thread itself: a signal makes it do so.
//!
//! One request at a time, and one buffer. The handler copies registers and stack into it and returns, whatever the
//! thread was doing; unwinding is done by whoever asked. Must never be used on a thread that is blocked in a system
//! call, which the signal could end early.
//!
//! Holds unsafe: the handler, and the buffer, which belongs to one side at a time as `slot` says.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::io;
use std::mem::size_of;
use std::ptr;
use std::sync::{LazyLock, TryLockError};
use std::time::{Duration, Instant};

use super::memory;
use super::registers::{Registers, SP};
use super::signal::OurSignal;
use super::slot::{Slot, Ticket};
use super::{StackCopy, StackTrace, TraceError, unwind};
use crate::sync::Mutex;

/// Bytes of stack that the handler copies.
const STACK_BYTES_MAX: usize = 32 << 10;
/// How long the thread may take to come to the handler. It may be waiting for a processor.
const ANSWER_MAX: Duration = Duration::from_millis(50);
/// How often the buffer is looked at.
const LOOK_EVERY: Duration = Duration::from_micros(100);

/// Far from the ends of the range, where other libraries look first.
fn signal() -> libc::c_int {
    libc::SIGRTMAX() - 3
}

struct Area {
    slot: Slot,
    content: UnsafeCell<Content>,
}

struct Content {
    registers: Registers,
    length: usize,
    stack: [u8; STACK_BYTES_MAX],
}

// SAFETY: `content` is touched by the one side that `slot` names.
unsafe impl Sync for Area {}

static AREA: Area = Area {
    slot: Slot::new(),
    content: UnsafeCell::new(Content {
        registers: Registers::at(0, 0),
        length: 0,
        stack: [0; STACK_BYTES_MAX],
    }),
};

/// Held by who asks.
static ASKER: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);

static SIGNAL: OurSignal = OurSignal::new();

/// The part of `siginfo_t` that a queued signal carries, as the kernel lays it out on 64-bit machines.
#[repr(C)]
struct Queued {
    signal: i32,
    error: i32,
    code: i32,
    gap: i32,
    process: i32,
    user: u32,
    value: usize,
    rest: [u64; 12],
}
const _: () = assert!(size_of::<Queued>() == size_of::<libc::siginfo_t>());

/// What our signals carry: a number that others are not likely to send, and the ticket.
fn value_of(ticket: Ticket) -> usize {
    (ptr::from_ref(&AREA).addr() << 32) | ticket.to_u32() as usize
}

/// The stack of `thread`, a running thread of this process.
///
/// *Blocking*: parks the bthread or blocks the thread while another one asks, and up to twice [`ANSWER_MAX`].
pub(super) fn of_running(thread: i32) -> Result<StackTrace, TraceError> {
    // Its holder may be a bthread whose worker is held.
    let asker = match ASKER.try_lock_until(Instant::now() + ANSWER_MAX) {
        Ok(asker) => asker,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return Err(TraceError::TimedOut),
    };
    install()?;
    let ticket = AREA.slot.ask().ok_or(TraceError::TimedOut)?;
    if let Err(error) = send(thread, ticket) {
        AREA.slot.withdraw(ticket);
        return Err(error);
    }
    let parker = crate::wait::current_parker();
    let mut deadline = Instant::now() + ANSWER_MAX;
    let mut withdrawn = false;
    while !AREA.slot.is_full() {
        let now = Instant::now();
        if now >= deadline {
            // Once the handler has begun, it ends soon, unless its thread loses its processor.
            if withdrawn || AREA.slot.withdraw(ticket) {
                return Err(TraceError::TimedOut);
            }
            withdrawn = true;
            deadline = now + ANSWER_MAX;
        }
        crate::wait::park_for(parker, Some(now + LOOK_EVERY), crate::wait::Reason::Sleep);
    }
    // SAFETY: full, so the content is ours until we ask again, and we are the only asker.
    let (registers, copy) = unsafe {
        let content = &*AREA.content.get();
        let start = content.registers.get(SP).unwrap_or(0);
        (content.registers, StackCopy { start, bytes: content.stack[..content.length].to_vec() })
    };
    drop(asker);
    Ok(unwind::unwind(&copy, registers, true))
}

/// Sees that the signal comes to our handler. Only by the asker.
fn install() -> Result<(), TraceError> {
    // SAFETY: `handle` is async-signal-safe.
    if unsafe { SIGNAL.install(signal(), handle) } { Ok(()) } else { Err(TraceError::SignalTaken) }
}

fn send(thread: i32, ticket: Ticket) -> Result<(), TraceError> {
    let info = Queued {
        signal: signal(),
        error: 0,
        code: libc::SI_QUEUE,
        gap: 0,
        process: std::process::id() as i32,
        user: 0,
        value: value_of(ticket),
        rest: [0; 12],
    };
    // SAFETY: the kernel reads a `siginfo_t`, which `Queued` is.
    let sent = unsafe {
        libc::syscall(libc::SYS_rt_tgsigqueueinfo, libc::getpid(), thread, signal(), ptr::from_ref(&info))
    };
    match sent {
        0 => Ok(()),
        _ => Err(match io::Error::last_os_error().raw_os_error() {
            Some(libc::ESRCH) => TraceError::Gone,
            _ => TraceError::SignalTaken,
        }),
    }
}

/// The signal handler. Async-signal-safe: system calls and plain stores.
extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid description; every signal that is queued carries what `Queued` has.
    let queued = unsafe { &*info.cast::<Queued>() };
    let ticket = Ticket::from_u32(queued.value as u32);
    if queued.code != libc::SI_QUEUE || queued.value != value_of(ticket) {
        SIGNAL.pass_on(signal, info, context);
        return;
    }
    if !AREA.slot.begin(ticket) {
        return;
    }
    // SAFETY: begun, so the content is ours until `finish`; the kernel passes the context.
    unsafe {
        let content = &mut *AREA.content.get();
        content.registers = Registers::of_signal(context);
        let sp = content.registers.get(SP).unwrap_or(0);
        content.length = memory::copy(sp, &mut content.stack);
    }
    AREA.slot.finish(ticket);
}
