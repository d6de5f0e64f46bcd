//! What the basic operations of the runtime cost, beside tokio, may and std threads in the same run.
//!
//! ```text
//! cargo bench -p bobbin-benches --bench runtime -- [--workers N] [--rounds N] [--quick]
//! ```
//!
//! Each figure is the median of the rounds; in each round every runtime takes its turn, so that a drift of the
//! machine's speed touches all of them. A ratio above 1 says how many times longer the peer takes.

mod bobbin;
mod may;
mod threads;
mod tokio;

use std::time::Instant;

/// One runtime under test. Each method does the operation `n` times and returns the nanoseconds that one took, or
/// `None` where the runtime has nothing of the kind.
trait Peer {
    fn name(&self) -> &'static str;
    /// Start a task that does nothing and wait for it, one after another, from a task.
    fn spawn_join(&self, n: usize) -> Option<f64>;
    /// Start 1000 tasks, then wait for all; per task.
    fn spawn_many(&self, n: usize) -> Option<f64>;
    /// Two tasks on one worker that yield to each other; per yield.
    fn yield_two(&self, n: usize) -> Option<f64>;
    /// Two tasks on one worker that wake each other in turn; one way.
    fn ping_pong(&self, n: usize) -> Option<f64>;
    /// The same with all workers.
    fn ping_pong_workers(&self, n: usize) -> Option<f64>;
    /// Set a timer a minute ahead and cancel it.
    fn timer(&self, n: usize) -> Option<f64>;
    /// A mutex without contention.
    fn mutex(&self, n: usize) -> Option<f64>;
    /// So many tasks that sleep 10 ms at the same time; per task, everything included.
    fn sleepers(&self, n: usize) -> Option<f64>;
}

/// A measure's name, its count in a full run, and how a peer does it.
type Measure = (&'static str, usize, fn(&dyn Peer, usize) -> Option<f64>);

const MEASURES: &[Measure] = &[
    ("spawn + join, one by one", 200_000, |peer, n| peer.spawn_join(n)),
    ("spawn 1000, join all", 200_000, |peer, n| peer.spawn_many(n)),
    ("yield between two", 1_000_000, |peer, n| peer.yield_two(n)),
    ("ping-pong, one worker", 400_000, |peer, n| peer.ping_pong(n)),
    ("ping-pong, all workers", 100_000, |peer, n| peer.ping_pong_workers(n)),
    ("timer add + cancel", 200_000, |peer, n| peer.timer(n)),
    ("mutex, uncontended", 1_000_000, |peer, n| peer.mutex(n)),
    ("10 ms sleepers", 10_000, |peer, n| peer.sleepers(n)),
];

fn main() {
    let options = Options::from_args();
    let peers: Vec<Box<dyn Peer>> = vec![
        Box::new(bobbin::Bobbin::new(options.workers)),
        Box::new(tokio::Tokio::new(options.workers)),
        Box::new(may::May::new(options.workers)),
        Box::new(threads::Threads),
    ];
    println!(
        "{} workers, median of {} rounds, ns per operation (times Bobbin's)",
        options.workers, options.rounds
    );
    print!("{:<26}", "");
    peers.iter().for_each(|peer| print!("{:>20}", peer.name()));
    println!();
    for (name, count, run) in MEASURES {
        let count = if options.quick { (count / 100).max(1000) } else { *count };
        let mut figures = vec![Vec::new(); peers.len()];
        for _ in 0..options.rounds {
            for (peer, figures) in peers.iter().zip(&mut figures) {
                figures.extend(run(&**peer, count));
            }
        }
        let medians: Vec<Option<f64>> = figures.into_iter().map(median).collect();
        print!("{name:<26}");
        for (index, figure) in medians.iter().enumerate() {
            match (figure, medians[0]) {
                (Some(figure), _) if index == 0 => print!("{figure:>20.1}"),
                (Some(figure), Some(own)) => print!("{:>20}", format!("{figure:.1} ({:.1}x)", figure / own)),
                _ => print!("{:>20}", "-"),
            }
        }
        println!();
    }
}

struct Options {
    workers: usize,
    rounds: usize,
    quick: bool,
}

impl Options {
    fn from_args() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
        let mut options = Options { workers: cpus, rounds: 5, quick: false };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut number = || {
                let value = args.next().and_then(|value| value.parse().ok()).filter(|value| *value > 0);
                value.unwrap_or_else(|| panic!("{arg} takes a number above 0"))
            };
            match arg.as_str() {
                "--workers" => options.workers = number(),
                "--rounds" => options.rounds = number(),
                "--quick" => options.quick = true,
                "--bench" => {} // cargo bench passes it
                other => panic!("unknown option {other}"),
            }
        }
        options
    }
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

/// Nanoseconds that one of `n` operations took.
fn time(n: usize, f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_nanos() as f64 / n as f64
}
