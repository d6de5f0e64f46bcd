//! What `run` beside this file looks at with gdb: bthreads in each state, in functions with known names.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bthread::{Builder, Butex, JoinHandle, Runtime};

#[inline(never)]
fn waits_for_nobody(butex: &Butex) {
    while butex.value().load(Ordering::Acquire) == 0 {
        let _ = butex.wait(0, None);
    }
}

#[inline(never)]
fn holds_its_worker(started: &AtomicBool) {
    started.store(true, Ordering::Release);
    loop {
        std::thread::park();
    }
}

fn named<T: Send + 'static>(
    runtime: Runtime,
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    Builder::new().name(name).spawn_on(runtime, work).expect("a bthread")
}

fn main() {
    let runtime = Runtime::builder().workers(1).blocked_after(None).start().expect("a runtime");
    let butex = Arc::new(Butex::new(0));
    let waiters: Vec<_> = (0..100)
        .map(|number| {
            let butex = butex.clone();
            named(runtime, &format!("waiter-{number}"), move || waits_for_nobody(&butex))
        })
        .collect();
    let ended = named(runtime, "ended", || 7);
    while butex.waiters() < waiters.len() || !ended.is_finished() {
        std::thread::yield_now();
    }
    let started = Arc::new(AtomicBool::new(false));
    let holder = named(runtime, "holder", {
        let started = started.clone();
        move || holds_its_worker(&started)
    });
    while !started.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    let queued = named(runtime, "queued", || ());
    println!("{} {} {} {}", waiters[7].id(), holder.id(), ended.id(), queued.id());
    // Until whoever has started this closes the pipe.
    let _ = std::io::stdin().read_line(&mut String::new());
    std::process::exit(0);
}
