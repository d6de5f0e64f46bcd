//! Plain requests over channels, and what becomes of their connections.

use std::time::Duration;

use http::{Method, Request, Response, StatusCode, Version};
use iobuf::IoBuf;
use protocols::http::Fetch;
use rpc::error::{EEOF, EINVAL, EREQUEST, ERPCTIMEDOUT};
use rpc::{CallOptions, RpcError};

use super::peer::{Channel, Peer, channel, eventually, get};
use super::support::{LONG, start};

fn text(response: &Response<IoBuf>) -> String {
    String::from_utf8(response.body().to_vec()).unwrap()
}

fn fetch(channel: &Channel, path: &str) -> Result<Response<IoBuf>, RpcError> {
    channel.fetch(get(path))
}

#[test]
fn methods_bodies_and_statuses_of_our_own_server() {
    let server = start();
    let channel = channel(&server.local_addr().to_string(), "http");
    let response = fetch(&channel, "/HttpService/Query/a/b?x=1&y=%41").unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_11));
    assert_eq!(response.headers()["x-vec"], "1");
    let expected = "method=GET\npath=/HttpService/Query/a/b\nunresolved=a/b\nquery x=1\nquery y=A\nbody=\n";
    assert_eq!(text(&response), expected);
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        let request = Request::builder().method(&method).uri("/HttpService/Query").body("abc".into());
        let answer = text(&channel.fetch(request.unwrap()).unwrap());
        assert!(answer.starts_with(&format!("method={method}\n")), "{answer}");
        assert!(answer.ends_with("body=abc\n"), "{answer}");
    }
    let head = Request::head("/HttpService/Hello").body(IoBuf::new()).unwrap();
    for _ in 0..2 {
        let response = channel.fetch(head.clone()).unwrap();
        assert_eq!(
            (&response.headers()["content-length"], response.body().len()),
            (&"16".parse().unwrap(), 0)
        );
        assert_eq!(text(&fetch(&channel, "/HttpService/Hello").unwrap()), "hello from http\n");
    }
    assert_eq!(fetch(&channel, "/HttpService/Status").unwrap().status(), StatusCode::NOT_MODIFIED);
    assert_eq!(fetch(&channel, "/nowhere").unwrap().status(), StatusCode::NOT_FOUND, "no error");
    let chunked = fetch(&channel, "/HttpService/Chunked").unwrap();
    assert_eq!(text(&chunked), "part-0\npart-1\npart-2\n");
    assert_eq!(server.connection_count(), 1, "all of that on one connection");
    let old = Request::get("/HttpService/Hello").version(Version::HTTP_10).body(IoBuf::new()).unwrap();
    assert_eq!(channel.fetch(old).unwrap().version(), Version::HTTP_10);
}

#[test]
fn what_says_where_the_body_ends_is_not_the_users() {
    let peer = Peer::new(|connection| {
        while let Some(request) = connection.request() {
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{request}", request.len());
            connection.send(answer.as_bytes());
        }
    });
    let channel = peer.channel();
    let request = Request::post("http://example.org:81/p?q")
        .header("transfer-encoding", "chunked")
        .header("content-length", "7")
        .header("expect", "100-continue")
        .header("user-agent", "me")
        .header("a", "b")
        .body(IoBuf::from("abc"))
        .unwrap();
    let seen = text(&channel.fetch(request).unwrap());
    let expected =
        "POST /p?q HTTP/1.1\r\nContent-Length: 3\r\nHost: example.org:81\r\nuser-agent: me\r\na: b\r\n";
    assert!(seen.starts_with(expected) && seen.ends_with("Accept: */*\r\n\r\nabc"), "{seen}");
    let with_body = Request::get("/").header("host", "mine").body(IoBuf::from("dropped")).unwrap();
    let seen = text(&channel.fetch(with_body).unwrap());
    assert!(seen.starts_with("GET / HTTP/1.1\r\nhost: mine\r\n") && seen.ends_with("\r\n\r\n"), "{seen}");
    assert_eq!(peer.connections(), 1);
}

#[test]
fn requests_that_http_does_not_carry_are_not_sent() {
    let peer = Peer::answering("");
    for request in [
        Request::connect("a:1"),
        Request::get("http://user:secret@a/"),
        Request::get("/").version(Version::HTTP_2),
    ] {
        let error = peer.channel().fetch(request.body(IoBuf::new()).unwrap()).unwrap_err();
        assert_eq!(error.code(), EREQUEST, "{error}");
    }
    let other = peer.channel_of("baidu_std");
    assert_eq!(fetch(&other, "/").unwrap_err().code(), EREQUEST);
    assert_eq!(peer.connections(), 0);
}

#[test]
fn answers_end_where_they_say() {
    for (answer, status, body) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", 304, ""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, ""),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n1\r\n!\r\n0\r\nT: x\r\n\r\n",
            200,
            "hi!",
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi",
            200,
            "hi",
        ),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", 200, "hi"),
    ] {
        let peer = Peer::answering(answer);
        let channel = peer.channel();
        for _ in 0..3 {
            let response = fetch(&channel, "/").unwrap();
            assert_eq!((response.status().as_u16(), &*text(&response)), (status, body), "{answer}");
        }
        assert_eq!(peer.connections(), 1, "{answer}");
    }
}

#[test]
fn connections_end_that_are_not_to_be_kept() {
    for answer in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nconnection: x, CLOSE\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        // More than was asked for.
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiH",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nevil",
    ] {
        let peer = Peer::answering(answer);
        let channel = peer.channel();
        for count in 1..4 {
            assert_eq!(text(&fetch(&channel, "/").unwrap()), "hi", "{answer}");
            assert_eq!(peer.connections(), count, "{answer}");
        }
    }
}

#[test]
fn an_answer_that_comes_late_is_not_the_next_ones() {
    let (sent, is_sent) = std::sync::mpsc::sync_channel(1);
    let peer = Peer::new(move |connection| {
        connection.request().unwrap();
        let answer = if connection.number == 0 { "first" } else { "other" };
        connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{answer}").as_bytes());
        if connection.number == 0 {
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
            sent.send(()).unwrap();
            connection.wait_for_close();
            sent.send(()).unwrap();
        }
    });
    let channel = peer.channel();
    assert_eq!(text(&fetch(&channel, "/").unwrap()), "first");
    is_sent.recv_timeout(LONG).unwrap();
    is_sent.recv_timeout(LONG).expect("the client has closed");
    assert_eq!(text(&fetch(&channel, "/").unwrap()), "other");
}

#[test]
fn the_end_of_the_connection_ends_the_body_that_says_nothing() {
    for answer in
        ["HTTP/1.1 200 OK\r\n\r\nall of it", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nall of it"]
    {
        let peer = Peer::closing(answer);
        let channel = peer.channel();
        for _ in 0..2 {
            assert_eq!(text(&fetch(&channel, "/").unwrap()), "all of it");
        }
        assert_eq!(peer.connections(), 2);
    }
}

#[test]
fn connections_that_the_server_closed_meanwhile_are_not_used() {
    let (closed, is_closed) = std::sync::mpsc::channel();
    let peer = Peer::new(move |connection| {
        connection.request().unwrap();
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        connection.end();
        connection.wait_for_close();
        closed.send(()).unwrap();
    });
    let channel = peer.channel();
    for count in 1..5 {
        assert_eq!(text(&fetch(&channel, "/").unwrap()), "hi");
        is_closed.recv_timeout(LONG).expect("the client has seen the end, and closed as well");
        assert_eq!(peer.connections(), count);
    }
}

#[test]
fn short_connections_are_one_for_each_request() {
    let server = start();
    let builder = Channel::builder().protocol("http").connection_type("short").timeout(LONG);
    let channel = builder.connect(server.local_addr()).unwrap();
    for _ in 0..3 {
        assert_eq!(text(&fetch(&channel, "/HttpService/Hello").unwrap()), "hello from http\n");
        eventually(|| server.connection_count() == 0);
    }
    let single = Channel::builder().protocol("http").connection_type("single").connect(server.local_addr());
    assert_eq!(single.unwrap_err().code(), EINVAL);
}

#[test]
fn answers_that_cannot_be_read_end_their_calls_and_connections() {
    for (answer, code) in [
        ("this is no HTTP\r\n\r\n", EINVAL),
        ("HTTP/2.0 200 OK\r\n\r\n", EINVAL),
        ("HTTP/1.1 2x0 OK\r\n\r\n", EINVAL),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi", EINVAL),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhi", EINVAL),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", EINVAL),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", EINVAL),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", EINVAL),
    ] {
        let (closed, is_closed) = std::sync::mpsc::channel();
        let peer = Peer::new(move |connection| {
            connection.request().unwrap();
            connection.send(answer.as_bytes());
            connection.wait_for_close();
            closed.send(()).unwrap();
        });
        let error = fetch(&peer.channel(), "/").unwrap_err();
        assert_eq!(error.code(), code, "{answer} {error}");
        is_closed.recv_timeout(LONG).expect("the client has closed");
    }
    // More than the channel takes, as it arrives.
    let mut limits = rpc::Limits::default();
    limits.max_body_size = 1000;
    for head in ["", "Transfer-Encoding: chunked\r\n"] {
        let chunk = if head.is_empty() { "" } else { "7d0\r\n" };
        let peer = Peer::closing(format!("HTTP/1.1 200 OK\r\n{head}\r\n{chunk}{}", "x".repeat(2000)));
        let builder = Channel::builder().protocol("http").limits(limits).timeout(LONG);
        let error = fetch(&builder.connect(peer.address()).unwrap(), "/").unwrap_err();
        assert!(error.text().contains("max_body_size=1000"), "{error}");
    }
}

#[test]
fn answers_that_are_cut_off_are_errors() {
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\nConte",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
    ] {
        let peer = Peer::closing(answer);
        let error = fetch(&peer.channel(), "/").unwrap_err();
        assert_eq!(error.code(), EEOF, "{answer:?} {error}");
        assert_eq!(peer.connections(), 1 + rpc::client::MAX_RETRY_DEFAULT as usize, "{error}");
        let peer = Peer::closing(answer);
        let post = Request::post("/").body(IoBuf::from("x")).unwrap();
        let error = peer.channel().fetch(post).unwrap_err();
        assert_eq!(error.code(), EEOF, "{answer:?} {error}");
        assert_eq!(peer.connections(), 1, "what must not run twice is not sent again");
    }
}

#[test]
fn a_request_that_is_not_answered_ends_with_its_deadline_and_its_connection() {
    let (closed, is_closed) = std::sync::mpsc::channel();
    let peer = Peer::new(move |connection| {
        connection.request().unwrap();
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi");
        connection.wait_for_close();
        closed.send(()).unwrap();
    });
    let options = CallOptions::default().timeout(Duration::from_millis(50));
    let error = peer.channel().fetch_with(options, get("/")).unwrap_err();
    assert_eq!(error.code(), ERPCTIMEDOUT);
    is_closed.recv_timeout(LONG).expect("the client has closed");
}
