//! The settings of the limiters that go by what they see: names and defaults of brpc (`spec/rpc-core.md` §27).

use bvar::flag::{self, AnyFlag, Flag};

macro_rules! flags {
    ($($flag:ident: $kind:ty = $name:literal, $default:expr, $check:expr, $about:literal;)*) => {
        $(pub(super) static $flag: Flag<$kind> = Flag::new($name, $default, $about).validated($check);)*
        const ALL: &[&dyn AnyFlag] = &[$(&$flag),*];
    };
}

fn is_ratio(value: &f64) -> bool {
    (0.0..=1.0).contains(value)
}

flags! {
    AUTO_WINDOW_MS: i64 = "auto_cl_sample_window_size_ms", 1000, |ms| *ms > 0, "Length of a window of samples";
    AUTO_MIN_SAMPLES: i64 = "auto_cl_min_sample_count", 100, |n| *n > 0, "A window with fewer samples says nothing";
    AUTO_MAX_SAMPLES: i64 = "auto_cl_max_sample_count", 200, |n| *n > 0, "A window ends with so many samples";
    AUTO_INTERVAL_MS: f64 = "auto_cl_sampling_interval_ms", 0.1, |ms| *ms >= 0.0, "Time between two samples";
    AUTO_INITIAL: i64 = "auto_cl_initial_max_concurrency", 40, |n| *n > 0, "What is admitted before anything is known";
    AUTO_REMEASURE_MS: i64 = "auto_cl_noload_latency_remeasure_interval_ms", 50_000, |ms| *ms > 0,
        "How often the latency without load is measured anew";
    AUTO_ALPHA: f64 = "auto_cl_alpha_factor_for_ema", 0.1, is_ratio, "Weight of the newest value in averages";
    AUTO_PUNISH: bool = "auto_cl_enable_error_punish", true, |_| true, "Count failed calls as slow ones";
    AUTO_FAIL_RATIO: f64 = "auto_cl_fail_punish_ratio", 1.0, |ratio| *ratio >= 0.0, "Weight of the time of failed calls";
    AUTO_ERROR_THRESHOLD: f64 = "auto_cl_error_rate_punish_threshold", 0.0, |rate| (0.0..1.0).contains(rate),
        "Up to this share of errors failed calls do not count";
    AUTO_MAX_EXPLORE: f64 = "auto_cl_max_explore_ratio", 0.3, is_ratio, "The most that is admitted beyond the estimate";
    AUTO_MIN_EXPLORE: f64 = "auto_cl_min_explore_ratio", 0.06, is_ratio, "The least that is admitted beyond the estimate";
    AUTO_EXPLORE_STEP: f64 = "auto_cl_change_rate_of_explore_ratio", 0.02, is_ratio,
        "How fast the part beyond the estimate changes";
    AUTO_REDUCE: f64 = "auto_cl_reduce_ratio_while_remeasure", 0.9, is_ratio,
        "The part of the estimate that is admitted while the latency without load is measured";
    AUTO_FLUCTUATION: f64 = "auto_cl_latency_fluctuation_correction_factor", 1.0, |factor| *factor >= 0.0,
        "How much latencies may swing without being taken for a queue";
    TIMEOUT_WINDOW_MS: i64 = "timeout_cl_sample_window_size_ms", 1000, |ms| *ms > 0, "Length of a window of samples";
    TIMEOUT_MIN_SAMPLES: i64 = "timeout_cl_min_sample_count", 100, |n| *n > 0,
        "A window with fewer samples says nothing";
    TIMEOUT_MAX_SAMPLES: i64 = "timeout_cl_max_sample_count", 200, |n| *n > 0, "A window ends with so many samples";
    TIMEOUT_INTERVAL_MS: f64 = "timeout_cl_sampling_interval_ms", 0.1, |ms| *ms >= 0.0, "Time between two samples";
    TIMEOUT_INITIAL_US: i64 = "timeout_cl_initial_avg_latency_us", 500, |us| *us > 0,
        "The latency before anything is known";
    TIMEOUT_PUNISH: bool = "timeout_cl_enable_error_punish", true, |_| true, "Count failed calls as slow ones";
    TIMEOUT_FAIL_RATIO: f64 = "timeout_cl_fail_punish_ratio", 1.0, |ratio| *ratio >= 0.0,
        "Weight of the time of failed calls";
    TIMEOUT_DEFAULT_MS: i64 = "timeout_cl_default_timeout_ms", 500, |ms| *ms > 0,
        "How long callers wait that do not say so";
    TIMEOUT_MAX: i64 = "timeout_cl_max_concurrency", 100, |n| *n > 0, "The most calls at a time";
}

/// Makes the settings visible among the flags of the process.
pub(crate) fn register() {
    flag::register(ALL);
}
