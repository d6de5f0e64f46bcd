//! Counters written per thread and folded when read: what a process knows about itself.
//!
//! A counter that every request touches must not be a cache line that every core fights for. So each
//! thread writes to a word of its own, with plain loads and stores, and a reader adds the words of all
//! threads together. Writing costs about a nanosecond whatever the number of threads; reading costs one
//! short lock and a load for each thread. Use it for what is written often and read now and then.
//!
//! | Type | Its value |
//! |---|---|
//! | [`Adder`] | the sum of what was added |
//! | [`Maxer`], [`Miner`] | the largest, the smallest value seen |
//! | [`IntRecorder`] | the average of what was recorded |
//! | [`Histogram`] | how values are distributed, within 1% |
//! | [`LatencyRecorder`] | rate, average, maximum and percentiles of latencies over the last seconds; their count |
//! | [`Combiner`] | what a function of yours makes of everything written |
//! | [`Status`] | the last value that was set: a number, text, or an array of numbers |
//! | [`PassiveStatus`] | what a function returns when asked |
//! | [`Window`], [`PerSecond`] | what another variable got in the last seconds, or each second |
//! | [`WindowEx`], [`PerSecondEx`] | the same with a variable of their own |
//! | [`MultiDimension`] | one of these for each combination of label values |
//! | [`FlagVariable`](flag::FlagVariable) | that of a [flag](flag::Flag), a setting of the process |
//!
//! All values but those of windows are since creation. Windows end with the last whole second: a thread
//! `bvar_sampler` samples once a second what they look at (see [`Sampler`]), and keeps the history of every exposed
//! number for charts (see [`series`]). Writing does not notice. A process that wants no threads says so to [`background`].
//!
//! [`ScopedTimer`] measures a scope. [`Collector`] takes samples of what is too frequent to be looked at whole, at
//! a bounded rate.
//!
//! A variable becomes visible to the debug pages and to the dump under a name, with
//! [`Variable::expose`], until the returned [`Exposed`] is dropped:
//!
//! ```
//! use bvar::{Adder, Variable};
//!
//! let requests = Adder::<i64>::new().expose("Echo::Requests")?;
//! requests.add(2);
//! requests.add(1);
//! assert_eq!(requests.get(), 3);
//! assert_eq!(bvar::describe("echo_requests").as_deref(), Some("3"));
//! drop(requests);
//! assert_eq!(bvar::describe("echo_requests"), None);
//! # Ok::<(), bvar::ExposeError>(())
//! ```
//!
//! What is exposed is shown by [`dump`] as text, to a function or to files, and by [`prometheus`] for Prometheus;
//! [`default_variables`] adds what the kernel knows about the process. [`flag`] holds the settings.
//!
//! A variable for the whole process is a `static` in a [`LazyLock`](std::sync::LazyLock).
//!
//! **Blocking.** Writing never blocks, except that a thread's first write to a variable takes the
//! crate's lock, for the time of one allocation, and blocks the thread so long. Creating, dropping,
//! reading and exposing take such a lock too. No lock is held while code of the caller runs. Nothing here
//! parks a bthread: this crate lies below the scheduler and does not know it.

#![deny(unsafe_code)]

pub mod background;
pub mod default_variables;
pub mod dump;
pub mod flag;
pub mod multi;
pub mod prometheus;
pub mod wildcard;

mod agent;
mod collector;
mod combiner;
mod latency;
mod name;
mod percentile;
mod recorder;
mod reducer;
mod registry;
mod sampler;
mod sampling;
mod series;
mod status;
mod timer;
mod variable;
mod window;

pub use collector::{Collected, Collector, MAX_PENDING_SAMPLES, MAX_SAMPLING_RANGE, SampleRatio, SpeedLimit};
pub use combiner::Combiner;
pub use latency::{
    ExposedLatencyRecorder, Figure, LatencyFigure, LatencyRecorder, LatencySnapshot, LatencyTotals,
    LatencyUnit, LatencyWindow,
};
pub use multi::{ExposedMultiDimension, LabelsError, MultiDimension};
pub use name::{MAX_NAME_LEN, normalize_name};
pub use percentile::{Distribution, Histogram};
pub use recorder::{Average, IntRecorder};
pub use reducer::{Adder, Arithmetic, Max, Maxer, Min, Miner, Number, Operation, Reducer, Sum};
pub use registry::{
    ExposeError, Exposed, MAX_EXPOSED, SeriesError, count, describe, display_of, expose, expose_as,
    expose_filtered, find, for_each, names, series,
};
pub use sampler::{Sampler, enable_sampling};
pub use series::{MAX_SERIES_ELEMENTS, save_series};
pub use status::{PassiveStatus, Status};
pub use timer::{ScopedTimer, TimeSink};
pub use variable::{DisplayFilter, Kind, Trend, Value, Variable};
pub use window::{MAX_WINDOW_SECONDS, PerSecond, PerSecondEx, Rate, Window, WindowEx};
