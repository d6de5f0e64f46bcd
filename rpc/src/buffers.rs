//! The memory of buffers, seen as a whole: who holds it, and giving back what nobody needs.
//!
//! Owns the thread that trims the caches of blocks, the variables about blocks and their page's text. It must never hold
//! up a worker.

use std::any::Any;
use std::fmt::Write as _;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bvar::{PassiveStatus, PerSecond, Variable};

use crate::process::variable;
use crate::socket::Socket;

/// What was not needed for so long goes back to the allocator.
const TRIM_EVERY: Duration = Duration::from_secs(1);

/// Starts to give idle memory back, and exposes the variables under brpc's names, with those of the causes added.
pub(crate) fn watch() -> impl Iterator<Item = Box<dyn Any + Send + Sync>> {
    // Where there can be no thread the caches keep what they have, up to their bounds; so they do in a simulation.
    if !bthread::simulation::is_simulated() {
        let _ = thread::Builder::new().name("iobuf_trim".into()).spawn(trim);
    }
    [
        variable("iobuf_block_count", || iobuf::stats().block_count),
        variable("iobuf_block_count_hit_tls_threshold", || iobuf::stats().cache_hit_threshold),
        variable("iobuf_block_memory", || iobuf::stats().block_memory),
        big_views(),
        variable("iobuf_large_block_count", || iobuf::stats().large_block_count),
        variable("iobuf_referenced_bytes", || iobuf::stats().referenced_bytes),
        variable("iobuf_read_ahead_bytes", || iobuf::stats().read_ahead_bytes),
        variable("iobuf_partial_bytes", || iobuf::stats().partial_bytes),
        variable("iobuf_thread_cache_bytes", || iobuf::stats().thread_cache_bytes),
        variable("iobuf_shared_cache_bytes", || iobuf::stats().shared_cache_bytes),
        variable("iobuf_user_bytes", || iobuf::stats().user_bytes),
    ]
    .into_iter()
    .flatten()
}

fn big_views() -> Option<Box<dyn Any + Send + Sync>> {
    let made = PassiveStatus::counter(|| i64::try_from(iobuf::stats().big_views).unwrap_or(i64::MAX));
    let exposed = PerSecond::new(Arc::new(made), 0).expose("iobuf_newbigview_second").ok()?;
    Some(Box::new(exposed))
}

fn trim() {
    loop {
        thread::sleep(TRIM_EVERY);
        iobuf::trim();
        if iobuf::stats().thread_cache_bytes > 0 {
            // Scheduled from outside of the workers it is called by one of them, another one each time.
            let _ = bthread::timer::try_schedule(bthread::clock::now(), iobuf::trim_thread);
        }
    }
}

/// Who holds the memory of buffers, for a page.
pub(crate) fn describe() -> String {
    let stats = iobuf::stats();
    let (mut unread, mut unwritten) = (0, 0);
    for socket in Socket::all() {
        unread += socket.unread().unwrap_or(0); // what is being read right now is not in anybody's way
        unwritten += socket.unwritten();
    }
    let mut out = String::new();
    for (name, value) in [
        ("blocks", stats.block_count),
        ("of them large", stats.large_block_count),
        ("bytes of blocks", stats.block_memory),
        ("  referenced by buffers", stats.referenced_bytes),
        ("  kept by connections to read into", stats.read_ahead_bytes),
        ("  partly filled, to append to", stats.partial_bytes),
        ("  empty, kept by threads", stats.thread_cache_bytes),
        ("  empty, for all threads", stats.shared_cache_bytes),
        ("pieces of user memory", stats.user_blocks),
        ("bytes of user memory", stats.user_bytes),
        ("received, no whole message yet", unread),
        ("queued to be written", unwritten),
    ] {
        _ = writeln!(out, "{name}: {value}");
    }
    out
}
