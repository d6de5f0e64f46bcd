//! Plain threads of the operating system. A wake-up here is that of a bare futex, which is what parks a thread.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread::{self, JoinHandle, Thread};
use std::time::Instant;

use crate::peer::{Peer, Start, Task, per, time};
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

/// Lets tasks go together, and times them.
fn together<F: FnOnce() + Send + 'static>(n: usize, works: Vec<F>) -> f64 {
    let gate = Arc::new((Barrier::new(works.len()), Start::new(works.len(), 1)));
    let start = |work: F| {
        let gate = gate.clone();
        thread::spawn(move || {
            gate.0.wait();
            gate.1.mark();
            work();
        })
    };
    join_all(works.into_iter().map(start).collect());
    gate.1.per(n)
}

/// One side of a pair: tells the other who it is, waits until the count is even, or odd, and makes it the other.
fn side(
    turn: Arc<AtomicUsize>,
    mine: usize,
    turns: usize,
    tx: mpsc::Sender<Thread>,
    rx: mpsc::Receiver<Thread>,
) -> impl FnOnce() + Send + 'static {
    move || {
        tx.send(thread::current()).expect("the other side lives");
        let other = rx.recv().expect("the other side's handle");
        for _ in 0..turns {
            while turn.load(Ordering::Acquire) % 2 != mine {
                thread::park();
            }
            turn.fetch_add(1, Ordering::Release);
            other.unpark();
        }
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
        let sides = (0..pairs).flat_map(|_| {
            let turn = Arc::new(AtomicUsize::new(0));
            let ((even_tx, even_rx), (odd_tx, odd_rx)) = (mpsc::channel(), mpsc::channel());
            [side(turn.clone(), 0, turns, odd_tx, even_rx), side(turn, 1, turns, even_tx, odd_rx)]
        });
        Some(together(n, sides.collect()))
    }

    fn mutex(&self, n: usize, tasks: usize) -> Option<f64> {
        let mutex = Arc::new(Mutex::new(0_u64));
        let run = |mutex: Arc<Mutex<u64>>| {
            move || (0..n / tasks).for_each(|_| *mutex.lock().expect("not poisoned") += 1)
        };
        Some(together(n, (0..tasks).map(|_| run(mutex.clone())).collect()))
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

    fn wake(&self, n: usize) -> Option<Vec<f64>> {
        let shared = Arc::new((AtomicUsize::new(0), Stamp::new()));
        let sleeper = shared.clone();
        let handle = thread::spawn(move || {
            for round in 0..2 * n {
                while sleeper.0.load(Ordering::Acquire) == round {
                    thread::park();
                }
                sleeper.1.set();
            }
        });
        let figures = wake::one_way(n, &shared.1, |round| {
            shared.0.store(round as usize, Ordering::Release);
            handle.thread().unpark();
        });
        handle.join().expect("no panic");
        Some(figures)
    }

    fn sleepers(&self, n: usize) -> Option<Vec<f64>> {
        let n = n.min(THREADS_MAX);
        Some(process::sleepers(n, |sleep| {
            join_all((0..n).map(|_| thread::spawn(move || thread::sleep(sleep))).collect());
        }))
    }
}
