//! A runtime of its own for what a test has to say about a number of workers.

/// Runs `f` in a bthread of a runtime with so many workers and waits for it.
pub(crate) fn on<T: Send + 'static>(workers: usize, f: impl FnOnce() -> T + Send + 'static) -> T {
    bthread::Runtime::builder().workers(workers).start().unwrap().spawn(f).join().unwrap()
}
