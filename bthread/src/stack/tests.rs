//! Tests of the pool, with markers and with gaps as guards.

#![allow(unsafe_code)]

use super::child::{errors, in_child};
use super::pool::{Guards, StackCounts};
use super::reservation::Reservation;
use super::*;
use std::collections::HashSet;
use std::io::{Read, Write, pipe};
use std::os::fd::AsRawFd;

/// With memory for `warm` free stacks, if one page of each is used.
pub(super) fn config(stack_size: usize, stacks_max: u32, warm: usize) -> StackConfig {
    let warm_bytes_max = warm * page();
    StackConfig { stack_size, stacks_max, warm_bytes_max, ..StackConfig::new(StackClass::Normal) }
}

pub(super) fn page() -> usize {
    page_size().unwrap()
}

/// Asks the kernel whether a byte can be read.
pub(super) fn readable(address: *const u8) -> bool {
    let (mut reader, writer) = pipe().unwrap();
    // SAFETY: the kernel copies the byte or says EFAULT.
    match unsafe { libc::write(writer.as_raw_fd(), address.cast(), 1) } {
        1 => reader.read_exact(&mut [0]).is_ok(),
        _ => {
            assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EFAULT));
            false
        }
    }
}

/// Asks the kernel to write a byte.
pub(super) fn writable(address: *mut u8) -> bool {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(&[1]).unwrap();
    // SAFETY: the kernel copies the byte or says EFAULT; the callers name bytes of their own stacks.
    unsafe { libc::read(reader.as_raw_fd(), address.cast(), 1) == 1 }
}

/// Whether there is memory behind the page at `address`.
pub(super) fn resident(address: *mut u8) -> bool {
    let mut answer = 0_u8;
    // SAFETY: a page of a mapping, and room for one answer.
    assert_eq!(unsafe { libc::mincore(address.cast(), page(), &mut answer) }, 0);
    answer & 1 == 1
}

impl StackPool {
    pub(super) fn put(&self, stack: Stack) {
        self.put_all([stack]);
    }
}

fn both(test: impl Fn(Guards)) {
    test(Guards::Markers);
    test(Guards::Gaps);
}

#[test]
fn ten_thousand_stacks_are_guarded_and_apart() {
    both(|guards| {
        const STACKS: u32 = 10_000;
        let pool = StackPool::guarded_by(&config(64 << 10, STACKS, 16), guards).unwrap();
        let mut stacks: Vec<Stack> = (0..STACKS).map(|_| pool.get().unwrap()).collect();
        assert_eq!(pool.get().unwrap_err().kind(), io::ErrorKind::OutOfMemory);
        assert_eq!(pool.counts(), StackCounts { capacity: STACKS, created: STACKS, in_use: STACKS, warm: 0 });
        stacks.sort_by_key(Stack::top);
        for pair in stacks.windows(2) {
            assert!(pair[0].top() as usize + page() <= pair[1].limit() as usize);
        }
        for stack in &stacks {
            assert_eq!(stack.top() as usize - stack.limit() as usize, 64 << 10);
            // SAFETY: the lowest and the highest byte of the own stack.
            unsafe { stack.limit().write(1) };
            // SAFETY: as above.
            unsafe { stack.top().sub(1).write(2) };
        }
        for stack in stacks.iter().step_by(97) {
            for below in [1, page()] {
                let guard = stack.limit().wrapping_sub(below);
                assert!(!readable(guard) && !writable(guard), "{guards:?}: {stack:?}");
            }
            assert!(readable(stack.limit()) && writable(stack.limit()));
        }
        let indices: HashSet<u32> = stacks.iter().map(Stack::index).collect();
        assert_eq!(indices.len(), STACKS as usize);
        assert!(indices.iter().all(|&index| index < STACKS));
        stacks.into_iter().for_each(|stack| pool.put(stack));
        assert_eq!(pool.counts(), StackCounts { capacity: STACKS, created: STACKS, in_use: 0, warm: 16 });
    });
}

#[test]
fn a_guard_outlives_the_memory_given_back() {
    both(|guards| {
        let pool = StackPool::guarded_by(&config(64 << 10, 4, 0), guards).unwrap();
        let stack = pool.get().unwrap();
        let limit = stack.limit();
        assert!(writable(limit));
        pool.put(stack);
        let stack = pool.get().unwrap();
        assert_eq!(stack.limit(), limit);
        assert!(!readable(limit.wrapping_sub(1)) && writable(limit));
        pool.put(stack);
    });
}

#[test]
fn free_stacks_beyond_the_bound_give_their_memory_back() {
    both(|guards| {
        let pool = StackPool::guarded_by(&config(64 << 10, 8, 2), guards).unwrap();
        let stacks: Vec<Stack> = (0..4).map(|_| pool.get().unwrap()).collect();
        let places: Vec<_> =
            stacks.iter().map(|stack| (stack.limit(), stack.top().wrapping_sub(page()))).collect();
        for &(low, high) in &places {
            assert!(!resident(low) && !resident(high), "memory before the first touch");
            assert!(writable(low) && writable(high));
            assert!(resident(low) && resident(high));
        }
        stacks.into_iter().for_each(|stack| pool.put(stack));
        let left: Vec<_> = places.iter().map(|&(low, high)| (resident(low), resident(high))).collect();
        assert_eq!(left, [(true, true), (true, true), (false, false), (false, false)]);
        assert_eq!(pool.counts(), StackCounts { capacity: 8, created: 4, in_use: 0, warm: 2 });
    });
}

#[test]
fn the_last_stack_put_back_warm_comes_first_and_new_ones_come_last() {
    let pool = StackPool::new(&config(64 << 10, 8, 2)).unwrap();
    let stacks: Vec<Stack> = (0..4).map(|_| pool.get().unwrap()).collect();
    stacks.into_iter().for_each(|stack| pool.put(stack));
    let order: Vec<_> = (0..5)
        .map(|_| {
            let stack = pool.get().unwrap();
            (stack.index(), pool.counts().warm, pool.counts().created)
        })
        .collect();
    assert_eq!(order, [(1, 1, 4), (0, 0, 4), (3, 0, 4), (2, 0, 4), (4, 0, 5)]);
}

#[test]
fn sizes_are_rounded_and_a_slot_has_an_odd_number_of_pages() {
    let (page, cases) = (page(), [(0, 0), (1, 1), (2, 1), (2, 2), (5, 1), (16, 3), (256, 1)]);
    for (pages, guard_pages) in cases {
        let config =
            StackConfig { guard_size: guard_pages * page, ..config((pages * page).saturating_sub(1), 3, 0) };
        let pool = StackPool::new(&config).unwrap();
        assert_eq!(pool.stack_size(), pages.max(2) * page);
        let stacks: Vec<Stack> = (0..3).map(|_| pool.get().unwrap()).collect();
        let stride = stacks[1].top() as usize - stacks[0].top() as usize;
        assert_eq!(stride / page % 2, 1);
        assert!(stride >= pool.stack_size() + guard_pages.max(1) * page);
        assert!(!readable(stacks[1].limit().wrapping_sub(guard_pages.max(1) * page)));
        assert_eq!(stacks[0].top() as usize % page, 0);
        stacks.into_iter().for_each(|stack| pool.put(stack));
    }
}

#[test]
fn a_configuration_out_of_range_is_an_error() {
    let bad = [
        config(1 << 20, 0, 0),
        config(1 << 20, STACKS_LIMIT + 1, 0),
        config(STACK_SIZE_MAX + 1, 1, 0),
        StackConfig { guard_size: usize::MAX, ..config(1 << 20, 1, 0) },
    ];
    for config in bad {
        let error = StackPool::new(&config).err().expect("refused");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{config:?}");
    }
}

#[test]
fn more_address_space_than_there_is_makes_a_smaller_pool() {
    let wanted = config(STACK_SIZE_MAX, STACKS_LIMIT, 0);
    let pool = StackPool::new(&wanted).unwrap();
    assert!((1..STACKS_LIMIT).contains(&pool.capacity));
    let stack = pool.get().unwrap();
    assert!(writable(stack.limit()));
    pool.put(stack);
}

#[test]
#[should_panic(expected = "does not come from")]
fn a_stack_of_another_pool_is_refused() {
    let [one, other] = [(); 2].map(|()| StackPool::new(&config(64 << 10, 4, 0)).unwrap());
    other.put(one.get().unwrap());
}

#[test]
fn a_pool_dropped_while_a_stack_is_out_leaves_it_usable() {
    let pool = StackPool::new(&config(64 << 10, 4, 0)).unwrap();
    let (kept, back) = (pool.get().unwrap(), pool.get().unwrap());
    pool.put(back);
    drop(pool);
    assert!(writable(kept.limit()) && !readable(kept.limit().wrapping_sub(1)));
}

#[test]
fn an_idle_pool_is_unmapped() {
    let output = in_child(module_path!(), "an_idle_pool_is_unmapped", || {
        let pool = StackPool::new(&config(64 << 10, 4, 0)).unwrap();
        let stack = pool.get().unwrap();
        let limit = stack.limit();
        pool.put(stack);
        assert!(readable(limit));
        drop(pool);
        assert!(!readable(limit));
    });
    assert!(output.status.success(), "{}", errors(&output));
}

#[test]
fn threads_share_a_pool_and_no_stack() {
    const STACKS: u32 = 70;
    let pool = StackPool::new(&config(64 << 10, STACKS, 3)).unwrap();
    std::thread::scope(|scope| {
        for thread in 1..=4_u64 {
            let pool = &pool;
            scope.spawn(move || {
                let mut held: Vec<Stack> = Vec::new();
                for round in 0..20_000_u64 {
                    if (round * thread) % 7 < 3 && held.len() < 20 {
                        // Four threads may want more than there is.
                        let Ok(stack) = pool.get() else { continue };
                        // SAFETY: the highest word of the own stack.
                        unsafe { stack.top().cast::<u64>().sub(1).write(thread) };
                        held.push(stack);
                    } else if let Some(stack) = held.pop() {
                        // SAFETY: as above.
                        let owner = unsafe { stack.top().cast::<u64>().sub(1).read() };
                        assert_eq!(owner, thread, "two owners");
                        pool.put(stack);
                    }
                }
                held.into_iter().for_each(|stack| pool.put(stack));
            });
        }
    });
    let counts = pool.counts();
    assert_eq!((counts.in_use, counts.warm), (0, 3));
    let all: HashSet<u32> = (0..counts.created).map(|_| pool.get().unwrap().index()).collect();
    assert_eq!(all.len(), counts.created as usize, "a slot was lost or is there twice");
}

#[test]
#[cfg_attr(feature = "sanitizers", ignore = "sanitizers take address space for themselves")]
fn a_limit_on_address_space_is_shared_with_the_program() {
    let output = in_child(module_path!(), "a_limit_on_address_space_is_shared_with_the_program", || {
        const LIMIT: u64 = 4 << 30;
        let limit = libc::rlimit { rlim_cur: LIMIT, rlim_max: LIMIT };
        // SAFETY: lowers a limit of this process, which is the child.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
        let pool = StackPool::new(&StackConfig::new(StackClass::Normal)).unwrap();
        assert!((64..2048).contains(&pool.capacity), "{}", pool.capacity);
        let stack = pool.get().unwrap();
        assert!(writable(stack.limit()));
        let for_the_program = Reservation::map(1 << 30);
        assert!(for_the_program.is_ok(), "nothing left");
        pool.put(stack);
    });
    assert!(output.status.success(), "{}", errors(&output));
}

#[test]
#[cfg_attr(feature = "sanitizers", ignore = "sanitizers need mappings of their own")]
fn too_many_mappings_are_an_error_and_no_end() {
    let output = in_child(module_path!(), "too_many_mappings_are_an_error_and_no_end", || {
        let most: u32 =
            std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap().trim().parse().unwrap();
        let config = config(2 * page(), most.min(STACKS_LIMIT), 16);
        let pool = StackPool::guarded_by(&config, Guards::Gaps).unwrap();
        let mut stacks = Vec::with_capacity(most as usize);
        let error = loop {
            match pool.get() {
                Ok(stack) => stacks.push(stack),
                Err(error) => break error,
            }
        };
        let counts = pool.counts();
        let count = stacks.len() as u32;
        assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
        assert!(counts.in_use == count && counts.created == count && count < most);
        pool.put(stacks.pop().unwrap());
        stacks.push(pool.get().expect("a stack put back can be had again"));
        assert!(pool.get().is_err());
        stacks.into_iter().for_each(|stack| pool.put(stack));
    });
    assert!(output.status.success(), "{}", errors(&output));
}

#[test]
fn markers_refused_on_the_way_are_replaced_by_gaps() {
    let pool = StackPool::new(&config(64 << 10, 200, 0)).unwrap();
    let mut stacks: Vec<Stack> = (0..10).map(|_| pool.get().unwrap()).collect();
    pool.growth.lock().unwrap().guards = Guards::Gaps;
    stacks.extend((0..100).map(|_| pool.get().unwrap()));
    for stack in &stacks {
        assert!(!readable(stack.limit().wrapping_sub(1)), "{stack:?}");
        assert!(writable(stack.limit()) && writable(stack.top().wrapping_sub(1)), "{stack:?}");
    }
    stacks.into_iter().for_each(|stack| pool.put(stack));
}

#[test]
#[cfg_attr(feature = "sanitizers", ignore = "sanitizers ignore mlock")]
fn locked_memory_gets_guards_too() {
    let output = in_child(module_path!(), "locked_memory_gets_guards_too", || {
        let pool = StackPool::new(&config(64 << 10, 8, 0)).unwrap();
        // SAFETY: locks the reservation, as mlockall would.
        let locked = unsafe { libc::mlock(pool.reservation.start.as_ptr().cast(), pool.slot_size) };
        // The kernel locks first and then finds that it cannot read the pages in.
        assert!(locked == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::ENOMEM));
        let stack = pool.get().unwrap();
        assert_eq!(pool.growth.lock().unwrap().guards, Guards::Gaps);
        assert!(writable(stack.limit()) && !readable(stack.limit().wrapping_sub(1)));
        pool.put(stack);
        let again = pool.get().unwrap();
        assert!(writable(again.limit()) && !readable(again.limit().wrapping_sub(1)));
        pool.put(again);
    });
    assert!(output.status.success(), "{}", errors(&output));
}

#[test]
fn an_open_page_is_not_taken_for_a_guard() {
    let pool = StackPool::guarded_by(&config(64 << 10, 2, 0), Guards::Gaps).unwrap();
    let stack = pool.get().unwrap();
    pool.protect(pool.slot(0), pool.guard_size, libc::PROT_READ | libc::PROT_WRITE).unwrap();
    assert!(!pool.is_closed(stack.index()));
    pool.put(stack);
}

#[test]
fn markers_need_no_mappings_and_gaps_need_two_each() {
    both(|guards| {
        const STACKS: u32 = 1000;
        let pool = StackPool::guarded_by(&config(64 << 10, STACKS * 2, 0), guards).unwrap();
        let stacks: Vec<Stack> = (0..STACKS).map(|_| pool.get().unwrap()).collect();
        stacks.iter().for_each(|stack| assert!(writable(stack.top().wrapping_sub(1))));
        let (start, end) = (pool.slot(0).addr().get(), pool.slot(pool.capacity).addr().get());
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let first = |line: &str| usize::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
        let mappings = maps.lines().filter(|line| (start..end).contains(&first(line))).count();
        // What the kernel offers, found out by the pool itself.
        match pool.growth.lock().unwrap().guards {
            Guards::Markers => assert!(mappings <= 3, "{mappings}"),
            // One more or less: the outermost may have merged with what lies beside.
            Guards::Gaps => assert!(mappings.abs_diff(2 * STACKS as usize) <= 1, "{mappings}"),
        }
        stacks.into_iter().for_each(|stack| pool.put(stack));
    });
}
