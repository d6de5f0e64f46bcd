//! The consumer: where it runs, and what it does until nothing is left.
//!
//! It calls the executor, code of a user, without any lock; a panic in there is contained, and the queue goes on.
//!
//! Holds unsafe: the right to the role of the consumer. Whoever a `submit` or a `stop` tells to start has it; it goes
//! along with the `Arc` that [`start`] is given, to a bthread, a thread or a timer, exactly one of which runs.

#![allow(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::batch::{Batch, Role};
use super::handover::{Found, Kind};
use super::queue::Shared;
use super::stats::COUNTERS;
use crate::butex::Butex;
use crate::runtime::Runtime;
use crate::task::contained;

/// What a queue does with its tasks.
pub(super) type Executor<T> = Box<dyn FnMut(&mut Batch<'_, T>) + Send>;

/// How long a queue that finds no bthread for its consumer waits before it tries again.
const START_RETRY: Duration = Duration::from_millis(1);

/// Where the consumers of a queue run.
pub(super) enum Place {
    /// A new bthread each time.
    Bthread { runtime: Runtime, name: Option<String> },
    /// A thread of the queue's own, which sleeps on this word in between: 1 means that there is something to do.
    Thread(Butex),
}

/// Starts a consumer. Never blocks.
///
/// # Safety
/// The caller has the role of the consumer, and gives it up.
pub(super) unsafe fn start<T: Send + 'static>(queue: Arc<Shared<T>>) {
    COUNTERS.active.fetch_add(1, Ordering::Relaxed); // a count
    // SAFETY: passed on.
    unsafe { start_active(queue) };
}

/// # Safety
/// As [`start`].
unsafe fn start_active<T: Send + 'static>(queue: Arc<Shared<T>>) {
    match &queue.place {
        Place::Bthread { runtime, name } => {
            let mut builder = crate::Builder::new();
            if let Some(name) = name {
                builder = builder.name(name);
            }
            let shared = queue.clone();
            // SAFETY: the role is passed on.
            let consumer = move || unsafe { run(&shared) };
            if builder.spawn_on(*runtime, consumer).is_err() {
                // The submitter may hold locks, so it must not run the tasks itself.
                COUNTERS.delayed_starts.fetch_add(1, Ordering::Relaxed); // a count
                // SAFETY: the role is passed on; the closure above is gone without having run.
                let again = move || unsafe { start_active(queue) };
                let _never_cancelled = crate::timer::schedule(crate::clock::now() + START_RETRY, again);
            }
        }
        Place::Thread(word) => {
            word.value().store(1, Ordering::Release); // pairs with the swap in `serve`
            word.wake_one();
        }
    }
}

/// The life of a queue's own thread. *Blocking*: blocks the thread.
pub(super) fn serve<T: Send + 'static>(queue: &Arc<Shared<T>>) {
    let Place::Thread(word) = &queue.place else { unreachable!("a queue without a thread") };
    while !queue.is_ended() {
        // Acquire pairs with the store in `start_active`.
        if word.value().swap(0, Ordering::Acquire) == 0 {
            let _ = word.wait(0, None); // whatever ended it: we look again
            continue;
        }
        // SAFETY: the role came with the word.
        unsafe { run(queue) };
    }
}

/// Runs tasks until none are left.
///
/// # Safety
/// The caller has the role of the consumer, and gives it up.
unsafe fn run<T: Send + 'static>(queue: &Arc<Shared<T>>) {
    // SAFETY: by the contract.
    let mut role = unsafe { queue.handover.consumer() };
    loop {
        match find(&mut role) {
            Found::Task(kind) => {
                let taken;
                (role, taken) = call(Batch::new(role, kind));
                // Others first, if they had to wait for a full batch, or the executor for something of theirs.
                if taken == 0 || taken >= super::batch::BATCH_MAX {
                    crate::yield_now();
                }
            }
            Found::Idle => {
                COUNTERS.active.fetch_sub(1, Ordering::Relaxed); // a count
                return;
            }
            Found::Stopped => {
                (role, _) = call(Batch::stopped(role));
                let executor = role.state().take();
                contained(|| drop(executor));
                COUNTERS.active.fetch_sub(1, Ordering::Relaxed); // a count
                return queue.end();
            }
        }
    }
}

/// Runs one task, as the submitter that found the queue idle; another consumer takes over if there are more.
///
/// # Safety
/// As [`run`].
pub(super) unsafe fn run_in_place<T: Send + 'static>(queue: &Arc<Shared<T>>, kind: Kind) {
    COUNTERS.active.fetch_add(1, Ordering::Relaxed); // a count
    // SAFETY: by the contract.
    let mut role = unsafe { queue.handover.consumer() };
    // A normal task is there: the push of ours has found the list at rest. An urgent one may not be linked yet, behind
    // one whose submitter is on its way here.
    let mut found = if kind == Kind::Normal { Found::Task(kind) } else { role.find() };
    if found == Found::Task(kind) {
        (role, _) = call(Batch::single(role, kind));
        found = find(&mut role);
    }
    if found == Found::Idle {
        COUNTERS.active.fetch_sub(1, Ordering::Relaxed); // a count
    } else {
        // SAFETY: passed on.
        unsafe { start_active(queue.clone()) };
    }
}

/// What is next that was not cancelled.
fn find<T>(role: &mut Role<'_, T>) -> Found {
    loop {
        let found = role.find();
        let Found::Task(kind) = found else { return found };
        if role.front(kind).is_some_and(|task| task.is_live()) {
            return found;
        }
        drop(role.next(kind)); // no item in it
    }
}

/// Calls the executor once; gives back the role and how many items it took.
fn call<T>(mut batch: Batch<'_, T>) -> (Role<'_, T>, usize) {
    let mut executor = batch.executor().take().expect("the executor is there until the queue has stopped");
    let mut returned = false;
    COUNTERS.running.fetch_add(1, Ordering::Relaxed); // a count
    contained(|| {
        executor(&mut batch);
        returned = true;
    });
    COUNTERS.running.fetch_sub(1, Ordering::Relaxed); // a count
    if !returned {
        COUNTERS.panics.fetch_add(1, Ordering::Relaxed); // a count
    }
    *batch.executor() = Some(executor);
    let (role, taken) = batch.finish();
    COUNTERS.items.fetch_add(taken as u64, Ordering::Relaxed); // a count
    (role, taken)
}
