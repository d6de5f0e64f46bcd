//! may, the other stackful runtime for Rust. Its `spawn` is unsafe, because its coroutines move between threads.

#![allow(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use may::coroutine::{self, Coroutine, JoinHandle};
use may::sync::{Barrier, Mutex, Semphore, mpsc};

use crate::peer::{Peer, SPREAD_MAX, Start, Task, per, time};
use crate::process;
use crate::wake::{self, Stamp};

pub(crate) struct May {
    workers: usize,
}

impl May {
    pub(crate) fn new(workers: usize) -> Self {
        may::config().set_workers(workers);
        May { workers }
    }
}

fn go<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    // SAFETY: what we run touches no thread-local across a wait.
    unsafe { coroutine::spawn(f) }
}

fn on<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    Some(go(f).join().expect("no panic"))
}

fn join_all(handles: Vec<JoinHandle<()>>) {
    handles.into_iter().for_each(|handle| handle.join().expect("no panic"));
}

/// Spreads tasks over the workers, lets them go together, and times them.
fn together<F: FnOnce() + Send + 'static>(n: usize, works: Vec<F>) -> f64 {
    let gate = Arc::new((Barrier::new(works.len()), Start::new(works.len(), may::config().get_workers())));
    let start = |work: F| {
        let gate = gate.clone();
        go(move || {
            gate.1.spread();
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
    tx: mpsc::Sender<Coroutine>,
    rx: mpsc::Receiver<Coroutine>,
) -> impl FnOnce() + Send + 'static {
    move || {
        tx.send(coroutine::current()).expect("the other side lives");
        let other = rx.recv().expect("the other side's handle");
        for _ in 0..turns {
            while turn.load(Ordering::Acquire) % 2 != mine {
                coroutine::park();
            }
            turn.fetch_add(1, Ordering::Release);
            other.unpark();
        }
    }
}

impl Peer for May {
    fn workers(&self) -> usize {
        self.workers
    }

    fn start(&self, task: Task) {
        drop(go(task));
    }

    fn spawn_join(&self, n: usize) -> Option<f64> {
        on(move || time(n, || (0..n).for_each(|_| go(|| ()).join().expect("no panic"))))
    }

    fn spawn_many(&self, n: usize, at_once: usize) -> Option<f64> {
        on(move || {
            time(n, || {
                for _ in 0..n / at_once {
                    join_all((0..at_once).map(|_| go(|| ())).collect());
                }
            })
        })
    }

    fn yields(&self, n: usize, tasks: usize) -> Option<f64> {
        on(move || {
            let run = move || (0..n / tasks).for_each(|_| coroutine::yield_now());
            if tasks <= SPREAD_MAX {
                together(n, vec![run; tasks])
            } else {
                time(n, || join_all((0..tasks).map(|_| go(run)).collect()))
            }
        })
    }

    fn ping_pong(&self, n: usize, pairs: usize) -> Option<f64> {
        on(move || {
            let turns = n / pairs / 2;
            let sides = (0..pairs).flat_map(|_| {
                let turn = Arc::new(AtomicUsize::new(0));
                let ((even_tx, even_rx), (odd_tx, odd_rx)) = (mpsc::channel(), mpsc::channel());
                [side(turn.clone(), 0, turns, odd_tx, even_rx), side(turn, 1, turns, even_tx, odd_rx)]
            });
            together(n, sides.collect())
        })
    }

    fn ping_pong_free(&self, n: usize, pairs: usize) -> Option<f64> {
        self.ping_pong(n, pairs) // all its coroutines may move
    }

    fn mutex(&self, n: usize, tasks: usize) -> Option<f64> {
        on(move || {
            let mutex = Arc::new(Mutex::new(0_u64));
            let run = |mutex: Arc<Mutex<u64>>| {
                move || (0..n / tasks).for_each(|_| *mutex.lock().expect("not poisoned") += 1)
            };
            together(n, (0..tasks).map(|_| run(mutex.clone())).collect())
        })
    }

    fn queue(&self, n: usize, producers: usize) -> Option<f64> {
        on(move || {
            let start = Instant::now();
            let (tx, rx) = mpsc::channel();
            let consumer = go(move || std::hint::black_box(rx.iter().sum::<usize>()));
            let produce = |tx: mpsc::Sender<usize>| {
                move || (0..n / producers).for_each(|item| tx.send(item).expect("the consumer runs"))
            };
            join_all((0..producers).map(|_| go(produce(tx.clone()))).collect());
            drop(tx);
            consumer.join().expect("no panic");
            per(start, n)
        })
    }

    fn wake(&self, n: usize) -> Option<Vec<f64>> {
        let shared = Arc::new((Semphore::new(0), Stamp::new()));
        let sleeper = shared.clone();
        let handle = go(move || {
            for _ in 0..2 * n {
                sleeper.0.wait();
                sleeper.1.set();
            }
        });
        let figures = wake::one_way(n, &shared.1, |_| shared.0.post());
        handle.join().expect("no panic");
        Some(figures)
    }

    fn sleepers(&self, n: usize) -> Option<Vec<f64>> {
        on(move || {
            process::sleepers(n, |sleep| {
                join_all((0..n).map(|_| go(move || coroutine::sleep(sleep))).collect());
            })
        })
    }

    fn waiters(&self, n: usize) -> Option<Vec<f64>> {
        on(move || {
            let start = Instant::now();
            let shared = Arc::new((Semphore::new(0), AtomicUsize::new(0)));
            let run = |shared: Arc<(Semphore, AtomicUsize)>| {
                move || {
                    shared.1.fetch_add(1, Ordering::Relaxed);
                    shared.0.wait();
                }
            };
            let handles = (0..n).map(|_| go(run(shared.clone()))).collect();
            while shared.1.load(Ordering::Relaxed) < n {
                coroutine::sleep(Duration::from_millis(1));
            }
            let all_wait = start.elapsed();
            let [resident, tables] = process::memory();
            let start = Instant::now();
            (0..n).for_each(|_| shared.0.post());
            join_all(handles);
            vec![all_wait.as_secs_f64(), resident, tables, start.elapsed().as_secs_f64()]
        })
    }
}
