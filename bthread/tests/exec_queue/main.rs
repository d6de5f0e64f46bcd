//! Execution queues as a user sees them: the list in `spec/bthread.md` §19, "ExecutionQueue".
//!
//! Of that list, one line has no test: a reference held by `address` does not delay the stop here. A submission through
//! it fails from the stop on, and whatever was accepted runs before the last call.

mod cancel;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bthread::Butex;
use bthread::exec_queue::{Batch, Builder, Cancel, ExecutionQueue, Stopped, TaskOptions, stats};
use bthread::sync::mpsc;

/// Closed until it is opened.
struct Gate(Butex);

impl Default for Gate {
    fn default() -> Self {
        Gate(Butex::new(0))
    }
}

impl Gate {
    fn open(&self) {
        self.0.value().store(1, Ordering::Release);
        self.0.wake_all();
    }

    fn pass(&self) {
        while self.0.value().load(Ordering::Acquire) == 0 {
            let _ = self.0.wait(0, None);
        }
    }
}

/// Both places where consumers can run.
fn builders() -> [Builder; 2] {
    [Builder::new(), Builder::new().dedicated_thread(true)]
}

/// What an executor has seen: items in order, and how often it was told of the stop.
type Log<T> = Arc<Mutex<(Vec<T>, usize)>>;

fn logging<T: Send + 'static>(log: &Log<T>) -> impl FnMut(&mut Batch<'_, T>) + Send + 'static {
    let log = log.clone();
    move |batch| {
        for item in batch.by_ref() {
            log.lock().unwrap().0.push(item);
        }
        log.lock().unwrap().1 += usize::from(batch.is_stopped());
    }
}

fn finish<T: Send + 'static>(queue: &ExecutionQueue<T>, log: Log<T>) -> Vec<T> {
    queue.stop();
    queue.join();
    let mut log = log.lock().unwrap();
    assert_eq!(log.1, 1, "one call with the stop");
    std::mem::take(&mut log.0)
}

/// A queue whose consumer has taken one item, 0, and waits in the executor until the gate opens.
fn held(builder: Builder, log: &Log<i32>) -> (ExecutionQueue<i32>, Arc<Gate>) {
    let (gate, (tx, rx)) = (Arc::new(Gate::default()), mpsc::channel());
    let mut log = logging(log);
    let queue = builder
        .start({
            let gate = gate.clone();
            let mut first = true;
            move |batch: &mut Batch<'_, i32>| {
                if std::mem::take(&mut first) {
                    assert_eq!(batch.next(), Some(0));
                    tx.send(()).unwrap();
                    gate.pass();
                }
                log(batch);
            }
        })
        .unwrap();
    queue.submit(0).unwrap();
    rx.recv().unwrap();
    (queue, gate)
}

#[test]
fn the_sum_is_right_from_one_and_from_many_and_each_keeps_its_order() {
    for producers in [1, 4] {
        for builder in builders() {
            let log = Log::default();
            let queue = builder.start(logging(&log)).unwrap();
            let threads: Vec<_> = (0..producers)
                .map(|producer| {
                    let queue = queue.clone();
                    let submit = move || (0..10_000).for_each(|n| queue.submit((producer, n)).unwrap());
                    std::thread::spawn(move || {
                        if producer % 2 == 0 { submit() } else { bthread::spawn(submit).join().unwrap() }
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            let seen = finish(&queue, log);
            assert_eq!(seen.len(), producers * 10_000);
            let mut next = vec![0; producers];
            for (producer, n) in seen {
                assert_eq!(n, next[producer]);
                next[producer] += 1;
            }
        }
    }
}

#[test]
fn what_can_only_be_moved_arrives_and_is_dropped_once() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    for builder in builders() {
        let drops = Arc::new(AtomicUsize::new(0));
        let queue = builder.start(|batch: &mut Batch<'_, Box<Counted>>| batch.for_each(drop)).unwrap();
        for _ in 0..1000 {
            queue.submit(Box::new(Counted(drops.clone()))).unwrap();
        }
        queue.stop();
        queue.join();
        assert_eq!(drops.load(Ordering::Relaxed), 1000);
    }
}

#[test]
fn urgent_tasks_go_first_in_their_own_order() {
    for builder in builders() {
        let log = Log::default();
        let (queue, gate) = held(builder, &log);
        queue.submit(10).unwrap();
        queue.submit_urgent(1).unwrap();
        queue.submit(11).unwrap();
        queue.submit_urgent(2).unwrap();
        gate.open();
        assert_eq!(finish(&queue, log), [1, 2, 10, 11]);
    }
}

#[test]
fn a_normal_batch_breaks_when_an_urgent_task_appears() {
    let log: Log<(i32, bool)> = Log::default();
    let own: Arc<OnceLock<ExecutionQueue<i32>>> = Arc::default();
    let (gate, last) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
    let queue = ExecutionQueue::start({
        let (log, own, gate, last) = (log.clone(), own.clone(), gate.clone(), last.clone());
        move |batch: &mut Batch<'_, i32>| {
            gate.pass();
            while let Some(item) = batch.next() {
                log.lock().unwrap().0.push((item, batch.is_urgent()));
                if item == 1 {
                    own.get().unwrap().submit_urgent(100).unwrap();
                } else if item == 3 {
                    last.open();
                }
            }
        }
    });
    own.set(queue.clone()).unwrap();
    (1..=3).for_each(|n| queue.submit(n).unwrap());
    gate.open();
    last.pass();
    queue.stop();
    queue.join();
    let expected = [(1, false), (100, true), (2, false), (3, false)];
    assert_eq!(log.lock().unwrap().0, expected);
}

#[test]
fn an_urgent_task_may_be_the_last_and_the_only_one() {
    for builder in builders() {
        let log = Log::default();
        let queue = builder.start(logging(&log)).unwrap();
        queue.submit(1).unwrap();
        queue.submit_urgent(2).unwrap();
        assert_eq!(finish(&queue, log).len(), 2);
    }
    let log = Log::default();
    let queue = ExecutionQueue::start(logging(&log));
    queue.submit_urgent(7).unwrap();
    assert_eq!(finish(&queue, log), [7]);
}

#[test]
fn what_an_executor_leaves_comes_again() {
    for builder in builders() {
        let log: Log<i32> = Log::default();
        let seen = log.clone();
        let mut calls = 0;
        let queue = builder
            .start(move |batch: &mut Batch<'_, i32>| {
                calls += 1;
                let mut seen = seen.lock().unwrap();
                seen.1 += usize::from(batch.is_stopped());
                // Nothing in every third call, else one item.
                if calls % 3 != 0 {
                    let item = batch.next();
                    seen.0.extend(item);
                }
            })
            .unwrap();
        (0..100).for_each(|n| queue.submit(n).unwrap());
        assert_eq!(finish(&queue, log), (0..100).collect::<Vec<_>>());
    }
}

#[test]
fn in_place_runs_on_the_caller_if_the_queue_is_idle() {
    for builder in builders() {
        let threads: Arc<Mutex<Vec<(i32, std::thread::ThreadId)>>> = Arc::default();
        let seen = threads.clone();
        let queue = builder
            .start(move |batch: &mut Batch<'_, i32>| {
                batch.for_each(|item| seen.lock().unwrap().push((item, std::thread::current().id())));
            })
            .unwrap();
        for urgent in [false, true] {
            let options = TaskOptions::new().in_place(true).urgent(urgent);
            queue.submit_with(1, options).unwrap();
            assert_eq!(threads.lock().unwrap().pop(), Some((1, std::thread::current().id())));
        }
        queue.stop();
        queue.join();
    }
}

#[test]
fn what_comes_during_an_in_place_run_goes_to_another_consumer_in_order() {
    for builder in builders() {
        let log: Log<i32> = Log::default();
        let (gate, inside) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
        let here = std::thread::current().id();
        let queue = builder
            .start({
                let (log, gate, inside) = (log.clone(), gate.clone(), inside.clone());
                move |batch: &mut Batch<'_, i32>| {
                    log.lock().unwrap().1 += usize::from(batch.is_stopped());
                    for item in batch {
                        if item == 0 {
                            inside.open();
                            gate.pass();
                        }
                        assert_eq!(std::thread::current().id() == here, item == 0);
                        log.lock().unwrap().0.push(item);
                    }
                }
            })
            .unwrap();
        let other = std::thread::spawn({
            let (queue, gate) = (queue.clone(), gate.clone());
            move || {
                inside.pass();
                (1..=3).for_each(|n| queue.submit(n).unwrap());
                queue.execute_in_place(4).unwrap(); // not idle: queued
                gate.open();
            }
        });
        queue.execute_in_place(0).unwrap();
        other.join().unwrap();
        assert_eq!(finish(&queue, log), [0, 1, 2, 3, 4]);
    }
}

#[test]
fn after_a_stop_submissions_fail_and_give_the_item_back() {
    for builder in builders() {
        let log = Log::default();
        let (queue, gate) = held(builder, &log);
        queue.submit(1).unwrap();
        queue.stop();
        assert!(queue.is_stopped());
        assert_eq!(queue.submit(2), Err(Stopped(2)));
        assert_eq!(queue.submit_urgent(3), Err(Stopped(3)));
        assert_eq!(queue.execute_in_place(4), Err(Stopped(4)));
        assert_eq!(queue.submit_cancellable(5, TaskOptions::new()).unwrap_err(), Stopped(5));
        assert!(!queue.join_until(Instant::now() + Duration::from_millis(1)));
        gate.open();
        queue.stop();
        assert_eq!(finish(&queue, log), [1]);
        queue.join();
    }
}

#[test]
fn submissions_that_race_with_the_stop_run_or_fail() {
    for round in 0..200 {
        let log = Log::default();
        let queue = builders().into_iter().nth(round % 2).unwrap().start(logging(&log)).unwrap();
        let threads: Vec<_> = (0..3)
            .map(|n| {
                let queue = queue.clone();
                std::thread::spawn(move || {
                    let submit = |item| if n == 0 { queue.submit_urgent(item) } else { queue.submit(item) };
                    (0..1000).take_while(|_| submit(1usize).is_ok()).count()
                })
            })
            .collect();
        std::thread::yield_now();
        let seen = finish(&queue, log.clone()).len();
        let accepted: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(seen, accepted);
        assert!(log.lock().unwrap().0.is_empty(), "nothing runs after the stop");
    }
}

#[test]
fn many_join_and_one_executor_is_dropped_before() {
    let token = Arc::new(());
    let kept = token.clone();
    let queue = ExecutionQueue::start(move |batch: &mut Batch<'_, i32>| {
        let _kept = &kept;
        batch.for_each(drop);
    });
    queue.submit(1).unwrap();
    let joiners: Vec<_> = (0..8)
        .map(|n| {
            let (queue, token) = (queue.clone(), token.clone());
            std::thread::spawn(move || {
                let join = move || {
                    queue.join();
                    drop(token);
                };
                if n % 2 == 0 { join() } else { bthread::spawn(join).join().unwrap() }
            })
        })
        .collect();
    queue.stop();
    joiners.into_iter().for_each(|joiner| joiner.join().unwrap());
    assert_eq!(Arc::strong_count(&token), 1);
}

#[test]
fn the_last_handle_stops_the_queue_and_an_id_finds_it_until_then() {
    let log: Log<i32> = Log::default();
    let (gate, done) = (Arc::new(Gate::default()), mpsc::channel());
    let mut write = logging(&log);
    let (opened, tx) = (gate.clone(), done.0);
    let queue = ExecutionQueue::start(move |batch: &mut Batch<'_, i32>| {
        opened.pass();
        write(batch);
        if batch.is_stopped() {
            tx.send(()).unwrap();
        }
    });
    let id = queue.id();
    let found = ExecutionQueue::<i32>::address(id).unwrap();
    assert_eq!(found.id(), id);
    assert!(ExecutionQueue::<u64>::address(id).is_none(), "another type");
    drop(queue);
    found.submit(1).unwrap();
    drop(found);
    assert!(ExecutionQueue::<i32>::address(id).is_none());
    assert!(ExecutionQueue::<i32>::address(0).is_none());
    gate.open();
    done.1.recv().unwrap();
    assert_eq!(*log.lock().unwrap(), (vec![1], 1));
}

#[test]
fn a_panic_loses_one_item_and_nothing_else() {
    for builder in builders() {
        let log: Log<i32> = Log::default();
        let seen = log.clone();
        let queue = builder
            .start(move |batch: &mut Batch<'_, i32>| {
                for item in batch.by_ref() {
                    assert_ne!(item, 1, "as planned");
                    seen.lock().unwrap().0.push(item);
                }
                seen.lock().unwrap().1 += usize::from(batch.is_stopped());
            })
            .unwrap();
        let before = stats().panics;
        (0..4).for_each(|n| queue.submit(n).unwrap());
        assert_eq!(finish(&queue, log), [0, 2, 3]);
        assert!(stats().panics > before);
    }
}

#[test]
fn the_counts_follow_a_queue() {
    let log = Log::default();
    let before = stats().items;
    let (queue, gate) = held(Builder::new(), &log);
    let now = stats();
    assert!(now.queues >= 1 && now.active >= 1 && now.running >= 1);
    gate.open();
    finish(&queue, log);
    assert!(stats().items > before);
}

/// One that is always full would hold its worker for ever, and nobody could stop it.
#[test]
fn a_queue_that_never_runs_dry_lets_others_of_its_worker_run() {
    let runtime = bthread::Runtime::builder().workers(1).start().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let own: Arc<OnceLock<ExecutionQueue<()>>> = Arc::default();
    let queue = Builder::new()
        .runtime(runtime)
        .start({
            let (stop, own) = (stop.clone(), own.clone());
            move |batch: &mut Batch<'_, ()>| {
                for () in batch {
                    if !stop.load(Ordering::Relaxed) {
                        own.get().unwrap().submit(()).unwrap();
                    }
                }
            }
        })
        .unwrap();
    own.set(queue.clone()).unwrap();
    queue.submit(()).unwrap();
    runtime.spawn(move || stop.store(true, Ordering::Relaxed)).join().unwrap();
    queue.stop();
    queue.join();
}

#[test]
fn names_reach_the_thread() {
    let (tx, rx) = mpsc::channel();
    let queue = Builder::new()
        .name("writer")
        .dedicated_thread(true)
        .start(move |batch: &mut Batch<'_, ()>| {
            tx.send((batch.count(), std::thread::current().name().map(str::to_owned))).unwrap();
        })
        .unwrap();
    queue.submit(()).unwrap();
    assert_eq!(rx.recv().unwrap(), (1, Some("writer".to_owned())));
    queue.stop();
    queue.join();
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// One submitter, any mix of kinds, an executor that takes so many at a time: each kind keeps its order, and what
    /// was cancelled is missing.
    #[test]
    fn any_mix_keeps_order_and_number(
        tasks in proptest::collection::vec((proptest::bool::ANY, 0..3u8), 0..200),
        take in 1..5usize,
        dedicated in proptest::bool::ANY,
    ) {
        let log: Log<(bool, usize)> = Log::default();
        let seen = log.clone();
        let queue = Builder::new().dedicated_thread(dedicated).start(
            move |batch: &mut Batch<'_, (bool, usize)>| {
                let urgent = batch.is_urgent();
                let items: Vec<_> = batch.by_ref().take(take).collect();
                assert!(items.iter().all(|item| item.0 == urgent));
                let mut seen = seen.lock().unwrap();
                seen.0.extend(items);
                seen.1 += usize::from(batch.is_stopped());
            }).unwrap();
        let mut expected = HashMap::from([(false, Vec::new()), (true, Vec::new())]);
        for (n, (urgent, how)) in tasks.into_iter().enumerate() {
            let options = TaskOptions::new().urgent(urgent).in_place(how == 1);
            let cancelled = how == 2
                && queue.submit_cancellable((urgent, n), options).unwrap().cancel() == Cancel::Cancelled;
            if how != 2 {
                queue.submit_with((urgent, n), options).unwrap();
            }
            if !cancelled {
                expected.get_mut(&urgent).unwrap().push(n);
            }
        }
        let all = finish(&queue, log);
        for (urgent, numbers) in expected {
            let of_kind: Vec<_> = all.iter().filter(|item| item.0 == urgent).map(|item| item.1).collect();
            proptest::prop_assert_eq!(of_kind, numbers);
        }
    }
}
