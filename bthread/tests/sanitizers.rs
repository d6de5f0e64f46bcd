//! That the sanitizers see into bthreads: each error here, made on purpose in a process of its own, is reported.
//!
//! `tools/asan` and `tools/tsan` say in `BOBBIN_SANITIZER` which one the tests were built with; without it there is
//! nothing to see.

#![cfg(feature = "sanitizers")]

use std::cell::UnsafeCell;
use std::hint::black_box;
use std::process::{Command, exit};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bthread::Runtime;

const WHICH: &str = "BOBBIN_TEST_IN_CHILD";

/// Runs `body` in a new process, if the sanitizer is there, and returns what that wrote to its standard error.
fn under(sanitizer: &str, test: &str, body: impl FnOnce()) -> Option<String> {
    if std::env::var("BOBBIN_SANITIZER").ok()? != sanitizer {
        return None;
    }
    if std::env::var(WHICH).is_ok_and(|which| which == test) {
        body();
        exit(0);
    }
    let program = std::env::current_exe().unwrap();
    let output =
        Command::new(program).args([test, "--exact", "--nocapture"]).env(WHICH, test).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("running 1 test"), "no test is called {test}");
    Some(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_frame_used_after_its_function_returned() {
    #[inline(never)]
    fn frame() -> *const u64 {
        let mut local = 7;
        let pointer: *mut u64 = black_box(&mut local);
        bthread::yield_now();
        pointer
    }
    let errors = under("address", "a_frame_used_after_its_function_returned", || {
        let dangling = || {
            let pointer = frame();
            bthread::yield_now();
            // SAFETY: none: the frame is gone, which is the test.
            black_box(unsafe { pointer.read_volatile() });
        };
        Runtime::builder().workers(1).start().unwrap().spawn(dangling).join().unwrap();
    });
    assert!(errors.is_none_or(|errors| errors.contains("stack-use-after-return")));
}

#[test]
fn a_step_over_the_end_of_a_frame() {
    let errors = under("address", "a_step_over_the_end_of_a_frame", || {
        let over = || {
            let array = black_box([7_u8; 32]);
            bthread::yield_now();
            // SAFETY: none: the byte is beyond the array, which is the test.
            black_box(unsafe { array.as_ptr().wrapping_add(black_box(33)).read_volatile() });
        };
        Runtime::builder().workers(1).start().unwrap().spawn(over).join().unwrap();
    });
    assert!(errors.is_none_or(|errors| errors.contains("stack-buffer-overflow")));
}

/// A number that several write without agreement.
struct Shared(UnsafeCell<u32>);

// SAFETY: none for the first test below, which is the test; for the second, only one thread uses it.
unsafe impl Sync for Shared {}

/// Two bthreads that write, at the same time if `workers` allow, after a wait.
fn write_twice(workers: usize) {
    static NUMBER: Shared = Shared(UnsafeCell::new(0));
    static READY: AtomicU32 = AtomicU32::new(0);
    let runtime = Runtime::builder().workers(workers).start().unwrap();
    let write = move || {
        bthread::yield_now();
        // Relaxed: must not order the writes.
        READY.fetch_add(1, Relaxed);
        while READY.load(Relaxed) < workers as u32 {
            std::hint::spin_loop();
        }
        // SAFETY: as of `Shared`.
        unsafe { *NUMBER.0.get() += 1 };
    };
    let both = [runtime.spawn(write), runtime.spawn(write)];
    both.into_iter().for_each(|one| one.join().unwrap());
}

#[test]
fn a_race_of_bthreads_on_two_workers() {
    let errors = under("thread", "a_race_of_bthreads_on_two_workers", || write_twice(2));
    assert!(errors.is_none_or(|errors| errors.contains("data race")));
}

#[test]
fn turns_of_bthreads_on_one_worker_are_no_race() {
    let errors = under("thread", "turns_of_bthreads_on_one_worker_are_no_race", || write_twice(1));
    if let Some(errors) = errors {
        assert!(!errors.contains("data race"), "{errors}");
    }
}
