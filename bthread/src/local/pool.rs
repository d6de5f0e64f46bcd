//! Pools: values of bthreads that have ended, kept for the next ones.

use std::fmt;
use std::sync::{Arc, Mutex};

use crossbeam_utils::CachePadded;

use super::access;
use super::table::{Retired, Shelf, Table};
use crate::atomic::lock;
use crate::slots::{SHARDS, shard};
use crate::task::contained;

/// Tables that one of a pool's lists holds.
const LIST_MAX: usize = 4000;
/// Tables that a [`LocalPool`] holds; further bthreads drop their values at their end.
pub const POOL_TABLES_MAX: usize = LIST_MAX * SHARDS;

/// Keeps the bthread-locals of bthreads that have ended for the next ones, so that what a request has built up (a
/// buffer, a parser, a connection) is there for a later one. Only `pooled` statics and [`Key`](super::Key)s are kept;
/// see the [module's text](super). A bthread takes what the last one left, when it first uses such a value.
///
/// Dropping the pool drops what it holds, in the caller's context: the destructors may wait if the caller may.
/// Bthreads with that pool that still run drop theirs at their end.
///
/// ```
/// # use std::cell::Cell;
/// bthread::bthread_local! { pooled static REQUESTS: Cell<u32> = Cell::new(0); }
/// let pool = bthread::LocalPool::new();
/// let request = || REQUESTS.set(REQUESTS.get() + 1);
/// for _ in 0..3 {
///     bthread::Builder::new().local_pool(&pool).spawn(request).unwrap().join().unwrap();
/// }
/// let last = bthread::Builder::new().local_pool(&pool).spawn(|| REQUESTS.get()).unwrap();
/// assert_eq!(last.join().unwrap(), 3);
/// ```
pub struct LocalPool(Arc<Shared>);

/// What bthreads have of their pool.
pub(super) struct Shared {
    lists: [CachePadded<Mutex<List>>; SHARDS],
}

struct List {
    open: bool,
    tables: Vec<Retired>,
}

impl LocalPool {
    /// An empty pool.
    pub fn new() -> Self {
        let list = || CachePadded::new(Mutex::new(List { open: true, tables: Vec::new() }));
        LocalPool(Arc::new(Shared { lists: std::array::from_fn(|_| list()) }))
    }

    /// Makes this the pool of the calling bthread, which leaves its values here at its end. If it has used pooled
    /// values before, those are what it leaves; else it takes over what another one left.
    /// [`Builder::local_pool`](crate::Builder::local_pool) does this for a new bthread. False outside of bthreads,
    /// where nothing is done. Never blocks.
    pub fn enter(&self) -> bool {
        Shared::enter(&self.0)
    }

    pub(crate) fn shared(&self) -> PoolRef {
        PoolRef(self.0.clone())
    }

    /// Runs `init` up to `tables` times, and each time keeps the pooled values that it makes for a bthread to come:
    /// so that the first requests need not. Returns how many were kept: fewer when the pool is full.
    /// Inside of `init` there are no pooled values but its own. A panic of `init` goes to the caller.
    ///
    /// *Blocking*: never by itself; `init` may.
    pub fn reserve(&self, tables: usize, mut init: impl FnMut()) -> usize {
        for reserved in 0..tables {
            let Some(aside) = Aside::new() else { return reserved };
            init();
            if let Some(mut refused) = self.0.put(aside.back()) {
                drop_values(&mut refused);
                return reserved;
            }
        }
        tables
    }

    /// Tables that the pool holds now: those of running bthreads are not in it. A snapshot.
    pub fn len(&self) -> usize {
        self.0.lists.iter().map(|list| lock(list).tables.len()).sum()
    }

    /// Whether it held none a moment ago.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for LocalPool {
    fn drop(&mut self) {
        for list in &self.0.lists {
            let tables = {
                let mut list = lock(list);
                list.open = false;
                std::mem::take(&mut list.tables)
            };
            tables.into_iter().for_each(|table| drop_values(&mut table.into_table()));
        }
    }
}

/// A pool as a bthread that has not started holds it.
#[derive(Debug)]
pub(crate) struct PoolRef(Arc<Shared>);

impl PoolRef {
    pub(crate) fn enter(self) {
        Shared::enter(&self.0);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    fn enter(this: &Arc<Shared>) -> bool {
        if crate::worker::current_task().is_none() {
            return false;
        }
        let shared = this.clone();
        drop(access(|locals| locals.pool.replace(shared)));
        true
    }

    /// What an ended bthread left, or `reserve` made.
    pub(super) fn take(&self) -> Option<Box<Table>> {
        let home = shard();
        (0..SHARDS)
            .find_map(|step| lock(&self.lists[(home + step) % SHARDS]).tables.pop())
            .map(Retired::into_table)
    }

    /// Keeps a table, unless the pool is full or gone: then it comes back. The owner has left all frames of `with`.
    pub(super) fn put(&self, table: Box<Table>) -> Option<Box<Table>> {
        let home = shard();
        let mut table = Some(table.retire());
        for step in 0..SHARDS {
            let mut list = lock(&self.lists[(home + step) % SHARDS]);
            if !list.open {
                break;
            }
            if list.tables.len() < LIST_MAX {
                list.tables.extend(table.take());
                return None;
            }
        }
        table.map(Retired::into_table)
    }
}

/// The pooled values of the caller, set aside for a while.
struct Aside(Option<Shelf>);

impl Aside {
    fn new() -> Option<Self> {
        let mut shelf = Shelf::default();
        access(|locals| locals.table().ok().map(|table| table.swap_shelf(&mut shelf)))?;
        Some(Aside(Some(shelf)))
    }

    /// Puts them back, and gives what was made in the meantime.
    fn back(mut self) -> Box<Table> {
        self.swap_back().unwrap_or_default().into_table()
    }

    fn swap_back(&mut self) -> Option<Shelf> {
        let mut shelf = self.0.take()?;
        // Never what was aside: the caller may be using it.
        access(|locals| locals.table().ok().map(|table| table.swap_shelf(&mut shelf))).map(|()| shelf)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        drop(self.swap_back()); // `init` has panicked: its values go
    }
}

fn drop_values(table: &mut Table) {
    (0..table.places()).filter_map(|place| table.take_any(place)).for_each(|value| contained(|| drop(value)));
}

impl Default for LocalPool {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for LocalPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalPool").field("len", &self.len()).finish_non_exhaustive()
    }
}
