//! Plain threads of the operating system. A wake-up here is that of a bare futex, which is what parks a thread.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::peer::{Peer, Task, per, time};
use crate::process;
use crate::wake::{self, Stamp};

/// More threads than this at a time say more about the machine's limits than about their cost.
const THREADS_MAX: usize = 2000;
/// Starts and hand-overs beyond this only take time.
const ROUNDS_MAX: usize = 20_000;

pub(crate) struct Threads {
    workers: usize,
}

impl Threads {
    pub(crate) fn new(workers: usize) -> Self {
        Threads { workers }
    }
}

fn join_all(handles: Vec<JoinHandle<()>>) {
    handles.into_iter().for_each(|handle| handle.join().expect("no panic"));
}

/// One side of a pair: the one whose turn comes when the count is even, or odd.
fn side(other: &thread::Thread, turn: &AtomicUsize, mine: usize, turns: usize) {
    for _ in 0..turns {
        while turn.load(Ordering::Acquire) % 2 != mine {
            thread::park();
        }
        turn.fetch_add(1, Ordering::Release);
        other.unpark();
    }
}

impl Peer for Threads {
    fn workers(&self) -> usize {
        self.workers
    }

    fn start(&self, task: Task) {
        drop(thread::spawn(task));
    }

    fn spawn_join(&self, n: usize) -> Option<f64> {
        let n = n.min(ROUNDS_MAX);
        Some(time(n, || (0..n).for_each(|_| thread::spawn(|| ()).join().expect("no panic"))))
    }

    fn spawn_many(&self, n: usize, at_once: usize) -> Option<f64> {
        let (n, at_once) = (n.min(ROUNDS_MAX), at_once.min(THREADS_MAX));
        let batch = || join_all((0..at_once).map(|_| thread::spawn(|| ())).collect());
        Some(time(n, || (0..n / at_once).for_each(|_| batch())))
    }

    fn ping_pong_free(&self, n: usize, pairs: usize) -> Option<f64> {
        let n = n.min(ROUNDS_MAX);
        let turns = n / pairs / 2;
        let pair = move || {
            let turn = Arc::new(AtomicUsize::new(0));
            let (seen, even) = (turn.clone(), thread::current());
            let odd = thread::spawn(move || side(&even, &seen, 1, turns));
            side(odd.thread(), &turn, 0, turns);
            odd.join().expect("no panic");
        };
        Some(time(n, || join_all((0..pairs).map(|_| thread::spawn(pair)).collect())))
    }

    fn mutex(&self, n: usize, tasks: usize) -> Option<f64> {
        let shared = Arc::new((Mutex::new(0_u64), Barrier::new(tasks + 1)));
        let run = |shared: Arc<(Mutex<u64>, Barrier)>| {
            move || {
                shared.1.wait();
                for _ in 0..n / tasks {
                    *shared.0.lock().expect("not poisoned") += 1;
                }
            }
        };
        let handles = (0..tasks).map(|_| thread::spawn(run(shared.clone()))).collect();
        let start = Instant::now();
        shared.1.wait();
        join_all(handles);
        Some(per(start, n))
    }

    fn queue(&self, n: usize, producers: usize) -> Option<f64> {
        let start = Instant::now();
        let (tx, rx) = mpsc::channel();
        let consumer = thread::spawn(move || std::hint::black_box(rx.iter().sum::<usize>()));
        let produce = |tx: mpsc::Sender<usize>| {
            move || (0..n / producers).for_each(|item| tx.send(item).expect("the consumer runs"))
        };
        join_all((0..producers).map(|_| thread::spawn(produce(tx.clone()))).collect());
        drop(tx);
        consumer.join().expect("no panic");
        Some(per(start, n))
    }

    fn wake(&self, n: usize) -> Option<f64> {
        let shared = Arc::new((AtomicUsize::new(0), Stamp::new()));
        let sleeper = shared.clone();
        let handle = thread::spawn(move || {
            for round in 0..n {
                while sleeper.0.load(Ordering::Acquire) == round {
                    thread::park();
                }
                sleeper.1.set();
            }
        });
        let figure = wake::one_way(n, &shared.1, |round| {
            shared.0.store(round as usize, Ordering::Release);
            handle.thread().unpark();
        });
        handle.join().expect("no panic");
        Some(figure)
    }

    fn sleepers(&self, n: usize) -> Option<Vec<f64>> {
        let n = n.min(THREADS_MAX);
        Some(process::sleepers(n, |sleep| {
            join_all((0..n).map(|_| thread::spawn(move || thread::sleep(sleep))).collect());
        }))
    }
}
