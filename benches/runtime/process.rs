//! What the system says about this process.
//!
//! Holds unsafe: calls of the C library that take a plain structure or nothing.

#![allow(unsafe_code)]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

const GIB: f64 = (1_u64 << 30) as f64;

/// Resident memory and page tables, GiB.
pub(crate) fn memory() -> [f64; 2] {
    let status = fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    ["VmRSS:", "VmPTE:"].map(|name| field(&status, name) as f64 * 1024.0 / GIB)
}

/// CPU time of all threads so far, those that have ended included.
pub(crate) fn cpu_time() -> Duration {
    // SAFETY: zeroes are a valid value, and the pointer is good for the call.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// Makes the calling thread's sleeps as exact as the system can.
pub(crate) fn sleep_exactly() {
    // SAFETY: changes a number of this thread. 1 ns is the least; 0 would mean the default.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
}

/// Times that a thread of this process went to sleep, without those that have ended.
pub(crate) fn switches() -> u64 {
    threads().iter().map(|thread| field(&read(*thread, "status"), "voluntary_ctxt_switches:")).sum()
}

/// Times that threads other than the caller ran again after they had not, and their CPU time.
pub(crate) fn runs_of_others() -> (u64, Duration) {
    let (mut runs, mut time) = (0, Duration::ZERO);
    for thread in others() {
        let status = read(thread, "status");
        runs += field(&status, "voluntary_ctxt_switches:") + field(&status, "nonvoluntary_ctxt_switches:");
        let on_cpu = read(thread, "schedstat");
        let on_cpu = on_cpu.split_whitespace().next().and_then(|first| first.parse().ok());
        time += Duration::from_nanos(on_cpu.unwrap_or(0));
    }
    (runs, time)
}

/// Returns once all threads but the caller sleep.
pub(crate) fn until_others_sleep() {
    let sleeps = |thread: &u32| {
        let stat = read(*thread, "stat");
        stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" S"))
    };
    while !others().iter().all(sleeps) {
        thread::sleep(Duration::from_micros(50));
    }
}

/// The CPUs that this thread may use.
pub(crate) fn cpus() -> Vec<usize> {
    // SAFETY: zeroes are a valid value, the pointer is good for the call, and the numbers are below the set's size.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of_val(&set), &mut set);
        (0..libc::CPU_SETSIZE as usize).filter(|cpu| libc::CPU_ISSET(*cpu, &set)).collect()
    }
}

/// Binds the calling thread to one CPU and all others of the process to another.
pub(crate) fn bind(own: usize, others: usize) {
    let to = |thread: u32, cpu: usize| {
        // SAFETY: as in `cpus`. A thread that has ended meanwhile gives an error, which does not matter.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(cpu, &mut set);
            libc::sched_setaffinity(thread as libc::pid_t, size_of_val(&set), &set);
        }
    };
    self::others().into_iter().for_each(|thread| to(thread, others));
    to(0, own);
}

fn others() -> Vec<u32> {
    // SAFETY: takes and changes nothing.
    let own = unsafe { libc::gettid() } as u32;
    threads().into_iter().filter(|thread| *thread != own).collect()
}

fn threads() -> Vec<u32> {
    let entries = fs::read_dir("/proc/self/task").expect("/proc/self/task");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Empty for a thread that has ended meanwhile.
fn read(thread: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/self/task/{thread}/{file}")).unwrap_or_default()
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// So many tasks that sleep so long: the nanoseconds beyond that for each, and those of CPU time for each.
pub(crate) fn sleepers(n: usize, run: impl FnOnce(Duration)) -> Vec<f64> {
    const SLEEP: Duration = Duration::from_millis(10);
    let (start, cpu) = (Instant::now(), cpu_time());
    run(SLEEP);
    let per = |time: Duration| time.as_nanos() as f64 / n as f64;
    vec![per(start.elapsed().saturating_sub(SLEEP)), per(cpu_time() - cpu)]
}
