//! What a runtime does while there is nothing to do.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::peer::Peer;
use crate::process;

/// Tasks that it runs before, so that all its threads have come up.
const TASKS: usize = 1000;
/// Until it has calmed down: Bobbin looks for memory to give back for a second or two.
const SETTLE: Duration = Duration::from_secs(3);
const WATCH: Duration = Duration::from_secs(3);

/// Times a second that one of its threads woke up, and microseconds of CPU that they took in a second.
pub(crate) fn cost(peer: &dyn Peer) -> Vec<f64> {
    let (tx, rx) = mpsc::channel();
    for _ in 0..TASKS {
        let tx = tx.clone();
        peer.start(Box::new(move || tx.send(()).expect("somebody counts")));
    }
    rx.iter().take(TASKS).for_each(drop);
    thread::sleep(SETTLE);
    let (start, (runs, time)) = (Instant::now(), process::runs_of_others());
    thread::sleep(WATCH);
    let (runs_now, time_now) = process::runs_of_others();
    let seconds = start.elapsed().as_secs_f64();
    let per_second = |figure: f64| figure / seconds;
    vec![
        per_second((runs_now - runs) as f64),
        per_second(time_now.saturating_sub(time).as_nanos() as f64 / 1e3),
    ]
}
