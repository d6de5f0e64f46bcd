//! tokio, multi-threaded.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::yield_now;

use crate::{Peer, time};

pub(crate) struct Tokio {
    all: Runtime,
    one: Runtime,
}

impl Tokio {
    pub(crate) fn new(workers: usize) -> Self {
        let start = |workers| {
            Builder::new_multi_thread()
                .worker_threads(workers)
                .enable_time()
                .build()
                .expect("starting a runtime")
        };
        Tokio { all: start(workers), one: start(1) }
    }
}

/// Runs the future as a task, so that what it spawns is spawned from a worker.
fn on<F>(runtime: &Runtime, future: F) -> Option<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    Some(runtime.block_on(runtime.spawn(future)).expect("no panic"))
}

async fn ping_pong(n: usize) -> f64 {
    let start = Instant::now();
    let notify = Arc::new([Notify::new(), Notify::new()]);
    let pair = [0, 1].map(|mine| {
        let notify = notify.clone();
        tokio::spawn(async move {
            for _ in 0..n / 2 {
                notify[mine].notified().await;
                notify[1 - mine].notify_one();
            }
        })
    });
    notify[0].notify_one();
    for one in pair {
        one.await.expect("no panic");
    }
    start.elapsed().as_nanos() as f64 / n as f64
}

impl Peer for Tokio {
    fn name(&self) -> &'static str {
        "tokio"
    }

    fn spawn_join(&self, n: usize) -> Option<f64> {
        on(&self.all, async move {
            let start = Instant::now();
            for _ in 0..n {
                tokio::spawn(async {}).await.expect("no panic");
            }
            start.elapsed().as_nanos() as f64 / n as f64
        })
    }

    fn spawn_many(&self, n: usize) -> Option<f64> {
        on(&self.all, async move {
            let start = Instant::now();
            for _ in 0..n / 1000 {
                let handles: Vec<_> = (0..1000).map(|_| tokio::spawn(async {})).collect();
                for handle in handles {
                    handle.await.expect("no panic");
                }
            }
            start.elapsed().as_nanos() as f64 / n as f64
        })
    }

    fn yield_two(&self, n: usize) -> Option<f64> {
        on(&self.one, async move {
            let start = Instant::now();
            let pair = [(); 2].map(|()| {
                tokio::spawn(async move {
                    for _ in 0..n / 2 {
                        yield_now().await;
                    }
                })
            });
            for one in pair {
                one.await.expect("no panic");
            }
            start.elapsed().as_nanos() as f64 / n as f64
        })
    }

    fn ping_pong(&self, n: usize) -> Option<f64> {
        on(&self.one, ping_pong(n))
    }

    fn ping_pong_workers(&self, n: usize) -> Option<f64> {
        on(&self.all, ping_pong(n))
    }

    fn timer(&self, n: usize) -> Option<f64> {
        on(&self.all, async move {
            let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
            let start = Instant::now();
            for _ in 0..n {
                // A timer is set when the sleep is first polled, and cancelled when it is dropped.
                let mut sleep = std::pin::pin!(tokio::time::sleep_until(deadline));
                std::future::poll_fn(|context| {
                    assert!(sleep.as_mut().poll(context).is_pending());
                    std::task::Poll::Ready(())
                })
                .await;
            }
            start.elapsed().as_nanos() as f64 / n as f64
        })
    }

    fn mutex(&self, n: usize) -> Option<f64> {
        on(&self.all, async move {
            let mutex = tokio::sync::Mutex::new(0);
            let start = Instant::now();
            for _ in 0..n {
                *std::hint::black_box(&mutex).lock().await += 1;
            }
            start.elapsed().as_nanos() as f64 / n as f64
        })
    }

    fn sleepers(&self, n: usize) -> Option<f64> {
        let runtime = &self.all;
        Some(time(n, || {
            on(runtime, async move {
                let handles: Vec<_> =
                    (0..n).map(|_| tokio::spawn(tokio::time::sleep(Duration::from_millis(10)))).collect();
                for handle in handles {
                    handle.await.expect("no panic");
                }
            });
        }))
    }
}
