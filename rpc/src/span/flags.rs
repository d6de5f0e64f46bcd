//! The settings of tracing: names and defaults of brpc where the meaning is the same (`spec/builtin-services.md` §16).

use std::sync::OnceLock;

use bvar::flag::{self, Flag};
use bvar::{Exposed, PassiveStatus, Variable};

use super::sampling::sampling_ratio;

/// Whether requests are sampled, as long as nobody says otherwise. brpc's is off; here the budget
/// ([`SPANS_PER_SECOND_DEFAULT`]) is small enough for it to be on.
pub const ENABLED_DEFAULT: bool = true;
/// Requests sampled in a second, at most; those that a caller has sampled already are not counted.
pub const SPANS_PER_SECOND_DEFAULT: u64 = 100;
/// How long spans are kept, in seconds.
pub const KEEP_SECONDS_DEFAULT: i64 = 3600;
/// Spans kept, at most.
pub const SPANS_MAX_DEFAULT: u64 = 100_000;
/// Bytes that the kept spans take, at most, by estimate.
pub const SPAN_BYTES_MAX_DEFAULT: u64 = 64 << 20;

pub(super) static ENABLE_RPCZ: Flag<bool> =
    Flag::new("enable_rpcz", ENABLED_DEFAULT, "Record where the time of some requests goes").reloadable();
pub(super) static HEX_LOG_ID: Flag<bool> =
    Flag::new("rpcz_hex_log_id", false, "Show log ids on /rpcz in hexadecimal").reloadable();
pub(super) static SPANS_PER_SECOND: Flag<u64> = Flag::new(
    "rpcz_spans_per_second",
    SPANS_PER_SECOND_DEFAULT,
    "Requests recorded in a second, at most, beside those whose caller records them",
)
.reloadable();
pub(super) static KEEP_SPAN_SECONDS: Flag<i64> =
    Flag::new("rpcz_keep_span_seconds", KEEP_SECONDS_DEFAULT, "Keep recorded requests so long")
        .validated(|seconds| *seconds > 0);
pub(super) static MAX_SPANS: Flag<u64> =
    Flag::new("rpcz_max_spans", SPANS_MAX_DEFAULT, "Keep so many spans, at most").reloadable();
pub(super) static MAX_SPAN_BYTES: Flag<u64> =
    Flag::new("rpcz_max_span_bytes", SPAN_BYTES_MAX_DEFAULT, "Keep spans of so many bytes, at most")
        .reloadable();
pub(super) static SAVE_SPAN_MIN_LATENCY_US: Flag<i64> =
    Flag::new("rpcz_save_span_min_latency_us", 0, "Keep only spans that took at least so long")
        .validated(|micros| *micros >= 0);

/// Makes the settings visible among the flags of the process, and the share of requests that are recorded among its
/// variables. Called where a server or a channel is made.
pub(crate) fn register() {
    static RATIO: OnceLock<Option<Exposed<PassiveStatus<f64>>>> = OnceLock::new();
    // A name that somebody else has taken stays with them.
    RATIO.get_or_init(|| PassiveStatus::new(sampling_ratio).expose("rpcz_sampling_ratio").ok());
    flag::register(&[
        &ENABLE_RPCZ,
        &HEX_LOG_ID,
        &SPANS_PER_SECOND,
        &KEEP_SPAN_SECONDS,
        &MAX_SPANS,
        &MAX_SPAN_BYTES,
        &SAVE_SPAN_MIN_LATENCY_US,
    ]);
}

/// Whether requests are sampled now. Those whose caller records them are recorded in any case.
pub fn is_enabled() -> bool {
    ENABLE_RPCZ.get()
}

/// Switches sampling on or off. What is stored stays.
pub fn enable(on: bool) {
    ENABLE_RPCZ.set(on).expect("a flag without a check takes every value");
}

/// Whether `/rpcz` shows log ids in hexadecimal.
pub fn hex_log_id() -> bool {
    HEX_LOG_ID.get()
}

/// Chooses how `/rpcz` shows log ids.
pub fn set_hex_log_id(hex: bool) {
    HEX_LOG_ID.set(hex).expect("a flag without a check takes every value");
}
