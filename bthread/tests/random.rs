//! Random numbers that a program has replaced: its own process, as that is for good.

use bthread::random::{AlreadyReplaced, random, replace};

#[test]
fn a_replaced_stream_is_the_same_for_the_same_seed() {
    let before: Vec<_> = (0..10).map(|_| random()).collect();
    replace(7).unwrap();
    assert!(matches!(replace(8), Err(AlreadyReplaced { .. })));
    let numbers = [random(), random(), random()];
    // For ever: seeds that are kept must lead to the same runs.
    assert_eq!(numbers, [0xb8b4_c297_7eab_ce45, 0xa653_05fd_338e_c8fe, 0x8ca3_cbb6_ca63_129b]);
    assert!(numbers.iter().all(|number| !before.contains(number)));
    // One stream for all threads.
    let other = std::thread::spawn(|| (0..100).map(|_| random()).collect::<Vec<_>>());
    let mut all: Vec<_> = (0..100).map(|_| random()).chain(numbers).collect();
    all.extend(other.join().unwrap());
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 203);
}
