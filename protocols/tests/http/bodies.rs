//! Bodies by their types, statuses and fields, methods.

use super::support::{ask, ask_once, connect, post, start};

#[test]
fn the_answer_has_the_form_of_the_request_or_the_usual_one() {
    let server = start();
    let json = r#"{"message":"hi"}"#;
    for (fields, expected) in [
        ("Content-Type: application/json\r\n", "application/json"),
        ("Content-Type: application/json; charset=utf-8\r\n", "application/json; charset=utf-8"),
        ("", "application/json"),
        ("Content-Type: application/x-www-form-urlencoded\r\n", "application/json"),
        ("Content-Type: text/plain\r\n", "application/json"),
        ("Content-Type: application/proto-json\r\n", "application/proto-json"),
    ] {
        let answer = ask_once(&server, &post("/EchoService/Echo", fields, json));
        assert_eq!(answer.field("content-type"), Some(expected), "{fields}");
        assert_eq!(answer.text(), json, "{fields}");
    }
}

#[test]
fn failures_have_the_status_of_their_number_or_the_users() {
    let server = start();
    let fail = |message: &str| {
        let body = format!("{{\"message\":\"{message}\"}}");
        let answer = ask_once(&server, &post("/EchoService/Echo", "", &body));
        (answer.status(), answer.field("x-bd-error-code").map(str::to_owned), answer.text().to_owned())
    };
    let at = server.local_addr();
    assert_eq!(fail("fail-status"), (418, Some("1234".into()), format!("[{at}][E1234]boom")));
    assert_eq!(fail("fail-body"), (504, Some("1008".into()), "my own words".into()));
    let (status, code, text) = fail("panic");
    assert_eq!((status, code), (500, Some("2001".into())));
    assert!(text.ends_with("at the service"), "{text}");
}

#[test]
fn compressed_requests_are_bounded_and_checked() {
    let server = start();
    let fields = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n";
    let answer = ask_once(&server, &post("/EchoService/Echo", fields, "this is no gzip"));
    assert_eq!((answer.status(), answer.field("x-bd-error-code")), (400, Some("1003")));
    let other = "Content-Type: application/json\r\nContent-Encoding: br\r\n";
    let answer = ask_once(&server, &post("/EchoService/Echo", other, "\u{b}\u{2}"));
    assert_eq!(answer.status(), 400);
}

#[test]
fn what_came_with_the_request_is_seen() {
    let server = start();
    let echo = |fields: &str, message: &str| {
        let body = format!("{{\"message\":\"{message}\"}}");
        ask_once(&server, &post("/EchoService/Echo", fields, &body)).text().to_owned()
    };
    assert_eq!(echo("Log-Id: 77\r\n", "log_id"), r#"{"message":"Some(77)"}"#);
    assert_eq!(echo("log-id: x\r\n", "log_id"), r#"{"message":"None"}"#);
    assert_eq!(echo("X-Request-Id: r-1\r\n", "request_id"), r#"{"message":"r-1"}"#);
}

#[test]
fn heads_have_no_bodies_and_the_server_has_options() {
    let server = start();
    let mut stream = connect(&server);
    let head = ask(&mut stream, "HEAD /HttpService/Hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.status(), head.field("content-length")), (200, Some("16")));
    let head = ask(&mut stream, "HEAD /no/such HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(head.status(), 404);
    assert_ne!(head.field("content-length"), Some("0"));
    let options = ask(&mut stream, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((options.status(), options.field("content-length")), (200, Some("0")));
    assert!(options.field("allow").unwrap().contains("GET"));
    let absolute = ask(&mut stream, "GET http://b/HttpService/Hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(absolute.text(), "hello from http\n");
}

#[test]
fn paths_lead_where_they_should() {
    let server = start();
    let text = |path: &str| {
        let answer = ask_once(&server, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        (answer.status(), answer.text().to_owned())
    };
    for path in ["/HttpService/Hello", "/example.HttpService/Hello", "//HttpService///Hello//"] {
        assert_eq!(text(path), (200, "hello from http\n".into()), "{path}");
    }
    assert!(text("/HttpService/Query/a//b/?x=%41+b&y").1.contains("unresolved=a/b\nquery x=A b\nquery y=\n"));
    assert_eq!(text("/v1/item"), (200, "GET item rest=\n".into()));
    for path in ["/HttpService", "/HttpService/none", "/HttpService/Item", "/v2", "/httpservice/Hello"] {
        assert_eq!(text(path).0, 404, "{path}");
    }
}
