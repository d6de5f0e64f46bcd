//! Pools: bthread-locals that outlive their bthread.

mod counted;
mod on;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bthread::local::*;
use bthread::{Builder, LocalPool, bthread_local};
use counted::{Counted, count};
use on::on;

bthread_local! {
    pooled static KEPT: RefCell<Vec<Counted>> = RefCell::new(Vec::new());
    static FRESH: RefCell<Option<Counted>> = RefCell::new(None);
}

fn run<T: Send + 'static>(pool: &LocalPool, f: impl FnOnce() -> T + Send + 'static) -> T {
    Builder::new().local_pool(pool).spawn(f).unwrap().join().unwrap()
}

#[test]
fn the_next_bthread_finds_what_the_last_one_left() {
    let (kept, fresh) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let key = Key::create().unwrap();
    let pool = LocalPool::new();
    for n in 0..50 {
        let (kept, fresh) = (kept.clone(), fresh.clone());
        run(&pool, move || {
            assert_eq!(KEPT.with_borrow(Vec::len), n);
            assert_eq!(key.get(), n.checked_sub(1));
            KEPT.with_borrow_mut(|list| list.push(Counted(kept)));
            FRESH.with_borrow_mut(|slot| assert!(slot.replace(Counted(fresh)).is_none()));
            key.set(n).unwrap();
        });
        assert_eq!(pool.len(), 1);
    }
    assert_eq!((count(&kept), count(&fresh)), (0, 50));
    bthread::spawn(|| assert_eq!(KEPT.with_borrow(Vec::len), 0)).join().unwrap();
    drop(pool);
    assert_eq!(count(&kept), 50);
    key.delete().unwrap();
}

#[test]
fn who_outlives_the_pool_drops_at_the_end() {
    let pool = LocalPool::new();
    let outlive = || {
        let (go, drops) = (Arc::new(bthread::Butex::new(0)), Arc::new(AtomicUsize::new(0)));
        let outliving = {
            let (go, drops) = (go.clone(), drops.clone());
            move || {
                KEPT.with_borrow_mut(|list| list.push(Counted(drops)));
                while go.value().load(Ordering::Acquire) == 0 {
                    let _ = go.wait(0, None);
                }
            }
        };
        (Builder::new().local_pool(&pool).spawn(outliving).unwrap(), go, drops)
    };
    let outliving = [outlive(), outlive()];
    drop(pool);
    for (bthread, go, drops) in outliving {
        assert_eq!(count(&drops), 0);
        go.value().store(1, Ordering::Release);
        go.wake_all();
        bthread.join().unwrap();
        assert_eq!(count(&drops), 1, "not kept for the other one");
    }
}

#[test]
fn a_pool_can_be_entered_and_values_used_before_go_there() {
    let pool = LocalPool::new();
    assert!(!pool.enter(), "a thread has no pool");
    let drops = Arc::new(AtomicUsize::new(0));
    let pool = Arc::new(pool);
    bthread::spawn({
        let (pool, drops) = (pool.clone(), drops.clone());
        move || {
            KEPT.with_borrow_mut(|list| list.push(Counted(drops)));
            assert!(pool.enter());
            assert_eq!(KEPT.with_borrow(Vec::len), 1);
        }
    })
    .join()
    .unwrap();
    assert_eq!((pool.len(), count(&drops)), (1, 0));
    assert_eq!(run(&pool, || KEPT.with_borrow(Vec::len)), 1);
    drop(pool);
    assert_eq!(count(&drops), 1);
}

#[test]
fn a_destructor_that_enters_a_pool_leaves_nothing_behind() {
    struct Enters(Arc<LocalPool>);
    impl Drop for Enters {
        fn drop(&mut self) {
            assert!(self.0.enter());
        }
    }
    bthread_local! { static ENTERS: RefCell<Option<Enters>> = RefCell::new(None); }
    let pool = Arc::new(LocalPool::new());
    on(1, move || {
        let enters = Enters(pool.clone());
        bthread::spawn(move || ENTERS.set(Some(enters))).join().unwrap();
        bthread::spawn(|| KEPT.with(|_| ())).join().unwrap();
        assert!(pool.is_empty(), "the slot's next bthread has no pool");
    });
}

#[test]
fn a_reserve_is_made_ahead() {
    let made = Arc::new(AtomicUsize::new(0));
    let drops = Arc::new(AtomicUsize::new(0));
    let key = Key::create().unwrap();
    key.set(1).unwrap();
    KEPT.with_borrow_mut(|list| list.push(Counted(drops.clone())));
    let pool = LocalPool::new();
    let reserved = pool.reserve(10, || {
        assert_eq!((key.get(), KEPT.with_borrow(Vec::len)), (None, 0));
        key.set(made.fetch_add(1, Ordering::SeqCst) + 100).unwrap();
        KEPT.with_borrow_mut(|list| list.extend((0..2).map(|_| Counted(drops.clone()))));
    });
    assert_eq!((reserved, pool.len(), count(&made)), (10, 10, 10));
    assert_eq!((key.get(), KEPT.with_borrow(Vec::len)), (Some(1), 1), "the caller's own are back");
    let found = run(&pool, move || (key.get().unwrap(), KEPT.with_borrow(Vec::len)));
    assert!((100..110).contains(&found.0) && found.1 == 2);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        pool.reserve(5, || {
            KEPT.with_borrow_mut(|list| list.push(Counted(drops.clone())));
            panic!("as planned");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!((key.get(), pool.len(), count(&drops)), (Some(1), 10, 1));
    drop(pool);
    assert_eq!(count(&drops), 21);
    KEPT.take();
    key.delete().unwrap();
}

#[test]
fn a_full_pool_takes_no_more() {
    let drops = Arc::new(AtomicUsize::new(0));
    let make = || KEPT.with_borrow_mut(|list| list.push(Counted(drops.clone())));
    let pool = Arc::new(LocalPool::new());
    assert_eq!(pool.reserve(POOL_TABLES_MAX + 3, make), POOL_TABLES_MAX);
    assert_eq!((pool.len(), count(&drops)), (POOL_TABLES_MAX, 1));
    let more = drops.clone();
    let refused = bthread::spawn({
        let pool = pool.clone();
        move || {
            KEPT.with_borrow_mut(|list| list.push(Counted(more)));
            pool.enter();
        }
    });
    refused.join().unwrap();
    assert_eq!((pool.len(), count(&drops)), (POOL_TABLES_MAX, 2));
    drop(pool);
    assert_eq!(count(&drops), POOL_TABLES_MAX + 2);
}

#[test]
fn borrowing_and_giving_back_in_parallel_loses_nothing() {
    on(4, || {
        let drops = Arc::new(AtomicUsize::new(0));
        let pool = Arc::new(LocalPool::new());
        let total = Arc::new(AtomicUsize::new(0));
        for _ in 0..20 {
            let bthreads: Vec<_> = (0..100)
                .map(|n| {
                    let (drops, total) = (drops.clone(), total.clone());
                    let spawned = Builder::new().local_pool(&pool).spawn(move || {
                        KEPT.with_borrow_mut(|list| list.push(Counted(drops)));
                        total.fetch_add(1, Ordering::SeqCst);
                        if n % 3 == 0 {
                            bthread::yield_now();
                        }
                    });
                    spawned.unwrap()
                })
                .collect();
            bthreads.into_iter().for_each(|bthread| bthread.join().unwrap());
            assert!(pool.len() <= 100, "no more than ran at a time");
        }
        assert_eq!((count(&total), count(&drops)), (2000, 0));
        drop(Arc::into_inner(pool).unwrap());
        assert_eq!(count(&drops), 2000);
    });
}

#[test]
fn a_destructor_of_the_pool_may_wait_for_a_lock() {
    struct Locks(Arc<bthread::sync::Mutex<usize>>);
    impl Drop for Locks {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
    }
    bthread_local! { pooled static LOCKS: RefCell<Option<Locks>> = RefCell::new(None); }
    let total = Arc::new(bthread::sync::Mutex::new(0));
    let pool = LocalPool::new();
    run(&pool, {
        let total = total.clone();
        move || LOCKS.set(Some(Locks(total)))
    });
    let held = total.lock().unwrap();
    let dropper = bthread::spawn(move || drop(pool));
    bthread::sleep(Duration::from_millis(1));
    assert!(!dropper.is_finished());
    drop(held);
    dropper.join().unwrap();
    assert_eq!(*total.lock().unwrap(), 1);
}
