//! One signal number that this crate uses in a process it does not own: taken once, and passed on when it is not ours.
//!
//! Must never displace a handler for good: what was there before gets every signal that does not carry our mark.
//!
//! Holds unsafe: `sigaction`, and calling the handler that was there before.

#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

/// A handler as SA_SIGINFO asks for it.
pub(crate) type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// A signal and what was done about it before us.
pub(crate) struct OurSignal {
    previous: OnceLock<libc::sigaction>,
}

impl OurSignal {
    pub(crate) const fn new() -> OurSignal {
        OurSignal { previous: OnceLock::new() }
    }

    /// Sees that `signal` comes to `handler`, on the alternate stack and with restarts. False: other code of the program
    /// has taken it over since, or the system refuses. One caller at a time, always with the same two.
    ///
    /// # Safety
    /// `handler` is async-signal-safe.
    pub(crate) unsafe fn install(&self, signal: libc::c_int, handler: Handler) -> bool {
        let Ok(current) = exchange(signal, None) else { return false };
        if current.sa_sigaction == handler as *const () as usize {
            return true;
        }
        // Whoever came after us may pass on what is not his, or not: then the signal could end the process.
        if self.previous.set(current).is_err() {
            return false;
        }
        // SAFETY: all-zero is a valid sigaction; the fields that matter follow.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        exchange(signal, Some(&action)).is_ok()
    }

    /// Leaves a signal that is not ours to who was there before. By the handler, with what it was given.
    pub(crate) fn pass_on(
        &self,
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    ) {
        let Some(previous) = self.previous.get() else { return };
        match previous.sa_sigaction {
            libc::SIG_IGN => {}
            // SAFETY: both are async-signal-safe; all-zero is SIG_DFL without flags. The process ends, as it would have.
            libc::SIG_DFL => unsafe {
                let default: libc::sigaction = MaybeUninit::zeroed().assume_init();
                libc::sigaction(signal, &default, ptr::null_mut());
                libc::raise(signal);
            },
            // SAFETY: the address was installed as a handler of the kind its flags tell.
            handler => unsafe {
                if previous.sa_flags & libc::SA_SIGINFO != 0 {
                    std::mem::transmute::<usize, Handler>(handler)(signal, info, context);
                } else {
                    std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(handler)(signal);
                }
            },
        }
    }
}

/// What is done about the signal; and from now on `action`, if given.
fn exchange(signal: libc::c_int, action: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    let mut before = MaybeUninit::uninit();
    // SAFETY: `action` is null or a valid one, whose handler `install` vouches for; the old action is written if the
    // call succeeds.
    unsafe {
        match libc::sigaction(signal, action.map_or(ptr::null(), ptr::from_ref), before.as_mut_ptr()) {
            0 => Ok(before.assume_init()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
