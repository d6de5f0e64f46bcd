//! Execution queues: tasks submitted from anywhere, run in order by one consumer at a time (`spec/bthread.md` §10).
//!
//! A submission is wait-free. The one that finds the queue idle starts the consumer, a bthread that runs until nothing
//! is left. It hands the tasks in batches to the queue's executor, so that whoever locks, writes or flushes can do it
//! once for many. With it a mutex that is held for long becomes a queue, and nobody waits.
//!
//! A *task* here is one item that was submitted, and [`TaskOptions`] and [`TaskHandle`] are about those; they have
//! nothing to do with bthreads ([`TaskId`](crate::TaskId), [`Builder`](crate::Builder)).
//!
//! ```
//! use bthread::exec_queue::ExecutionQueue;
//! let (tx, rx) = bthread::sync::mpsc::channel();
//! let queue = ExecutionQueue::start(move |batch| {
//!     let lines: Vec<_> = batch.by_ref().collect();
//!     if !batch.is_stopped() {
//!         tx.send(lines.concat()).unwrap(); // one write for all of them
//!     }
//! });
//! queue.submit("one ").unwrap();
//! queue.submit("two ").unwrap();
//! queue.stop();
//! queue.join();
//! assert_eq!(rx.iter().collect::<String>(), "one two ");
//! ```

mod handover;

#[cfg(not(loom))]
mod batch;
#[cfg(not(loom))]
mod consumer;
#[cfg(not(loom))]
mod queue;
#[cfg(not(loom))]
mod stats;
#[cfg(not(loom))]
mod task;

#[cfg(not(loom))]
pub use {
    batch::Batch,
    queue::{Builder, ExecutionQueue, Stopped, TaskOptions},
    stats::{ExecutionQueueStats, stats},
    task::{Cancel, TaskHandle},
};
