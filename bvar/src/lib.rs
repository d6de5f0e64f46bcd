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
//! | [`Histogram`] | how values are distributed, within 1% |
//! | [`LatencyRecorder`] | count, sum, average, maximum and percentiles of latencies |
//! | [`Status`] | the last value that was set |
//! | [`PassiveStatus`] | what a function returns when asked |
//!
//! All values are since creation.
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
//! A variable for the whole process is a `static` in a [`LazyLock`](std::sync::LazyLock).
//!
//! **Blocking.** Writing never blocks, except that a thread's first write to a variable takes the
//! crate's lock, for the time of one allocation, and blocks the thread so long. Creating, dropping,
//! reading and exposing take such a lock too. No lock is held while code of the caller runs. Nothing here
//! parks a bthread: this crate lies below the scheduler and does not know it.

#![deny(unsafe_code)]

pub mod dump;
pub mod flag;
pub mod wildcard;

mod agent;
mod latency;
mod multi;
mod name;
mod percentile;
mod reducer;
mod registry;
mod status;
mod variable;

pub use latency::{ExposedLatencyRecorder, LatencyRecorder, LatencySnapshot, LatencyUnit};
pub use multi::{LabelsError, MAX_LABEL_VALUE_LEN, MAX_LABELS, MultiDimension};
pub use name::{MAX_NAME_LEN, normalize_name};
pub use percentile::{Distribution, Histogram};
pub use reducer::{Adder, Max, Maxer, Min, Miner, Number, Operation, Reducer, Sum};
pub use registry::{ExposeError, Exposed, MAX_EXPOSED, count, describe, expose, expose_as, find, names};
pub use status::{PassiveStatus, Status};
pub use variable::{Value, Variable};
