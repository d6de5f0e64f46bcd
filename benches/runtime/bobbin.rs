//! Bobbin's own side.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bthread::{Butex, Runtime, spawn, yield_now};

use crate::{Peer, time};

pub(crate) struct Bobbin {
    all: Runtime,
    one: Runtime,
}

impl Bobbin {
    pub(crate) fn new(workers: usize) -> Self {
        let start = |workers| Runtime::builder().workers(workers).start().expect("starting a runtime");
        Bobbin { all: start(workers), one: start(1) }
    }
}

fn on<T: Send + 'static>(runtime: Runtime, f: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    Some(runtime.spawn(f).join().expect("no panic"))
}

fn ping_pong(n: usize) -> f64 {
    let butex = Arc::new(Butex::new(0));
    let side = |mine: u32| {
        let butex = butex.clone();
        move || {
            for _ in 0..n / 2 {
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
    };
    let (even, odd) = (side(0), side(1));
    time(n, || {
        let (even, odd) = (spawn(even), spawn(odd));
        even.join().expect("no panic");
        odd.join().expect("no panic");
    })
}

impl Peer for Bobbin {
    fn name(&self) -> &'static str {
        "bobbin"
    }

    fn spawn_join(&self, n: usize) -> Option<f64> {
        on(self.all, move || time(n, || (0..n).for_each(|_| spawn(|| ()).join().expect("no panic"))))
    }

    fn spawn_many(&self, n: usize) -> Option<f64> {
        on(self.all, move || {
            time(n, || {
                for _ in 0..n / 1000 {
                    let handles: Vec<_> = (0..1000).map(|_| spawn(|| ())).collect();
                    handles.into_iter().for_each(|handle| handle.join().expect("no panic"));
                }
            })
        })
    }

    fn yield_two(&self, n: usize) -> Option<f64> {
        on(self.one, move || {
            time(n, || {
                let pair = [(); 2].map(|()| spawn(move || (0..n / 2).for_each(|_| yield_now())));
                pair.into_iter().for_each(|one| one.join().expect("no panic"));
            })
        })
    }

    fn ping_pong(&self, n: usize) -> Option<f64> {
        on(self.one, move || ping_pong(n))
    }

    fn ping_pong_workers(&self, n: usize) -> Option<f64> {
        on(self.all, move || ping_pong(n))
    }

    fn timer(&self, n: usize) -> Option<f64> {
        on(self.all, move || {
            let deadline = Instant::now() + Duration::from_secs(60);
            time(n, || (0..n).for_each(|_| assert!(bthread::timer::schedule(deadline, || ()).cancel())))
        })
    }

    fn mutex(&self, n: usize) -> Option<f64> {
        on(self.all, move || {
            let mutex = bthread::sync::Mutex::new(0);
            time(n, || (0..n).for_each(|_| *std::hint::black_box(&mutex).lock().expect("not poisoned") += 1))
        })
    }

    fn sleepers(&self, n: usize) -> Option<f64> {
        on(self.all, move || {
            time(n, || {
                let handles: Vec<_> =
                    (0..n).map(|_| spawn(|| drop(bthread::sleep(Duration::from_millis(10))))).collect();
                handles.into_iter().for_each(|handle| handle.join().expect("no panic"));
            })
        })
    }
}
