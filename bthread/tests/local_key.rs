//! Keys to bthread-local values that are made at run time.

mod counted;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bthread::local::*;
use counted::{Counted, count};
use proptest::prelude::*;

/// Tests that rely on how many keys there are, or which one is next, do so alone.
static ALL_KEYS: Mutex<()> = Mutex::new(());

fn keys_alone() -> std::sync::MutexGuard<'static, ()> {
    ALL_KEYS.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn destroyed(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn one_key_has_a_value_for_each() {
    let _alone = keys_alone();
    let drops = Arc::new(AtomicUsize::new(0));
    let key = Key::create().unwrap();
    let use_it = {
        let drops = drops.clone();
        move |n: usize| {
            key.with(|value: Option<&(usize, Counted)>| assert!(value.is_none()));
            key.set((n, Counted(drops.clone()))).unwrap();
            bthread::yield_now();
            key.with(|value| assert_eq!(value.unwrap().0, n));
        }
    };
    let bthreads: Vec<_> = (0..100)
        .map(|n| {
            let use_it = use_it.clone();
            bthread::spawn(move || use_it(n))
        })
        .collect();
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let use_it = use_it.clone();
            std::thread::spawn(move || use_it(n))
        })
        .collect();
    bthreads.into_iter().for_each(|bthread| bthread.join().unwrap());
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(count(&drops), 104);
    key.delete().unwrap();
}

#[test]
fn keys_are_made_in_parallel_and_do_not_mix() {
    let _alone = keys_alone();
    static DESTROYED: AtomicUsize = AtomicUsize::new(0);
    let use_many = || {
        let keys: Vec<Key<usize>> =
            (0..20).map(|_| Key::create_with(|_| destroyed(&DESTROYED)).unwrap()).collect();
        for (n, key) in keys.iter().enumerate() {
            assert_eq!(key.get(), None);
            key.set(n).unwrap();
            bthread::yield_now();
        }
        for (n, key) in keys.iter().enumerate() {
            assert_eq!(key.get(), Some(n));
        }
        keys
    };
    let bthreads: Vec<_> = (0..20).map(|_| bthread::spawn(use_many)).collect();
    let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(use_many)).collect();
    let mut keys: Vec<_> = bthreads.into_iter().flat_map(|bthread| bthread.join().unwrap()).collect();
    keys.extend(threads.into_iter().flat_map(|thread| thread.join().unwrap()));
    assert_eq!(count(&DESTROYED), 24 * 20, "as many as were set");
    keys.iter().for_each(|key| key.delete().unwrap());
    assert!(keys.iter().all(|key| key.delete() == Err(KeyError::Deleted)));
}

#[test]
fn a_deleted_key_shows_nothing_and_its_index_no_old_value() {
    let _alone = keys_alone();
    bthread::spawn(|| {
        static DESTROYED: AtomicUsize = AtomicUsize::new(0);
        let drops = Arc::new(AtomicUsize::new(0));
        let old = Key::create_with(|_| destroyed(&DESTROYED)).unwrap();
        old.set(Arc::new(Counted(drops.clone()))).unwrap();
        old.delete().unwrap();
        assert!(old.get().is_none() && !old.exists());
        assert_eq!(old.set(Arc::new(Counted(drops.clone()))), Err(KeyError::Deleted));
        assert_eq!(count(&drops), 1, "the one that was refused");
        // The free index is used first, here by a key of another type.
        let new: Key<u64> = Key::create().unwrap();
        assert_eq!(format!("{old:?}").split('v').next(), format!("{new:?}").split('v').next());
        assert_eq!(new.get(), None);
        new.set(5).unwrap();
        assert_eq!((new.get(), count(&drops)), (Some(5), 2));
        assert!(old.get().is_none());
        new.delete().unwrap();
        assert_eq!(count(&DESTROYED), 0, "no destructor for a deleted key");
    })
    .join()
    .unwrap();
}

#[test]
fn keys_have_a_bound() {
    let _alone = keys_alone();
    let keys: Vec<Key<u8>> = (0..KEYS_MAX).map(|_| Key::create().unwrap()).collect();
    assert_eq!(Key::<u8>::create(), Err(KeyError::Full));
    bthread::spawn({
        let keys = keys.clone();
        move || {
            keys.iter().enumerate().for_each(|(n, key)| key.set(n as u8).unwrap());
            assert!(keys.iter().enumerate().all(|(n, key)| key.get() == Some(n as u8)));
        }
    })
    .join()
    .unwrap();
    keys.into_iter().for_each(|key| key.delete().unwrap());
}

#[test]
fn a_value_that_is_replaced_while_it_is_used_outlives_the_use() {
    let _alone = keys_alone();
    let drops = Arc::new(AtomicUsize::new(0));
    let key = Key::create().unwrap();
    key.set(Counted(drops.clone())).unwrap();
    key.with(|value| {
        key.set(Counted(drops.clone())).unwrap();
        assert_eq!(count(&value.unwrap().0), 0);
    });
    assert_eq!(count(&drops), 1);
    key.delete().unwrap();
}

#[test]
fn a_destructor_may_set_its_key_again() {
    let _alone = keys_alone();
    static KEY: Mutex<Option<Key<usize>>> = Mutex::new(None);
    static CALLS: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let key = Key::create_with(|n: usize| {
        CALLS.lock().unwrap().push(n);
        let key = KEY.lock().unwrap().unwrap();
        assert_eq!(key.get(), None, "out of its place before");
        let _ = key.set(n + 1);
    })
    .unwrap();
    *KEY.lock().unwrap() = Some(key);
    key.set(100).unwrap(); // on a thread
    bthread::spawn(move || {
        key.set(1).unwrap();
        bthread::spawn(move || assert_eq!(key.get(), None)).join().unwrap();
    })
    .join()
    .unwrap();
    assert_eq!(*CALLS.lock().unwrap(), [1, 2, 3, 4, 5]);
    assert_eq!(key.get(), Some(100));
    key.delete().unwrap();
}

#[derive(Debug, Clone)]
enum Step {
    Create,
    Delete(usize),
    Set(usize, u32),
    Get(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Create),
        1 => (0..64usize).prop_map(Step::Delete),
        4 => (0..64usize, any::<u32>()).prop_map(|(key, value)| Step::Set(key, value)),
        4 => (0..64usize).prop_map(Step::Get),
    ]
}

proptest! {
    /// Keys do as a map does, whatever indices they share.
    #[test]
    fn keys_are_a_map(steps in prop::collection::vec(step(), 1..200)) {
        let _alone = keys_alone();
        let (mut keys, mut model) = (Vec::<Key<u32>>::new(), HashMap::new());
        let mut deleted = Vec::new();
        for step in steps {
            let at = |n: usize| (!keys.is_empty()).then(|| n % keys.len().max(1));
            match step {
                Step::Create => { keys.push(Key::create().unwrap()); deleted.push(false) }
                Step::Delete(n) => if let Some(n) = at(n) {
                    prop_assert_eq!(keys[n].delete().is_err(), deleted[n]);
                    deleted[n] = true;
                    model.remove(&n);
                },
                Step::Set(n, value) => if let Some(n) = at(n) {
                    prop_assert_eq!(keys[n].set(value).is_err(), deleted[n]);
                    if !deleted[n] { model.insert(n, value); }
                },
                Step::Get(n) => if let Some(n) = at(n) {
                    prop_assert_eq!(keys[n].get(), model.get(&n).copied());
                },
            }
        }
        for (n, key) in keys.iter().enumerate() {
            prop_assert_eq!(key.get(), model.get(&n).copied());
            let _ = key.delete();
        }
    }
}
