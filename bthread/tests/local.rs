//! Bthread-local statics as a user sees them, and their end.

mod counted;
mod on;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bthread::bthread_local;
use bthread::local::DESTRUCTOR_ROUNDS;
use counted::{Counted, count};
use on::on;

mod statics {
    use super::*;

    bthread_local! {
        /// With attributes,
        static PLAIN: Cell<u32> = Cell::new(7);
        pub(crate) static CONST: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
        static SHARED: Rc<Cell<u32>> = Rc::new(Cell::new(0))
    }

    #[test]
    fn every_bthread_and_thread_has_its_own() {
        let own = |n: u32| {
            assert_eq!(PLAIN.get(), 7);
            PLAIN.set(n);
            for step in 0..10 {
                CONST.with_borrow_mut(|list| list.push(n + step));
                SHARED.with(|shared| shared.set(shared.get() + n));
                bthread::yield_now();
            }
            assert_eq!(PLAIN.replace(0), n);
            assert_eq!(CONST.take(), (n..n + 10).collect::<Vec<_>>());
            assert_eq!(SHARED.with(|shared| shared.get()), 10 * n);
        };
        let bthreads: Vec<_> = (0..100).map(|n| bthread::spawn(move || own(n))).collect();
        let threads: Vec<_> = (0..4).map(|n| std::thread::spawn(move || own(n))).collect();
        bthreads.into_iter().for_each(|bthread| bthread.join().unwrap());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn a_value_stays_across_waits_in_its_bthread() {
        on(1, || {
            let sleepers: Vec<_> = (0..20)
                .map(|n| {
                    bthread::spawn(move || {
                        SHARED.with(|shared| {
                            shared.set(n);
                            bthread::sleep(Duration::from_millis(1));
                            assert_eq!(shared.get(), n);
                        });
                    })
                })
                .collect();
            sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
        });
    }

    #[test]
    fn setting_does_not_make_the_initial_value() {
        bthread_local! {
            static CELL: Cell<u32> = panic!("not asked for");
            static REF_CELL: RefCell<String> = panic!("not asked for");
        }
        bthread::spawn(|| {
            CELL.set(1);
            CELL.set(2);
            assert_eq!((CELL.get(), CELL.take(), CELL.get()), (2, 2, 0));
            REF_CELL.set("one".into());
            REF_CELL.set("two".into());
            assert_eq!(REF_CELL.replace("three".into()), "two");
            assert_eq!(REF_CELL.with_borrow(String::clone), "three");
        })
        .join()
        .unwrap();
    }

    #[test]
    fn an_initial_value_that_panics_may_be_tried_again() {
        bthread_local! { static TRIED: u32 = if ATTEMPTS.replace(ATTEMPTS.get() + 1) == 0 { panic!("as planned") } else { 5 }; }
        bthread_local! { static ATTEMPTS: Cell<u32> = Cell::new(0); }
        bthread::spawn(|| {
            assert!(std::panic::catch_unwind(|| TRIED.with(|tried| *tried)).is_err());
            assert_eq!(TRIED.with(|tried| *tried), 5);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn values_live_in_boxes_of_their_own_and_may_nest() {
        bthread_local! { static OUTER: [u8; 300] = [1; 300]; static INNER: Cell<usize> = Cell::new(0); }
        OUTER.with(|outer| {
            INNER.set(std::ptr::from_ref(outer).addr());
            OUTER.with(|again| assert_eq!(std::ptr::from_ref(again).addr(), INNER.get()));
            assert!(outer.iter().all(|byte| *byte == 1));
        });
    }
}

mod the_end {
    use super::*;

    bthread_local! { static VALUE: RefCell<Option<Counted>> = RefCell::new(None); }

    #[test]
    fn values_are_dropped_before_the_join_returns() {
        for _ in 0..200 {
            let drops = Arc::new(AtomicUsize::new(0));
            let value = Counted(drops.clone());
            bthread::spawn(move || VALUE.set(Some(value))).join().unwrap();
            assert_eq!(count(&drops), 1);
            let value = Counted(drops.clone());
            std::thread::spawn(move || VALUE.set(Some(value))).join().unwrap();
            assert_eq!(count(&drops), 2);
        }
    }

    #[test]
    fn a_panic_of_the_bthread_drops_its_values() {
        let drops = Arc::new(AtomicUsize::new(0));
        let value = Counted(drops.clone());
        let panicked = bthread::spawn(move || {
            VALUE.set(Some(value));
            panic!("as planned");
        });
        assert!(panicked.join().is_err());
        assert_eq!(count(&drops), 1);
    }

    #[test]
    fn the_result_of_a_detached_bthread_may_use_values_too() {
        struct User(Arc<AtomicUsize>);
        impl Drop for User {
            fn drop(&mut self) {
                let value = Counted(self.0.clone());
                VALUE.with_borrow_mut(|slot| assert!(slot.replace(value).is_none()));
            }
        }
        on(1, || {
            let drops = Arc::new(AtomicUsize::new(0));
            for n in 1..=50 {
                let result = User(drops.clone());
                drop(bthread::spawn(move || result));
                while count(&drops) < n {
                    bthread::yield_now();
                }
                VALUE.with_borrow(|slot| assert!(slot.is_none(), "not left to the next in the slot"));
            }
        });
    }

    #[test]
    fn destructors_may_wait_and_use_other_values() {
        struct Waits(Arc<(bthread::sync::Mutex<usize>, AtomicUsize)>);
        impl Drop for Waits {
            fn drop(&mut self) {
                assert_eq!(bthread::is_bthread(), ID.get().is_some());
                assert_eq!(bthread::current_id(), ID.get());
                let mut total = self.0.0.lock().unwrap();
                bthread::sleep(Duration::from_micros(100));
                *total += 1;
                VALUE.set(Some(Counted(Arc::default())));
                bthread::spawn(bthread::yield_now).join().unwrap();
                self.0.1.fetch_add(1, Ordering::SeqCst);
            }
        }
        bthread_local! {
            static ID: Cell<Option<bthread::TaskId>> = Cell::new(bthread::current_id());
            static WAITS: RefCell<Option<Waits>> = RefCell::new(None);
        }
        let shared = Arc::new((bthread::sync::Mutex::new(0), AtomicUsize::new(0)));
        let use_it = {
            let shared = shared.clone();
            move || {
                ID.get();
                WAITS.set(Some(Waits(shared.clone())));
            }
        };
        let bthreads: Vec<_> = (0..30).map(|_| bthread::spawn(use_it.clone())).collect();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(use_it.clone())).collect();
        bthreads.into_iter().for_each(|bthread| bthread.join().unwrap());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((*shared.0.lock().unwrap(), count(&shared.1)), (34, 34));
    }

    /// Makes a new one of its kind when it is dropped, so often.
    struct Again {
        left: usize,
        drops: Arc<AtomicUsize>,
        refused: Arc<AtomicUsize>,
    }

    bthread_local! { static AGAIN: RefCell<Option<Again>> = RefCell::new(None); }

    impl Drop for Again {
        fn drop(&mut self) {
            self.drops.fetch_add(1, Ordering::SeqCst);
            if self.left > 0 {
                let next =
                    Again { left: self.left - 1, drops: self.drops.clone(), refused: self.refused.clone() };
                let next = Cell::new(Some(next));
                if AGAIN.try_with(|slot| drop(slot.replace(next.take()))).is_err() {
                    self.refused.fetch_add(1, Ordering::SeqCst);
                    std::mem::forget(next);
                }
            }
        }
    }

    #[test]
    fn values_made_by_destructors_are_dropped_in_rounds() {
        for left in [1, DESTRUCTOR_ROUNDS - 1, DESTRUCTOR_ROUNDS, 100] {
            let (drops, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let run = {
                let (drops, refused) = (drops.clone(), refused.clone());
                move || AGAIN.set(Some(Again { left, drops, refused }))
            };
            bthread::spawn(run.clone()).join().unwrap();
            // The last one is dropped with no value to be had any more.
            let expected = (left + 1).min(DESTRUCTOR_ROUNDS + 1);
            assert_eq!(count(&drops), expected);
            assert_eq!(count(&refused), usize::from(left > DESTRUCTOR_ROUNDS));
            std::thread::spawn(run).join().unwrap();
            assert_eq!(count(&drops), 2 * expected);
        }
    }

    #[test]
    fn a_destructor_that_panics_ends_alone() {
        struct Panics;
        impl Drop for Panics {
            fn drop(&mut self) {
                panic!("as planned");
            }
        }
        bthread_local! { static PANICS: Panics = Panics; }
        let drops = Arc::new(AtomicUsize::new(0));
        let value = Counted(drops.clone());
        let bthread = bthread::spawn(move || {
            PANICS.with(|_| ());
            VALUE.set(Some(value));
            3
        });
        assert_eq!(bthread.join().unwrap(), 3);
        assert_eq!(count(&drops), 1);
    }

    #[test]
    fn a_thread_that_has_dropped_its_values_has_none() {
        struct Late(Arc<AtomicUsize>);
        impl Drop for Late {
            fn drop(&mut self) {
                self.0.store(1 + usize::from(VALUE.try_with(|_| ()).is_err()), Ordering::SeqCst);
            }
        }
        thread_local!(static LATE: RefCell<Option<Late>> = const { RefCell::new(None) });
        let seen = Arc::new(AtomicUsize::new(0));
        let late = Late(seen.clone());
        std::thread::spawn(move || {
            LATE.set(Some(late));
            VALUE.with(|_| ());
        })
        .join()
        .unwrap();
        assert_ne!(count(&seen), 0, "either answer is fine, a crash is not");
    }
}
