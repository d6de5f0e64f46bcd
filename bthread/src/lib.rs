//! An M:N runtime of stackful green threads, called *bthreads*: ordinary blocking code, whose waits park the bthread
//! and leave the OS thread (the *worker*) to others.
//!
//! ```
//! use std::time::Duration;
//! let sleep = |n| { bthread::sleep(Duration::from_millis(10)); n };
//! let sleepers: Vec<_> = (0..1000).map(|n| bthread::spawn(move || sleep(n))).collect();
//! let sum: i32 = sleepers.into_iter().map(|sleeper| sleeper.join().unwrap()).sum();
//! assert_eq!(sum, 499_500);
//! ```
//!
//! The package is `bobbin-bthread`: `bthread = { package = "bobbin-bthread", path = "…" }` among the dependencies makes it
//! `bthread`, as here; whoever depends on `bobbin` writes `use bobbin::bthread;`.
//!
//! Every call also works on a plain OS thread, which it then blocks. The [`guide`] has a chapter for each facility.
//!
//! A bthread that has started stays on its worker; only those that have not started are taken by other workers. So
//! references to thread-locals, `Rc` and the like stay sound, as between functions that one thread runs in turn. What
//! blocks the thread itself (`std::thread::sleep`, a contended `std::sync::Mutex`, reading a file) holds up all
//! bthreads of that worker. So do the waits of a bthread that unwinds from a panic, since std counts panics per thread:
//! a destructor must not wait for another bthread then.

#![deny(unsafe_code)]
#![cfg_attr(loom, allow(dead_code, unused_imports))]

/// Whether this process has the planted bug of this name (`planted::Bug`); `false` where nothing is planted.
#[cfg(bobbin_planted)]
#[doc(hidden)]
#[macro_export]
macro_rules! planted {
    ($bug:ident) => {
        $crate::planted::is($crate::planted::Bug::$bug)
    };
}

/// Whether this process has the planted bug of this name: `RUSTFLAGS="--cfg bobbin_planted"` plants them.
#[cfg(not(bobbin_planted))]
#[doc(hidden)]
#[macro_export]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}

#[cfg(not(loom))]
mod accounting;
mod atomic;
mod block_on;
#[cfg(not(loom))]
mod blocking;
mod butex;
pub mod call_id;
pub mod clock;
#[cfg(not(loom))]
mod context;
#[cfg(not(loom))]
mod defer;
pub mod exec_queue;
#[cfg(not(loom))]
pub mod fd;
#[cfg(not(loom))]
pub mod fs;
mod gate;
pub mod guide;
#[cfg(not(loom))]
mod histogram;
#[cfg(not(loom))]
mod inbox;
#[cfg(not(loom))]
mod inspect;
#[cfg(not(loom))]
mod interrupt;
#[cfg(not(loom))]
mod join;
#[cfg(not(loom))]
pub mod local;
#[cfg(not(loom))]
mod monitor;
pub mod mpsc;
#[cfg(not(loom))]
pub mod net;
mod parker;
mod parking;
#[cfg(bobbin_planted)]
pub mod planted;
#[cfg(not(loom))]
pub mod poller;
#[cfg(not(loom))]
pub mod profile;
#[cfg(loom)]
#[path = "profile/places.rs"]
mod profile_places;
pub mod random;
#[cfg(not(loom))]
mod runtime;
#[cfg(not(loom))]
mod scope;
#[cfg(not(loom))]
pub mod simulation;
#[cfg(not(loom))]
pub mod slab;
#[cfg(not(loom))]
mod sleep;
mod slots;
#[cfg(not(loom))]
mod spawn;
#[cfg(not(loom))]
mod stack;
#[cfg(not(loom))]
mod stack_overflow;
pub mod sync;
#[cfg(not(loom))]
mod sys;
#[cfg(not(loom))]
mod task;
#[cfg(loom)]
#[path = "task/life.rs"]
mod task_life;
pub mod timer;
#[cfg(not(loom))]
pub mod trace;
#[cfg(loom)]
#[path = "trace/slot.rs"]
mod trace_slot;
#[cfg(not(loom))]
mod variables;
mod wait;
#[cfg(not(loom))]
mod worker;

pub use block_on::block_on;
pub use butex::{Butex, WaitResult};
pub use call_id::{CallGuard, CallId};
#[cfg(not(loom))]
pub use {
    accounting::{WaitAccount, WaitKind, WaitTotal, Waits, account_waits},
    blocking::{
        BLOCKING_IDLE_TIME, BLOCKING_QUEUE_MAX, BLOCKING_THREADS_MAX, BlockingHandle, blocking,
        spawn_blocking, try_spawn_blocking,
    },
    defer::{Deferred, defer},
    histogram::Histogram,
    inspect::{BthreadInfo, BthreadState, Home, WaitsFor, bthread, bthreads, stack_trace},
    interrupt::{interrupt, is_stopped, stop, stop_requested},
    join::{JoinHandle, join, join_timeout, join_until},
    local::{LocalKey, LocalPool},
    monitor::BlockedWorker,
    poller::{EventHandler, Readiness, Registration},
    runtime::{CpuSet, Runtime, RuntimeBuilder, RuntimeStats, runtimes},
    scope::{Scope, ScopedJoinHandle, scope},
    sleep::{
        Slept, carried, current_id, is_bthread, set_carried, set_trace_id, sleep, sleep_until, trace_id,
        yield_now,
    },
    spawn::{Batch, Builder, spawn, spawn_next, spawn_urgent},
    stack::{StackClass, StackStats},
    task::TaskId,
    variables::{expose_variables, register_flags},
};
