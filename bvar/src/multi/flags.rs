//! The flags of variables with labels.

use crate::flag::{AnyFlag, Flag};

/// Combinations of one variable.
pub(crate) static MAX_STATS_COUNT: Flag<i32> = Flag::new(
    "max_multi_dimension_stats_count",
    20_000,
    "Combinations of label values that one variable keeps; beyond, the one not used longest is dropped",
)
.validated(|count| *count >= 1);

/// Variables with labels.
pub(crate) static MAX_METRIC_NUMBER: Flag<i32> = Flag::new(
    "bvar_max_multi_dimension_metric_number",
    1024,
    "Variables with labels that can be exposed at one time",
)
.validated(|count| *count >= 1);

/// Lines in one dump.
pub(crate) static MAX_DUMP_NUMBER: Flag<i32> = Flag::new(
    "bvar_max_dump_multi_dimension_metric_number",
    1024,
    "Lines of variables with labels in one dump or scrape, checked between variables; 0 leaves them out",
)
.validated(|count| *count >= 0);

pub(crate) const FLAGS: &[&dyn AnyFlag] = &[&MAX_STATS_COUNT, &MAX_METRIC_NUMBER, &MAX_DUMP_NUMBER];
