//! Session-local data: objects that calls borrow from a pool, one each (`spec/rpc-core.md` §6.1).
//!
//! Owns the pool and its counts. What the objects are is the user's.

use std::any::Any;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::socket::lock;

/// Objects that a pool keeps for later calls; more are dropped when their calls end.
pub(super) const FREE_MAX: usize = 1 << 16;

type Object = Box<dyn Any + Send>;

/// The pool of a server.
pub(super) struct SessionDataPool {
    make: Box<dyn Fn() -> Object + Send + Sync>,
    free: Mutex<Vec<Object>>,
    in_use: AtomicUsize,
}

impl SessionDataPool {
    /// A pool of what `make` makes.
    pub(super) fn new<T: Any + Send>(make: impl Fn() -> T + Send + Sync + 'static) -> Self {
        let make = Box::new(move || Box::new(make()) as Object);
        SessionDataPool { make, free: Mutex::default(), in_use: AtomicUsize::new(0) }
    }

    /// Makes objects until `count` are there.
    pub(super) fn reserve(&self, count: usize) {
        for _ in 0..count.min(FREE_MAX) {
            let object = (self.make)();
            lock(&self.free).push(object);
        }
    }

    /// The object that came back last, or a new one.
    pub(super) fn take(&self) -> Object {
        let kept = lock(&self.free).pop();
        let object = kept.unwrap_or_else(|| (self.make)());
        self.in_use.fetch_add(1, Ordering::Relaxed); // a statistic
        object
    }

    pub(super) fn give_back(&self, object: Object) {
        self.in_use.fetch_sub(1, Ordering::Relaxed); // as in `take`
        let mut free = lock(&self.free);
        if free.len() < FREE_MAX {
            free.push(object);
        } else {
            drop(free);
            drop(object); // outside of the lock, as it is the user's
        }
    }

    /// Drops what nobody uses.
    pub(super) fn clear(&self) {
        let free = std::mem::take(&mut *lock(&self.free));
        drop(free); // outside of the lock, as it is the user's
    }

    /// Objects that calls have, and those that wait for one.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.in_use.load(Ordering::Relaxed), lock(&self.free).len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_made_once_and_come_back() {
        let made = std::sync::Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let pool = SessionDataPool::new(move || count.fetch_add(1, Ordering::Relaxed));
        pool.reserve(2);
        assert_eq!((made.load(Ordering::Relaxed), pool.counts()), (2, (0, 2)));
        let (first, second, third) = (pool.take(), pool.take(), pool.take());
        assert_eq!((made.load(Ordering::Relaxed), pool.counts()), (3, (3, 0)));
        [first, second, third].into_iter().for_each(|object| pool.give_back(object));
        assert_eq!(*pool.take().downcast::<usize>().unwrap(), 2, "the one that came back last");
        assert_eq!(pool.counts(), (1, 2));
        pool.clear();
        assert_eq!(pool.counts(), (1, 0));
    }
}
