//! A span as it is kept: who called what, and when it got how far. Plain data.
//!
//! Whatever came from a peer (names, texts, addresses) is kept as it came: it is for who shows it to escape it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bthread::Waits;

use super::id::{SpanId, TraceId};

/// Which side of a call a span tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpanKind {
    /// A request that was answered here.
    Server,
    /// A call that was made from here.
    Client,
}

impl SpanKind {
    /// `S` or `C`, as lists show it.
    pub fn letter(self) -> char {
        match self {
            SpanKind::Server => 'S',
            SpanKind::Client => 'C',
        }
    }

    /// `Server` or `Client`.
    pub fn name(self) -> &'static str {
        match self {
            SpanKind::Server => "Server",
            SpanKind::Client => "Client",
        }
    }
}

/// How far a request or a call has come; what comes later stands later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// Server: the last byte of the request was read. Client: the last byte of the reply was.
    Received,
    /// Server: a bthread began to deal with it.
    Taken,
    /// Server: the method was called, with its message read.
    Entered,
    /// Server: the method gave its answer.
    Answered,
    /// Server: the reply stood in the queue of its connection. Client: the request did.
    Serialised,
    /// Server: the system had taken the reply's last byte. Client: it had taken the request's.
    Written,
    /// Client: the caller went on.
    Ended,
}

impl Point {
    const COUNT: usize = Point::Ended as usize + 1;
}

/// Nothing was noted.
const NEVER: u64 = u64::MAX;

/// When which point was reached, in nanoseconds since the span's start.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Points([u64; Point::COUNT]);

impl Points {
    pub(super) const NONE: Points = Points([NEVER; Point::COUNT]);

    /// The last time counts: a later attempt of a call reaches its points again.
    pub(super) fn set(&mut self, point: Point, at: Duration) {
        self.0[point as usize] = u64::try_from(at.as_nanos()).unwrap_or(NEVER).min(NEVER - 1);
    }

    pub(super) fn get(&self, point: Point) -> Option<Duration> {
        let nanos = self.0[point as usize];
        (nanos != NEVER).then(|| Duration::from_nanos(nanos))
    }
}

impl std::fmt::Debug for Points {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().filter(|nanos| **nanos != NEVER)).finish()
    }
}

/// What somebody noted on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// Since the span's start.
    pub at: Duration,
    /// The text, at most [`ANNOTATION_BYTES_MAX`](super::ANNOTATION_BYTES_MAX) bytes.
    pub text: Box<str>,
}

/// A request that was answered, or a call that was made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SpanRecord {
    /// The trace that it belongs to.
    pub trace_id: TraceId,
    /// Its own id.
    pub span_id: SpanId,
    /// The span that it is part of: of the caller, or of the request in which the call was made.
    pub parent_id: Option<SpanId>,
    /// Which side it tells of.
    pub kind: SpanKind,
    /// The user's log id.
    pub log_id: Option<u64>,
    /// What the caller named the request by; empty if it did not.
    pub request_id: Box<str>,
    /// The method's full name; the path of what is no method.
    pub method: Box<str>,
    /// The other side's address.
    pub remote: Box<str>,
    /// The protocol's name.
    pub protocol: &'static str,
    /// 0: it succeeded.
    pub error_code: i32,
    /// Empty: it succeeded.
    pub error_text: Box<str>,
    /// Bytes of the request, its description included.
    pub request_size: u64,
    /// Bytes of the answer, its description included.
    pub response_size: u64,
    /// Attempts made, of a call; 1 for one that was never tried again.
    pub attempts: u32,
    /// Microseconds since 1970 when it began: a server's when the first byte of the request was read.
    pub started_micros: u64,
    /// The waits of the bthread in which the method ran, from the call to its return.
    pub waits: Waits,
    /// What was noted, in the order of time.
    pub annotations: Vec<Annotation>,
    /// Notes beyond [`ANNOTATIONS_MAX`](super::ANNOTATIONS_MAX), which were not kept.
    pub annotations_dropped: u32,
    pub(super) points: Points,
}

impl SpanRecord {
    pub(crate) fn new(trace_id: TraceId, span_id: SpanId, kind: SpanKind) -> Self {
        SpanRecord {
            trace_id,
            span_id,
            parent_id: None,
            kind,
            log_id: None,
            request_id: Box::default(),
            method: Box::default(),
            remote: Box::default(),
            protocol: "",
            error_code: 0,
            error_text: Box::default(),
            request_size: 0,
            response_size: 0,
            attempts: 1,
            started_micros: 0,
            waits: Waits::default(),
            annotations: Vec::new(),
            annotations_dropped: 0,
            points: Points::NONE,
        }
    }

    /// When it began.
    pub fn started(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.started_micros)
    }

    /// When a point was reached, since the start. None: it never was, or it is one of the other side.
    pub fn point(&self, point: Point) -> Option<Duration> {
        self.points.get(point)
    }

    /// From the start to the last point that was reached.
    pub fn latency(&self) -> Duration {
        Duration::from_nanos(self.points.0.into_iter().filter(|nanos| *nanos != NEVER).max().unwrap_or(0))
    }

    /// `[OK]`, or the text of the error in brackets; untrusted.
    pub fn outcome_text(&self) -> String {
        match (self.error_code, &*self.error_text) {
            (0, _) => "[OK]".to_owned(),
            (code, "") => format!("[E{code}] "),
            (_, text) => format!("[{text}] "),
        }
    }

    /// An estimate of the memory that it takes.
    pub(super) fn memory(&self) -> u64 {
        let texts = [&self.request_id, &self.method, &self.remote, &self.error_text];
        let texts = texts.into_iter().map(|text| text.len()).sum::<usize>();
        let notes: usize =
            self.annotations.iter().map(|note| size_of::<Annotation>() + note.text.len()).sum();
        (size_of::<Self>() + texts + notes) as u64
    }
}
