//! Bobbin's own side.
//!
//! Holds unsafe: bthreads that may move. They keep nothing of their thread across a wait.

#![allow(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bthread::exec_queue::ExecutionQueue;
use bthread::sync::{Barrier, Mutex};
use bthread::{Builder, Butex, JoinHandle, Runtime, Slept, spawn, yield_now};

use crate::peer::{Peer, SPREAD_MAX, Start, Task, per, time};
use crate::process;
use crate::wake::{self, Stamp};

pub(crate) struct Bobbin(Runtime);

impl Bobbin {
    pub(crate) fn new(workers: usize) -> Self {
        Bobbin(Runtime::builder().workers(workers).install().expect("starting the runtime"))
    }

    fn on<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        Some(self.0.spawn(f).join().expect("no panic"))
    }
}

fn join_all<T>(handles: Vec<JoinHandle<T>>) {
    handles.into_iter().for_each(|handle| drop(handle.join().expect("no panic")));
}

/// Spreads tasks over the workers, lets them go together, and times them.
fn together<F: FnOnce() + Send + 'static>(n: usize, movable: bool, works: Vec<F>) -> f64 {
    let gate =
        Arc::new((Barrier::new(works.len() as u32), Start::new(works.len(), Runtime::current().workers())));
    let start = |work: F| {
        let gate = gate.clone();
        // SAFETY: the head of this file.
        let builder = unsafe { Builder::new().movable(movable) };
        let work = move || {
            gate.1.spread();
            gate.0.wait();
            gate.1.mark();
            work();
        };
        builder.spawn(work).expect("a bthread")
    };
    join_all(works.into_iter().map(start).collect());
    gate.1.per(n)
}

/// One side of a pair: waits until the word is even, or odd, and makes it the other.
fn side(butex: Arc<Butex>, mine: u32, turns: usize) -> impl FnOnce() + Send + 'static {
    move || {
        for _ in 0..turns {
            loop {
                let now = butex.value().load(Ordering::Acquire);
                if now % 2 == mine {
                    break;
                }
                let _ = butex.wait(now, None);
            }
            butex.value().fetch_add(1, Ordering::Release);
            butex.wake_one();
        }
    }
}

fn ping_pong(n: usize, pairs: usize, movable: bool) -> f64 {
    let sides = (0..pairs).flat_map(|_| {
        let butex = Arc::new(Butex::new(0));
        [0, 1].map(|mine| side(butex.clone(), mine, n / pairs / 2))
    });
    together(n, movable, sides.collect())
}

impl Peer for Bobbin {
    fn workers(&self) -> usize {
        self.0.workers()
    }

    fn start(&self, task: Task) {
        drop(self.0.spawn(task));
    }

    fn wakeups(&self) -> Option<u64> {
        Some(self.0.stats().wakeups)
    }

    fn spawn_join(&self, n: usize) -> Option<f64> {
        self.on(move || time(n, || (0..n).for_each(|_| spawn(|| ()).join().expect("no panic"))))
    }

    fn spawn_many(&self, n: usize, at_once: usize) -> Option<f64> {
        self.on(move || {
            time(n, || {
                for _ in 0..n / at_once {
                    join_all((0..at_once).map(|_| spawn(|| ())).collect());
                }
            })
        })
    }

    fn yields(&self, n: usize, tasks: usize) -> Option<f64> {
        self.on(move || {
            let run = move || (0..n / tasks).for_each(|_| yield_now());
            if tasks <= SPREAD_MAX {
                together(n, false, vec![run; tasks])
            } else {
                time(n, || join_all((0..tasks).map(|_| spawn(run)).collect()))
            }
        })
    }

    fn ping_pong(&self, n: usize, pairs: usize) -> Option<f64> {
        self.on(move || ping_pong(n, pairs, false))
    }

    fn ping_pong_free(&self, n: usize, pairs: usize) -> Option<f64> {
        self.on(move || ping_pong(n, pairs, true))
    }

    fn mutex(&self, n: usize, tasks: usize) -> Option<f64> {
        self.on(move || {
            let mutex = Arc::new(Mutex::new(0_u64));
            let run = |mutex: Arc<Mutex<u64>>| {
                move || (0..n / tasks).for_each(|_| *mutex.lock().expect("not poisoned") += 1)
            };
            together(n, false, (0..tasks).map(|_| run(mutex.clone())).collect())
        })
    }

    fn timer(&self, n: usize) -> Option<f64> {
        self.on(move || {
            let deadline = Instant::now() + Duration::from_secs(60);
            time(n, || (0..n).for_each(|_| assert!(bthread::timer::schedule(deadline, || ()).cancel())))
        })
    }

    fn queue(&self, n: usize, producers: usize) -> Option<f64> {
        self.on(move || {
            let (tx, rx) = bthread::sync::mpsc::channel();
            let (mut sum, mut items) = (0, 0);
            let start = Instant::now();
            let queue = ExecutionQueue::start(move |batch| {
                for item in batch {
                    sum += item;
                    items += 1;
                }
                if items == n / producers * producers {
                    let _ = tx.send(sum);
                }
            });
            let produce = |queue: ExecutionQueue<usize>| {
                move || (0..n / producers).for_each(|item| queue.submit(item).expect("the queue runs"))
            };
            join_all((0..producers).map(|_| spawn(produce(queue.clone()))).collect());
            std::hint::black_box(rx.recv().expect("the sum"));
            per(start, n)
        })
    }

    fn wake(&self, n: usize) -> Option<Vec<f64>> {
        let shared = Arc::new((Butex::new(0), Stamp::new()));
        let sleeper = shared.clone();
        let handle = self.0.spawn(move || {
            let (butex, stamp) = &*sleeper;
            for round in 0..2 * n as u32 {
                while butex.value().load(Ordering::Acquire) == round {
                    let _ = butex.wait(round, None);
                }
                stamp.set();
            }
        });
        let (butex, stamp) = &*shared;
        let figures = wake::one_way(n, stamp, |round| {
            butex.value().store(round, Ordering::Release);
            butex.wake_one();
        });
        handle.join().expect("no panic");
        Some(figures)
    }

    fn sleepers(&self, n: usize) -> Option<Vec<f64>> {
        self.on(move || {
            process::sleepers(n, |sleep| {
                join_all(
                    (0..n).map(|_| spawn(move || assert_eq!(bthread::sleep(sleep), Slept::Full))).collect(),
                );
            })
        })
    }

    fn waiters(&self, n: usize) -> Option<Vec<f64>> {
        self.on(move || {
            let start = Instant::now();
            let gate = Arc::new(Butex::new(0));
            let wait = |gate: Arc<Butex>| {
                move || {
                    while gate.value().load(Ordering::Acquire) == 0 {
                        let _ = gate.wait(0, None);
                    }
                }
            };
            let handles = (0..n).map(|_| spawn(wait(gate.clone()))).collect();
            while gate.waiters() < n {
                let _ = bthread::sleep(Duration::from_millis(1));
            }
            let all_wait = start.elapsed();
            let [resident, tables] = process::memory();
            let start = Instant::now();
            gate.value().store(1, Ordering::Release);
            gate.wake_all();
            join_all(handles);
            vec![all_wait.as_secs_f64(), resident, tables, start.elapsed().as_secs_f64()]
        })
    }
}
