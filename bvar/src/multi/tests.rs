use super::*;
use crate::Adder;
use std::collections::HashMap;
use std::sync::Arc;
use std::thread;

fn two_labels(limit: usize) -> MultiDimension<Adder<i64>> {
    let stats = MultiDimension::new(&["idc", "method"]).unwrap();
    stats.set_limit(limit);
    stats
}

#[test]
fn combinations_are_made_found_listed_and_deleted() {
    let stats = two_labels(0);
    assert_eq!((stats.count(), stats.limit()), (0, 20_000));
    assert!(!stats.has(&["bj", "get"]) && stats.find(&["bj", "get"]).is_none());
    stats.get(&["bj", "get"]).unwrap().add(3);
    stats.get(&["bj", "post"]).unwrap().add(1);
    stats.get(&["an", "zip"]).unwrap().add(1);
    assert_eq!(stats.count(), 3);
    assert_eq!(stats.list(), [["an", "zip"], ["bj", "get"], ["bj", "post"]]);
    assert!(stats.get(&["bj"]).is_none() && stats.get(&["bj", "get", "x"]).is_none());
    assert!(stats.get::<&str>(&[]).is_none());
    assert!(stats.has(&["bj", "get"]) && !stats.has(&["get", "bj"]), "the order of values counts");
    assert!(stats.delete(&["bj", "get"]) && !stats.delete(&["bj", "get"]));
    assert_eq!((stats.count(), stats.get(&["bj", "get"]).unwrap().get()), (2, 0), "a new one");
    stats.clear();
    assert_eq!((stats.count(), stats.list().len(), stats.evicted()), (0, 0, 0));
}

#[test]
fn strings_of_any_kind_find_the_same_combination() {
    let stats = two_labels(0);
    let made = stats.get(&["a", "b"]).unwrap();
    for same in [
        stats.get(&["a".to_owned(), "b".to_owned()]),
        stats.get(&[Box::<str>::from("a"), "b".into()]),
        stats.get(&[Arc::<str>::from("a"), "b".into()]),
        stats.get(&[std::borrow::Cow::Borrowed("a"), std::borrow::Cow::Owned("b".into())]),
    ] {
        assert!(Arc::ptr_eq(&made, &same.unwrap()));
    }
    // What is between the values belongs to the combination.
    stats.get(&["ab", ""]).unwrap();
    stats.get(&["", "ab"]).unwrap();
    assert_eq!(stats.count(), 3);
}

#[test]
fn values_of_labels_are_bounded() {
    let stats = two_labels(0);
    assert!(stats.get(&["x".repeat(MAX_LABEL_VALUE_LEN), String::new()]).is_some());
    assert!(stats.get(&["x".repeat(MAX_LABEL_VALUE_LEN + 1), String::new()]).is_none());
    assert_eq!(stats.count(), 1);
}

#[test]
fn at_the_limit_the_one_not_used_longest_goes() {
    let stats = MultiDimension::<Adder<i64>>::new(&["n"]).unwrap();
    stats.set_limit(3);
    for n in ["1", "2", "3"] {
        stats.get(&[n]).unwrap().add(1);
    }
    // Makes room, and by that forgets who was used before.
    stats.get(&["4"]).unwrap();
    assert_eq!((stats.count(), stats.evicted()), (3, 1));
    let kept: Vec<String> = stats.list().concat();
    let (used, unused): (Vec<_>, Vec<_>) = kept.into_iter().partition(|n| n == "4");
    stats.get(&[&unused[0]]).unwrap();
    stats.get(&["5"]).unwrap();
    assert!(stats.has(&[&unused[0]]) && stats.has(&used) && stats.has(&["5"]));
    assert!(!stats.has(&[&unused[1]]));
    assert_eq!((stats.count(), stats.evicted()), (3, 2));
}

#[test]
fn one_that_is_held_is_kept_as_long_as_there_is_another() {
    let stats = MultiDimension::<Adder<i64>>::new(&["n"]).unwrap();
    stats.set_limit(10);
    let held = stats.get(&["held"]).unwrap();
    for n in 0..1000 {
        stats.get(&[n.to_string()]).unwrap();
    }
    assert_eq!((stats.count(), stats.evicted()), (10, 991));
    held.add(7);
    assert_eq!(stats.find(&["held"]).unwrap().get(), 7);

    stats.clear();
    let all: Vec<_> = (0..10).map(|n| stats.get(&[n.to_string()]).unwrap()).collect();
    let more = stats.get(&["more"]).unwrap();
    assert_eq!((stats.count(), stats.evicted()), (10, 992));
    assert!(Arc::ptr_eq(&more, &stats.find(&["more"]).unwrap()));
    drop(all);
}

#[test]
fn a_limit_of_one_and_a_lowered_limit() {
    let stats = two_labels(1);
    for n in 0..100 {
        let new = stats.get(&["a", &n.to_string()]).unwrap();
        assert!(Arc::ptr_eq(&new, &stats.find(&["a", &n.to_string()]).unwrap()));
        assert_eq!(stats.count(), 1);
    }
    stats.set_limit(50);
    (0..60).for_each(|n| drop(stats.get(&["b", &n.to_string()])));
    assert_eq!(stats.count(), 50);
    stats.set_limit(5);
    stats.get(&["c", ""]).unwrap();
    assert_eq!(stats.count(), 5);
    assert!(stats.has(&["c", ""]));
}

#[test]
fn threads_that_ask_evict_and_delete_at_once() {
    const LIMIT: usize = 20;
    let stats = two_labels(LIMIT);
    let written = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let stats = &stats;
                scope.spawn(move || {
                    for i in 0..5000usize {
                        let values = [(i % 7).to_string(), (i * (thread + 1) % 11).to_string()];
                        stats.get(&values).unwrap().add(1);
                        if i % 13 == 0 {
                            stats.delete(&values);
                        }
                        if i % 1000 == 999 {
                            stats.list();
                        }
                    }
                    5000
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<i64>()
    });
    assert_eq!(written, 20_000);
    stats.get(&["last", ""]).unwrap();
    assert!(stats.count() <= LIMIT && stats.evicted() > 0, "{} {}", stats.count(), stats.evicted());
    let listed: HashMap<_, _> = stats.list().into_iter().map(|values| (values, ())).collect();
    assert_eq!(listed.len(), stats.count(), "none is listed twice");
}

#[test]
fn a_value_may_use_its_own_table_when_made_and_dropped() {
    use std::sync::{OnceLock, Weak};
    static SELF: OnceLock<Weak<MultiDimension<Nosy>>> = OnceLock::new();
    struct Nosy;
    fn look() -> Option<usize> {
        // Would wait for ever under a lock of the table.
        let table = SELF.get()?.upgrade()?;
        Some(table.list().len() + usize::from(table.delete(&["nobody"])))
    }
    impl Drop for Nosy {
        fn drop(&mut self) {
            look();
        }
    }
    let stats = MultiDimension::with(&["n"], || {
        look();
        Nosy
    });
    let stats = Arc::new(stats.unwrap());
    stats.set_limit(2);
    SELF.set(Arc::downgrade(&stats)).unwrap();
    (0..10).for_each(|n| drop(stats.get(&[n.to_string()])));
    assert!(stats.delete(&["9"]));
    stats.clear();
    assert_eq!((stats.count(), stats.evicted()), (0, 8));
}
