//! The guide: a chapter for each facility, with examples that are compiled and run as tests.
//!
//! The texts lie in `guide/` beside `src/`, as Markdown that reads well on its own; `docs/guide.md` lists them.

/// Where a chapter that names another one leads to. The texts end with definitions of their own, which lead to files;
/// of two definitions the first one counts.
macro_rules! links {
    () => {
        "\
[tasks]: crate::guide::tasks
[waiting]: crate::guide::waiting
[interrupt]: crate::guide::interrupt
[channels]: crate::guide::channels
[execution_queues]: crate::guide::execution_queues
[call_ids]: crate::guide::call_ids
[locals]: crate::guide::locals
[io]: crate::guide::io
[timers]: crate::guide::timers
[runtimes]: crate::guide::runtimes
[blocked_workers]: crate::guide::blocked_workers
[seeing_inside]: crate::guide::seeing_inside
[free_movement]: crate::guide::free_movement
"
    };
}

#[doc = links!()]
#[doc = include_str!("../guide/tasks.md")]
pub mod tasks {}

#[doc = links!()]
#[doc = include_str!("../guide/waiting.md")]
pub mod waiting {}

#[doc = links!()]
#[doc = include_str!("../guide/interrupt.md")]
pub mod interrupt {}

#[doc = links!()]
#[doc = include_str!("../guide/channels.md")]
pub mod channels {}

#[doc = links!()]
#[doc = include_str!("../guide/execution_queues.md")]
pub mod execution_queues {}

#[doc = links!()]
#[doc = include_str!("../guide/call_ids.md")]
pub mod call_ids {}

#[doc = links!()]
#[doc = include_str!("../guide/locals.md")]
pub mod locals {}

#[doc = links!()]
#[doc = include_str!("../guide/io.md")]
pub mod io {}

#[doc = links!()]
#[doc = include_str!("../guide/timers.md")]
pub mod timers {}

#[doc = links!()]
#[doc = include_str!("../guide/runtimes.md")]
pub mod runtimes {}

#[doc = links!()]
#[doc = include_str!("../guide/blocked_workers.md")]
pub mod blocked_workers {}

#[doc = links!()]
#[doc = include_str!("../guide/seeing_inside.md")]
pub mod seeing_inside {}

#[doc = links!()]
#[doc = include_str!("../guide/free_movement.md")]
pub mod free_movement {}
