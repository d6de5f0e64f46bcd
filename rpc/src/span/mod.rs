//! Tracing of requests: what `/rpcz` shows. For some requests, and the calls made for them, it is recorded when they got
//! how far, and what their bthreads waited for (`spec/builtin-services.md` §9).
//!
//! | File | Owns |
//! |---|---|
//! | `sampling` | which requests are recorded, within a budget |
//! | `live` | a span while it lasts, and the caller's own |
//! | `collector`, `store` | the way to the spans that are kept, and these, bounded |
//! | `query`, `tree` | finding them, by time and by trace |
//! | `text`, `bar` | showing them |
//!
//! | What bounds it | |
//! |---|---|
//! | requests recorded | 100 a second (flag `rpcz_spans_per_second`), and [`UPSTREAM_PER_SECOND_MAX`] that their callers record |
//! | a span | [`ANNOTATIONS_MAX`] notes, [`CHILDREN_MAX`] calls, texts of [`TEXT_BYTES_MAX`] bytes |
//! | on the way to the store | [`PENDING_MAX`] |
//! | kept | an hour, 100,000 spans, 64 MiB (flags `rpcz_keep_span_seconds`, `rpcz_max_spans`, `rpcz_max_span_bytes`) |
//! | looked at by a query | [`MAX_SCAN_MAX`]; of a trace [`TRACE_SPANS_MAX`] |
//!
//! A request that is not recorded costs a few nanoseconds. What came from peers is kept as it came: whoever shows it
//! escapes it.

mod bar;
mod collector;
mod flags;
mod id;
mod live;
mod query;
mod record;
mod sampling;
mod store;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod tree;

pub use bar::{Bar, Part, PartWait, bar};
pub use collector::{PENDING_MAX, stats};
pub use flags::{
    ENABLED_DEFAULT, KEEP_SECONDS_DEFAULT, SPAN_BYTES_MAX_DEFAULT, SPANS_MAX_DEFAULT,
    SPANS_PER_SECOND_DEFAULT, enable, hex_log_id, is_enabled, set_hex_log_id,
};
pub use id::{NoId, SpanId, TraceContext, TraceId};
pub use live::{
    ANNOTATION_BYTES_MAX, ANNOTATIONS_MAX, CHILDREN_MAX, Entered, SpanRef, TEXT_BYTES_MAX, annotate, current,
};
pub use query::{Found, MAX_SCAN_DEFAULT, MAX_SCAN_MAX, Query, QueryError, TRACE_SPANS_MAX, find};
pub use record::{Annotation, Point, SpanKind, SpanRecord};
pub use sampling::{UPSTREAM_PER_SECOND_MAX, sampling_ratio};
pub use store::StoreStats;
pub use text::{NOTHING_FOUND, list_line, trace_text};
pub use tree::{DEPTH_MAX, Event, SpanTree};

pub(crate) use flags::register;
pub(crate) use live::{Request, Running, Span};
pub(crate) use text::log_id;
pub(crate) use time::date_and_time;
