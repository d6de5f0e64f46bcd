//! may, the other stackful runtime for Rust. Its `spawn` is unsafe, because its coroutines move between threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use may::coroutine::{self, JoinHandle};

use crate::{Peer, time};

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

impl Peer for May {
    fn name(&self) -> &'static str {
        "may"
    }

    fn spawn_join(&self, n: usize) -> Option<f64> {
        on(move || time(n, || (0..n).for_each(|_| go(|| ()).join().expect("no panic"))))
    }

    fn spawn_many(&self, n: usize) -> Option<f64> {
        on(move || {
            time(n, || {
                for _ in 0..n / 1000 {
                    let handles: Vec<_> = (0..1000).map(|_| go(|| ())).collect();
                    handles.into_iter().for_each(|handle| handle.join().expect("no panic"));
                }
            })
        })
    }

    fn yield_two(&self, n: usize) -> Option<f64> {
        // Its workers are one global set: with more than one, the two would not share a worker.
        if self.workers > 1 {
            return None;
        }
        on(move || {
            time(n, || {
                let pair = [(); 2].map(|()| go(move || (0..n / 2).for_each(|_| coroutine::yield_now())));
                pair.into_iter().for_each(|one| one.join().expect("no panic"));
            })
        })
    }

    fn ping_pong(&self, n: usize) -> Option<f64> {
        if self.workers > 1 { None } else { self.ping_pong_workers(n) }
    }

    fn ping_pong_workers(&self, n: usize) -> Option<f64> {
        on(move || {
            let turn = Arc::new(AtomicUsize::new(0));
            let (tx, rx) = may::sync::mpsc::channel::<coroutine::Coroutine>();
            let seen = turn.clone();
            let odd = go(move || {
                let other = rx.recv().expect("the other side's handle");
                for _ in 0..n / 2 {
                    while seen.load(Ordering::Acquire).is_multiple_of(2) {
                        coroutine::park();
                    }
                    seen.fetch_add(1, Ordering::Release);
                    other.unpark();
                }
            });
            let other = odd.coroutine().clone();
            time(n, || {
                tx.send(coroutine::current()).expect("the other side lives");
                for _ in 0..n / 2 {
                    while turn.load(Ordering::Acquire) % 2 == 1 {
                        coroutine::park();
                    }
                    turn.fetch_add(1, Ordering::Release);
                    other.unpark();
                }
                odd.join().expect("no panic");
            })
        })
    }

    fn timer(&self, _n: usize) -> Option<f64> {
        None
    }

    fn mutex(&self, n: usize) -> Option<f64> {
        on(move || {
            let mutex = may::sync::Mutex::new(0);
            time(n, || (0..n).for_each(|_| *std::hint::black_box(&mutex).lock().expect("not poisoned") += 1))
        })
    }

    fn sleepers(&self, n: usize) -> Option<f64> {
        on(move || {
            time(n, || {
                let handles: Vec<_> =
                    (0..n).map(|_| go(|| coroutine::sleep(Duration::from_millis(10)))).collect();
                handles.into_iter().for_each(|handle| handle.join().expect("no panic"));
            })
        })
    }
}
