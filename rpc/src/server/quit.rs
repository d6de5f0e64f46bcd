//! SIGINT and SIGTERM, and SIGHUP where a flag says so, as the wish that the process ends. A thread of its own waits for them, as nothing else may
//! block.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use bthread::Butex;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use super::flags;
use crate::socket::lock;

/// From here on SIGINT and SIGTERM ask the process to quit instead of ending it, and so does SIGHUP with the flag
/// `graceful_quit_on_sighup`: [`run_until_asked_to_quit`](super::Server::run_until_asked_to_quit) returns once it has served what runs. A second
/// signal ends the process at once, in case that takes too long.
///
/// That method does it too; call this before telling others that the process is ready, so that a signal that comes
/// right then finds it prepared. Calling it again changes nothing, and so does calling it in a
/// [simulation](bthread::simulation), whose process keeps its signals: there [`ask_to_quit`] asks. Blocks the thread for a few system calls.
///
/// With brpc, SIGTERM ends a process at once unless the flag `graceful_quit_on_sigterm` is set. Here it is set by
/// default, since SIGTERM is how those who run services end them, and what is lost then are calls of others.
///
/// # Errors
/// What the system says when it has no descriptors or no thread left to watch the signals with.
pub fn watch_quit_signals() -> io::Result<()> {
    static WATCHING: Mutex<bool> = Mutex::new(false);
    if bthread::simulation::is_simulated() {
        return Ok(());
    }
    let mut watching = lock(&WATCHING);
    if *watching {
        return Ok(());
    }
    let impatient = Arc::new(AtomicBool::new(false));
    let asked_for =
        [(SIGINT, true), (SIGTERM, flags::quits_on_sigterm()), (SIGHUP, flags::quits_on_sighup())];
    let watched = || asked_for.iter().filter(|(_, is)| *is).map(|(signal, _)| *signal);
    for signal in watched() {
        flag::register_conditional_default(signal, impatient.clone())?;
    }
    // After those: a signal is told to them in this order, and must not find the flag that it is about to raise.
    let mut signals = Signals::new(watched())?;
    std::thread::Builder::new().name("bobbin-signals".into()).spawn(move || {
        if signals.forever().next().is_some() {
            impatient.store(true, Ordering::SeqCst); // read by the signal handler, as it likes
            ask_to_quit();
        }
    })?;
    *watching = true;
    Ok(())
}

/// Asks the process to quit, as SIGTERM does: every
/// [`run_until_asked_to_quit`](super::Server::run_until_asked_to_quit) goes on to its end. Never blocks.
pub fn ask_to_quit() {
    let asked = asked();
    asked.value().store(1, Ordering::Release); // pairs with the load in `wait_until_asked`
    asked.wake_all();
}

/// Returns when the process has been asked to quit.
///
/// *Blocking*: parks the bthread, or blocks the thread outside of bthreads.
pub(super) fn wait_until_asked() {
    // Acquire pairs with the store in `ask_to_quit`.
    while asked().value().load(Ordering::Acquire) == 0 {
        let _ = asked().wait(0, None); // the loop looks again however it ended
    }
}

fn asked() -> &'static Butex {
    static ASKED: OnceLock<Butex> = OnceLock::new();
    ASKED.get_or_init(|| Butex::new(0))
}
