//! Timers: each worker has those that were set on it, ordered by when they are due, and looks at them between tasks and
//! before it sleeps. Any thread sets, cancels and fires them. A timer never fires early, and no code of a user runs
//! under a lock of this module.
//!
//! `schedule` is what users see, `timers` the timers of one worker and how it sleeps until the first, `heap` their
//! order, `action` what one does, `time` how points in time are written.

#[cfg(not(loom))]
mod action;
mod heap;
#[cfg(not(loom))]
mod schedule;
mod time;
mod timers;

#[cfg(not(loom))]
pub(crate) use action::Action;
pub(crate) use heap::{Key, SLOTS_MAX};
#[cfg(not(loom))]
pub use schedule::{TimerHandle, schedule, try_schedule};
pub(crate) use time::Time;
#[cfg(not(loom))]
pub(crate) use timers::Timers;

/// Scheduled functions that one worker holds at a time; [`try_schedule`] fails beyond. The timed waits of bthreads do
/// not count: there is room for one of each.
pub const TIMERS_MAX: usize = 1 << 23;

// A bthread waits with one deadline at a time, so beside the functions every one finds a slot.
#[cfg(not(loom))]
const _: () = assert!(TIMERS_MAX + crate::task::TASKS_MAX <= SLOTS_MAX);
