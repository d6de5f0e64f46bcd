//! Start delays when a few of the tasks are long: an open loop, whose schedule does not wait for anybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::peer::Peer;
use crate::{machine, process};

/// One task in so many is long.
const LONG_ONE_IN: u64 = 100;
const LONG: Duration = Duration::from_millis(5);
/// Long enough that the generator, which needs a CPU too, can keep its schedule.
const SHORT: Duration = Duration::from_micros(50);
/// The part of the workers' time that the tasks take.
const LOAD: f64 = 0.6;
/// The part of the tasks at the beginning that does not count.
const WARM_UP_PART: usize = 20;

/// Starts `n` tasks at fixed intervals. Microseconds from the time that a short one was due to the time it ran: the
/// median, the 99th and the 99.9th percentile; and by how much the generator itself was late, the 99th.
pub(crate) fn delays(peer: &dyn Peer, n: usize) -> Vec<f64> {
    let mean = (LONG.as_secs_f64() + SHORT.as_secs_f64() * (LONG_ONE_IN - 1) as f64) / LONG_ONE_IN as f64;
    let interval = Duration::from_secs_f64(mean / (peer.workers() as f64 * LOAD));
    let delays: Arc<[AtomicU64]> = (0..n).map(|_| AtomicU64::new(0)).collect();
    let ended = Arc::new(AtomicUsize::new(0));
    let is_long: Arc<[bool]> = long_ones(n).collect();
    let mut late = Vec::with_capacity(n);
    process::sleep_exactly();
    let start = Instant::now();
    for index in 0..n {
        let due = start + interval * index as u32;
        let now = Instant::now();
        if now < due {
            thread::sleep(due - now);
        }
        late.push(nanos_since(due));
        let (delays, ended, is_long) = (delays.clone(), ended.clone(), is_long.clone());
        peer.start(Box::new(move || {
            // Relaxed: published by `ended`.
            delays[index].store(nanos_since(due), Ordering::Relaxed);
            burn(if is_long[index] { LONG } else { SHORT });
            ended.fetch_add(1, Ordering::Release);
        }));
    }
    while ended.load(Ordering::Acquire) < n {
        thread::sleep(Duration::from_millis(1));
    }
    let counted = n / WARM_UP_PART..n;
    let mut short: Vec<u64> = counted
        .clone()
        .filter(|index| !is_long[*index])
        .map(|index| delays[index].load(Ordering::Relaxed))
        .collect();
    short.sort_unstable();
    let mut late = late.split_off(counted.start);
    late.sort_unstable();
    let at = |sorted: &[u64], part: f64| sorted[(sorted.len() as f64 * part) as usize] as f64 / 1e3;
    vec![at(&short, 0.5), at(&short, 0.99), at(&short, 0.999), at(&late, 0.99)]
}

fn nanos_since(due: Instant) -> u64 {
    Instant::now().saturating_duration_since(due).as_nanos() as u64
}

/// Uses the CPU for so long; time in which the thread does not run does not count.
fn burn(time: Duration) {
    let end = machine::thread_cpu_time() + time;
    while machine::thread_cpu_time() < end {
        (0..100).for_each(|_| std::hint::spin_loop());
    }
}

/// Which tasks are long: as by chance, and the same for all peers.
fn long_ones(n: usize) -> impl Iterator<Item = bool> {
    let mut x = 0x2545_f491_4f6c_dd1d_u64;
    (0..n).map(move |_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.is_multiple_of(LONG_ONE_IN)
    })
}
