//! Simulated workers: one thread, in the order that the test chooses. One process has one simulation, hence one test.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bthread::clock::{self, Clock};
use bthread::poller::{EventHandler, Readiness};
use bthread::simulation::{self, Pace, Simulation, Source, State};
use bthread::{Runtime, spawn};

static NANOS: AtomicU64 = AtomicU64::new(0);

struct Virtual(Instant);

impl Clock for Virtual {
    fn now(&self) -> Instant {
        self.0 + Duration::from_nanos(NANOS.load(Ordering::Relaxed))
    }

    fn patience(&self, until: Instant) -> Duration {
        until.saturating_duration_since(self.now())
    }
}

/// Steps whoever can go on, in the order that `choose` makes, and moves time when nobody can. Until all sleep for good.
fn run(simulation: &Simulation, pace: Pace, mut choose: impl FnMut(usize) -> usize) -> Vec<(usize, u64)> {
    let mut due: BTreeMap<usize, u64> = BTreeMap::new();
    let mut trace = Vec::new();
    loop {
        let now = NANOS.load(Ordering::Relaxed);
        let able: Vec<usize> = (0..simulation.workers())
            .filter(|worker| {
                simulation.state(*worker) == State::Ready || due.get(worker).is_some_and(|due| *due <= now)
            })
            .collect();
        if able.is_empty() {
            match due.values().min() {
                Some(next) => NANOS.store(*next, Ordering::Relaxed),
                None => return trace,
            }
            continue;
        }
        let worker = able[choose(able.len())];
        due.remove(&worker);
        trace.push((worker, now));
        if let State::Asleep { timeout: Some(timeout) } = simulation.step(worker, pace) {
            due.insert(worker, now + timeout.as_nanos() as u64);
        }
    }
}

struct Told(Arc<Mutex<Vec<Readiness>>>);

impl EventHandler for Told {
    fn on_event(self: Arc<Self>, ready: Readiness) {
        self.0.lock().unwrap().push(ready);
    }
}

#[test]
fn one_thread_runs_all_workers_step_by_step() {
    let simulation = simulation::begin().unwrap();
    clock::replace(Virtual(Instant::now())).unwrap();
    assert!(simulation::begin().is_err() && simulation::is_simulated());
    // Other threads have no worker, but may be asked which they are.
    assert_eq!(std::thread::spawn(simulation::running_worker).join().unwrap(), None);
    assert_eq!(simulation::running_worker(), None);
    let world = Runtime::builder().workers(1).install().unwrap();
    let node = Runtime::builder().workers(2).start().unwrap();
    assert_eq!(simulation.workers(), 3);
    assert_eq!([0, 1, 2].map(|worker| simulation.tag(worker)), [0, node.tag(), node.tag()]);

    // Two that hand a token to and fro on two workers, beside one that sleeps for an hour.
    let rounds = |pace, seed: u64| {
        let mut seed = seed;
        let (there, from_there) = bthread::sync::mpsc::sync_channel::<u32>(1);
        let (back, from_back) = bthread::sync::mpsc::sync_channel::<u32>(1);
        node.spawn(move || {
            while let Ok(n) = from_there.recv() {
                back.send(n + 1).unwrap();
            }
        });
        let sum = node.spawn(move || {
            let mut n = 0;
            for _ in 0..100 {
                there.send(n).unwrap();
                n = from_back.recv().unwrap();
            }
            n
        });
        let thread = std::thread::current().id();
        let slept = world.spawn(move || {
            assert_eq!(std::thread::current().id(), thread);
            bthread::sleep(Duration::from_secs(3600));
            bthread::blocking(move || std::thread::current().id() == thread)
        });
        let trace = run(&simulation, pace, |able| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % able
        });
        assert!(slept.is_finished() && sum.is_finished());
        world.spawn(move || assert_eq!((sum.join().unwrap(), slept.join().unwrap()), (100, true)));
        run(&simulation, pace, |_| 0);
        trace
    };
    let before = NANOS.load(Ordering::Relaxed);
    let long = rounds(Pace::OneTask, 1);
    assert_eq!(NANOS.load(Ordering::Relaxed) - before, 3_600_000_000_000);
    let short = rounds(Pace::Free, 1);
    assert!(short.len() < long.len(), "{} steps, {} of one task", short.len(), long.len());

    // Events of a source are merged, and come to a worker of the runtime that has registered it.
    let told = Arc::new(Mutex::new(Vec::new()));
    let source = Arc::new(Mutex::new(None));
    node.spawn({
        let (told, source) = (told.clone(), source.clone());
        move || *source.lock().unwrap() = Some(Source::new(Arc::new(Told(told))).unwrap())
    });
    run(&simulation, Pace::OneTask, |_| 0);
    let source = source.lock().unwrap().take().unwrap();
    source.raise(Readiness::new(true, false, false));
    source.raise(Readiness::new(false, true, false));
    assert_eq!(simulation.state(0), State::Asleep { timeout: None });
    let steps = run(&simulation, Pace::OneTask, |_| 0);
    assert!(steps.iter().all(|(worker, _)| *worker > 0));
    assert_eq!(*told.lock().unwrap(), [Readiness::new(true, true, false)]);
    source.raise(Readiness::new(true, false, false));
    drop(source);
    run(&simulation, Pace::OneTask, |_| 0);
    assert_eq!(told.lock().unwrap().len(), 1, "its handler is gone");

    // Descriptors, which the kernel would have to watch, are refused.
    let listened = spawn(|| bthread::net::TcpListener::bind("127.0.0.1:0").map(drop));
    run(&simulation, Pace::OneTask, |_| 0);
    assert!(listened.is_finished());
    world.spawn(move || {
        assert_eq!(listened.join().unwrap().unwrap_err().kind(), std::io::ErrorKind::Unsupported);
    });
    run(&simulation, Pace::OneTask, |_| 0);
}
