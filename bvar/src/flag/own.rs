//! The flags of this crate itself, known from the start: one list for each area that has some.

use super::{AnyFlag, Flag};
use crate::{sampler, series};

/// Each area's list, kept beside the code that reads the flags.
pub(super) const OWN: &[&[&'static dyn AnyFlag]] = &[crate::dump::FLAGS, crate::multi::FLAGS, FLAGS];

const FLAGS: &[&dyn AnyFlag] = &[&LATENCY_P1, &LATENCY_P2, &LATENCY_P3, &SAVE_SERIES, &ENABLE_SAMPLING];

fn is_percentile(percent: &i32) -> bool {
    (1..=99).contains(percent)
}

/// The first percentile that latency recorders show under a name of its own.
pub(crate) static LATENCY_P1: Flag<i32> =
    Flag::new("bvar_latency_p1", 80, "First percentile that latency recorders show").validated(is_percentile);

/// The second.
pub(crate) static LATENCY_P2: Flag<i32> =
    Flag::new("bvar_latency_p2", 90, "Second percentile that latency recorders show")
        .validated(is_percentile);

/// The third.
pub(crate) static LATENCY_P3: Flag<i32> =
    Flag::new("bvar_latency_p3", 99, "Third percentile that latency recorders show").validated(is_percentile);

static SAVE_SERIES: Flag<bool> =
    Flag::new("save_series", true, "Keep the histories of exposed variables for charts")
        .on_change(|| series::save_series(SAVE_SERIES.get()));

static ENABLE_SAMPLING: Flag<bool> =
    Flag::new("bvar_enable_sampling", true, "Sample variables once a second, for windows and histories")
        .on_change(|| sampler::enable_sampling(ENABLE_SAMPLING.get()));
