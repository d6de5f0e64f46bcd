//! What happens when a bthread overflows its stack: a line that names it, a trace, the end of the process.
//!
//! Owns the handler of SIGSEGV and SIGBUS, the list of address ranges whose guards it knows, and the
//! alternate signal stack of a worker. Everything the handler calls is async-signal-safe up to the point
//! where the message is out. It must never allocate, lock, or try to go on after an overflow.
//!
//! Any other fault goes to the handler that was there before: Rust's own, which reports the overflow of an
//! ordinary thread, or whatever the program installed. A fault counts as an overflow if its address lies in a
//! guard of a watched pool and the stack pointer in the slot above that guard. So a stray access to somebody
//! else's guard is not blamed on the stack, and neither is a C function with a frame so large that it steps
//! over the guard in one go (Rust code touches each page on the way, as does C under
//! `-fstack-clash-protection`); both die as any bad access does.

#![allow(unsafe_code)]

mod alt_stack;
mod report;
#[cfg(test)]
mod tests;

pub(crate) use alt_stack::{AltStack, alt_stack_for_this_thread};

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

/// Writes the name or id of the running bthread into the buffer and returns how many bytes that took; 0 if
/// no bthread runs. Called on the alternate stack of the thread that overflowed, so it must be
/// async-signal-safe: no allocation, no lock, no panic.
pub(crate) type Describe = fn(&mut [u8]) -> usize;

/// How many pools can be watched at once: those of 64 runtimes.
pub(crate) const POOLS_MAX: usize = 64 * crate::stack::StackClass::ALL.len();

/// Where a pool's guards lie: one at the low end of each slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GuardedRange {
    /// Address of the first slot.
    pub(crate) start: usize,
    /// Address past the last slot.
    pub(crate) end: usize,
    /// Bytes of a slot, guard included. Not 0.
    pub(crate) slot_size: usize,
    /// Bytes of the guard.
    pub(crate) guard_size: usize,
}

/// The slot that a fault has hit.
#[derive(Debug, PartialEq, Eq)]
struct Overflow {
    index: usize,
    limit: usize,
    top: usize,
}

impl GuardedRange {
    /// The slot whose guard holds `fault`, if `sp` lies in that slot.
    fn overflow(&self, fault: usize, sp: usize) -> Option<Overflow> {
        if !(self.start..self.end).contains(&fault) {
            return None;
        }
        let index = (fault - self.start) / self.slot_size;
        let slot = self.start + index * self.slot_size;
        let (limit, top) = (slot + self.guard_size, slot + self.slot_size);
        (fault < limit && (slot..=top).contains(&sp)).then_some(Overflow { index, limit, top })
    }
}

/// The stack of a bthread that `address` lies in: its lowest usable byte and the one past its highest.
pub(crate) fn stack_around(address: usize) -> Option<(usize, usize)> {
    PLACES.iter().filter_map(Place::range).find_map(|range| {
        let inside = (range.start..range.end).contains(&address);
        let slot = range.start + inside.then(|| (address - range.start) / range.slot_size)? * range.slot_size;
        let (limit, top) = (slot + range.guard_size, slot + range.slot_size);
        (limit..top).contains(&address).then_some((limit, top))
    })
}

/// A place for a range. All zero while free.
struct Place {
    taken: AtomicBool,
    /// Written last and zeroed first, so that the handler sees a whole range or none.
    end: AtomicUsize,
    start: AtomicUsize,
    slot_size: AtomicUsize,
    guard_size: AtomicUsize,
}

static PLACES: [Place; POOLS_MAX] = [const {
    Place {
        taken: AtomicBool::new(false),
        end: AtomicUsize::new(0),
        start: AtomicUsize::new(0),
        slot_size: AtomicUsize::new(0),
        guard_size: AtomicUsize::new(0),
    }
}; POOLS_MAX];

impl Place {
    fn range(&self) -> Option<GuardedRange> {
        // Acquire: pairs with the Release in `watch`, and makes the other fields visible.
        let end = self.end.load(Acquire);
        (end != 0).then(|| GuardedRange {
            end,
            // Relaxed: ordered by the load above.
            start: self.start.load(Relaxed),
            slot_size: self.slot_size.load(Relaxed),
            guard_size: self.guard_size.load(Relaxed),
        })
    }
}

/// Keeps a range watched until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch(usize);

/// Tells the handler where guards lie. Works before [`install`] as well as after.
///
/// Neither parks nor blocks.
///
/// # Errors
///
/// `OutOfMemory` if [`POOLS_MAX`] ranges are watched already.
pub(crate) fn watch(range: GuardedRange) -> io::Result<Watch> {
    for (index, place) in PLACES.iter().enumerate() {
        // Acquire: pairs with the Release in `Watch::drop`, so that these stores come after its own.
        if place.taken.compare_exchange(false, true, Acquire, Relaxed).is_ok() {
            place.start.store(range.start, Relaxed);
            place.slot_size.store(range.slot_size, Relaxed);
            place.guard_size.store(range.guard_size, Relaxed);
            // Release: pairs with the Acquire in `Place::range`.
            place.end.store(range.end, Release);
            return Ok(Watch(index));
        }
    }
    Err(io::Error::new(io::ErrorKind::OutOfMemory, "too many stack pools at once"))
}

impl Drop for Watch {
    fn drop(&mut self) {
        let place = &PLACES[self.0];
        place.end.store(0, Relaxed);
        // Release: pairs with the Acquire in `watch`.
        place.taken.store(false, Release);
    }
}

/// What the handler needs, set before it can run.
struct Installed {
    describe: Describe,
    previous: [(libc::c_int, libc::sigaction); 2],
}

static INSTALLED: OnceLock<io::Result<Installed>> = OnceLock::new();

/// Installs the handler, once for the process; a later call changes nothing, its `describe` is not used.
///
/// A thread whose bthreads shall be reported needs an alternate signal stack:
/// [`alt_stack_for_this_thread`]. Without one, an overflow kills the process without a word.
///
/// Blocks the thread for a few system calls, or while another thread installs.
///
/// # Errors
///
/// What `sigaction` reports; then, and at each later call, nothing is installed.
pub(crate) fn install(describe: Describe) -> io::Result<()> {
    let mut first = false;
    let installed = INSTALLED.get_or_init(|| {
        first = true;
        report::prepare();
        Ok(Installed {
            describe,
            previous: [
                (libc::SIGSEGV, current_action(libc::SIGSEGV)?),
                (libc::SIGBUS, current_action(libc::SIGBUS)?),
            ],
        })
    });
    let installed = match installed {
        Ok(installed) => installed,
        Err(error) => return Err(io::Error::new(error.kind(), error.to_string())),
    };
    if !first {
        return Ok(());
    }
    for (signal, _) in installed.previous {
        // SAFETY: all-zero is a valid sigaction; the fields that matter follow.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: `handle` has the signature that SA_SIGINFO asks for and is async-signal-safe.
        if unsafe { libc::sigaction(signal, &action, ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn current_action(signal: libc::c_int) -> io::Result<libc::sigaction> {
    let mut action = MaybeUninit::uninit();
    // SAFETY: a query into memory of the right size, which it fills if it succeeds.
    unsafe {
        match libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) {
            0 => Ok(action.assume_init()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// The stack pointer and the program counter of the interrupted code.
///
/// # Safety
///
/// `context` is what the kernel passed to a handler installed with SA_SIGINFO.
unsafe fn registers(context: *mut libc::c_void) -> (usize, usize) {
    // SAFETY: the caller's promise.
    let machine = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
    #[cfg(target_arch = "x86_64")]
    return (machine.gregs[libc::REG_RSP as usize] as usize, machine.gregs[libc::REG_RIP as usize] as usize);
    #[cfg(target_arch = "aarch64")]
    return (machine.sp as usize, machine.pc as usize);
}

/// The signal handler.
extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes both pointers, valid for the time of the handler.
    let (code, fault, (sp, pc)) = unsafe { ((*info).si_code, (*info).si_addr().addr(), registers(context)) };
    // A code above 0 is a fault; the others were sent by somebody and have no address.
    if code > 0 {
        for range in PLACES.iter().filter_map(Place::range) {
            if let Some(overflow) = range.overflow(fault, sp) {
                let describe = match INSTALLED.get() {
                    Some(Ok(installed)) => installed.describe,
                    _ => |_: &mut [u8]| 0,
                };
                report::report_and_abort(describe, &overflow, fault, pc);
            }
        }
    }
    chain(signal, code, info, context);
}

/// Does what would have happened without this module.
fn chain(signal: libc::c_int, code: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let previous = match INSTALLED.get() {
        Some(Ok(installed)) => installed.previous.iter().find(|previous| previous.0 == signal),
        _ => None,
    };
    match previous {
        Some((_, action)) if !matches!(action.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) => {
            // SAFETY: the address was installed as a handler of the kind its flags tell.
            unsafe {
                if action.sa_flags & libc::SA_SIGINFO != 0 {
                    type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
                    std::mem::transmute::<usize, Handler>(action.sa_sigaction)(signal, info, context);
                } else {
                    type Handler = extern "C" fn(libc::c_int);
                    std::mem::transmute::<usize, Handler>(action.sa_sigaction)(signal);
                }
            }
        }
        // A signal that somebody sent can be ignored. A fault cannot: the kernel kills then.
        Some((_, action)) if action.sa_sigaction == libc::SIG_IGN && code <= 0 => {}
        // Default: returning repeats the fault, which then kills. A sent signal has to be sent again.
        _ => {
            // SAFETY: both are async-signal-safe; all-zero is SIG_DFL without flags.
            unsafe {
                let default: libc::sigaction = MaybeUninit::zeroed().assume_init();
                libc::sigaction(signal, &default, ptr::null_mut());
                if code <= 0 {
                    libc::raise(signal);
                }
            }
        }
    }
}
