//! Tests of the handler. Each overflow happens in a process of its own, which it ends.

#![allow(unsafe_code)]

use super::*;
use crate::context::{Context, prepare, switch};
use crate::stack::child::{errors, in_child};
use crate::stack::{Stack, StackClass, StackConfig, StackPool};
use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;

fn label(buffer: &mut [u8]) -> usize {
    let name = b"echo/42";
    buffer[..name.len()].copy_from_slice(name);
    name.len()
}

#[inline(never)]
fn recurse_without_end(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if frame[3] == u64::MAX {
        return 0;
    }
    recurse_without_end(depth + 1) + frame[5]
}

fn pool() -> StackPool {
    let config = StackConfig { stack_size: 256 << 10, stacks_max: 8, ..StackConfig::new(StackClass::Normal) };
    StackPool::new(&config).unwrap()
}

/// Runs `entry` on a stack of a pool, on a thread like a worker. It must not come back.
fn run_on_a_stack(entry: extern "C" fn(*mut ()) -> !) {
    install(label).unwrap();
    let worker = std::thread::spawn(move || {
        let _alt_stack = alt_stack_for_this_thread().unwrap();
        let pool = pool();
        let [mut unused, stack]: [Stack; 2] = [(); 2].map(|()| pool.get().unwrap());
        let mut here = Context::null();
        // SAFETY: a fresh stack; `entry` never comes back, so `here` is never resumed.
        unsafe {
            let there = prepare(stack.limit(), stack.top(), entry, (&raw mut unused).cast());
            switch(&raw mut here, there);
        }
    });
    let _ = worker.join();
}

#[test]
fn an_overflow_names_the_bthread_and_shows_the_way() {
    let output = in_child(module_path!(), "an_overflow_names_the_bthread_and_shows_the_way", || {
        extern "C" fn entry(_: *mut ()) -> ! {
            black_box(recurse_without_end(1));
            unreachable!();
        }
        run_on_a_stack(entry);
    });
    let errors = errors(&output);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{errors}");
    assert!(errors.contains("\nbthread echo/42 has overflowed its stack\nstack 1: 0x"), "{errors}");
    let frames: Vec<_> = errors.lines().filter(|line| line.trim_start().contains(": 0x0000")).collect();
    assert_eq!(frames.len(), report::TRACE_FRAMES_MAX, "{errors}");
    // The recursion shows as one return address over and over.
    assert_eq!(frames[30].split_once(':').unwrap().1, frames[31].split_once(':').unwrap().1, "{errors}");
    assert!(frames[30].contains("(program + 0x"), "{errors}");
}

#[test]
#[cfg_attr(feature = "sanitizers", ignore = "sanitizers mark large frames before they touch them")]
fn a_trace_ends_at_the_entry() {
    let output = in_child(module_path!(), "a_trace_ends_at_the_entry", || {
        extern "C" fn entry(_: *mut ()) -> ! {
            // One frame larger than the stack, touched from its low end.
            let mut large = [0_u8; 512 << 10];
            black_box(&mut large);
            unreachable!();
        }
        run_on_a_stack(entry);
    });
    let errors = errors(&output);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{errors}");
    assert!(errors.contains("bthread echo/42 has overflowed its stack"), "{errors}");
    let frames = errors.lines().filter(|line| line.contains(": 0x0000")).count();
    assert!((1..=4).contains(&frames), "{errors}");
}

#[test]
fn a_stray_access_to_a_guard_is_no_overflow() {
    let output = in_child(module_path!(), "a_stray_access_to_a_guard_is_no_overflow", || {
        extern "C" fn entry(other: *mut ()) -> ! {
            // SAFETY: not safe at all: the byte lies in the guard of another stack, which is the test.
            unsafe {
                let guard = (*other.cast::<Stack>()).limit().sub(1);
                guard.write_volatile(1);
            }
            unreachable!();
        }
        run_on_a_stack(entry);
    });
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{}", errors(&output));
    assert!(!errors(&output).contains("has overflowed its stack"), "{}", errors(&output));
}

#[test]
fn the_overflow_of_a_thread_is_left_to_the_handler_before() {
    let output = in_child(module_path!(), "the_overflow_of_a_thread_is_left_to_the_handler_before", || {
        install(label).unwrap();
        let _pool = pool();
        let thread = std::thread::Builder::new().name("plain".into()).stack_size(256 << 10);
        let _ = thread.spawn(|| black_box(recurse_without_end(1))).unwrap().join();
    });
    let errors = errors(&output);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{errors}");
    assert!(errors.contains("thread 'plain'") && errors.contains("has overflowed its stack"), "{errors}");
    assert!(!errors.contains("bthread"), "{errors}");
}

#[test]
fn handlers_of_either_kind_are_called() {
    use std::sync::atomic::AtomicI32;
    static SEEN: [AtomicI32; 2] = [const { AtomicI32::new(0) }; 2];
    extern "C" fn plain(signal: libc::c_int) {
        SEEN[0].store(signal, Relaxed);
    }
    extern "C" fn with_info(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: passed on from the kernel.
        SEEN[1].store(signal + unsafe { (*info).si_signo }, Relaxed);
    }
    let output = in_child(module_path!(), "handlers_of_either_kind_are_called", || {
        // SAFETY: handlers with the signatures that their flags tell, doing one atomic store; signals sent
        // to this process, which is the child.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = plain as *const () as usize;
            assert_eq!(libc::sigaction(libc::SIGSEGV, &action, ptr::null_mut()), 0);
            action.sa_sigaction = with_info as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            assert_eq!(libc::sigaction(libc::SIGBUS, &action, ptr::null_mut()), 0);
            install(label).unwrap();
            install(|_| panic!("the first description stays")).unwrap();
            libc::raise(libc::SIGSEGV);
            libc::raise(libc::SIGBUS);
        }
        assert_eq!([SEEN[0].load(Relaxed), SEEN[1].load(Relaxed)], [libc::SIGSEGV, 2 * libc::SIGBUS]);
    });
    assert!(output.status.success(), "{}", errors(&output));
}

#[test]
fn an_ignored_signal_stays_ignored_and_a_default_one_kills() {
    let output = in_child(module_path!(), "an_ignored_signal_stays_ignored_and_a_default_one_kills", || {
        // SAFETY: changes and raises signals of this process, which is the child.
        unsafe {
            libc::signal(libc::SIGBUS, libc::SIG_IGN);
            libc::signal(libc::SIGSEGV, libc::SIG_DFL);
            install(label).unwrap();
            libc::raise(libc::SIGBUS);
            eprintln!("still here");
            libc::raise(libc::SIGSEGV);
            eprintln!("too long");
        }
    });
    let errors = errors(&output);
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{errors}");
    assert!(errors.contains("still here") && !errors.contains("too long"), "{errors}");
}

#[test]
fn a_range_tells_guards_from_stacks_and_own_from_foreign() {
    let range =
        GuardedRange { start: 0x10000, end: 0x10000 + 3 * 0x3000, slot_size: 0x3000, guard_size: 0x1000 };
    let second = Some(Overflow { index: 1, limit: 0x14000, top: 0x16000 });
    assert_eq!(range.overflow(0x13000, 0x14000), second);
    assert_eq!(range.overflow(0x13fff, 0x13f00), second);
    assert_eq!(range.overflow(0x13fff, 0x16000), second);
    assert_eq!(range.overflow(0x14000, 0x14000), None, "the stack, not the guard");
    assert_eq!(range.overflow(0x13fff, 0x12fff), None, "sp in the slot below");
    assert_eq!(range.overflow(0x13fff, 0x16001), None, "sp in the slot above");
    assert_eq!(range.overflow(0xffff, 0x10000), None, "before the pool");
    assert_eq!(range.overflow(0x19000, 0x19000), None, "after the pool");
}

#[test]
fn places_are_bounded_and_used_again() {
    let output = in_child(module_path!(), "places_are_bounded_and_used_again", || {
        let range = GuardedRange { start: 1 << 20, end: 1 << 21, slot_size: 1 << 14, guard_size: 1 << 12 };
        let mut watches: Vec<_> = (0..POOLS_MAX).map(|_| watch(range).unwrap()).collect();
        assert_eq!(watch(range).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
        assert_eq!(PLACES.iter().filter_map(Place::range).count(), POOLS_MAX);
        watches.pop();
        assert_eq!(PLACES.iter().filter_map(Place::range).count(), POOLS_MAX - 1);
        watches.push(watch(range).unwrap());
        drop(watches);
        assert_eq!(PLACES.iter().filter_map(Place::range).count(), 0);
    });
    assert!(output.status.success(), "{}", errors(&output));
}

#[test]
fn an_alternate_stack_is_made_once_and_undone() {
    fn current() -> (usize, usize, libc::c_int) {
        // SAFETY: a query; all-zero is a valid stack_t.
        unsafe {
            let mut stack: libc::stack_t = std::mem::zeroed();
            assert_eq!(libc::sigaltstack(ptr::null(), &mut stack), 0);
            (stack.ss_sp as usize, stack.ss_size, stack.ss_flags & libc::SS_DISABLE)
        }
    }
    std::thread::spawn(|| {
        let before = current();
        let outer = alt_stack_for_this_thread().unwrap();
        let made = current();
        assert!(made.1 >= 32 << 10 && made.2 == 0 && made.0 != before.0);
        let inner = alt_stack_for_this_thread().unwrap();
        assert_eq!(current(), made, "large enough already");
        drop(inner);
        assert_eq!(current(), made, "not the inner one's to undo");
        drop(outer);
        assert_eq!(current(), before);

        // A thread that has none, as one made by C.
        // SAFETY: takes the thread's alternate stack away and puts it back.
        unsafe {
            let mut had: libc::stack_t = std::mem::zeroed();
            let none = libc::stack_t { ss_flags: libc::SS_DISABLE, ..had };
            assert_eq!(libc::sigaltstack(&none, &mut had), 0);
            let made = alt_stack_for_this_thread().unwrap();
            assert_eq!(current().2, 0);
            drop(made);
            assert_eq!(current().2, libc::SS_DISABLE);
            assert_eq!(libc::sigaltstack(&had, ptr::null_mut()), 0);
        }
    })
    .join()
    .unwrap();
}
