//! Waiting for SIGINT or SIGTERM. A thread of its own waits for them, as nothing else may block; it ends with the
//! wait.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bthread::Butex;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Returns when the process has received SIGINT or SIGTERM.
///
/// *Blocking*: parks the bthread, or blocks the thread outside of bthreads.
pub(super) fn wait_until_asked() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let asked = Arc::new(Butex::new(0));
    let asking = asked.clone();
    std::thread::Builder::new().name("bobbin-signals".into()).spawn(move || {
        if signals.forever().next().is_some() {
            asking.value().store(1, Ordering::Release); // pairs with the load below
            asking.wake_all();
        }
    })?;
    // Acquire pairs with the store above.
    while asked.value().load(Ordering::Acquire) == 0 {
        let _ = asked.wait(0, None); // the loop looks again however it ended
    }
    Ok(())
}
