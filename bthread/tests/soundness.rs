//! The counter-examples that were published against stackful bthreads in Rust, each as a test. `docs/soundness.md` has
//! the argument. They hold for every bthread that may not move; `.ci/run` runs them optimised across crates, too, which
//! is where a compiler keeps addresses of thread-locals.

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::ThreadId;
use std::time::Duration;

use bthread::{Runtime, spawn, yield_now};

thread_local! {
    static NUMBERS: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static SHARED: Rc<Cell<u64>> = Rc::new(Cell::new(0));
    static THREAD: ThreadId = std::thread::current().id();
}

/// Waits that are woken from the same worker, from others, and by time.
fn wait(n: u64) {
    match n % 4 {
        0 => yield_now(),
        1 => drop(spawn(yield_now).join()),
        2 => {
            bthread::sleep(Duration::from_micros(n % 50));
        }
        _ => drop(bthread::spawn_blocking(|| ()).join()),
    }
}

/// Many bthreads on several workers, so that there is somewhere to move to.
fn everywhere(f: impl Fn(u64) + Send + Copy + 'static) {
    let runtime = Runtime::builder().workers(4).start().unwrap();
    let all: Vec<_> = (0..64).map(|n| runtime.spawn(move || (0..40).for_each(|step| f(n + step)))).collect();
    all.into_iter().for_each(|one| one.join().unwrap());
}

/// A reference into a thread-local that is held over a wait still leads into this thread's own (coroutine-rs,
/// issue 31).
#[test]
fn a_thread_local_borrow_may_span_a_wait() {
    everywhere(|n| {
        NUMBERS.with(|numbers| {
            let before = std::ptr::from_ref(numbers).addr();
            let length = numbers.borrow().len();
            wait(n);
            assert_eq!(NUMBERS.with(|now| std::ptr::from_ref(now).addr()), before);
            assert!(numbers.borrow().len() >= length, "others of this worker may have pushed meanwhile");
            numbers.borrow_mut().push(n);
        });
    });
}

/// Clones of an `Rc` are counted by one thread, also when they live across waits (may, issue 6).
#[test]
fn an_rc_may_be_shared_through_a_thread_local() {
    everywhere(|n| {
        let mine: Vec<_> = (0..8).map(|_| SHARED.with(Rc::clone)).collect();
        wait(n);
        for one in &mine {
            one.set(one.get() + 1);
            assert!(SHARED.with(|shared| Rc::ptr_eq(shared, one)));
        }
        assert!(SHARED.with(Rc::strong_count) > mine.len());
    });
}

#[inline(always)]
fn bump() -> u64 {
    COUNT.with(|count| {
        count.set(count.get() + 1);
        count.get()
    })
}

/// The compiler may take the address of a thread-local once for a whole function, waits included (rust-lang/rust,
/// issue 33368; llvm-project, issue 47179): it stays right, as the thread does.
#[test]
fn a_cached_thread_local_address_stays_right() {
    static BUMPS: AtomicU32 = AtomicU32::new(0);
    everywhere(|n| {
        // Everything inlined, so that one address may serve all of it.
        let thread = THREAD.with(|thread| *thread);
        let first = bump();
        wait(n);
        let second = bump();
        assert!(second > first);
        wait(n + 1);
        assert!(bump() > second);
        assert_eq!(THREAD.with(|thread| *thread), thread);
        assert_eq!(black_box(std::thread::current().id()), thread);
        BUMPS.fetch_add(3, Ordering::Relaxed);
    });
    assert_eq!(BUMPS.load(Ordering::Relaxed), 64 * 40 * 3);
}

/// std counts panics per thread: a bthread that unwinds does not look as if others of its worker did.
#[test]
fn a_panic_is_seen_by_its_own_bthread_alone() {
    struct WaitsWhileUnwinding;
    impl Drop for WaitsWhileUnwinding {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            bthread::sleep(Duration::from_micros(10));
            assert!(std::thread::panicking());
        }
    }
    let runtime = Runtime::builder().workers(2).start().unwrap();
    let calm = move |n: u64| {
        for step in 0..50 {
            wait(n + step);
            assert!(!std::thread::panicking());
            let lock = std::sync::Mutex::new(());
            drop(lock.lock().unwrap());
            assert!(!lock.is_poisoned());
        }
    };
    let mut all: Vec<_> = (0..8).map(|n| runtime.spawn(move || calm(n))).collect();
    for _ in 0..20 {
        let panics = runtime.spawn(|| {
            let _guard = WaitsWhileUnwinding;
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(panics.join().is_err());
    }
    all.drain(..).for_each(|one| one.join().unwrap());
}
