//! Plain threads of the operating system.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::{Peer, time};

/// More threads than this at a time say more about the machine's limits than about their cost.
const THREADS_MAX: usize = 2000;

pub(crate) struct Threads;

impl Peer for Threads {
    fn name(&self) -> &'static str {
        "std threads"
    }

    fn spawn_join(&self, n: usize) -> Option<f64> {
        let n = n.min(2000);
        Some(time(n, || (0..n).for_each(|_| thread::spawn(|| ()).join().expect("no panic"))))
    }

    fn spawn_many(&self, _n: usize) -> Option<f64> {
        Some(time(1000, || {
            let handles: Vec<_> = (0..1000).map(|_| thread::spawn(|| ())).collect();
            handles.into_iter().for_each(|handle| handle.join().expect("no panic"));
        }))
    }

    fn yield_two(&self, _n: usize) -> Option<f64> {
        None
    }

    fn ping_pong(&self, _n: usize) -> Option<f64> {
        None
    }

    fn ping_pong_workers(&self, n: usize) -> Option<f64> {
        let n = n.min(20_000);
        let turn = Arc::new(AtomicUsize::new(0));
        let main = thread::current();
        let seen = turn.clone();
        Some(time(n, || {
            let odd = thread::spawn(move || {
                for _ in 0..n / 2 {
                    while seen.load(Ordering::Acquire).is_multiple_of(2) {
                        thread::park();
                    }
                    seen.fetch_add(1, Ordering::Release);
                    main.unpark();
                }
            });
            for _ in 0..n / 2 {
                while turn.load(Ordering::Acquire) % 2 == 1 {
                    thread::park();
                }
                turn.fetch_add(1, Ordering::Release);
                odd.thread().unpark();
            }
            odd.join().expect("no panic");
        }))
    }

    fn timer(&self, _n: usize) -> Option<f64> {
        None
    }

    fn mutex(&self, n: usize) -> Option<f64> {
        let mutex = std::sync::Mutex::new(0);
        Some(time(n, || {
            (0..n).for_each(|_| *std::hint::black_box(&mutex).lock().expect("not poisoned") += 1)
        }))
    }

    fn sleepers(&self, n: usize) -> Option<f64> {
        let n = n.min(THREADS_MAX);
        Some(time(n, || {
            let handles: Vec<_> =
                (0..n).map(|_| thread::spawn(|| thread::sleep(Duration::from_millis(10)))).collect();
            handles.into_iter().for_each(|handle| handle.join().expect("no panic"));
        }))
    }
}
