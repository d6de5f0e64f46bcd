//! Words and tallies: what is written is read, whoever ends or is dropped first.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};
use std::sync::mpsc::channel;
use std::thread;

#[test]
fn a_word_is_zero_until_written_and_folds_over_threads() {
    let (sum, max) = (Arc::new(Word::new(Fold::Sum)), Arc::new(Word::new(Fold::Max)));
    assert_eq!((sum.read(), max.read()), (0, 0));
    let threads: Vec<_> = (1..=4u64)
        .map(|n| {
            let (sum, max) = (sum.clone(), max.clone());
            thread::spawn(move || {
                for _ in 0..1000 {
                    sum.write(Fold::Sum, n);
                    max.write(Fold::Max, n * 10);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!((sum.read(), max.read()), (10_000, 40));
}

#[test]
fn a_recycled_id_starts_from_zero_in_a_thread_that_wrote_to_it_before() {
    let (to_thread, orders) = channel::<Arc<Word>>();
    let (done, from_thread) = channel();
    let writer = thread::spawn(move || {
        for word in orders {
            word.write(Fold::Sum, 7);
            drop(word);
            done.send(()).unwrap();
        }
    });
    let mut ids = std::collections::HashSet::new();
    for _ in 0..1000 {
        let word = Arc::new(Word::new(Fold::Sum));
        ids.insert(word.id());
        assert_eq!(word.read(), 0);
        to_thread.send(word.clone()).unwrap();
        from_thread.recv().unwrap();
        assert_eq!(word.read(), 7);
    }
    assert!(ids.len() < 500, "ids are not recycled: {} for 1000 words", ids.len());
    drop(to_thread);
    writer.join().unwrap();
}

#[test]
fn a_maximum_is_taken_and_the_one_since_creation_stays() {
    let word = Arc::new(Word::new(Fold::Max));
    let other = word.clone();
    word.write(Fold::Max, 5);
    thread::spawn(move || other.write(Fold::Max, 9)).join().unwrap();
    assert_eq!((word.read(), word.take_max(), word.read(), word.take_max()), (9, 9, 9, 0));
    word.write(Fold::Max, 3);
    assert_eq!((word.read(), word.take_max(), word.take_max(), word.read()), (9, 3, 0, 9));
}

#[test]
fn no_maximum_is_lost_while_it_is_taken() {
    const ROUNDS: u64 = if cfg!(miri) { 100 } else { 2_000 };
    let word = Word::new(Fold::Max);
    let (written, seen) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        // Writes each value once, while the other takes all the time.
        scope.spawn(|| {
            for value in 1..=ROUNDS {
                word.write(Fold::Max, value);
                // Release and acquire pair, in both directions: what was written before is there to be taken.
                written.store(value, Release);
                while seen.load(Acquire) < value {
                    thread::yield_now();
                }
            }
        });
        let mut lost = 0;
        for value in 1..=ROUNDS {
            let mut taken = 0;
            let mut is_written = false;
            while !is_written {
                is_written = written.load(Acquire) == value;
                taken = word.take_max().max(taken);
            }
            seen.store(value, Release);
            lost += u64::from(taken != value);
        }
        assert_eq!(lost, 0, "maxima went missing");
    });
    assert_eq!((word.take_max(), word.read()), (0, ROUNDS));
}

#[test]
fn a_tally_frees_its_memory_and_a_later_one_starts_from_zero() {
    let mut ids = std::collections::HashSet::new();
    for round in 0..100 {
        let tally = Tally::new();
        ids.insert(tally.id());
        assert_eq!(tally.read(), (Totals::default(), vec![]), "round {round}");
        tally.record(0, 3, 3);
        tally.record(42, 9, 2000);
        thread::scope(|scope| {
            scope.spawn(|| tally.record(42, 9, 1000));
        });
        let (totals, leaves) = tally.read();
        assert_eq!(totals, Totals { count: 3, sum: 3003, max: 2000 });
        assert_eq!(leaves.iter().map(|(leaf, _)| *leaf).collect::<Vec<_>>(), [0, 42]);
        assert_eq!((leaves[0].1[3], leaves[1].1[9]), (1, 2));
        assert_eq!((tally.take_max(), tally.take_max(), tally.totals()), (2000, 0, totals));
    }
    assert!(ids.len() < 50, "tallies are not recycled: {}", ids.len());
}

#[test]
#[should_panic(expected = "index out of bounds")]
fn a_tally_refuses_leaves_beyond_its_end() {
    Tally::new().record(LEAVES, 0, 1);
}

#[test]
fn threads_that_ended_leave_their_values_and_no_table() {
    let word = Arc::new(Word::new(Fold::Sum));
    for _ in 0..500 {
        let word = word.clone();
        thread::spawn(move || word.write(Fold::Sum, 1)).join().unwrap();
    }
    assert_eq!(word.read(), 500);
    assert!(lock().tables.len() < 100);
}

#[test]
fn destructors_of_thread_locals_can_still_write() {
    struct Last(Cell<Option<Arc<Word>>>);
    impl Drop for Last {
        fn drop(&mut self) {
            self.0.take().unwrap().write(Fold::Sum, 100);
        }
    }
    thread_local!(static LAST: Last = const { Last(Cell::new(None)) });
    let word = Arc::new(Word::new(Fold::Sum));
    // Destructors run in an order of the platform's choosing, so both orders of first use are tried.
    for write_first in [true, false] {
        let word = word.clone();
        let write = move |word: &Word| word.write(Fold::Sum, 1);
        thread::spawn(move || {
            if write_first {
                write(&word);
            }
            LAST.with(|last| last.0.set(Some(word.clone())));
            write(&word);
        })
        .join()
        .unwrap();
    }
    assert_eq!(word.read(), 203);
}
