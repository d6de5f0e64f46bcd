//! Panics on the simulated thread: a violation, unless the scenario expects them.

use std::panic::{self, PanicHookInfo};

use crate::clock;
use crate::trace;
use crate::world::World;

/// Has panics of bthreads recorded from here on; those of other threads go on as before.
pub(crate) fn watch() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !clock::is_virtual() || !record(info) {
            before(info);
        }
    }));
}

/// Whether it was expected.
fn record(info: &PanicHookInfo<'_>) -> bool {
    let Some(world) = World::find() else { return false };
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref().map(String::as_str));
    let message = text.unwrap_or("of a value that is no text");
    // The folders that a file lies in differ by machine.
    let place = info.location().map_or_else(String::new, |location| {
        let file = location.file().rsplit('/').next().unwrap_or_default();
        format!(" at {file}:{}", location.line())
    });
    if world.expects_panics() {
        trace::line(&world.caller(), format_args!("panic{place}: {message}"));
        return true;
    }
    world.violation(format_args!("panic on {}{place}: {message}", world.caller()));
    false
}
