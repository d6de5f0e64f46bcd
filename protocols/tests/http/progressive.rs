//! Bodies that go on after their calls, and bodies that are read as they arrive.

use std::io::{Read, Write};
use std::sync::mpsc;

use http::Request;
use iobuf::IoBuf;
use protocols::http::{Event, HttpCall, HttpService, ProgressiveAttachment};
use rpc::error::EREQUEST;
use rpc::{RpcError, Service, ServiceOptions};

use super::support::{LONG, Server, ask, connect, is_closed, read_answer};

/// Hands the attachment out, so that the test writes to it.
fn start() -> (Server, mpsc::Receiver<ProgressiveAttachment>) {
    let (sender, receiver) = mpsc::channel();
    let service = HttpService::new("Web")
        .route_with_call("/parts", move |call, _: Request<IoBuf>| {
            let body = call.progressive().expect("it is the first");
            body.write("early ").unwrap();
            sender.send(body).unwrap();
            ""
        })
        .route_with_call("/events", |call, _| {
            let events = call.event_stream().expect("it is the first");
            events.send(&Event::new("a\nb").event("e")).unwrap();
            events.comment("still here").unwrap();
            ""
        })
        .route_with_call("/failing", |call, _| {
            let body = call.progressive().expect("it is the first");
            bthread::spawn(move || {
                while body.write("x").is_ok() {
                    bthread::yield_now();
                }
            });
            Err::<&str, _>(RpcError::new(EREQUEST, "no"))
        })
        .get("/hello", |_| "hello");
    (Server::builder().add(service).start("127.0.0.1:0").unwrap(), receiver)
}

const GET: &str = "GET /parts HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn parts_follow_the_head_and_the_next_answer_follows_them() {
    let (server, bodies) = start();
    let mut stream = connect(&server);
    stream.write_all(format!("{GET}{}", GET.replace("parts", "hello")).as_bytes()).unwrap();
    let body = bodies.recv_timeout(LONG).unwrap();
    body.write("late").unwrap();
    body.write("").unwrap();
    let (stopped, is_stopped) = mpsc::channel();
    body.on_stopped(move || stopped.send(()).unwrap());
    drop(body);
    let answer = read_answer(&mut stream, false);
    assert_eq!((answer.text(), answer.field("transfer-encoding")), ("early late", Some("chunked")));
    assert_eq!(read_answer(&mut stream, false).text(), "hello");
    is_stopped.recv_timeout(LONG).unwrap();
    assert!(is_stopped.recv_timeout(LONG).is_err(), "it is told once");
}

#[test]
fn old_clients_get_the_bytes_and_the_end() {
    let (server, bodies) = start();
    let mut stream = connect(&server);
    stream.write_all(GET.replace("1.1", "1.0").as_bytes()).unwrap();
    bodies.recv_timeout(LONG).unwrap().write("late").unwrap();
    let answer = read_answer(&mut stream, false);
    assert_eq!((answer.text(), answer.field("transfer-encoding")), ("early late", None));
    assert!(is_closed(&mut stream));
    let mut stream = connect(&server);
    stream.write_all(GET.replace("GET", "HEAD").as_bytes()).unwrap();
    drop(bodies.recv_timeout(LONG).unwrap());
    assert_eq!(read_answer(&mut stream, true).field("transfer-encoding"), Some("chunked"));
    assert_eq!(ask(&mut stream, &GET.replace("parts", "hello")).text(), "hello", "nothing was in between");
}

#[test]
fn events_are_sent() {
    let (server, _bodies) = start();
    let answer = ask(&mut connect(&server), &GET.replace("parts", "events"));
    assert_eq!(answer.text(), "event: e\ndata: a\ndata: b\n\n: still here\n\n");
    assert_eq!(answer.field("content-type"), Some("text/event-stream"));
    assert_eq!(answer.field("cache-control"), Some("no-cache"));
}

#[test]
fn a_call_that_fails_takes_its_parts_back() {
    let (server, _bodies) = start();
    let mut stream = connect(&server);
    let answer = ask(&mut stream, &GET.replace("parts", "failing"));
    assert_eq!((answer.status(), answer.field("transfer-encoding")), (400, None));
    assert_eq!(ask(&mut stream, &GET.replace("parts", "hello")).text(), "hello");
}

#[test]
fn a_body_whose_writer_panics_does_not_look_whole() {
    let (server, bodies) = start();
    let mut stream = connect(&server);
    stream.write_all(GET.as_bytes()).unwrap();
    let body = bodies.recv_timeout(LONG).unwrap();
    let writer = bthread::spawn(move || {
        body.write("late").unwrap();
        panic!("at the writer");
    });
    assert!(writer.join().is_err());
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let text = String::from_utf8(all).unwrap();
    assert!(text.ends_with("\r\n6\r\nearly \r\n4\r\nlate\r\n"), "{text}");
}

#[test]
fn a_client_that_goes_is_noticed() {
    let (server, bodies) = start();
    let mut stream = connect(&server);
    stream.write_all(GET.as_bytes()).unwrap();
    let body = bodies.recv_timeout(LONG).unwrap();
    let (stopped, is_stopped) = mpsc::channel();
    body.on_stopped(move || stopped.send(()).unwrap());
    drop(stream);
    // Until the system says that nobody is there.
    while body.write("more").is_ok() {
        std::thread::yield_now();
    }
    is_stopped.recv_timeout(LONG).unwrap();
}

#[test]
fn bodies_are_read_as_they_arrive() {
    let (sender, parts) = mpsc::channel();
    let service = HttpService::new("Web").route_with_call("/upload", move |call, request| {
        let Some(mut body) = call.take_body() else { return request.into_body().len().to_string() };
        let mut size = 0;
        while let Some(part) = body.read(None).unwrap() {
            size += part.len();
            sender.send(part.to_vec()).unwrap();
        }
        size.to_string()
    });
    let options: ServiceOptions = service.options().enable_progressive_read(true);
    let mut limits = rpc::Limits::default();
    limits.max_body_size = 10;
    let server = Server::builder().add_with(service, options).limits(limits).start("127.0.0.1:0").unwrap();
    let mut stream = connect(&server);
    let head = "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(format!("{head}5\r\nhello\r\n").as_bytes()).unwrap();
    assert_eq!(parts.recv_timeout(LONG).unwrap(), b"hello", "before the rest is sent");
    stream.write_all(b"6\r\n world\r\n0\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut stream, false).text(), "11");
    // One that came with its head has nothing to wait for.
    let whole = "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(ask(&mut stream, whole).text(), "3");
}

/// Tells when `body` is stopped.
fn stops(body: &ProgressiveAttachment) -> mpsc::Receiver<()> {
    let (stopped, is_stopped) = mpsc::channel();
    body.on_stopped(move || stopped.send(()).unwrap());
    is_stopped
}

#[test]
fn the_end_of_a_client_is_told_without_a_write() {
    let (server, bodies) = start();
    let mut stream = connect(&server);
    stream.write_all(GET.as_bytes()).unwrap();
    let body = bodies.recv_timeout(LONG).unwrap();
    let is_stopped = stops(&body);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    is_stopped.recv_timeout(LONG).unwrap();
    assert!(body.is_stopped());
    stops(&body).recv_timeout(LONG).expect("at once");
}

#[test]
fn an_answer_that_ends_with_the_server_does_so_even_if_it_says_so_late() {
    let (server, bodies) = start();
    let mut stream = connect(&server);
    stream.write_all(GET.as_bytes()).unwrap();
    let body = bodies.recv_timeout(LONG).unwrap();
    server.stop();
    let is_stopped = stops(&body);
    body.end_with_server();
    is_stopped.recv_timeout(LONG).unwrap();
    drop(body);
    server.join();
}

#[test]
fn a_body_that_cannot_be_read_is_answered_in_its_turn() {
    let (sender, bodies) = mpsc::channel();
    let service = HttpService::new("Web")
        .route_with_call("/both", move |call, _| {
            let answer = call.progressive().expect("it is the first");
            answer.write("first ").unwrap();
            sender.send((answer, call.take_body().expect("it is not whole"))).unwrap();
            ""
        })
        .route_with_call("/read", |call, _| {
            let mut body = call.take_body().expect("it is not whole");
            while body.read(None)?.is_some() {}
            Ok::<_, RpcError>("read")
        });
    let options: ServiceOptions = service.options().enable_progressive_read(true);
    let server = Server::builder().add_with(service, options).start("127.0.0.1:0").unwrap();
    let head = |path| format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    // Behind an answer that has begun, nothing is said of it.
    let mut stream = connect(&server);
    stream.write_all(head("/both").as_bytes()).unwrap();
    let (answer, mut body) = bodies.recv_timeout(LONG).unwrap();
    stream.write_all(b"not a chunk\r\n").unwrap();
    assert_eq!(body.read(None).unwrap_err().code(), EREQUEST);
    answer.write("last").unwrap();
    drop(answer);
    assert_eq!(read_answer(&mut stream, false).text(), "first last");
    assert!(is_closed(&mut stream));
    // One that has not says what it makes of it.
    let mut stream = connect(&server);
    stream.write_all((head("/read") + "not a chunk\r\n").as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream, false).status(), 400);
    assert!(is_closed(&mut stream));
    // A long body that nobody reads ends the connection, but not before the answer.
    let mut stream = connect(&server);
    stream.write_all(head("/both").as_bytes()).unwrap();
    let (answer, body) = bodies.recv_timeout(LONG).unwrap();
    drop(body);
    let chunk = format!("{:x}\r\n{}\r\n", 100_000, "b".repeat(100_000));
    (0..4).for_each(|_| stream.write_all(chunk.as_bytes()).unwrap());
    answer.write("all the same").unwrap();
    drop(answer);
    assert_eq!(read_answer(&mut stream, false).text(), "first all the same");
}
