//! Traces of bthreads and threads in known places, and of garbage.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::registers::{Registers, SAVED_FRAME_BYTES};
use super::*;

/// Ends the thread's work when dropped, also if the test fails.
struct Stop(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
        let _ = self.1.take().map(std::thread::JoinHandle::join);
    }
}

/// A thread that calls `work` until it is told to stop, and its id.
fn thread(work: fn(&AtomicBool)) -> (Stop, i32) {
    let (stop, id) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI32::new(0)));
    let handle = std::thread::spawn({
        let (stop, id) = (stop.clone(), id.clone());
        move || {
            id.store(crate::sys::thread_id(), Ordering::Release);
            work(&stop);
        }
    });
    while id.load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
    let id = id.load(Ordering::Acquire);
    (Stop(stop, Some(handle)), id)
}

/// Traces the thread until the trace is as expected; the last one if it never is.
fn until(thread: i32, expected: impl Fn(&ThreadTrace) -> bool) -> Result<ThreadTrace, TraceError> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let trace = of_thread(thread);
        if trace.as_ref().is_ok_and(&expected) || Instant::now() > deadline {
            return trace;
        }
        std::thread::yield_now();
    }
}

#[inline(never)]
fn sleep_in_std_until_told(stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[inline(never)]
fn spin_until_told(stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        std::hint::spin_loop();
    }
}

#[inline(never)]
fn wait_for_a_lock(stop: &AtomicBool) {
    let lock = std::sync::Mutex::new(());
    let (guard, wake) = (lock.lock().unwrap(), std::sync::Condvar::new());
    let mut guard = guard;
    while !stop.load(Ordering::Acquire) {
        guard = wake.wait_timeout(guard, Duration::from_millis(500)).unwrap().0;
    }
}

#[test]
fn a_capture_begins_with_its_caller_and_ends_where_the_thread_began() {
    #[inline(never)]
    fn a_function_with_a_name() -> StackTrace {
        std::hint::black_box(capture())
    }
    let trace = a_function_with_a_name();
    assert!(trace.is_complete(), "{trace}");
    let text = trace.to_string();
    assert!(text.starts_with("   0: "), "{text}");
    assert!(text.lines().next().unwrap().contains("a_function_with_a_name"), "{text}");
    assert!(text.contains("trace/tests.rs:"), "{text}");
}

#[test]
fn a_capture_in_a_bthread_ends_at_its_entry() {
    let trace = crate::spawn(capture).join().unwrap();
    let text = trace.to_string();
    assert!(trace.is_complete(), "{text}");
    assert!(text.contains("runner"), "{text}");
}

#[test]
fn a_trace_is_cut_at_its_bound() {
    #[inline(never)]
    fn deep(levels: usize) -> StackTrace {
        let trace = if levels == 0 { capture() } else { deep(levels - 1) };
        std::hint::black_box(trace)
    }
    let trace = deep(2 * FRAMES_MAX);
    assert_eq!(trace.frames().len(), FRAMES_MAX - 1);
    assert!(!trace.is_complete());
    assert!(trace.to_string().contains("not shown"));
}

#[test]
fn a_blocked_thread_shows_what_blocks_it_without_being_disturbed() {
    let (_stop, id) = thread(sleep_in_std_until_told);
    let found = until(id, |trace| matches!(trace.held, Held::Blocked { .. })).unwrap();
    let text = found.stack.to_string();
    assert!(text.contains("sleep_in_std_until_told"), "{}\n{text}", found.held);
    assert!(found.held.to_string().contains("nanosleep"), "{}\n{text}", found.held);
    assert!(found.stack.is_complete(), "{text}");
}

#[test]
fn a_thread_in_a_condition_shows_it() {
    let (_stop, id) = thread(wait_for_a_lock);
    let blocked = Held::Blocked { syscall: Some(libc::SYS_futex) };
    let found = until(id, |trace| trace.held == blocked).unwrap();
    let text = found.stack.to_string();
    assert_eq!(found.held, blocked, "{text}");
    assert!(text.contains("wait_for_a_lock"), "{text}");
}

#[test]
fn a_running_thread_is_asked() {
    let (_stop, id) = thread(spin_until_told);
    let names = |trace: &ThreadTrace| trace.stack.to_string().contains("spin_until_told");
    let found = until(id, names).unwrap();
    let text = found.stack.to_string();
    assert_eq!(found.held, Held::Running);
    assert!(names(&found), "{text}");
    assert!(found.stack.is_complete(), "{text}");
}

#[test]
fn a_bthread_that_spins_is_seen_on_its_worker() {
    let runtime = crate::Runtime::builder().workers(1).start().unwrap();
    let (stop, id) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI32::new(0)));
    let spinner = runtime.spawn({
        let (stop, id) = (stop.clone(), id.clone());
        move || {
            id.store(crate::sys::thread_id(), Ordering::Release);
            spin_until_told(&stop);
        }
    });
    while id.load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
    let names = |trace: &ThreadTrace| trace.stack.to_string().contains("spin_until_told");
    let found = until(id.load(Ordering::Acquire), names);
    stop.store(true, Ordering::Release);
    spinner.join().unwrap();
    let found = found.unwrap();
    assert!(names(&found) && found.stack.is_complete(), "{}", found.stack);
}

#[test]
fn several_who_trace_at_a_time_all_get_an_answer() {
    let (_stop, id) = thread(spin_until_told);
    let askers: Vec<_> = (0..4).map(|_| crate::spawn(move || until(id, |_| true))).collect();
    for asker in askers {
        assert!(!asker.join().unwrap().unwrap().stack.frames().is_empty());
    }
}

#[test]
fn who_cannot_be_traced_is_an_error() {
    assert_eq!(of_thread(crate::sys::thread_id()), Err(TraceError::Itself));
    assert_eq!(of_thread(i32::MAX), Err(TraceError::Gone));
    let (stop, id) = thread(|_| ());
    drop(stop);
    // The kernel may show an ended thread for a moment after its join.
    while of_thread(id) != Err(TraceError::Gone) {
        std::thread::yield_now();
    }
}

#[test]
fn a_thread_that_blocks_the_signal_times_out_and_the_next_is_answered() {
    let (_deaf_stop, deaf) = thread(deaf::spin);
    let (_stop, id) = thread(spin_until_told);
    let trace = until_error(deaf);
    assert_eq!(trace, Err(TraceError::TimedOut));
    assert!(until(id, |trace| !trace.stack.frames().is_empty()).is_ok());
}

/// A thread that begins to spin may be seen asleep first.
fn until_error(thread: i32) -> Result<ThreadTrace, TraceError> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match of_thread(thread) {
            Ok(_) if Instant::now() < deadline => {}
            other => return other,
        }
    }
}

#[allow(unsafe_code)]
mod deaf {
    use super::*;

    pub(super) fn spin(stop: &AtomicBool) {
        // SAFETY: blocks all signals of the calling thread, which ends soon.
        unsafe {
            let mut all = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
        }
        spin_until_told(stop);
    }
}

#[allow(unsafe_code)]
mod parked {
    use super::*;
    use crate::context::{Context, prepare, switch};

    struct Flow {
        main: Context,
        own: Context,
    }

    #[inline(never)]
    fn a_function_that_waits(flow: *mut Flow) {
        // SAFETY: the flow outlives the test, which resumes nothing.
        unsafe {
            let main = std::mem::replace(&mut (*flow).main, Context::null());
            switch(&raw mut (*flow).own, main);
        }
    }

    fn saved_sp(context: &Context) -> usize {
        StackCopy::of_word(std::ptr::from_ref(context).addr() + Context::SP_OFFSET).unwrap()
    }

    extern "C" fn entry(flow: *mut ()) -> ! {
        a_function_that_waits(flow.cast());
        unreachable!("nobody resumes it")
    }

    #[test]
    fn a_suspended_context_is_unwound_to_its_entry() {
        let stack: &'static mut [u8] = Box::leak(vec![0; 256 << 10].into_boxed_slice());
        let std::ops::Range { start: limit, end: top } = stack.as_mut_ptr_range();
        let flow = Box::into_raw(Box::new(Flow { main: Context::null(), own: Context::null() }));
        // SAFETY: a stack and a flow that live for ever, and a flow that is left for good.
        let sp = unsafe {
            let fresh = prepare(limit, top, entry, flow.cast());
            let sp = saved_sp(&fresh);
            let trace = copy_parked(sp, top.addr()).unwrap().unwind();
            assert!(trace.is_complete() && trace.frames().len() == 1, "{trace}");
            switch(&raw mut (*flow).main, fresh);
            saved_sp(&(*flow).own)
        };
        let trace = copy_parked(sp, top.addr()).unwrap().unwind();
        let text = trace.to_string();
        assert!(trace.is_complete(), "{text}");
        assert!(text.split("   1: ").next().unwrap().contains("a_function_that_waits"), "{text}");
        assert!(text.contains("bobbin_ctx_entry"), "{text}");
    }

    #[inline(never)]
    fn a_function_that_waits_on_a_butex(butex: &crate::Butex) {
        while butex.value().load(Ordering::Acquire) == 0 {
            let _ = butex.wait(0, None);
        }
    }

    #[test]
    fn a_parked_bthread_shows_what_it_waits_in() {
        let runtime = crate::Runtime::builder().workers(1).start().unwrap();
        let butex = Arc::new(crate::Butex::new(0));
        let waiter = runtime.spawn({
            let butex = butex.clone();
            move || a_function_that_waits_on_a_butex(&butex)
        });
        let id = waiter.id();
        // On the same worker, so that the waiter does not run meanwhile, and its context is ours to look at.
        let looker = runtime.spawn(move || {
            let task = crate::task::slot_of(id).unwrap();
            loop {
                // SAFETY: at home; the reference is gone before the yield.
                let run = unsafe { task.run() };
                if let (false, Some(stack)) = (run.context.is_null(), &run.stack) {
                    return copy_parked(saved_sp(&run.context), stack.top().addr()).unwrap().unwind();
                }
                crate::yield_now();
            }
        });
        let trace = looker.join().unwrap();
        butex.value().store(1, Ordering::Release);
        butex.wake_all();
        waiter.join().unwrap();
        let text = trace.to_string();
        assert!(trace.is_complete(), "{text}");
        for name in ["wait", "a_function_that_waits_on_a_butex", "runner", "bobbin_ctx_entry"] {
            assert!(text.contains(name), "no {name}: {text}");
        }
    }

    #[test]
    fn what_is_not_a_stack_is_refused() {
        assert!(copy_parked(0, 1 << 20).is_none());
        assert!(copy_parked(4096, 0).is_none());
        let bytes = [0u8; 64];
        assert!(copy_parked(bytes.as_ptr().addr(), bytes.as_ptr().addr() + 8).is_none());
    }
}

/// Words that lead somewhere: into code, into the copy, or nowhere.
fn word(start: usize) -> impl Strategy<Value = usize> {
    let code = of_thread as *const () as usize;
    prop_oneof![
        any::<usize>(),
        (0..1usize << 16).prop_map(move |offset| code.wrapping_sub(1 << 15) + offset),
        (0..4096usize).prop_map(move |offset| start + offset),
        Just(0),
    ]
}

proptest! {
    #[test]
    fn garbage_is_unwound_to_some_end(words in prop::collection::vec(word(0x10_0000), SAVED_FRAME_BYTES / 8..512)) {
        let bytes = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let copy = StackCopy { start: 0x10_0000, bytes };
        prop_assert!(copy.unwind().frames().len() <= FRAMES_MAX);
        let blind = unwind::unwind(&copy, Registers::at(words[0], copy.start), true);
        prop_assert!(blind.frames().len() <= FRAMES_MAX);
    }
}
