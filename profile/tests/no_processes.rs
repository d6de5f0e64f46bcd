//! Profiles and all their formats in a process that the kernel kills if it tries to start another one.

mod forbid_processes;

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forbid_processes::run_without_processes;
use profile::{Kind, Profile, StartError, Value, history, kept, symbol};

#[inline(never)]
fn burns(stop: &AtomicBool) -> u64 {
    let mut sum = 0u64;
    while !stop.load(Ordering::Relaxed) {
        for number in 0..10_000 {
            sum = black_box(sum.wrapping_mul(31).wrapping_add(number));
        }
        bthread::yield_now();
    }
    sum
}

#[inline(never)]
fn fights_for_the_lock(lock: &bthread::sync::Mutex<u64>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let mut guard = lock.lock().unwrap();
        bthread::sleep(Duration::from_millis(1));
        *guard += 1;
        drop(guard);
        // Who locks again at once leaves the others in a wait that began before the profile.
        bthread::sleep(Duration::from_millis(1));
    }
}

#[inline(never)]
fn waits_for_long(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        bthread::sleep(Duration::from_millis(500));
    }
}

/// All that can be made of a profile, and whether the function is in it.
fn write_all(profile: &Profile, function: &str) -> HashMap<&'static str, bool> {
    let pprof = profile.to_pprof();
    assert!(pprof.starts_with(&[0x1f, 0x8b]));
    let addresses: Vec<String> = profile
        .samples()
        .iter()
        .flat_map(|sample| sample.frames.iter())
        .map(|frame| format!("{frame:#x}"))
        .collect();
    assert_eq!(profile.to_legacy().is_some(), profile.kind() != Kind::OffCpu);
    HashMap::from([
        ("folded", profile.to_folded(Value::Amount).contains(function)),
        ("flame", profile.to_flame_json(Value::Count).contains(function)),
        ("top", profile.to_top(Value::Amount, 1000).contains(function)),
        ("symbol", symbol::answer(&addresses.join("+")).contains(function)),
    ])
}

fn profile_everything() {
    let stop = Arc::new(AtomicBool::new(false));
    let lock = Arc::new(bthread::sync::Mutex::new(0));
    let mut work = vec![bthread::spawn({
        let stop = stop.clone();
        move || _ = burns(&stop)
    })];
    for _ in 0..3 {
        let (lock, stop) = (lock.clone(), stop.clone());
        work.push(bthread::spawn(move || fights_for_the_lock(&lock, &stop)));
    }
    work.push(bthread::spawn({
        let stop = stop.clone();
        move || waits_for_long(&stop)
    }));
    history::start(history::Options { frequency: 50 }).unwrap();
    let kinds =
        [(Kind::Cpu, "burns"), (Kind::Contention, "fights_for_the_lock"), (Kind::OffCpu, "waits_for_long")];
    let runs: Vec<_> = kinds
        .into_iter()
        .map(|(kind, function)| {
            // As a page would: in a bthread.
            bthread::spawn(move || {
                let mut seen = HashMap::new();
                // How much work is done in a time depends on the machine: until it shows, or for a minute.
                for _ in 0..60 {
                    let profile = profile::run(kind, Duration::from_secs(1)).unwrap();
                    kept::keep(profile.clone());
                    seen = write_all(&profile, function);
                    if seen.values().all(|seen| *seen) {
                        break;
                    }
                }
                assert!(seen.values().all(|seen| *seen), "{kind} {seen:?}");
            })
        })
        .collect();
    runs.into_iter().for_each(|run| run.join().unwrap());
    let all = history::between(std::time::UNIX_EPOCH, std::time::SystemTime::now()).unwrap();
    assert!(all.to_folded(Value::Amount).contains("burns"));
    history::stop();
    assert!(matches!(profile::run(Kind::Heap, Duration::ZERO), Ok(_) | Err(StartError::Disabled(_))));
    stop.store(true, Ordering::Relaxed);
    work.into_iter().for_each(|work| work.join().unwrap());
}

#[test]
fn all_profiles_and_formats_are_made_without_a_process() {
    run_without_processes("all_profiles_and_formats_are_made_without_a_process", profile_everything);
}
