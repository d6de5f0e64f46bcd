//! Spans of requests and calls, from the client's call through two servers and back.

mod support;

use std::sync::Arc;
use std::time::Duration;

use iobuf::IoBuf;
use rpc::span::{self, Found, Point, Query, SpanKind, SpanRecord, SpanTree};
use rpc::{CallOptions, Responder, ServerCall, Service, ServiceDescriptor};
use support::{
    AsyncEcho, Channel, ECHO_SERVICE, EchoRequest, EchoResponse, Server, call_with, connect, echo_method,
    raw, request, start,
};

/// Calls another server and sleeps before it answers.
struct Front(Channel);

impl Service for Front {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        &ECHO_SERVICE
    }

    fn call(&self, _: usize, call: ServerCall, body: IoBuf) {
        rpc::unary(call, body, |call: &mut ServerCall, request: EchoRequest| {
            call.annotate(format_args!("for {}", request.message));
            bthread::sleep(Duration::from_millis(2));
            let reply = call_with(&self.0, CallOptions::default(), &request)?;
            span::annotate("back again");
            assert_eq!(bthread::trace_id(), call.span().map_or(0, |span| span.trace_id().to_u128()));
            Ok(EchoResponse { message: reply.message.message })
        });
    }
}

/// The spans with this log id, as soon as there are so many. Tests of other files are other processes.
fn with_log_id(id: u64, spans: usize) -> Vec<Arc<SpanRecord>> {
    let query = Query { log_id: Some(id), max_scan: 1000, ..Query::default() };
    loop {
        let Found::List(found) = span::find(&query) else { panic!("a list was asked for") };
        if found.len() >= spans {
            return found;
        }
        bthread::sleep(Duration::from_millis(1));
    }
}

fn trace(of: &SpanRecord) -> Vec<SpanTree> {
    let Found::Trace(trees) = span::find(&Query { trace: Some(of.trace_id), ..Query::default() }) else {
        panic!("a trace was asked for");
    };
    trees
}

fn depth(tree: &SpanTree) -> usize {
    1 + tree.children.iter().map(depth).max().unwrap_or(0)
}

#[test]
fn a_call_through_two_servers_is_one_tree() {
    let back = start();
    let front = Server::builder().add(Front(connect(&back))).start("127.0.0.1:0").unwrap();
    let channel = connect(&front);
    call_with(&channel, CallOptions::default().log_id(71), &request("tree")).unwrap();
    let spans = with_log_id(71, 2);
    let trees = loop {
        let trees = trace(&spans[0]);
        if let [tree] = &trees[..]
            && depth(tree) == 4
        {
            break trees;
        }
        bthread::sleep(Duration::from_millis(1));
    };
    let mut tree = &trees[0];
    let mut line = Vec::new();
    loop {
        line.push(tree.record.clone());
        match &tree.children[..] {
            [] => break,
            [only] => tree = only,
            more => panic!("{more:?}"),
        }
    }
    let kinds: Vec<_> = line.iter().map(|span| span.kind.letter()).collect();
    assert_eq!(kinds, ['C', 'S', 'C', 'S']);
    assert!(line.iter().all(|span| &*span.method == "example.EchoService.Echo" && span.error_code == 0));
    assert!(line.windows(2).all(|pair| pair[1].parent_id == Some(pair[0].span_id)));
    let front_span = &line[1];
    assert_eq!(front_span.protocol, "baidu_std");
    let notes: Vec<_> = front_span.annotations.iter().map(|note| &*note.text).collect();
    assert_eq!(notes, ["for tree", "back again"]);
    assert!(front_span.waits.of(bthread::WaitKind::Sleep).time >= Duration::from_millis(1));
    assert!(front_span.waits.of(bthread::WaitKind::Butex).count >= 1, "the wait for the reply");
    for span in &line {
        let names: Vec<_> = span::bar(span).parts.iter().map(|part| part.name).collect();
        match span.kind {
            SpanKind::Server => assert_eq!(names, ["read", "queue", "parse", "run", "serialise", "write"]),
            SpanKind::Client => assert_eq!(names, ["serialise", "write", "wait", "wake"]),
        }
        assert!(span.request_size > 0 && span.response_size > 0, "{span:?}");
    }
    let mut text = String::new();
    span::trace_text(&trees, &mut text);
    for step in [
        "Requesting ",
        "Received request(",
        "Enter ",
        "for tree",
        "Leave ",
        "Responded(",
        "Received response(",
    ] {
        assert!(text.contains(step), "{step} in\n{text}");
    }
}

#[test]
fn errors_are_recorded_on_both_sides() {
    let server = start();
    let channel = connect(&server);
    call_with(&channel, CallOptions::default().log_id(72), &request("fail")).unwrap_err();
    let spans = with_log_id(72, 2);
    assert!(spans.iter().all(|span| span.error_code == 1234), "{spans:?}");
    assert!(spans.iter().all(|span| span.outcome_text().contains("boom")), "{spans:?}");
    let query = Query { error_code: Some(1234), log_id: Some(72), ..Query::default() };
    assert!(matches!(span::find(&query), Found::List(found) if found.len() == 2));
}

/// The waits of an answer from elsewhere are those of the method alone, and the span ends with the answer.
#[test]
fn an_answer_from_elsewhere_ends_its_span() {
    let answer_later = |request: EchoRequest, responder: Responder<EchoResponse>| {
        bthread::spawn(move || {
            bthread::sleep(Duration::from_millis(2));
            responder.call().annotate("late");
            responder.send(Ok(EchoResponse { message: request.message }));
        });
    };
    let server = Server::builder().add(AsyncEcho(answer_later)).start("127.0.0.1:0").unwrap();
    let channel = connect(&server);
    let call =
        channel.start::<_, EchoResponse>(echo_method(), CallOptions::default().log_id(73), &request("later"));
    call.join().unwrap();
    let spans = with_log_id(73, 2);
    let server_span = spans.iter().find(|span| span.kind == SpanKind::Server).unwrap();
    assert_eq!(&*server_span.annotations[0].text, "late");
    let [entered, answered] =
        [Point::Entered, Point::Answered].map(|point| server_span.point(point).unwrap());
    assert!(answered - entered >= Duration::from_millis(2));
    assert_eq!(server_span.waits.total().count, 0, "{server_span:?}");
}

/// A request that arrives in pieces: the wait for the rest of it is `read`.
#[test]
fn a_request_in_pieces_shows_how_long_it_took_to_come() {
    use std::io::Write;
    let server = start();
    let mut stream = raw(&server);
    // Of a caller that records: the ids of the sample.
    let bytes = include_bytes!("../src/baidu_std/testdata/trace.req.bin");
    let (first, rest) = bytes.split_at(20);
    stream.write_all(first).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    stream.write_all(rest).unwrap();
    let found = loop {
        let Found::List(found) =
            span::find(&Query { min_latency: Duration::from_millis(10), ..Query::default() })
        else {
            panic!("a list was asked for");
        };
        let own = found.into_iter().find(|span| span.kind == SpanKind::Server && span.parent_id.is_some());
        match own.filter(|span| span.point(Point::Received).is_some_and(|at| at >= Duration::from_millis(10)))
        {
            Some(found) => break found,
            None => bthread::sleep(Duration::from_millis(1)),
        };
    };
    assert_eq!(span::bar(&found).parts[0].name, "read");
}
