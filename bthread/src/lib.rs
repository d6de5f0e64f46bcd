//! An M:N runtime of stackful green threads, called *bthreads*: ordinary blocking code, whose waits park the bthread
//! and leave the OS thread (the *worker*) to others.
//!
//! ```
//! use std::time::Duration;
//! let sleepers: Vec<_> = (0..1000).map(|n| bthread::spawn(move || { bthread::sleep(Duration::from_millis(10)); n })).collect();
//! let sum: i32 = sleepers.into_iter().map(|sleeper| sleeper.join().unwrap()).sum();
//! assert_eq!(sum, 499_500);
//! ```
//!
//! Every call also works on a plain OS thread, which it then blocks.
//!
//! A bthread that has started stays on its worker; only those that have not started are taken by other workers. So
//! references to thread-locals, `Rc` and the like stay sound, as between functions that one thread runs in turn. What
//! blocks the thread itself (`std::thread::sleep`, a contended `std::sync::Mutex`, reading a file) holds up all
//! bthreads of that worker. So do the waits of a bthread that unwinds from a panic, since std counts panics per thread:
//! a destructor must not wait for another bthread then.

#![deny(unsafe_code)]
#![cfg_attr(loom, allow(dead_code))]

mod atomic;
mod butex;
#[cfg(not(loom))]
mod context;
#[cfg(not(loom))]
mod defer;
#[cfg(not(loom))]
mod inbox;
#[cfg(not(loom))]
mod interrupt;
#[cfg(not(loom))]
mod join;
pub mod mpsc;
mod parker;
mod parking;
#[cfg(not(loom))]
pub mod poller;
#[cfg(not(loom))]
mod runtime;
#[cfg(not(loom))]
pub mod slab;
#[cfg(not(loom))]
mod sleep;
#[cfg(not(loom))]
mod stack;
#[cfg(not(loom))]
mod stack_overflow;
#[cfg(not(loom))]
pub mod sync;
#[cfg(not(loom))]
mod sys;
#[cfg(not(loom))]
mod task;
#[cfg(not(loom))]
pub mod timer;
#[cfg(not(loom))]
pub mod trace;
#[cfg(loom)]
#[path = "trace/slot.rs"]
mod trace_slot;
mod wait;
#[cfg(not(loom))]
mod worker;

pub use butex::{Butex, WaitResult};
#[cfg(not(loom))]
pub use {
    defer::{Deferred, defer},
    interrupt::{interrupt, is_stopped, stop},
    join::{Batch, Builder, JoinHandle, spawn, spawn_next},
    poller::{EventHandler, Readiness, Registration},
    runtime::{Runtime, RuntimeBuilder, RuntimeStats},
    sleep::{Slept, current_id, is_bthread, sleep, sleep_until, yield_now},
    task::TaskId,
};
