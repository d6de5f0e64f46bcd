//! Tells AddressSanitizer and ThreadSanitizer which flow runs on which stack (feature `sanitizers`).
//!
//! Owns what they want to know of a flow ([`Fiber`]), and what runs on the calling thread. The sanitizers' functions
//! are weak symbols: with the one that the program is built with, its calls are made; without any, none.
//!
//! AddressSanitizer keeps the bounds of the stack that a thread is on, and a second, "fake" stack for each flow, from
//! which it takes frames so that it can tell when one is used after its function returned. ThreadSanitizer keeps for
//! each flow a history, a clock and the chain of calls. (Sources: the comments of `sanitizer/common_interface_defs.h`
//! and `sanitizer/tsan_interface.h`, which come with clang.)
//!
//! Unlike the rest of the module above, this one touches a thread-local, through functions that are never inlined,
//! as a flow may go on on another thread.

#![allow(unsafe_code)]

use super::{Context, Entry};
use std::arch::asm;
use std::cell::Cell;
use std::ffi::{c_int, c_uint, c_void};
use std::ptr;

pub(super) type StartSwitch = unsafe extern "C" fn(save: *mut *mut c_void, bottom: *const u8, size: usize);
type FinishSwitch = unsafe extern "C" fn(saved: *mut c_void, bottom: *mut *const u8, size: *mut usize);
type HandleNoReturn = unsafe extern "C" fn();
type CurrentFiber = unsafe extern "C" fn() -> *mut c_void;
type CreateFiber = unsafe extern "C" fn(flags: c_uint) -> *mut c_void;
type SwitchFiber = unsafe extern "C" fn(fiber: *mut c_void, flags: c_uint);
type DestroyFiber = unsafe extern "C" fn(fiber: *mut c_void);

/// Defines functions that find those of a sanitizer, if it is linked.
macro_rules! linked {
    ($($function:ident: $name:literal as $type:ty;)*) => {$(
        #[inline(always)]
        fn $function() -> Option<$type> {
            let address: usize;
            // SAFETY: reads the linker's table of addresses, where a weak symbol that nobody defines is 0.
            #[cfg(target_arch = "x86_64")]
            unsafe {
                asm!(
                    concat!(".weak ", $name),
                    concat!("mov {}, qword ptr [rip + ", $name, "@GOTPCREL]"),
                    out(reg) address,
                    options(pure, readonly, nostack, preserves_flags),
                );
            }
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            unsafe {
                asm!(
                    concat!(".weak ", $name),
                    concat!("adrp {0}, :got:", $name),
                    concat!("ldr {0}, [{0}, :got_lo12:", $name, "]"),
                    out(reg) address,
                    options(pure, readonly, nostack, preserves_flags),
                );
            }
            // SAFETY: null or a function of that type, by the headers named above.
            unsafe { std::mem::transmute::<usize, Option<$type>>(address) }
        }
    )*};
}

linked! {
    start_switch_fiber: "__sanitizer_start_switch_fiber" as StartSwitch;
    finish_switch_fiber: "__sanitizer_finish_switch_fiber" as FinishSwitch;
    handle_no_return: "__asan_handle_no_return" as HandleNoReturn;
    current_fiber: "__tsan_get_current_fiber" as CurrentFiber;
    create_fiber: "__tsan_create_fiber" as CreateFiber;
    switch_to_fiber: "__tsan_switch_to_fiber" as SwitchFiber;
    destroy_fiber: "__tsan_destroy_fiber" as DestroyFiber;
}

/// What is known of a flow that does not run.
pub(super) struct Fiber {
    bottom: *const u8,
    size: usize,
    tsan: *mut c_void,
    /// An OS thread's own, which is the thread's to destroy.
    native: bool,
}

impl Fiber {
    pub(super) const NULL: Fiber =
        Fiber { bottom: ptr::null(), size: 0, tsan: ptr::null_mut(), native: true };
}

/// What runs on a thread.
struct Running {
    bottom: Cell<*const u8>,
    size: Cell<usize>,
    native: Cell<bool>,
    /// The fiber that was left for good, to be destroyed once it is no longer the current one.
    left: Cell<*mut c_void>,
    /// Where the stack pointer of a flow that was left for good is stored.
    nowhere: Cell<*mut u8>,
}

thread_local! {
    static RUNNING: Running = const {
        Running {
            bottom: Cell::new(ptr::null()),
            size: Cell::new(0),
            native: Cell::new(true),
            left: Cell::new(ptr::null_mut()),
            nowhere: Cell::new(ptr::null_mut()),
        }
    };
}

/// What a fresh flow runs, at the top of its stack.
struct Start {
    entry: Entry,
    arg: *mut (),
}

/// Lays down what [`super::prepare`] does for a flow that announces itself before it runs `entry(arg)`.
///
/// # Safety
///
/// As [`super::prepare`], of whose bytes it needs some more.
pub(super) unsafe fn prepare(limit: *mut u8, top: *mut u8, entry: Entry, arg: *mut ()) -> Context {
    let start = top.map_addr(|top| (top - size_of::<Start>()) & !15).cast::<Start>();
    // SAFETY: below `top`, aligned, and the caller's promise.
    unsafe { start.write(Start { entry, arg }) };
    // SAFETY: as above; `first` is given what it expects.
    let sp = unsafe { super::machine::bobbin_ctx_prepare(start.cast(), first, start.cast()) };
    // SAFETY: no preconditions.
    let tsan = create_fiber().map_or(ptr::null_mut(), |create| unsafe { create(0) });
    let fiber = Fiber { bottom: limit, size: top.addr() - limit.addr(), tsan, native: false };
    Context { sp, fiber }
}

extern "C" fn first(start: *mut ()) -> ! {
    // SAFETY: the flow has just been switched to, for the first time.
    unsafe { arrived(ptr::null_mut()) };
    // SAFETY: `prepare` wrote it, and it is read once.
    let Start { entry, arg } = unsafe { start.cast::<Start>().read() };
    entry(arg)
}

/// As [`super::switch`].
///
/// # Safety
///
/// As [`super::switch`].
#[inline(always)]
pub(super) unsafe fn switch(from: *mut Context, to: Context) {
    let mut fake_stack = ptr::null_mut();
    // SAFETY: the caller's promise. The frames of this flow stay valid until it is resumed.
    unsafe {
        (&raw mut (*from).fiber).write(running(&to.fiber));
        if let Some(start) = start_switch_fiber() {
            start(&raw mut fake_stack, to.fiber.bottom, to.fiber.size);
        }
        announce_to_tsan(to.fiber.tsan);
        super::machine::switch(&raw mut (*from).sp, to.sp);
        arrived(fake_stack);
    }
}

/// As [`super::leave`].
///
/// # Safety
///
/// As [`super::leave`].
#[inline(always)]
pub(super) unsafe fn leave(to: Context) -> ! {
    if let Some(handle_no_return) = handle_no_return() {
        // SAFETY: no preconditions. Frees the rest of the stack from marks that its next use would stumble over.
        unsafe { handle_no_return() };
    }
    let nowhere = left(running(&to.fiber));
    let Context { sp, fiber: Fiber { bottom, size, tsan, .. } } = to;
    // SAFETY: as in `switch`. AddressSanitizer frees the fake stack, so nothing may lie in a frame any more.
    unsafe {
        announce_to_tsan(tsan);
        match start_switch_fiber() {
            Some(start) => super::machine::announce_and_switch(start, bottom, size, nowhere, sp),
            None => super::machine::switch(nowhere, sp),
        }
    }
    unreachable!("a flow that was left for good was resumed")
}

/// Says that this thread goes on with `to`; returns what ran so far.
#[inline(never)]
fn running(to: &Fiber) -> Fiber {
    // SAFETY: no preconditions.
    let tsan = current_fiber().map_or(ptr::null_mut(), |get| unsafe { get() });
    RUNNING.with(|running| {
        if running.bottom.get().is_null() {
            let (bottom, size) = native_stack();
            running.bottom.set(bottom);
            running.size.set(size);
        }
        Fiber {
            bottom: running.bottom.replace(to.bottom),
            size: running.size.replace(to.size),
            tsan,
            native: running.native.replace(to.native),
        }
    })
}

/// Keeps what is to be destroyed; returns a place in no frame.
#[inline(never)]
fn left(fiber: Fiber) -> *mut *mut u8 {
    RUNNING.with(|running| {
        if !fiber.native {
            running.left.set(fiber.tsan);
        }
        running.nowhere.as_ptr()
    })
}

/// # Safety
///
/// The switch to the flow of that fiber follows, without a call or a return between.
#[inline(always)]
unsafe fn announce_to_tsan(fiber: *mut c_void) {
    if let Some(switch) = switch_to_fiber() {
        // SAFETY: made by `prepare`, or the thread's own. Without flags, what the thread did before happens before
        // what it does next, as is the case.
        unsafe { switch(fiber, 0) };
    }
}

/// The other half of the announcement, on the stack that was switched to.
///
/// # Safety
///
/// `fake_stack` is what was saved when this flow was left, null for its first time.
#[inline(never)]
unsafe fn arrived(fake_stack: *mut c_void) {
    if let Some(finish) = finish_switch_fiber() {
        // SAFETY: the caller's promise; the null pointers say that the old bounds are known.
        unsafe { finish(fake_stack, ptr::null_mut(), ptr::null_mut()) };
    }
    let left = RUNNING.with(|running| running.left.replace(ptr::null_mut()));
    if let Some(destroy) = destroy_fiber()
        && !left.is_null()
    {
        // SAFETY: nobody runs on it any more, nor will.
        unsafe { destroy(left) };
    }
}

/// The bounds of the calling thread's own stack.
fn native_stack() -> (*const u8, usize) {
    // SAFETY: all-zero is a valid place for the attributes, which are filled in, read and destroyed.
    unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        let mut bottom = ptr::null_mut();
        let mut size = 0;
        let found: c_int = libc::pthread_getattr_np(libc::pthread_self(), &mut attributes);
        assert_eq!(found, 0, "a thread knows its stack");
        libc::pthread_attr_getstack(&attributes, &mut bottom, &mut size);
        libc::pthread_attr_destroy(&mut attributes);
        (bottom.cast_const().cast(), size)
    }
}
