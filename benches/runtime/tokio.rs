//! tokio, multi-threaded.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Barrier, Mutex, Notify, Semaphore, mpsc};
use tokio::task::{JoinHandle, yield_now};

use crate::peer::{Peer, SPREAD_MAX, Start, Task, per};
use crate::process;
use crate::wake::{self, Stamp};

pub(crate) struct Tokio {
    runtime: Runtime,
    workers: usize,
}

impl Tokio {
    pub(crate) fn new(workers: usize) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers)
            .enable_all()
            .build()
            .expect("starting a runtime");
        Tokio { runtime, workers }
    }

    /// Runs the future as a task, so that what it spawns is spawned from a worker.
    fn on<F>(&self, future: F) -> Option<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        Some(self.runtime.block_on(self.runtime.spawn(future)).expect("no panic"))
    }
}

async fn join_all(handles: Vec<JoinHandle<()>>) {
    for handle in handles {
        handle.await.expect("no panic");
    }
}

/// Spreads tasks over the workers, lets them go together, and times them.
async fn together<F: Future<Output = ()> + Send + 'static>(n: usize, works: Vec<F>) -> f64 {
    let gate = Arc::new((
        Barrier::new(works.len()),
        Start::new(works.len(), Handle::current().metrics().num_workers()),
    ));
    let start = |work: F| {
        let gate = gate.clone();
        tokio::spawn(async move {
            gate.1.spread();
            gate.0.wait().await;
            gate.1.mark();
            work.await;
        })
    };
    join_all(works.into_iter().map(start).collect()).await;
    gate.1.per(n)
}

impl Peer for Tokio {
    fn workers(&self) -> usize {
        self.workers
    }

    fn start(&self, task: Task) {
        self.runtime.spawn(async move { task() });
    }

    fn spawn_join(&self, n: usize) -> Option<f64> {
        self.on(async move {
            let start = Instant::now();
            for _ in 0..n {
                tokio::spawn(async {}).await.expect("no panic");
            }
            per(start, n)
        })
    }

    fn spawn_many(&self, n: usize, at_once: usize) -> Option<f64> {
        self.on(async move {
            let start = Instant::now();
            for _ in 0..n / at_once {
                join_all((0..at_once).map(|_| tokio::spawn(async {})).collect()).await;
            }
            per(start, n)
        })
    }

    fn yields(&self, n: usize, tasks: usize) -> Option<f64> {
        self.on(async move {
            let run = move || async move {
                for _ in 0..n / tasks {
                    yield_now().await;
                }
            };
            if tasks <= SPREAD_MAX {
                return together(n, (0..tasks).map(|_| run()).collect()).await;
            }
            let start = Instant::now();
            join_all((0..tasks).map(|_| tokio::spawn(run())).collect()).await;
            per(start, n)
        })
    }

    fn ping_pong(&self, n: usize, pairs: usize) -> Option<f64> {
        self.on(async move {
            let side = |turns: Arc<[Notify; 2]>, mine: usize| async move {
                for _ in 0..n / pairs / 2 {
                    turns[mine].notified().await;
                    turns[1 - mine].notify_one();
                }
            };
            let sides = (0..pairs).flat_map(|_| {
                let turns = Arc::new([Notify::new(), Notify::new()]);
                turns[0].notify_one();
                [side(turns.clone(), 0), side(turns, 1)]
            });
            together(n, sides.collect()).await
        })
    }

    fn ping_pong_free(&self, n: usize, pairs: usize) -> Option<f64> {
        self.ping_pong(n, pairs) // all its tasks may move
    }

    fn mutex(&self, n: usize, tasks: usize) -> Option<f64> {
        self.on(async move {
            let mutex = Arc::new(Mutex::new(0_u64));
            let run = |mutex: Arc<Mutex<u64>>| async move {
                for _ in 0..n / tasks {
                    *mutex.lock().await += 1;
                }
            };
            together(n, (0..tasks).map(|_| run(mutex.clone())).collect()).await
        })
    }

    fn timer(&self, n: usize) -> Option<f64> {
        self.on(async move {
            let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
            let start = Instant::now();
            for _ in 0..n {
                // A timer is set when the sleep is first polled, and cancelled when it is dropped.
                let mut sleep = std::pin::pin!(tokio::time::sleep_until(deadline));
                std::future::poll_fn(|context| {
                    assert!(sleep.as_mut().poll(context).is_pending());
                    Poll::Ready(())
                })
                .await;
            }
            per(start, n)
        })
    }

    fn queue(&self, n: usize, producers: usize) -> Option<f64> {
        self.on(async move {
            let start = Instant::now();
            let (tx, mut rx) = mpsc::unbounded_channel();
            let consumer = tokio::spawn(async move {
                let mut sum = 0;
                while let Some(item) = rx.recv().await {
                    sum += item;
                }
                std::hint::black_box(sum);
            });
            let produce = |tx: mpsc::UnboundedSender<usize>| async move {
                (0..n / producers).for_each(|item| tx.send(item).expect("the consumer runs"));
            };
            let handles = (0..producers).map(|_| tokio::spawn(produce(tx.clone()))).collect();
            drop(tx);
            join_all(handles).await;
            consumer.await.expect("no panic");
            per(start, n)
        })
    }

    fn wake(&self, n: usize) -> Option<Vec<f64>> {
        let shared = Arc::new((Notify::new(), Stamp::new()));
        let sleeper = shared.clone();
        let handle = self.runtime.spawn(async move {
            for _ in 0..2 * n {
                sleeper.0.notified().await;
                sleeper.1.set();
            }
        });
        let figures = wake::one_way(n, &shared.1, |_| shared.0.notify_one());
        self.runtime.block_on(handle).expect("no panic");
        Some(figures)
    }

    fn sleepers(&self, n: usize) -> Option<Vec<f64>> {
        Some(process::sleepers(n, |sleep| {
            self.on(async move {
                let run = |sleep| async move { tokio::time::sleep(sleep).await };
                join_all((0..n).map(|_| tokio::spawn(run(sleep))).collect()).await;
            });
        }))
    }

    fn waiters(&self, n: usize) -> Option<Vec<f64>> {
        self.on(async move {
            let start = Instant::now();
            let shared = Arc::new((Semaphore::new(0), AtomicUsize::new(0)));
            let run = |shared: Arc<(Semaphore, AtomicUsize)>| async move {
                shared.1.fetch_add(1, Ordering::Relaxed);
                shared.0.acquire().await.expect("not closed").forget();
            };
            let handles = (0..n).map(|_| tokio::spawn(run(shared.clone()))).collect();
            while shared.1.load(Ordering::Relaxed) < n {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let all_wait = start.elapsed();
            let [resident, tables] = process::memory();
            let start = Instant::now();
            shared.0.add_permits(n);
            join_all(handles).await;
            vec![all_wait.as_secs_f64(), resident, tables, start.elapsed().as_secs_f64()]
        })
    }
}
