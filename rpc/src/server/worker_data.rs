//! Worker-local data: values of bthreads that outlive them, kept for the bthreads that serve later calls (brpc:
//! `thread_local_data`, `bthread_init_fn`; `spec/rpc-core.md` §6.1).
//!
//! Owns the server's pool of bthread-locals and the key of its data.

use std::any::Any;
use std::cell::Cell;

use bthread::LocalPool;
use bthread::local::Key;

use crate::error::{EINTERNAL, RpcError};

/// Objects or tables that a server makes at its start at most.
pub(super) const RESERVED_MAX: usize = bthread::local::POOL_TABLES_MAX;

type Object = Box<dyn Any + Send>;
pub(super) type Factory = Box<dyn Fn() -> Object + Send + Sync>;
/// Run in bthreads before a server serves.
pub(super) type Init = Box<dyn Fn() -> Result<(), RpcError> + Send + Sync>;

/// What a server keeps for its bthreads.
pub(super) struct WorkerData {
    pool: LocalPool,
    data: Option<Data>,
}

struct Data {
    make: Factory,
    /// Empty while a call has the object.
    key: Key<Cell<Option<Object>>>,
}

impl WorkerData {
    /// A pool for the factory's objects, if there is one, and for whatever else is bthread-local and pooled.
    ///
    /// # Errors
    /// There are no keys left.
    pub(super) fn new(factory: Option<Factory>) -> Result<Self, RpcError> {
        let no_key = |error| RpcError::new(EINTERNAL, format!("No key for thread_local_data: {error:?}"));
        let data =
            factory.map(|make| Key::create().map(|key| Data { make, key }).map_err(no_key)).transpose()?;
        Ok(WorkerData { pool: LocalPool::new(), data })
    }

    /// Makes `count` objects for bthreads to come.
    pub(super) fn reserve(&self, count: usize) {
        if let Some(data) = &self.data {
            self.pool.reserve(count.min(RESERVED_MAX), || {
                let _ = data.key.set(Cell::new(Some((data.make)()))); // refused: it is made when it is wanted
            });
        }
    }

    /// Runs `init` `count` times, as so many bthreads at a time would, and keeps what it puts into bthread-locals.
    ///
    /// # Errors
    /// The first that `init` gave.
    pub(super) fn init(&self, count: usize, init: &Init) -> Result<(), RpcError> {
        let mut result = Ok(());
        self.pool.reserve(count.min(RESERVED_MAX), || {
            if result.is_ok() {
                result = init();
            }
        });
        result
    }

    /// The calling bthread serves a call.
    pub(super) fn enter(&self) {
        self.pool.enter();
    }

    /// Hands the bthread's object to `f`; `None`: there are none, or they are no `T`.
    pub(super) fn with<T: Any, R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        let data = self.data.as_ref()?;
        let kept = data.key.with(|place| place.and_then(Cell::take));
        let mut object = kept.unwrap_or_else(|| (data.make)());
        let result = object.downcast_mut().map(f);
        let _ = data.key.set(Cell::new(Some(object))); // refused: the thread ends
        result
    }
}

impl Drop for WorkerData {
    fn drop(&mut self) {
        if let Some(data) = &self.data {
            let _ = data.key.delete(); // only here
        }
    }
}
