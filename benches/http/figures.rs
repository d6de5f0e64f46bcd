//! Figures as people read them, and how much of the machine there was to be had.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// A line of a Markdown table.
pub(crate) fn print_line(cells: &[impl AsRef<str>]) {
    let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
    println!("| {} |", cells.join(" | "));
}

/// Without places that are of no interest, and thousands apart.
pub(crate) fn number(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The one in the middle; the upper one of two.
pub(crate) fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

/// How many CPUs so many busy threads get between them: less than there are if others use the machine, and then the
/// figures are worth little.
pub(crate) fn cpus_to_be_had(threads: usize) -> f64 {
    const TIME: Duration = Duration::from_millis(300);
    let start = Instant::now();
    let burn = || {
        let before = thread_cpu_time();
        while start.elapsed() < TIME {
            std::hint::spin_loop();
        }
        thread_cpu_time() - before
    };
    let used = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(burn)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum::<Duration>()
    });
    used.as_secs_f64() / start.elapsed().as_secs_f64()
}

/// CPU time of the calling thread so far.
fn thread_cpu_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("a kernel that counts");
    let nanoseconds = text.split_whitespace().next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number"))
}
