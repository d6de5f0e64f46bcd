//! Room for libraries that recurse: a bthread may have the smallest stack, and they do not ask.
//! Must not be used on a hot path.

use std::io;

use bthread::{Builder, StackClass};

/// Runs `f` on a stack of at least the large class. Outside of bthreads that is the thread's own.
///
/// *Blocking*: inside a bthread parks it, while another one with a large stack runs `f`.
///
/// # Errors
/// When no such bthread can be started.
///
/// # Panics
/// When `f` does.
pub(crate) fn with_roomy_stack<T: Send>(f: impl FnOnce() -> T + Send) -> io::Result<T> {
    if !bthread::is_bthread() {
        return Ok(f());
    }
    bthread::scope(|scope| {
        let running = scope.spawn_with(Builder::new().stack(StackClass::Large), f)?;
        Ok(running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
