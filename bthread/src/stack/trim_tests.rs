//! Tests of what becomes of the memory of free stacks, and of the pools by class.

#![allow(unsafe_code)]

use super::child::{errors, in_child};
use super::pool::{Guards, SAMPLE_EVERY};
use super::tests::{config, page, readable, resident, writable};
use super::*;

/// Uses the top page of each.
fn touch(stacks: &[Stack]) {
    for stack in stacks {
        assert!(writable(stack.top().wrapping_sub(1)));
    }
}

fn take(pool: &StackPool, count: usize) -> Vec<Stack> {
    let stacks: Vec<Stack> = (0..count).map(|_| pool.get().unwrap()).collect();
    touch(&stacks);
    stacks
}

fn tops_resident(places: &[*mut u8]) -> usize {
    places.iter().filter(|top| resident(top.wrapping_sub(page()))).count()
}

/// Bytes of this process's page tables.
fn page_tables() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmPTE")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

#[test]
fn half_of_what_nobody_needed_is_cooled_each_time() {
    for guards in [Guards::Markers, Guards::Gaps] {
        const STACKS: u32 = 1000;
        let pool = StackPool::guarded_by(&config(64 << 10, STACKS, 2000), guards).unwrap();
        let stacks = take(&pool, STACKS as usize);
        let places: Vec<_> = stacks.iter().map(Stack::top).collect();
        pool.put_all(stacks);
        assert_eq!((pool.counts().warm, tops_resident(&places)), (STACKS, STACKS as usize));
        assert_eq!(pool.trim(), 0, "all were needed since the pool was made");
        let mut left = STACKS;
        for cooled in [500, 250, 125, 64, 61, 0, 0] {
            assert_eq!(pool.trim(), cooled);
            left -= cooled;
            assert_eq!((pool.counts().warm, tops_resident(&places)), (left, left as usize));
        }
        assert_eq!(left, 0);
        let again = take(&pool, STACKS as usize);
        assert_eq!(pool.counts().created, STACKS);
        for stack in &again {
            assert!(!readable(stack.limit().wrapping_sub(1)), "{guards:?}: {stack:?} lost its guard");
        }
        pool.put_all(again);
    }
}

#[test]
fn what_was_needed_meanwhile_stays_warm() {
    let pool = StackPool::new(&config(64 << 10, 1000, 1000)).unwrap();
    pool.put_all(take(&pool, 1000));
    pool.trim();
    for _ in 0..3 {
        pool.put_all(take(&pool, 600));
        let idle = pool.counts().warm - 600;
        assert_eq!(pool.trim(), (idle / 2).max(idle.min(64)));
    }
    assert_eq!(pool.counts().warm, 600 + 400 - 200 - 100 - 64);
}

#[test]
fn long_runs_give_their_page_tables_back_and_get_their_guards_again() {
    let output =
        in_child(module_path!(), "long_runs_give_their_page_tables_back_and_get_their_guards_again", || {
            const STACKS: usize = 4000;
            let pool = StackPool::new(&config(1 << 20, STACKS as u32, STACKS)).unwrap();
            let before = page_tables();
            pool.put_all(take(&pool, STACKS));
            let used = page_tables() - before;
            assert!(used >= STACKS / 2 * page(), "{used}");
            let markers = pool.growth.lock().unwrap().guards == Guards::Markers;
            pool.trim();
            while pool.trim() != 0 {}
            assert_eq!(pool.counts().warm, 0);
            let kept = page_tables() - before;
            eprintln!("page tables: {used} bytes in use, {kept} afterwards; markers: {markers}");
            let stacks = take(&pool, STACKS);
            assert_eq!(pool.counts().created as usize, STACKS);
            for stack in &stacks {
                assert!(!readable(stack.limit().wrapping_sub(1)) && writable(stack.limit()), "{stack:?}");
            }
            pool.put_all(stacks);
        });
    assert!(output.status.success(), "{}", errors(&output));
}

#[test]
fn stacks_that_a_trim_has_in_hand_are_waited_for() {
    let pool = StackPool::new(&config(64 << 10, 1, 100)).unwrap();
    pool.put_all(take(&pool, 1));
    std::thread::scope(|scope| {
        let in_hand = pool.trimming.lock().unwrap();
        let mut slots = [pool.pop_warm().unwrap()];
        let taker = scope.spawn(|| pool.get());
        // Time enough for a taker that does not wait to fail.
        for _ in 0..10_000 {
            if taker.is_finished() {
                break;
            }
            std::thread::yield_now();
        }
        pool.cool(&mut slots);
        drop(in_hand);
        pool.put(taker.join().unwrap().expect("the only stack was free all the time"));
    });
}

#[test]
fn deep_stacks_count_for_more() {
    const STACKS: usize = 50 * SAMPLE_EVERY as usize;
    let pool = StackPool::new(&config(256 << 10, STACKS as u32, 4096)).unwrap();
    let stacks = take(&pool, STACKS);
    for stack in &stacks {
        for page_down in 1..=16 {
            assert!(writable(stack.top().wrapping_sub(page_down * page())));
        }
    }
    pool.put_all(stacks);
    assert_eq!(pool.deepest(), 16 * page());
    pool.trim();
    // 4096 pages, of which a stack has 16; the average is slow to learn the last of it.
    assert!((256..300).contains(&pool.counts().warm), "{}", pool.counts().warm);
}

#[test]
fn use_is_seen_across_looks_and_holes() {
    let pool = StackPool::new(&config(8 << 20, 2, 100)).unwrap();
    let stack = pool.get().unwrap();
    let pages = pool.stack_size() / page();
    let used = || super::depth::of(stack.top, pages, page());
    assert_eq!((used().resident, used().depth), (0, 0));
    for (page_down, depth) in [(1, 1), (2, 2), (200, 200), (300, 300), (700, 700)] {
        assert!(writable(stack.top().wrapping_sub(page_down * page())));
        assert_eq!(used().depth, depth);
    }
    assert_eq!(used().resident, 5);
    pool.put(stack);
}

fn small_pools() -> StackPools {
    StackPools::new(StackClass::ALL.map(|class| StackConfig { stacks_max: 8, ..StackConfig::new(class) }))
        .unwrap()
}

#[test]
fn each_class_has_its_own_size_bound_and_pool() {
    let pools = small_pools();
    let sizes = [32 << 10, 1 << 20, 8 << 20];
    for (class, size) in StackClass::ALL.into_iter().zip(sizes) {
        let stats = pools.stats(class);
        assert_eq!((stats.size, stats.max, stats.created), (size, 8, 0), "before the first use");
        let stacks: Vec<Stack> = (0..8).map(|_| pools.get(class).unwrap()).collect();
        assert_eq!(pools.get(class).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
        for stack in &stacks {
            assert_eq!(stack.class(), class);
            assert_eq!(stack.top() as usize - stack.limit() as usize, size);
            assert!(writable(stack.limit()) && !readable(stack.limit().wrapping_sub(1)));
        }
        assert_eq!(pools.stats(class).in_use, 8);
        pools.put_all(stacks);
        let stats = pools.stats(class);
        assert_eq!((stats.in_use, stats.created, stats.warm), (0, 8, 8));
    }
    pools.put_all([]);
    let warm = || StackClass::ALL.map(|class| pools.stats(class).warm);
    assert!(pools.trim());
    assert_eq!(warm(), [8; 3]);
    assert!(pools.trim());
    assert_eq!(warm(), [0; 3]);
    assert!(pools.trim(), "the page tables are left");
    assert!(!pools.trim());
}

#[test]
#[should_panic(expected = "does not come from")]
fn stacks_of_two_classes_are_not_put_back_together() {
    let pools = small_pools();
    let stacks = [StackClass::Small, StackClass::Large].map(|class| pools.get(class).unwrap());
    pools.put_all(stacks);
}

#[test]
fn a_class_that_is_out_of_range_is_refused_before_its_first_use() {
    let mut configs = StackClass::ALL.map(StackConfig::new);
    configs[StackClass::Large as usize].stack_size = STACK_SIZE_MAX + 1;
    let error = StackPools::new(configs).err().expect("refused");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn threads_that_ask_first_at_once_make_one_pool() {
    let pools = small_pools();
    let pools = &pools;
    let addresses: Vec<usize> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| std::ptr::from_ref(pools.pool(StackClass::Small).unwrap()).addr()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(addresses.iter().all(|&address| address == addresses[0]));
}
