//! What a CPU profile costs the program that it is of: the same work with and without one, in turns.
//!
//! `cargo run --release -p bobbin-profile --example profile_overhead [frequency] [file]` prints both and the table of
//! functions, and writes the last profile to `file` for `go tool pprof`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use profile::{Profile, Value, cpu};

/// Turns of each kind; more even out what else the machine does.
const TURNS: u32 = 5;
const LOCKED_ADDITIONS: u64 = 2000;

#[inline(never)]
fn compute() -> u64 {
    (0..50_000u64).fold(1, |sum, number| black_box(sum.wrapping_mul(31) ^ number))
}

#[inline(never)]
fn lock_and_yield(lock: &bthread::sync::Mutex<u64>) {
    for number in 0..LOCKED_ADDITIONS {
        *lock.lock().expect("nobody panics") += number;
        if number % 16 == 0 {
            bthread::yield_now();
        }
    }
}

/// A piece of work of some hundred milliseconds on all workers; how long it took.
fn work() -> Duration {
    let before = Instant::now();
    let lock = std::sync::Arc::new(bthread::sync::Mutex::new(0));
    let tasks: Vec<_> = (0..2000)
        .map(|_| {
            let lock = lock.clone();
            bthread::spawn(move || {
                lock_and_yield(&lock);
                black_box(compute());
            })
        })
        .collect();
    tasks.into_iter().for_each(|task| task.join().expect("nobody panics"));
    before.elapsed()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let frequency = arguments.next().map_or(Ok(100), |text| text.parse())?;
    work(); // warm
    let mut times = [Duration::ZERO; 2];
    let mut last: Option<Profile> = None;
    for _ in 0..TURNS {
        times[0] += work();
        let session = cpu::start(cpu::Options { frequency })?;
        times[1] += work();
        last = Some(session.stop());
    }
    let [without, with] = times.map(|time| time.as_secs_f64() * 1000.0 / f64::from(TURNS));
    println!(
        "without {without:.1} ms, with {frequency} Hz {with:.1} ms: {:+.2}%",
        (with / without - 1.0) * 100.0
    );
    if let Some(profile) = last {
        let before = Instant::now();
        print!("{}", profile.to_top(Value::Amount, 15));
        println!("names took {:.1?}", before.elapsed());
        if let Some(file) = arguments.next() {
            std::fs::write(file, profile.to_pprof())?;
        }
    }
    Ok(())
}
