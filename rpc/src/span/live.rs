//! A span while it lasts: who holds it, what is noted in it, and which one is the caller's own.
//!
//! A span is kept as soon as the last of its holders has let go of it: the call, the frame in which the method runs, the
//! write that carries the answer. Users get a [`SpanRef`], which holds nothing, so that they cannot keep a span from
//! ending. Its lock is held for a few instructions, and no code of a user runs under it.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Instant;

use super::id::{SpanId, TraceContext, TraceId};
use super::record::{Annotation, Point, SpanKind, SpanRecord};
use super::{collector, sampling, store};
use crate::error::RpcError;
use crate::socket::lock;
use crate::transport::Endpoint;

/// Notes that a span keeps; further ones are counted only.
pub const ANNOTATIONS_MAX: usize = 64;
/// Bytes of a note that are kept.
pub const ANNOTATION_BYTES_MAX: usize = 1024;
/// Bytes of an error's text, a method's name or a request's id that are kept.
pub const TEXT_BYTES_MAX: usize = 512;
/// Calls made for one request that are recorded.
pub const CHILDREN_MAX: u32 = 128;

/// A span that lasts; a handle that holds it.
#[derive(Clone)]
pub(crate) struct Span(Arc<Live>);

struct Live {
    trace_id: TraceId,
    span_id: SpanId,
    parent_id: Option<SpanId>,
    started: Instant,
    /// Calls made from it so far.
    children: AtomicU32,
    /// None once it is handed over.
    record: Mutex<Option<SpanRecord>>,
}

/// What is known of a request when its span begins.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) remote: &'a Endpoint,
    pub(crate) protocol: &'static str,
    pub(crate) log_id: Option<u64>,
    pub(crate) request_id: &'a str,
    pub(crate) request_size: usize,
}

impl Span {
    /// Decides about a request before it is read, in a few nanoseconds: if it is to be recorded, the time.
    #[inline]
    pub(crate) fn choose() -> Option<Instant> {
        let mut now = None;
        sampling::choose(|| *now.insert(bthread::clock::now())).then_some(now).flatten()
    }

    /// The span of a request that was read, if it was chosen or its caller records it. `began` is when its first byte
    /// came.
    #[inline]
    pub(crate) fn of_request<'a>(
        chosen: Option<Instant>,
        upstream: Option<TraceContext>,
        began: Instant,
        request: impl FnOnce() -> Request<'a>,
    ) -> Option<Span> {
        let follows = || {
            let now = bthread::clock::now();
            (upstream.is_some_and(|context| context.is_sampled) && sampling::follow(now)).then_some(now)
        };
        let taken =
            if chosen.is_none() && upstream.is_none() { return None } else { chosen.or_else(follows)? };
        let (trace_id, parent_id) = match upstream {
            Some(context) => (context.trace_id, context.span_id),
            None => (TraceId::new(), None),
        };
        let span = Span::begin(trace_id, parent_id, SpanKind::Server, began, request());
        span.reach_at(Point::Taken, taken);
        Some(span)
    }

    /// The span of a call that is about to be made, if it is to be recorded: as part of the caller's own span, else
    /// chosen like a request.
    #[inline]
    pub(crate) fn of_call<'a>(began: Instant, request: impl FnOnce() -> Request<'a>) -> Option<Span> {
        match own() {
            Some(parent) => {
                // Relaxed: a count.
                let is_one_of_few = parent.children.fetch_add(1, Ordering::Relaxed) < CHILDREN_MAX;
                is_one_of_few.then(|| {
                    Span::begin(parent.trace_id, Some(parent.span_id), SpanKind::Client, began, request())
                })
            }
            None => sampling::choose(|| began)
                .then(|| Span::begin(TraceId::new(), None, SpanKind::Client, began, request())),
        }
    }

    #[cold]
    fn begin(
        trace_id: TraceId,
        parent_id: Option<SpanId>,
        kind: SpanKind,
        began: Instant,
        request: Request<'_>,
    ) -> Span {
        let span_id = SpanId::new();
        let mut record = SpanRecord::new(trace_id, span_id, kind);
        record.parent_id = parent_id;
        record.started_micros = store::micros(bthread::clock::wall()).saturating_sub(
            u64::try_from(bthread::clock::now().saturating_duration_since(began).as_micros())
                .unwrap_or(u64::MAX),
        );
        record.log_id = request.log_id;
        record.request_id = shortened(request.request_id, TEXT_BYTES_MAX).into();
        record.method = shortened(request.method, TEXT_BYTES_MAX).into();
        record.remote = request.remote.to_string().into();
        record.protocol = request.protocol;
        record.request_size = request.request_size as u64;
        Span(Arc::new(Live {
            trace_id,
            span_id,
            parent_id,
            started: began,
            children: AtomicU32::new(0),
            record: Mutex::new(Some(record)),
        }))
    }

    /// Notes that a point is reached.
    pub(crate) fn reach(&self, point: Point) {
        self.reach_at(point, bthread::clock::now());
    }

    /// Notes that a point was reached at `when`. Of two times the last one counts.
    pub(crate) fn reach_at(&self, point: Point, when: Instant) {
        let at = when.saturating_duration_since(self.0.started);
        self.0.change(|record| record.points.set(point, at));
    }

    /// Another attempt is made.
    pub(crate) fn retry(&self) {
        self.0.change(|record| record.attempts += 1);
    }

    pub(crate) fn set_request_size(&self, bytes: usize) {
        self.0.change(|record| record.request_size = bytes as u64);
    }

    pub(crate) fn set_response_size(&self, bytes: usize) {
        self.0.change(|record| record.response_size = bytes as u64);
    }

    pub(crate) fn set_error(&self, error: &RpcError) {
        let text = shortened(error.text(), TEXT_BYTES_MAX).into();
        self.0.change(|record| {
            record.error_code = error.code().get();
            record.error_text = text;
        });
    }

    /// What goes to the server of a call.
    pub(crate) fn context(&self) -> TraceContext {
        self.0.context()
    }

    /// For the user.
    pub(crate) fn to_ref(&self) -> SpanRef {
        SpanRef { context: self.0.context(), live: Arc::downgrade(&self.0) }
    }

    /// Makes this the caller's own span, and adds up the waits of its bthread, until the guard is dropped.
    pub(crate) fn run(&self) -> Running {
        Running { span: self.clone(), account: bthread::account_waits(), _entered: self.to_ref().enter() }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Span").field(&self.0.context()).finish()
    }
}

impl Live {
    fn lock(&self) -> MutexGuard<'_, Option<SpanRecord>> {
        lock(&self.record)
    }

    fn change(&self, change: impl FnOnce(&mut SpanRecord)) {
        if let Some(record) = &mut *self.lock() {
            change(record);
        }
    }

    fn context(&self) -> TraceContext {
        TraceContext {
            trace_id: self.trace_id,
            span_id: Some(self.span_id),
            parent_id: self.parent_id,
            is_sampled: true,
        }
    }

    fn annotate(&self, text: &dyn fmt::Display) {
        // Formatted outside of the lock: it is code of the user's.
        let mut note = Bounded(String::new());
        let _ = fmt::Write::write_fmt(&mut note, format_args!("{text}")); // an error is what was too long
        let at = bthread::clock::now().saturating_duration_since(self.started);
        self.change(|record| {
            if record.annotations.len() < ANNOTATIONS_MAX {
                record.annotations.push(Annotation { at, text: note.0.into() });
            } else {
                record.annotations_dropped += 1;
            }
        });
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(record) = self.lock().take() {
            collector::submit(record);
        }
    }
}

/// Keeps as much of a text as a note may have.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = ANNOTATION_BYTES_MAX - self.0.len();
        self.0.push_str(shortened(text, room));
        if text.len() > room { Err(fmt::Error) } else { Ok(()) }
    }
}

/// The beginning of a text, cut between two characters.
fn shortened(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// While it lives, the span is its bthread's own, and the bthread's waits are the span's.
#[must_use]
pub(crate) struct Running {
    span: Span,
    account: bthread::WaitAccount,
    _entered: Entered,
}

impl Drop for Running {
    fn drop(&mut self) {
        let waits = self.account.waits();
        self.span.0.change(|record| record.waits = waits);
    }
}

bthread::bthread_local! {
    /// The span that the caller works for. Looked at only where there is a trace id: other bthreads would
    /// be given a table of locals for it.
    static OWN: RefCell<Option<SpanRef>> = RefCell::new(None);
}

fn own() -> Option<Arc<Live>> {
    if bthread::trace_id() == 0 {
        return None;
    }
    OWN.try_with(|own| own.borrow().as_ref().and_then(|own| own.live.upgrade())).ok().flatten()
}

/// The span that the caller works for: in the method of a service that of its request, if that is recorded. Calls made
/// here become part of it. Bthreads that are spawned here do not have it, but for its trace id in lists of bthreads:
/// hand them this and let them [`enter`](SpanRef::enter).
///
/// *Blocking*: no.
pub fn current() -> Option<SpanRef> {
    own().map(|live| Span(live).to_ref())
}

/// Notes something in the span that the caller works for, with the time; does nothing, and does not even format the
/// text, if it works for none. brpc: `TRACEPRINTF`. At most [`ANNOTATIONS_MAX`] notes of [`ANNOTATION_BYTES_MAX`] bytes
/// are kept for each span.
///
/// *Blocking*: no, but as formatting the text does.
///
/// ```
/// rpc::span::annotate(format_args!("found {} rows", 7));
/// ```
pub fn annotate(text: impl fmt::Display) {
    if let Some(live) = own() {
        live.annotate(&text);
    }
}

/// The way to a span that lasts, for its users. It holds nothing: once the span has ended, what is noted here is lost.
#[derive(Clone)]
pub struct SpanRef {
    context: TraceContext,
    live: Weak<Live>,
}

impl SpanRef {
    /// The ids, as they go to the servers that are called from here.
    pub fn context(&self) -> TraceContext {
        self.context
    }

    /// The trace.
    pub fn trace_id(&self) -> TraceId {
        self.context.trace_id
    }

    /// As [`annotate`](annotate()), in this span.
    ///
    /// *Blocking*: as [`annotate`](annotate()).
    pub fn annotate(&self, text: impl fmt::Display) {
        if let Some(live) = self.live.upgrade() {
            live.annotate(&text);
        }
    }

    /// Makes this the span that the calling bthread or thread works for, until the guard is dropped.
    ///
    /// *Blocking*: no.
    pub fn enter(&self) -> Entered {
        let before = OWN.try_with(|own| own.replace(Some(self.clone()))).ok().flatten();
        let id_before = bthread::trace_id();
        bthread::set_trace_id(self.context.trace_id.to_u128());
        Entered { before, id_before, _not_send: PhantomData }
    }
}

impl fmt::Debug for SpanRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SpanRef").field(&self.context).finish()
    }
}

/// While it lives, a span is that of its bthread or thread; from [`SpanRef::enter`]. Guards end in the reverse of the
/// order in which they began.
#[derive(Debug)]
#[must_use = "the span is entered until it is dropped"]
pub struct Entered {
    before: Option<SpanRef>,
    id_before: u128,
    _not_send: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        bthread::set_trace_id(self.id_before);
        let entered = OWN.try_with(|own| own.replace(self.before.take()));
        drop(entered);
    }
}
