//! The client's connections, with a server of a few lines: which replies are taken, and when a connection is used again.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use http::Request;
use iobuf::IoBuf;
use protocols::Bundled;
use protocols::http::Fetch;
use rpc::{CallOptions, Channel};

use super::support::LONG;

fn channel(listener: &TcpListener) -> Channel<Bundled> {
    Channel::builder().protocol("http").connect(listener.local_addr().unwrap().to_string()).unwrap()
}

fn get() -> Request<IoBuf> {
    Request::get("/").body(IoBuf::new()).unwrap()
}

fn reply(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The next connection, when its first request is there.
fn accept(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_nodelay(true).unwrap();
    read_request(&mut stream);
    stream
}

fn read_request(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
}

#[test]
fn a_reply_that_nobody_asked_for_is_not_the_next_ones() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let channel = channel(&listener);
    let server = thread::spawn(move || {
        let mut first = accept(&listener);
        first.write_all((reply("one") + &reply("nobody's")).as_bytes()).unwrap();
        assert_eq!(first.read(&mut [0]).unwrap_or(0), 0, "it is closed");
        let mut second = accept(&listener);
        second.write_all(reply("two").as_bytes()).unwrap();
        read_request(&mut second);
        second.write_all(reply("three").as_bytes()).unwrap();
    });
    for expected in ["one", "two", "three"] {
        assert_eq!(channel.fetch(get()).unwrap().into_body().to_vec(), expected.as_bytes());
    }
    server.join().unwrap();
}

#[test]
fn a_body_that_is_dropped_closes_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let channel = channel(&listener);
    let server = thread::spawn(move || {
        let mut stream = accept(&listener);
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "though the body has not ended");
    });
    let mut body = channel.fetch_progressively(CallOptions::default(), get()).unwrap().into_body();
    assert_eq!(body.read(None).unwrap().unwrap().to_vec(), b"abc");
    drop(body);
    server.join().unwrap();
}

#[test]
fn a_body_that_is_read_gives_its_connection_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let channel = channel(&listener);
    let server = thread::spawn(move || {
        let mut stream = accept(&listener);
        for _ in 0..20 {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").unwrap();
            stream.write_all(b"3\r\ndef\r\n0\r\n\r\n").unwrap();
            read_request(&mut stream);
        }
        stream.write_all(reply("end").as_bytes()).unwrap();
    });
    for _ in 0..20 {
        let mut body = channel.fetch_progressively(CallOptions::default(), get()).unwrap().into_body();
        let mut all = Vec::new();
        while let Some(part) = body.read(None).unwrap() {
            all.extend(part.to_vec());
        }
        assert_eq!(all, b"abcdef");
    }
    assert_eq!(channel.fetch(get()).unwrap().into_body().to_vec(), b"end");
    server.join().unwrap();
}
