//! Nothing waits for ever behind something else: each of these hangs if it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use bthread::{Batch, Deferred, JoinHandle, Runtime, timer, yield_now};

#[derive(Clone, Default)]
struct Flag(Arc<AtomicBool>);

impl Flag {
    fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_up(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

fn one_worker() -> Runtime {
    Runtime::builder().workers(1).start().unwrap()
}

/// A bthread that yields until `stop`.
fn yields(runtime: Runtime, stop: &Flag) -> JoinHandle<()> {
    let stop = stop.clone();
    runtime.spawn(move || {
        while !stop.is_up() {
            yield_now();
        }
    })
}

#[test]
fn bthreads_that_yield_to_each_other_let_timers_fire() {
    let runtime = one_worker();
    let fired = Flag::default();
    let pair = [yields(runtime, &fired), yields(runtime, &fired)];
    let sets = move || {
        timer::schedule(Instant::now(), move || fired.raise());
    };
    runtime.spawn(sets).join().unwrap();
    pair.into_iter().for_each(|one| one.join().unwrap());
}

#[test]
fn bthreads_that_yield_to_each_other_let_new_ones_start() {
    let runtime = one_worker();
    let stop = Flag::default();
    let pair = [yields(runtime, &stop), yields(runtime, &stop)];
    // From here, so that it has to come through the injector, however long the others have been at it.
    for _ in 0..100 {
        runtime.spawn(|| ()).join().unwrap();
    }
    stop.raise();
    pair.into_iter().for_each(|one| one.join().unwrap());
}

#[test]
fn spawning_next_in_turn_with_yielding_lets_queued_ones_start() {
    // From either beat on, so that no rhythm of the scheduler's own hides it.
    for beat in 0..2 {
        let queued = Flag::default();
        let rounds = move || {
            (0..beat).for_each(|_| yield_now());
            let mut batch = Batch::new();
            let raises = queued.clone();
            batch.spawn(move || raises.raise()).unwrap();
            while !queued.is_up() {
                bthread::spawn_next(|| ()).unwrap();
                yield_now();
            }
        };
        one_worker().spawn(rounds).join().unwrap();
    }
}

#[test]
fn a_timer_that_sets_itself_again_lets_bthreads_run() {
    fn again(at: Instant, stop: Flag) {
        if !stop.is_up() {
            let _ = timer::schedule(at, move || again(at, stop));
        }
    }
    let runtime = one_worker();
    let stop = Flag::default();
    let stops = stop.clone();
    runtime.spawn(move || again(Instant::now(), stop)).join().unwrap();
    runtime.spawn(move || stops.raise()).join().unwrap();
}

struct Then<F>(F);

impl<F: Fn() + Send + Sync + 'static> Deferred for Then<F> {
    fn run(self: Arc<Self>) {
        (self.0)();
    }
}

#[test]
fn what_deferred_work_defers_is_done_before_the_worker_sleeps() {
    let done = Flag::default();
    let raises = done.clone();
    one_worker()
        .spawn(move || {
            let second: Arc<dyn Deferred> = Arc::new(Then(move || raises.raise()));
            assert!(bthread::defer(Arc::new(Then(move || assert!(bthread::defer(second.clone()))))));
        })
        .join()
        .unwrap();
    while !done.is_up() {
        std::thread::yield_now();
    }
}

#[test]
fn deferred_targets_are_bounded() {
    let ran = Arc::new(AtomicUsize::new(0));
    let counts = ran.clone();
    let accepted = one_worker().spawn(move || {
        let target = || {
            let counts = counts.clone();
            Arc::new(Then(move || {
                counts.fetch_add(1, Ordering::Release);
            }))
        };
        let accepted = (0..10_000).take_while(|_| bthread::defer(target())).count();
        assert!(!bthread::defer(target()));
        accepted
    });
    let accepted = accepted.join().unwrap();
    assert_eq!(accepted, 1024);
    while ran.load(Ordering::Acquire) < accepted {
        std::thread::yield_now();
    }
}
