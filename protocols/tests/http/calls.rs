//! Stubs' calls over HTTP: every form, ids, errors both ways, and answers that are no messages.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use iobuf::IoBuf;
use rpc::client::Attempt;
use rpc::error::{EHTTP, EREQUEST, ERESPONSE};
use rpc::{CallOptions, MethodDescriptor, Reply, RetryPolicy, RpcError, Service};

use super::peer::{Channel, Peer, channel};
use super::support::{Echo, EchoService, Empty, PlainService, start};

fn echo_method() -> &'static MethodDescriptor {
    &EchoService::new().descriptor().methods[0]
}

fn call_with(channel: &Channel, options: CallOptions, message: &str) -> Result<String, RpcError> {
    let request = Echo { message: message.into(), sleep_us: None };
    let reply: Reply<Echo> = channel.call(echo_method(), options, &request)?;
    Ok(reply.message.message)
}

fn call(channel: &Channel, message: &str) -> Result<String, RpcError> {
    call_with(channel, CallOptions::default(), message)
}

#[test]
fn every_form_reaches_the_method() {
    let server = start();
    let address = server.local_addr().to_string();
    for form in ["http", "HTTP", "http:json", "http:proto", "http:proto-json", "http:proto-text"] {
        let before = server.connection_count();
        let channel = channel(&address, form);
        for _ in 0..5 {
            assert_eq!(call(&channel, "h\u{e9}llo \"you\"\n").unwrap(), "h\u{e9}llo \"you\"\n", "{form}");
            assert!(server.connection_count() <= before + 1, "the connection is used again");
        }
    }
    let url = Channel::builder().protocol("http").connect(format!("http://{address}/ignored?x")).unwrap();
    assert_eq!(call(&url, "x").unwrap(), "x");
    let started = url.start::<_, Echo>(
        echo_method(),
        CallOptions::default(),
        &Echo { message: "later".into(), sleep_us: Some(1000) },
    );
    assert_eq!(started.join().unwrap().message, "later");
}

#[test]
fn requests_are_what_brpc_expects() {
    let peer = Peer::new(|connection| {
        let request = connection.request().unwrap();
        let body = format!("{{\"message\":{:?}}}", request);
        let length = body.len();
        connection.send(
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            )
            .as_bytes(),
        );
    });
    let channel = peer.channel();
    let options = CallOptions::default().log_id(77).request_id("r-1");
    let seen = call_with(&channel, options, "hi").unwrap();
    let expected = format!(
        "POST /example.EchoService/Echo HTTP/1.1\r\nContent-Length: 16\r\nHost: {}\r\ncontent-type: application/json\r\n\
         log-id: 77\r\nx-request-id: r-1\r\n",
        peer.address()
    );
    assert!(seen.starts_with(&expected), "{seen}");
    let rest = "Accept: */*\r\nUser-Agent: bobbin/0.1.0\r\n\r\n{\"message\":\"hi\"}";
    assert!(seen.ends_with(rest), "{seen}");
}

/// In one test, as the flag is the process's.
#[test]
fn errors_have_the_status_or_the_servers_number_as_the_flag_says() {
    let server = start();
    let at = server.local_addr();
    let channel = channel(&at.to_string(), "http");
    let text = |message| call(&channel, message).unwrap_err().text().to_owned();
    let fail = call(&channel, "fail").unwrap_err();
    assert_eq!(fail.code(), EHTTP);
    assert_eq!(fail.text(), format!("HTTP/1.1 500 Internal Server Error: [{at}][E1234]boom"));
    assert!(text("fail-body").ends_with("504 Gateway Timeout: my own words"));
    assert!(text("fail-status").contains("HTTP/1.1 418 I'm a teapot: "));
    assert_eq!(server.connection_count(), 1, "errors of calls are none of the connection");

    let flag = bvar::flag::find("use_http_error_code").expect("channels make it known");
    assert_eq!((flag.default_text(), flag.is_reloadable()), ("false".into(), true));
    flag.set_text("true").unwrap();
    assert_eq!(call(&channel, "fail").unwrap_err().code().get(), 1234);
    let nowhere =
        Peer::answering("HTTP/1.1 404 Not Found\r\nx-bd-error-code: x\r\nContent-Length: 0\r\n\r\n");
    let error = call(&nowhere.channel(), "x").unwrap_err();
    assert_eq!((error.code(), error.text()), (EHTTP, "HTTP/1.1 404 Not Found"));
    let zero = Peer::answering("HTTP/1.1 500 Oops\r\nx-bd-error-code: 0\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(call(&zero.channel(), "x").unwrap_err().code(), EHTTP);
    flag.set_text("false").unwrap();
    assert_eq!(call(&channel, "fail").unwrap_err().code(), EHTTP);

    let long = format!("HTTP/1.1 302 Found\r\nContent-Length: 5000\r\n\r\n{}", "x".repeat(5000));
    let error = call(&Peer::answering(long).channel(), "x").unwrap_err();
    assert_eq!(error.text().len(), "HTTP/1.1 302 Found: ".len() + 2048);
}

#[test]
fn calls_that_http_does_not_carry_are_not_sent() {
    let peer = Peer::answering("");
    for (protocol, options) in [
        ("http:xml", CallOptions::default()),
        ("http", CallOptions::default().request_attachment(IoBuf::from("x"))),
        ("http", CallOptions::default().read_progressively()),
        ("http", CallOptions::default().request_id("a\r\nb: c")),
    ] {
        let error = call_with(&peer.channel_of(protocol), options, "x").unwrap_err();
        assert_eq!(error.code(), EREQUEST, "{protocol} {error}");
    }
}

#[test]
fn answers_that_are_no_message_are_errors() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Type: application/proto\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ] {
        let peer = Peer::answering(answer);
        let channel = peer.channel();
        for _ in 0..2 {
            let error = call(&channel, "x").unwrap_err();
            assert_eq!(error.code(), ERESPONSE, "{answer} {error}");
        }
        assert_eq!(peer.connections(), 1, "{answer}");
    }
}

#[test]
fn no_body_is_a_message_without_fields() {
    for answer in ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"] {
        let method = &PlainService::new().descriptor().methods[0];
        let reply: Result<Reply<Empty>, _> =
            Peer::answering(answer).channel().call(method, CallOptions::default(), &Empty {});
        assert!(reply.is_ok(), "{reply:?}");
    }
}

#[test]
fn compressed_answers_are_inflated() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(format!("{{\"message\":{:?}}}", "z".repeat(10_000)).as_bytes()).unwrap();
    let body = encoder.finish().unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let peer = Peer::answering([head.into_bytes(), body].concat());
    assert_eq!(call(&peer.channel(), "x").unwrap(), "z".repeat(10_000));
}

/// Tries again what is answered with an error of HTTP.
struct AlsoHttp;

impl RetryPolicy for AlsoHttp {
    fn do_retry(&self, attempt: &Attempt<'_>) -> bool {
        match attempt.error() {
            Some(error) => error.code() == EHTTP,
            // What is shown to the policy is protobuf.
            None => attempt.response_body().is_some_and(|body| body.to_vec() == b"\x0a\x04soon"),
        }
    }
}

#[test]
fn a_policy_sees_statuses_and_messages() {
    for held in [false, true] {
        let peer = Peer::new(|connection| {
            for (status, message) in [("503 Later", "no"), ("200 OK", "soon"), ("200 OK", "now")] {
                connection.request().unwrap();
                let body = format!("{{\"message\":\"{message}\"}}");
                let head = format!("Content-Type: application/json\r\nContent-Length: {}", body.len());
                connection.send(format!("HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}").as_bytes());
            }
        });
        let options = CallOptions::default().retry_policy(AlsoHttp);
        let request = Echo { message: "x".into(), sleep_us: None };
        let reply: Result<Reply<Echo>, RpcError> = if held {
            peer.channel().start(echo_method(), options, &request).join_reply()
        } else {
            peer.channel().call(echo_method(), options, &request)
        };
        let reply = reply.unwrap();
        assert_eq!((reply.message.message.as_str(), reply.retried_count), ("now", 2));
    }
}
