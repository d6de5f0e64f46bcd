//! Participants that are bthreads and OS threads in turn.

use std::thread;
use std::time::{Duration, Instant};

/// A deadline that no correct test reaches.
pub(crate) fn far() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

pub(crate) enum Either<T> {
    Bthread(bthread::JoinHandle<T>),
    Thread(thread::JoinHandle<T>),
}

impl<T> Either<T> {
    pub(crate) fn join(self) -> thread::Result<T> {
        match self {
            Either::Bthread(handle) => handle.join(),
            Either::Thread(handle) => handle.join(),
        }
    }
}

/// Even ones are bthreads.
pub(crate) fn start<T: Send + 'static>(index: usize, f: impl FnOnce() -> T + Send + 'static) -> Either<T> {
    if index.is_multiple_of(2) {
        Either::Bthread(bthread::spawn(f))
    } else {
        Either::Thread(thread::spawn(f))
    }
}

/// Starts `n`, each with its index.
pub(crate) fn start_all<T, F>(n: usize, f: F) -> Vec<Either<T>>
where
    T: Send + 'static,
    F: Fn(usize) -> T + Clone + Send + 'static,
{
    let one = |index| {
        let f = f.clone();
        start(index, move || f(index))
    };
    (0..n).map(one).collect()
}

pub(crate) fn join_all<T>(all: Vec<Either<T>>) -> Vec<T> {
    all.into_iter().map(|one| one.join().unwrap()).collect()
}

/// Gives way until something is the case that others bring about.
pub(crate) fn until(condition: impl Fn() -> bool) {
    while !condition() {
        bthread::yield_now();
        thread::yield_now();
    }
}
