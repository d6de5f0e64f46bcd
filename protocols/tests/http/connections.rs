//! What becomes of connections: kept, closed, shared, refused.

use std::io::{Read, Write};

use super::peer::eventually;
use super::support::{ask, ask_once, builder, connect, is_closed, post, read_answer, start};

const GET: &str = "GET /HttpService/Hello HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn connections_are_kept_or_closed_as_both_sides_say() {
    let server = start();
    let mut kept = connect(&server);
    for _ in 0..3 {
        let answer = ask(&mut kept, GET);
        assert_eq!((answer.status(), answer.field("connection")), (200, None));
    }
    let last = ask(&mut kept, &GET.replace("\r\n\r\n", "\r\nConnection: x, Close\r\n\r\n"));
    assert_eq!(last.field("connection"), Some("close"));
    assert!(is_closed(&mut kept));

    let old = GET.replace("1.1", "1.0");
    let mut closed = connect(&server);
    let answer = ask(&mut closed, &old);
    assert_eq!((answer.status_line.as_str(), answer.field("connection")), ("HTTP/1.0 200 OK", Some("close")));
    assert!(is_closed(&mut closed));
    let mut kept = connect(&server);
    for _ in 0..2 {
        let answer = ask(&mut kept, &old.replace("\r\n\r\n", "\r\nConnection: keep-alive\r\n\r\n"));
        assert_eq!(answer.field("connection"), Some("keep-alive"));
    }
    eventually(|| server.connection_count() == 1);
}

#[test]
fn answers_of_pipelined_requests_keep_their_order() {
    let server = start();
    let mut stream = connect(&server);
    let mut all = String::new();
    for n in 0..10 {
        let body = format!("{{\"message\":\"{n}\",\"sleep_us\":{}}}", (10 - n) * 2000);
        all += &post("/EchoService/Echo", "Content-Type: application/json\r\n", &body);
    }
    stream.write_all(all.as_bytes()).unwrap();
    for n in 0..10 {
        assert_eq!(read_answer(&mut stream, false).text(), format!("{{\"message\":\"{n}\"}}"));
    }
}

#[test]
fn the_answer_before_a_request_that_cannot_be_read_is_sent() {
    let server = start();
    let mut stream = connect(&server);
    stream.write_all(format!("{GET}GET / HTTP/1.1\r\nHost : a\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream, false).status(), 200);
    let refusal = read_answer(&mut stream, false);
    assert_eq!((refusal.status(), refusal.field("connection")), (400, Some("close")));
    assert!(is_closed(&mut stream));
}

#[test]
fn limits_are_answered_and_closed() {
    let mut limits = rpc::Limits::default();
    limits.max_body_size = 1000;
    let server = builder().limits(limits).start("127.0.0.1:0").unwrap();
    for (request, status) in [
        (post("/HttpService/Query", "", &"x".repeat(1001)), 413),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n".to_owned(), 413),
        (format!("GET /{} HTTP/1.1\r\n", "a".repeat(70_000)), 414),
        (format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(90_000)), 431),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n".to_owned(), 505),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: br, chunked\r\n\r\n".to_owned(), 501),
    ] {
        let mut stream = connect(&server);
        // The server may close before all of it is written.
        let _ = stream.write_all(request.as_bytes());
        assert_eq!(read_answer(&mut stream, false).status(), status);
        assert!(is_closed(&mut stream));
    }
    assert_eq!(ask_once(&server, &post("/HttpService/Query", "", &"x".repeat(1000))).status(), 200);
}

#[test]
fn other_bytes_are_not_answered() {
    let server = start();
    for bytes in [&b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0\0\0"] {
        let mut stream = connect(&server);
        stream.write_all(bytes).unwrap();
        assert!(is_closed(&mut stream), "{bytes:?}");
    }
}

#[test]
fn a_go_ahead_comes_before_the_body_and_once() {
    let server = start();
    let mut stream = connect(&server);
    let fields = "Expect: 100-continue\r\nContent-Type: application/json\r\n";
    let request = post("/EchoService/Echo", fields, r#"{"message":"hi"}"#);
    let (head, body) = request.split_at(request.len() - 16);
    stream.write_all(head.as_bytes()).unwrap();
    let mut go_ahead = [0; 25];
    stream.read_exact(&mut go_ahead).unwrap();
    assert_eq!(&go_ahead, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&body.as_bytes()[..8]).unwrap();
    stream.write_all(&body.as_bytes()[8..]).unwrap();
    assert_eq!(read_answer(&mut stream, false).text(), r#"{"message":"hi"}"#);
}

#[test]
fn a_stopping_server_says_so() {
    let server = start();
    let mut stream = connect(&server);
    ask(&mut stream, GET);
    server.stop();
    let answer = ask(&mut stream, GET);
    assert_eq!((answer.status(), answer.field("x-bd-error-code")), (503, Some("2003")));
}

#[test]
fn bytes_one_at_a_time_are_a_request() {
    let server = start();
    let mut stream = connect(&server);
    stream.set_nodelay(true).unwrap();
    for byte in post("/HttpService/Query", "", "abc").bytes() {
        stream.write_all(&[byte]).unwrap();
    }
    assert!(read_answer(&mut stream, false).text().ends_with("body=abc\n"));
}
