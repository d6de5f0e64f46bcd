//! Bthreads that borrow from their parent, as `std::thread::scope` has it for threads.
//!
//! Holds unsafe: bthreads start without `'static`. It is kept by [`scope`], which does not return before every one of
//! them has run and every result that nobody took has been dropped; only then does `running` fall to 0.

#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::atomic::lock;
use crate::butex::{Butex, Manner};
use crate::join::JoinHandle;
use crate::spawn::Builder;
use crate::task::{TaskId, contained};

/// Runs `f`, which may start bthreads that borrow what outlives this call, and waits until all of them have ended.
///
/// *Blocking*: parks the calling bthread, or blocks the calling thread. An interruption does not end the wait and stays
/// pending.
///
/// # Panics
/// When `f` panics, with its payload; else, when a bthread panicked that nobody joined, with "a scoped bthread
/// panicked", as std has it: the payload is in the handle, for who joins.
///
/// ```
/// let numbers = [1, 2, 3];
/// let sum: i32 = bthread::scope(|scope| {
///     let doubled = numbers.each_ref().map(|number| scope.spawn(move || number * 2));
///     doubled.into_iter().map(|handle| handle.join().unwrap()).sum()
/// });
/// assert_eq!(sum, 12);
/// ```
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope {
        shared: Arc::new(Shared { running: Butex::new(0), panicked: AtomicBool::new(false) }),
        _scope: PhantomData,
        _env: PhantomData,
    };
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    let running = &scope.shared.running;
    loop {
        let now = running.value().load(Ordering::Acquire); // pairs with the Release in `Packet::drop`
        if now == 0 {
            break;
        }
        let _ = running.wait_as(now, Manner::default()); // an interruption stays pending; the loop looks
    }
    match result {
        Err(payload) => resume_unwind(payload),
        Ok(_) if scope.shared.panicked.load(Ordering::Relaxed) => panic!("a scoped bthread panicked"),
        Ok(value) => value,
    }
}

/// Where [`scope`] starts bthreads.
pub struct Scope<'scope, 'env: 'scope> {
    shared: Arc<Shared>,
    _scope: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
}

struct Shared {
    /// Packets that are not dropped yet.
    running: Butex,
    panicked: AtomicBool,
}

/// What a scoped bthread leaves to its handle. Whoever drops it last ends the bthread for the scope.
struct Packet<T> {
    result: Mutex<Option<std::thread::Result<T>>>,
    shared: Arc<Shared>,
}

impl<T> Packet<T> {
    /// The result, once the bthread has ended.
    fn take(&self) -> std::thread::Result<T> {
        lock(&self.result).take().expect("a bthread that has ended left its result")
    }
}

impl<T> Drop for Packet<T> {
    fn drop(&mut self) {
        let result = lock(&self.result).take();
        if matches!(result, Some(Err(_))) {
            self.shared.panicked.store(true, Ordering::Relaxed); // ordered by the Release below
        }
        contained(|| drop(result));
        let running = &self.shared.running;
        // Release pairs with the Acquire in `scope`: it sees all that the bthread did.
        if running.value().fetch_sub(1, Ordering::AcqRel) == 1 {
            running.wake_all();
        }
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Starts a bthread that may borrow from outside of the scope.
    ///
    /// # Panics
    /// When there are no bthreads or stacks left; [`spawn_with`](Self::spawn_with) gives an error instead.
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        self.spawn_with(Builder::new(), f).expect("no bthread to be had")
    }

    /// As [`spawn`](Self::spawn), with options.
    ///
    /// # Errors
    /// As [`Builder::spawn`].
    pub fn spawn_with<F, T>(&'scope self, builder: Builder, f: F) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        // Relaxed: only this call can make it grow from 0, and the scope's own thread sees that.
        self.shared.running.value().fetch_add(1, Ordering::Relaxed);
        let packet = Arc::new(Packet { result: Mutex::new(None), shared: self.shared.clone() });
        let theirs = packet.clone();
        let run = move || {
            let result = catch_unwind(AssertUnwindSafe(f));
            *lock(&theirs.result) = Some(result);
        };
        // SAFETY: `run` ends by dropping its packet, and the scope waits for that; see the head of this file. Its own
        // result is ().
        let handle = unsafe { builder.start(run) }?;
        Ok(ScopedJoinHandle { handle, packet, _scope: PhantomData })
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

/// The right to wait for a scoped bthread and to get its result. Dropping it leaves the waiting to the scope.
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<()>,
    packet: Arc<Packet<T>>,
    _scope: PhantomData<&'scope ()>,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// As [`JoinHandle::join`].
    ///
    /// # Errors
    /// The payload when the function panicked.
    pub fn join(self) -> std::thread::Result<T> {
        let _ = self.handle.join(); // a panic of the function is in the packet
        self.packet.take()
    }

    /// As [`join`](Self::join), for at most `timeout`; gives the handle back when the time was up first.
    ///
    /// # Errors
    /// The handle.
    pub fn join_timeout(self, timeout: Duration) -> Result<std::thread::Result<T>, Self> {
        self.join_before(crate::clock::now().checked_add(timeout))
    }

    /// As [`join`](Self::join), until the deadline at most; gives the handle back when it came first.
    ///
    /// # Errors
    /// The handle.
    pub fn join_until(self, deadline: Instant) -> Result<std::thread::Result<T>, Self> {
        self.join_before(Some(deadline))
    }

    fn join_before(self, deadline: Option<Instant>) -> Result<std::thread::Result<T>, Self> {
        match self.handle.join_before(deadline) {
            Ok(_) => Ok(self.packet.take()), // as in `join`
            Err(handle) => Err(ScopedJoinHandle { handle, ..self }),
        }
    }

    /// Whether the bthread has ended, so that [`join`](Self::join) would not wait.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// The bthread's id.
    pub fn id(&self) -> TaskId {
        self.handle.id()
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle").field("id", &self.id()).finish()
    }
}
