//! Profiles of known work: who computes, who waits for a lock, who waits at all.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bthread::profile::{ProfileError, RecordedStack, Recording, contention, cpu, waits};
use bthread::sync::{Mutex as BMutex, RwLock, Semaphore};

/// Tests of one profiler run one after another: there is one session at a time.
fn alone(which: &'static Mutex<()>) -> MutexGuard<'static, ()> {
    which.lock().unwrap_or_else(PoisonError::into_inner)
}

static CPU: Mutex<()> = Mutex::new(());
static LOCKS: Mutex<()> = Mutex::new(());
static WAITS: Mutex<()> = Mutex::new(());

/// The functions of a stack, the innermost first.
fn names(stack: &RecordedStack) -> Vec<String> {
    let mut names = Vec::new();
    for frame in stack.frames.iter() {
        backtrace::resolve(std::ptr::without_provenance_mut(frame + 1), |symbol| {
            names.extend(symbol.name().map(|name| format!("{name:#}")));
        });
    }
    names
}

/// Sums of the stacks that all these functions are in.
fn sums(recording: &Recording, functions: &[&str]) -> [u64; 2] {
    let mut sums = [0; 2];
    for stack in &recording.stacks {
        let names = names(stack);
        if functions.iter().all(|function| names.iter().any(|name| name.contains(function))) {
            sums = [sums[0] + stack.count, sums[1] + stack.nanos];
        }
    }
    sums
}

#[inline(never)]
fn burn(stop: &AtomicBool) -> u64 {
    let mut sum = 0u64;
    while !stop.load(Ordering::Relaxed) {
        for number in 0..1000 {
            sum = black_box(sum.wrapping_mul(31).wrapping_add(number));
        }
    }
    sum
}

#[inline(never)]
fn caller_of_burn(stop: &AtomicBool) -> u64 {
    black_box(burn(stop))
}

/// Profiles until this many samples show the function, and gives up after 20 s.
fn profile_until(frequency: u32, samples: u64, functions: &[&str]) -> Recording {
    let session = cpu::start(frequency).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut all = session.take();
    while sums(&all, functions)[0] < samples && Instant::now() < deadline {
        bthread::sleep(Duration::from_millis(100));
        let next = session.take();
        all.stacks.extend(next.stacks);
        all.duration += next.duration;
        all.lost += next.lost;
    }
    all
}

#[test]
fn a_bthread_that_computes_has_most_samples_with_its_callers() {
    let _alone = alone(&CPU);
    let stop = Arc::new(AtomicBool::new(false));
    let burner = bthread::spawn({
        let stop = stop.clone();
        move || {
            bthread::yield_now(); // so that it has waited, and stands on a stack of its own
            caller_of_burn(&stop)
        }
    });
    let functions = ["profile::burn", "caller_of_burn", "bobbin_ctx_entry"];
    let recording = profile_until(100, 50, &functions);
    stop.store(true, Ordering::Relaxed);
    burner.join().unwrap();
    // Beside the threads of other tests, and this one's that looks up names meanwhile.
    let (burnt, all) = (sums(&recording, &functions), sums(&recording, &["bobbin_ctx_entry"]));
    assert!(burnt[0] >= 50 && burnt[0] * 2 > all[0], "{burnt:?} of {all:?}: {:#?}", recording.stacks);
    assert_eq!(burnt[1], burnt[0] * 10_000_000);
    // One thread cannot use more time than there was; the kernel's clock for it is a tick coarse.
    let duration = recording.duration.as_nanos() as u64;
    assert!(burnt[1] <= duration + 50_000_000, "{burnt:?} in {duration}");
}

#[test]
fn sessions_of_two_frequencies_see_the_same_time() {
    let _alone = alone(&CPU);
    let stop = Arc::new(AtomicBool::new(false));
    let burner = std::thread::spawn({
        let stop = stop.clone();
        move || caller_of_burn(&stop)
    });
    let before = Instant::now();
    let (slow, fast) = (cpu::start(10).unwrap(), cpu::start(250).unwrap());
    let mut apart = before.elapsed();
    // Names are looked up after both have stopped; how much is burnt meanwhile does not matter.
    bthread::sleep(Duration::from_secs(2));
    let before = Instant::now();
    let (fast, slow) = (fast.stop(), slow.stop());
    apart += before.elapsed();
    stop.store(true, Ordering::Relaxed);
    burner.join().unwrap();
    let (slow, fast) = (sums(&slow, &["caller_of_burn"]), sums(&fast, &["caller_of_burn"]));
    assert!(fast[0] > 0 && fast[1] == fast[0] * 4_000_000, "{fast:?}");
    // They began and ended one after the other, and the one that was alone took a sample each 100 ms.
    let apart = apart.as_nanos() as u64 + 200_000_000;
    assert!(slow[1] >= fast[1] && slow[1] - fast[1] <= apart, "{slow:?} {fast:?} {apart}");
}

#[test]
fn there_are_so_many_sessions_and_no_more() {
    let _alone = alone(&CPU);
    let sessions: Vec<_> = (0..cpu::SESSIONS_MAX).map(|_| cpu::start(1).unwrap()).collect();
    assert!(matches!(cpu::start(1), Err(ProfileError::Busy)));
    drop(sessions);
    drop(cpu::start(1).unwrap());
}

#[test]
fn threads_that_come_and_go_are_seen_and_do_no_harm() {
    let _alone = alone(&CPU);
    let session = cpu::start(1000).unwrap();
    for _ in 0..10 {
        let threads: Vec<_> = (0..50)
            .map(|number| {
                std::thread::spawn(move || {
                    let stop = AtomicBool::new(false);
                    let end = Instant::now() + Duration::from_millis(number % 10);
                    while Instant::now() < end {
                        black_box(&stop).load(Ordering::Relaxed);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
    let recording = session.stop();
    assert!(recording.duration > Duration::ZERO);
    for _ in 0..20 {
        drop(cpu::start(1000).unwrap());
    }
}

#[inline(never)]
fn waits_for_the_mutex(lock: &BMutex<u64>) {
    *lock.lock().unwrap() += 1;
    black_box(lock);
}

#[inline(never)]
fn waits_to_read(lock: &RwLock<u64>) {
    black_box(*lock.read().unwrap());
}

#[inline(never)]
fn waits_to_write(lock: &RwLock<u64>) {
    *lock.write().unwrap() += 1;
    black_box(lock);
}

#[inline(never)]
fn waits_for_a_permit(permits: &Semaphore) {
    drop(permits.acquire());
    black_box(permits);
}

/// Whether that many bthreads wait in a lock's butex.
fn until_asleep(id: bthread::TaskId) {
    while !matches!(bthread::bthread(id).map(|info| info.state), Some(bthread::BthreadState::Waiting(_))) {
        std::thread::yield_now();
    }
}

const HELD: Duration = Duration::from_millis(30);

#[test]
fn who_waits_for_a_lock_is_seen_with_the_time() {
    let _alone = alone(&LOCKS);
    let session = contention::start(1000).unwrap();
    let mutex = Arc::new(BMutex::new(0));
    let rwlock = Arc::new(RwLock::new(0));
    let permits = Arc::new(Semaphore::new(1));
    let (guard, write, permit) = (mutex.lock().unwrap(), rwlock.write().unwrap(), permits.acquire());
    let waiters = [
        bthread::spawn({
            let mutex = mutex.clone();
            move || waits_for_the_mutex(&mutex)
        }),
        bthread::spawn({
            let rwlock = rwlock.clone();
            move || waits_to_read(&rwlock)
        }),
        bthread::spawn({
            let rwlock = rwlock.clone();
            move || waits_to_write(&rwlock)
        }),
        bthread::spawn({
            let permits = permits.clone();
            move || waits_for_a_permit(&permits)
        }),
    ];
    waiters.iter().for_each(|waiter| until_asleep(waiter.id()));
    bthread::sleep(HELD);
    drop((guard, write, permit));
    waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    let recording = session.stop();
    let functions = ["waits_for_the_mutex", "waits_to_read", "waits_to_write", "waits_for_a_permit"];
    let labels = ["mutex", "rwlock (read)", "rwlock (write)", "semaphore"];
    for (function, label) in functions.into_iter().zip(labels) {
        let sums = sums(&recording, &[function, "bobbin_ctx_entry"]);
        assert_eq!(sums[0], 1, "{function} {recording:#?}");
        assert!(sums[1] >= HELD.as_nanos() as u64, "{function} {sums:?}");
        let stack = recording.stacks.iter().find(|one| names(one).iter().any(|name| name.contains(function)));
        assert_eq!(stack.unwrap().label, Some(label));
        assert!(!names(stack.unwrap())[0].contains("waiting::watch"));
    }
}

#[test]
fn threads_that_wait_are_seen_too_and_a_wait_that_goes_on_counts_with_its_time() {
    let _alone = alone(&LOCKS);
    let mutex = Arc::new(BMutex::new(0));
    let guard = mutex.lock().unwrap();
    let session = contention::start(1000).unwrap();
    assert!(matches!(contention::start(1000), Err(ProfileError::Busy)));
    let (tell, told) = std::sync::mpsc::channel();
    let waiter = std::thread::spawn({
        let mutex = mutex.clone();
        move || {
            let this = std::fs::read_link("/proc/thread-self").unwrap();
            tell.send(this.file_name().unwrap().to_str().unwrap().parse().unwrap()).unwrap();
            waits_for_the_mutex(&mutex)
        }
    });
    let thread: i32 = told.recv().unwrap();
    let waits = |trace: bthread::trace::ThreadTrace| trace.stack.to_string().contains("park_thread");
    while !bthread::trace::of_thread(thread).is_ok_and(waits) {
        std::thread::yield_now();
    }
    std::thread::sleep(HELD);
    let sums = sums(&session.stop(), &["waits_for_the_mutex"]);
    assert!(sums[0] == 1 && sums[1] >= HELD.as_nanos() as u64, "{sums:?}");
    drop(guard);
    waiter.join().unwrap();
}

#[test]
fn beyond_the_budget_waits_are_scaled_up() {
    let _alone = alone(&LOCKS);
    let lock = Arc::new(BMutex::new(0u64));
    let waited = Arc::new(AtomicU32::new(0));
    let session = contention::start(100).unwrap();
    // One at a time, so that the number of waits is known.
    for _ in 0..300 {
        let guard = lock.lock().unwrap();
        let waiter = bthread::spawn({
            let (lock, waited) = (lock.clone(), waited.clone());
            move || {
                waits_for_the_mutex(&lock);
                waited.fetch_add(1, Ordering::Relaxed);
            }
        });
        until_asleep(waiter.id());
        drop(guard);
        waiter.join().unwrap();
    }
    let recording = session.stop();
    let waits = sums(&recording, &["waits_for_the_mutex"])[0];
    let expected = u64::from(waited.load(Ordering::Relaxed));
    assert!(waits.abs_diff(expected) <= expected / 10, "{waits} of {expected}");
    assert_eq!(recording.lost, 0);
}

#[inline(never)]
fn waits_for_the_end(end: &bthread::sync::CountdownEvent) {
    end.wait();
    black_box(end);
}

#[test]
fn where_bthreads_wait_is_seen_and_scaled_to_all() {
    const BTHREADS: u64 = 200;
    let _alone = alone(&WAITS);
    let end = Arc::new(bthread::sync::CountdownEvent::new(1));
    let waiters: Vec<_> = (0..BTHREADS)
        .map(|_| {
            let end = end.clone();
            bthread::spawn(move || waits_for_the_end(&end))
        })
        .collect();
    waiters.iter().for_each(|waiter| until_asleep(waiter.id()));
    let session = waits::start(Duration::from_millis(5), 20).unwrap();
    assert!(matches!(waits::start(Duration::from_millis(5), 20), Err(ProfileError::Busy)));
    bthread::sleep(Duration::from_millis(100));
    let recording = session.stop();
    end.signal(1);
    waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    let sums = sums(&recording, &["waits_for_the_end"]);
    let expected = recording.duration.as_nanos() as u64 * BTHREADS;
    // Other tests' bthreads wait too and take some of the places: the share is a sample.
    assert!(sums[1].abs_diff(expected) <= expected / 4, "{sums:?} of {expected}");
    let stack =
        recording.stacks.iter().find(|one| names(one).iter().any(|name| name.contains("for_the_end")));
    assert_eq!(stack.unwrap().label, Some("butex"));
}
