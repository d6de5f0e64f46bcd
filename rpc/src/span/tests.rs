//! From the beginning of a span to its place among those that are kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::error::RpcError;
use crate::transport::Endpoint;

fn request<'a>(method: &'a str, remote: &'a Endpoint) -> Request<'a> {
    Request { method, remote, protocol: "baidu_std", log_id: Some(5), request_id: "r", request_size: 10 }
}

fn upstream() -> TraceContext {
    TraceContext { trace_id: TraceId::new(), span_id: Some(SpanId::new()), parent_id: None, is_sampled: true }
}

/// The spans of a trace, as soon as there are so many.
fn kept(trace: TraceId, spans: usize) -> Vec<Arc<SpanRecord>> {
    fn flat(tree: SpanTree, into: &mut Vec<Arc<SpanRecord>>) {
        into.push(tree.record);
        tree.children.into_iter().for_each(|child| flat(child, into));
    }
    let query = Query { trace: Some(trace), ..Query::default() };
    loop {
        let Found::Trace(trees) = find(&query) else { panic!("a trace was asked for") };
        let mut found = Vec::new();
        trees.into_iter().for_each(|tree| flat(tree, &mut found));
        if found.len() >= spans {
            return found;
        }
        bthread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_span_is_kept_with_its_calls_notes_and_waits() {
    let context = upstream();
    bthread::spawn(move || {
        let remote = Endpoint::resolve("127.0.0.1:1").unwrap();
        let began = Instant::now();
        assert!(current().is_none());
        annotate("for nobody");
        let span = Span::of_request(None, Some(context), began, || request("a.B.C", &remote)).unwrap();
        span.reach_at(Point::Received, began);
        let running = span.run();
        span.reach(Point::Entered);
        assert_eq!(bthread::trace_id(), context.trace_id.to_u128());
        annotate(format_args!("note {}", 1));
        bthread::sleep(Duration::from_millis(1));
        let mine = current().unwrap();
        bthread::spawn(move || {
            assert!(current().is_none(), "handed on by hand only");
            assert_eq!(bthread::trace_id(), mine.trace_id().to_u128(), "but the label is inherited");
            let _entered = mine.enter();
            annotate("x".repeat(2 * ANNOTATION_BYTES_MAX));
            let call = Span::of_call(Instant::now(), || request("d.E.F", mine_remote())).unwrap();
            assert_eq!(call.context().trace_id, mine.trace_id());
            call.set_error(&RpcError::new(7, "seven"));
            call.reach(Point::Ended);
        })
        .join()
        .unwrap();
        span.reach(Point::Answered);
        span.set_response_size(20);
        drop(running);
        assert_eq!(bthread::trace_id(), 0);
        assert!(current().is_none());
        span.reach(Point::Written);
    })
    .join()
    .unwrap();
    let spans = kept(context.trace_id, 2);
    let (server, call) = (&spans[0], &spans[1]);
    assert_eq!(
        (&*server.method, server.parent_id, server.kind),
        ("a.B.C", context.span_id, SpanKind::Server)
    );
    assert_eq!((server.request_size, server.response_size, server.error_code), (10, 20, 0));
    assert_eq!(&*server.annotations[0].text, "note 1");
    assert_eq!(server.annotations[1].text.len(), ANNOTATION_BYTES_MAX);
    assert!(server.waits.of(bthread::WaitKind::Sleep).count >= 1, "{server:?}");
    assert_eq!((call.kind, call.parent_id), (SpanKind::Client, Some(server.span_id)));
    assert_eq!((call.error_code, &*call.error_text), (7, "seven"));
    let names: Vec<_> = bar(server).parts.into_iter().map(|part| part.name).collect();
    assert_eq!(names, ["read", "queue", "parse", "run", "write"]);
}

fn mine_remote() -> &'static Endpoint {
    static REMOTE: std::sync::OnceLock<Endpoint> = std::sync::OnceLock::new();
    REMOTE.get_or_init(|| Endpoint::resolve("127.0.0.1:2").unwrap())
}

#[test]
fn a_span_of_many_calls_keeps_the_first_ones() {
    let context = upstream();
    let span =
        Span::of_request(None, Some(context), Instant::now(), || request("many", mine_remote())).unwrap();
    let entered = span.to_ref().enter();
    let calls = (0..2 * CHILDREN_MAX)
        .filter_map(|_| Span::of_call(Instant::now(), || request("call", mine_remote())))
        .count();
    assert_eq!(calls, CHILDREN_MAX as usize);
    for _ in 0..ANNOTATIONS_MAX + 3 {
        annotate("note");
    }
    drop(entered);
    drop(span);
    let spans = kept(context.trace_id, 1 + CHILDREN_MAX as usize);
    let server = spans.iter().find(|span| span.kind == SpanKind::Server).unwrap();
    assert_eq!((server.annotations.len(), server.annotations_dropped), (ANNOTATIONS_MAX, 3));
}

#[test]
fn a_reference_does_not_keep_its_span() {
    let context = upstream();
    let span =
        Span::of_request(None, Some(context), Instant::now(), || request("kept", mine_remote())).unwrap();
    let reference = span.to_ref();
    drop(span);
    kept(context.trace_id, 1);
    reference.annotate("too late");
    let _entered = reference.enter();
    assert!(current().is_none());
}

/// Long texts of peers are cut between two characters.
#[test]
fn texts_are_cut() {
    let context = upstream();
    let method = "é".repeat(TEXT_BYTES_MAX);
    let span =
        Span::of_request(None, Some(context), Instant::now(), || request(&method, mine_remote())).unwrap();
    drop(span);
    assert_eq!(kept(context.trace_id, 1)[0].method.len(), TEXT_BYTES_MAX);
    let context = upstream();
    let method = format!("x{method}");
    drop(Span::of_request(None, Some(context), Instant::now(), || request(&method, mine_remote())).unwrap());
    assert_eq!(kept(context.trace_id, 1)[0].method.len(), TEXT_BYTES_MAX - 1);
}
