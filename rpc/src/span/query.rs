//! What `/rpcz` can be asked, and the answers (`spec/builtin-services.md` §9.2).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::id::{SpanId, TraceId};
use super::record::{SpanKind, SpanRecord};
use super::tree::SpanTree;
use super::{collector, store, time};

/// Spans that a query looks at unless it says otherwise (brpc: `max_scan`).
pub const MAX_SCAN_DEFAULT: usize = 100;
/// Spans that a query looks at, at most.
pub const MAX_SCAN_MAX: usize = 10_000;
/// Spans of one trace that an answer has, the first ones.
pub const TRACE_SPANS_MAX: usize = 1000;

/// A question. More may be added to it: begin with `..Query::default()`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// All spans of this trace.
    pub trace: Option<TraceId>,
    /// Of the trace, this span alone, with its parts.
    pub span: Option<SpanId>,
    /// Only what began then or before. None: now.
    pub time: Option<SystemTime>,
    /// How many of the newest spans to look at.
    pub max_scan: usize,
    /// Only what took so long.
    pub min_latency: Duration,
    /// Only what has so large a request.
    pub min_request_size: u64,
    /// Only what has so large a response.
    pub min_response_size: u64,
    /// Only what has this log id.
    pub log_id: Option<u64>,
    /// Only what ended with this.
    pub error_code: Option<i32>,
    /// Only methods whose names contain this, without regard to ASCII case.
    pub method: Option<String>,
    /// Only this side.
    pub kind: Option<SpanKind>,
}

impl Default for Query {
    fn default() -> Self {
        Query {
            trace: None,
            span: None,
            time: None,
            max_scan: MAX_SCAN_DEFAULT,
            min_latency: Duration::ZERO,
            min_request_size: 0,
            min_response_size: 0,
            log_id: None,
            error_code: None,
            method: None,
            kind: None,
        }
    }
}

/// A time that cannot be read: the one thing that brpc does not read over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError {
    time: String,
}

/// Contains what the user sent.
impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invalid time={}: it is to be YYYY/MM/DD-HH:MM:SS[.us] or HH:MM:SS[.us]", self.time)
    }
}

impl std::error::Error for QueryError {}

/// An answer. Either may be empty.
#[derive(Clone, Debug)]
pub enum Found {
    /// The newest first.
    List(Vec<Arc<SpanRecord>>),
    /// One trace, in the order of time.
    Trace(Vec<SpanTree>),
}

impl Query {
    /// Reads the pairs of a URL, decoded: brpc's `trace`, `span`, `time`, `max_scan`, `min_latency` (microseconds),
    /// `min_request_size`, `min_response_size`, `log_id`, `error_code`, and `method`, `side` (`server` or `client`). Of
    /// two of the same name the last counts. Names that are not known and values that cannot be read are read over.
    ///
    /// # Errors
    /// A time that cannot be read.
    ///
    /// ```
    /// use rpc::span::Query;
    /// let query = Query::from_pairs([("min_latency", "3000"), ("max_scan", "99999999")]).unwrap();
    /// assert_eq!((query.min_latency.as_millis(), query.max_scan), (3, 10_000));
    /// assert!(Query::from_pairs([("time", "yesterday")]).is_err());
    /// ```
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, QueryError> {
        let mut query = Query::default();
        for (name, value) in pairs {
            match name {
                "trace" => query.trace = value.parse().ok(),
                "span" => query.span = value.parse().ok(),
                "time" => {
                    let read = time::parse(value, bthread::clock::wall());
                    query.time = Some(read.ok_or_else(|| QueryError { time: value.to_owned() })?);
                }
                "max_scan" => {
                    // A number of any size counts as the nearest that there is.
                    let scan = value.parse::<i128>().unwrap_or(MAX_SCAN_DEFAULT as i128);
                    query.max_scan = scan.clamp(1, MAX_SCAN_MAX as i128) as usize;
                }
                "min_latency" => query.min_latency = Duration::from_micros(value.parse().unwrap_or(0)),
                "min_request_size" => query.min_request_size = value.parse().unwrap_or(0),
                "min_response_size" => query.min_response_size = value.parse().unwrap_or(0),
                "log_id" => query.log_id = parse_log_id(value),
                "error_code" => query.error_code = value.parse().ok(),
                "method" => query.method = Some(value.to_owned()).filter(|method| !method.is_empty()),
                "side" => {
                    query.kind = match value {
                        "server" => Some(SpanKind::Server),
                        "client" => Some(SpanKind::Client),
                        _ => None,
                    }
                }
                _ => {}
            }
        }
        Ok(query)
    }

    fn wants(&self, record: &SpanRecord) -> bool {
        let names_method = |wanted: &str| {
            let (name, wanted) = (record.method.as_bytes(), wanted.as_bytes());
            name.windows(wanted.len()).any(|part| part.eq_ignore_ascii_case(wanted))
        };
        record.latency() >= self.min_latency
            && record.request_size >= self.min_request_size
            && record.response_size >= self.min_response_size
            && self.log_id.is_none_or(|id| record.log_id == Some(id))
            && self.error_code.is_none_or(|code| record.error_code == code)
            && self.kind.is_none_or(|kind| record.kind == kind)
            && self.method.as_deref().is_none_or(names_method)
    }
}

/// Decimal, or `0x` and hex; negative ones as their two's complement, as brpc prints them.
fn parse_log_id(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok().or_else(|| text.parse::<i64>().ok().map(|id| id as u64)),
    }
}

/// Answers from the spans that are kept. One that has ended a moment ago may not be among them yet.
///
/// *Blocking*: the thread, for the time in which at most 10,000 pointers are copied.
pub fn find(query: &Query) -> Found {
    if let Some(id) = query.trace {
        let records = collector::look(|store| store.of_trace(id, TRACE_SPANS_MAX));
        let mut trees = SpanTree::grow(records);
        if let Some(id) = query.span {
            trees = trees.into_iter().flat_map(|tree| subtrees(tree, id)).collect();
        }
        return Found::Trace(trees);
    }
    let latest = query.time.map_or(u64::MAX, store::micros);
    let mut records = collector::look(|store| store.newest(latest, query.max_scan));
    records.retain(|record| query.wants(record));
    Found::List(records)
}

/// Those within `tree` that have this id, with all below them.
fn subtrees(tree: SpanTree, id: SpanId) -> Vec<SpanTree> {
    if tree.record.span_id == id {
        return vec![tree];
    }
    tree.children.into_iter().flat_map(|child| subtrees(child, id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn query(pairs: &[(&str, &str)]) -> Query {
        Query::from_pairs(pairs.iter().copied()).unwrap()
    }

    #[test]
    fn what_cannot_be_read_is_read_over() {
        let odd = [
            ("trace", "xyz"),
            ("max_scan", "many"),
            ("min_latency", "-1"),
            ("log_id", "0xg"),
            ("error_code", ""),
            ("side", "left"),
            ("method", ""),
            ("nothing", "1"),
        ];
        assert_eq!(query(&odd), Query::default());
    }

    #[test]
    fn the_scan_has_bounds() {
        for (text, scan) in
            [("0", 1), ("-5", 1), ("7", 7), ("10001", 10_000), ("99999999999999999999", 10_000)]
        {
            assert_eq!(query(&[("max_scan", text)]).max_scan, scan, "{text}");
        }
    }

    #[test]
    fn log_ids_are_decimal_or_hex() {
        assert_eq!(query(&[("log_id", "677")]).log_id, Some(677));
        assert_eq!(query(&[("log_id", "0x2A5")]).log_id, Some(677));
        assert_eq!(query(&[("log_id", "-1")]).log_id, Some(u64::MAX));
    }

    #[test]
    fn each_filter_filters() {
        let mut record = SpanRecord::new(TraceId::new(), SpanId::new(), SpanKind::Server);
        record.points.set(super::super::Point::Written, Duration::from_micros(500));
        (record.request_size, record.response_size) = (100, 200);
        (record.log_id, record.error_code, record.method) =
            (Some(5), 1234, "example.EchoService.Echo".into());
        let wanted = [
            ("min_latency", "500", "501"),
            ("min_request_size", "100", "101"),
            ("min_response_size", "200", "201"),
            ("log_id", "5", "6"),
            ("error_code", "1234", "0"),
            ("method", "service.echo", "services"),
            ("side", "server", "client"),
        ];
        for (name, fits, fits_not) in wanted {
            assert!(query(&[(name, fits)]).wants(&record), "{name}={fits}");
            assert!(!query(&[(name, fits_not)]).wants(&record), "{name}={fits_not}");
        }
    }

    proptest! {
        #[test]
        fn no_pair_makes_it_panic(
            name in "trace|span|time|max_scan|min_latency|log_id|error_code|method|side", value in "\\PC{0,30}",
        ) {
            let _ = Query::from_pairs([(&*name, &*value)]);
        }
    }
}
