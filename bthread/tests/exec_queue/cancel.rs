//! Cancelling single tasks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bthread::exec_queue::{Batch, Cancel, TaskHandle, TaskOptions};

use super::{Gate, builders};

#[test]
fn a_cancelled_task_does_not_run_and_is_dropped_at_once() {
    for builder in builders() {
        let token = Arc::new(());
        let (queue, gate) = {
            let gate = Arc::new(Gate::default());
            let inner = gate.clone();
            let queue = builder
                .start(move |batch: &mut Batch<'_, Arc<()>>| {
                    inner.pass();
                    batch.for_each(drop);
                })
                .unwrap();
            (queue, gate)
        };
        let tasks = [false, true].map(|urgent| {
            queue.submit_cancellable(token.clone(), TaskOptions::new().urgent(urgent)).unwrap()
        });
        for task in &tasks {
            assert_eq!(task.cancel(), Cancel::Cancelled);
            assert_eq!(task.cancel(), Cancel::Done);
        }
        assert_eq!(Arc::strong_count(&token), 1);
        // A cancelled urgent task is not in the way of the others.
        queue.submit(token.clone()).unwrap();
        gate.open();
        queue.stop();
        queue.join();
        assert_eq!(Arc::strong_count(&token), 1);
    }
}

#[test]
fn a_running_task_cannot_be_cancelled_not_even_by_itself() {
    for builder in builders() {
        let own: Arc<Mutex<Option<TaskHandle>>> = Arc::default();
        let (inside, gate) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
        let queue = builder
            .start({
                let (own, inside, gate) = (own.clone(), inside.clone(), gate.clone());
                move |batch: &mut Batch<'_, i32>| {
                    for _ in batch {
                        inside.open();
                        gate.pass();
                        assert_eq!(own.lock().unwrap().as_ref().unwrap().cancel(), Cancel::Running);
                    }
                }
            })
            .unwrap();
        *own.lock().unwrap() = Some(queue.submit_cancellable(1, TaskOptions::new()).unwrap());
        inside.pass();
        let cancel = || own.lock().unwrap().as_ref().unwrap().cancel();
        assert_eq!(cancel(), Cancel::Running);
        assert_eq!(cancel(), Cancel::Running);
        gate.open();
        queue.stop();
        queue.join();
        assert_eq!(cancel(), Cancel::Done);
    }
}

#[test]
fn what_is_cancelled_at_random_adds_up() {
    for builder in builders() {
        let sum = Arc::new(AtomicUsize::new(0));
        let inner = sum.clone();
        let queue = builder
            .start(move |batch: &mut Batch<'_, usize>| {
                batch.for_each(|n| {
                    inner.fetch_add(n, Ordering::Relaxed);
                });
            })
            .unwrap();
        let threads: Vec<_> = (0..3)
            .map(|seed| {
                let queue = queue.clone();
                std::thread::spawn(move || {
                    let mut left = 0;
                    for n in 1..2000 {
                        let options = TaskOptions::new().urgent(n % 7 == seed);
                        let task = queue.submit_cancellable(n, options).unwrap();
                        let cancelled = n % 3 == seed && task.cancel() == Cancel::Cancelled;
                        left += if cancelled { 0 } else { n };
                    }
                    left
                })
            })
            .collect();
        let expected: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        queue.stop();
        queue.join();
        assert_eq!(sum.load(Ordering::Relaxed), expected);
    }
}
