//! Profiles and all their formats in a process that the kernel kills if it tries to start another one.
//!
//! Holds unsafe: the system calls that set the filter.

#![allow(unsafe_code)]

use std::collections::HashMap;
use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, exit};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use profile::{Kind, Profile, StartError, Value, history, kept, symbol};

const WHICH: &str = "BOBBIN_TEST_IN_CHILD";

/// From here on the kernel kills this process when any thread asks for a new process or program.
fn forbid_processes() {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let jump = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |offset: usize| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset as u32);
    let equal = |value: i64, jt, jf| jump(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value as u32, jt, jf);
    let give = |value: u32| statement(libc::BPF_RET | libc::BPF_K, value);
    let number = std::mem::offset_of!(libc::seccomp_data, nr);
    let first_argument = std::mem::offset_of!(libc::seccomp_data, args);

    let mut forbidden = vec![libc::SYS_execve, libc::SYS_execveat];
    #[cfg(target_arch = "x86_64")]
    forbidden.extend([libc::SYS_fork, libc::SYS_vfork]);
    let mut program = vec![load(number)];
    for call in forbidden {
        program.extend([equal(call, 0, 1), give(libc::SECCOMP_RET_KILL_PROCESS)]);
    }
    // A filter cannot see the flags of clone3; told that there is none, callers take clone.
    program.extend([equal(libc::SYS_clone3, 0, 1), give(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32)]);
    program.extend([
        equal(libc::SYS_clone, 0, 3),
        load(first_argument),
        jump(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, libc::CLONE_THREAD as u32, 1, 0),
        give(libc::SECCOMP_RET_KILL_PROCESS),
        give(libc::SECCOMP_RET_ALLOW),
    ]);
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the filter lives through the calls; both take plain numbers besides.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let result = libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            &raw const filter,
        );
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }
}

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
    if std::env::var(WHICH).is_ok() {
        forbid_processes();
        profile_everything();
        println!("all was done");
        // And the filter was there: this ends the process.
        let _ = Command::new("/bin/true").status();
        exit(0);
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["all_profiles_and_formats_are_made_without_a_process", "--exact", "--nocapture"])
        .env(WHICH, "1")
        .output()
        .unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("all was done"), "{}: {text}\n{errors}", output.status);
    assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{text}\n{errors}");
}
