//! The flags of the dump.

use crate::flag::{AnyFlag, Flag};

/// Seconds between two dumps, and the default length of windows.
pub(crate) static DUMP_INTERVAL: Flag<i32> = Flag::new(
    "bvar_dump_interval",
    10,
    "Seconds between two dumps; windows are as long unless told otherwise",
)
.validated(|seconds| *seconds >= 1);

pub(crate) const FLAGS: &[&dyn AnyFlag] = &[&DUMP_INTERVAL];
