//! Workers that are held by what blocks the thread: the others, and what must not wait, go on.
//!
//! The bthreads here block until a later one runs, so without help each of these tests hangs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bthread::{Deferred, Runtime};

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).blocked_after(Duration::from_millis(1)).start().unwrap()
}

#[test]
fn a_new_bthread_starts_while_every_worker_is_held() {
    let runtime = runtime(2);
    for _ in 0..5 {
        let (tx, rx) = mpsc::channel::<()>();
        let rx = Arc::new(std::sync::Mutex::new(rx));
        let started = Arc::new(AtomicUsize::new(0));
        let held: Vec<_> = (0..8)
            .map(|n| {
                let (rx, started) = (rx.clone(), started.clone());
                bthread::Builder::new()
                    .name(format!("holder {n}"))
                    .spawn_on(runtime, move || {
                        started.fetch_add(1, Ordering::Relaxed);
                        rx.lock().unwrap().recv().unwrap_err();
                    })
                    .unwrap()
            })
            .collect();
        while started.load(Ordering::Relaxed) < 8 {
            std::thread::yield_now(); // each needs a worker of its own
        }
        runtime.spawn(move || drop(tx)).join().unwrap();
        held.into_iter().for_each(|one| {
            let _ = one.join();
        });
    }
    let stats = runtime.stats();
    assert!(stats.blocked >= 8);
    assert!(stats.threads <= 2 + 64);
    let reports = runtime.blocked_workers();
    assert!(!reports.is_empty() && reports.len() <= 64);
    assert!(
        reports.iter().any(|report| report.name.as_deref().is_some_and(|name| name.starts_with("holder")))
    );
}

#[inline(never)]
fn holds_its_worker(until: &mpsc::Receiver<()>) {
    until.recv().unwrap_err();
    std::hint::black_box(until);
}

#[test]
fn the_culprit_is_recorded_with_its_stack() {
    let runtime = runtime(1);
    let (tx, rx) = mpsc::channel();
    let held =
        bthread::Builder::new().name("culprit").spawn_on(runtime, move || holds_its_worker(&rx)).unwrap();
    let trace = loop {
        if let Some(trace) = runtime.blocked_workers().into_iter().find_map(|report| report.trace) {
            break trace;
        }
        std::thread::yield_now();
    };
    assert!(matches!(trace.held, bthread::trace::Held::Blocked { .. }), "{:?}", trace.held);
    assert!(trace.stack.to_string().contains("holds_its_worker"), "{}", trace.stack);
    let report = runtime.blocked_workers().pop().unwrap();
    assert_eq!((report.name.as_deref(), report.bthread), (Some("culprit"), Some(held.id())));
    let text = report.to_string();
    assert!(text.contains("'culprit'") && text.contains("holds_its_worker"), "{text}");
    drop(tx);
    held.join().unwrap();
}

#[test]
fn the_next_slot_of_a_held_worker_is_emptied() {
    let child = runtime(1).spawn(|| {
        let (tx, rx) = mpsc::channel();
        bthread::spawn(move || tx.send(7).unwrap());
        rx.recv().unwrap()
    });
    assert_eq!(child.join().unwrap(), 7);
}

#[test]
fn deferred_work_of_a_held_worker_is_done() {
    struct Tell(mpsc::Sender<u32>);
    impl Deferred for Tell {
        fn run(self: Arc<Self>) {
            self.0.send(8).unwrap();
        }
    }
    let deferred = runtime(1).spawn(|| {
        let (tx, rx) = mpsc::channel();
        assert!(bthread::defer(Arc::new(Tell(tx))));
        rx.recv().unwrap()
    });
    assert_eq!(deferred.join().unwrap(), 8);
}

#[test]
fn timers_of_a_held_worker_fire_and_spawn_where_they_were_set() {
    let runtime = runtime(1);
    let tag = runtime.spawn(|| {
        let (tx, rx) = mpsc::channel();
        let _ = bthread::timer::schedule(std::time::Instant::now(), move || {
            bthread::spawn(move || tx.send(Runtime::current().tag()).unwrap());
        });
        rx.recv().unwrap()
    });
    assert_eq!(tag.join().unwrap(), runtime.tag());
}

#[test]
fn events_are_seen_while_every_worker_is_held() {
    use bthread::poller::{self, EventHandler, Readiness};
    use std::io::Write;

    struct Tell(std::sync::Mutex<mpsc::Sender<()>>);
    impl EventHandler for Tell {
        fn on_event(self: Arc<Self>, ready: Readiness) {
            if ready.is_readable() {
                let _ = self.0.lock().unwrap().send(());
            }
        }
    }
    let held = runtime(1).spawn(|| {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (tx, rx) = mpsc::channel();
        let _registration = poller::register(&ours, Arc::new(Tell(std::sync::Mutex::new(tx)))).unwrap();
        theirs.write_all(b"x").unwrap();
        rx.recv().unwrap();
    });
    held.join().unwrap();
}

#[test]
fn stand_ins_rest_when_nobody_is_held_any_more() {
    let runtime = runtime(1);
    let (tx, rx) = mpsc::channel();
    runtime
        .spawn(move || {
            let inner = runtime.spawn(move || tx.send(()).unwrap());
            rx.recv().unwrap();
            inner
        })
        .join()
        .unwrap()
        .join()
        .unwrap();
    while runtime.stats().stand_ins != 0 {
        // The monitor looks while somebody is awake.
        runtime.spawn(|| bthread::sleep(Duration::from_millis(1))).join().unwrap();
    }
    assert!(runtime.blocked_workers().iter().all(|report| !report.ongoing));
    assert_eq!(runtime.workers(), 1);
}
