//! How long a new task waits when every worker is held by a call that blocks its thread.

use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::peer::Peer;

const HOLD: Duration = Duration::from_secs(1);
/// Until those who hold are in their sleep.
const SETTLE: Duration = Duration::from_millis(1);

/// Milliseconds until a task that is started then runs.
pub(crate) fn start_delay(peer: &dyn Peer) -> f64 {
    let all_held = Arc::new(Barrier::new(peer.workers() + 1));
    for _ in 0..peer.workers() {
        let all_held = all_held.clone();
        peer.start(Box::new(move || {
            all_held.wait();
            thread::sleep(HOLD);
        }));
    }
    all_held.wait();
    thread::sleep(SETTLE);
    let (tx, rx) = mpsc::channel();
    let start = Instant::now();
    peer.start(Box::new(move || tx.send(start.elapsed()).expect("somebody waits")));
    rx.recv().expect("the task runs").as_secs_f64() * 1e3
}
