//! The end of a server's connection whose peer goes on sending: it can read all that was written, and then the end.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use iobuf::IoBuf;
use support::{LONG, Server, eventually, raw, request_frame, start};

/// Requests that are answered before the end.
const CALLS: usize = 16;
/// The bytes of each: a client's system takes less than all the replies, and the server's keeps the rest.
const BYTES: usize = 64 << 10;

/// Reads to the end, which must be one.
fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let end = stream.read_to_end(&mut all);
    assert!(end.is_ok(), "{end:?} behind {} bytes", all.len());
    all
}

fn is_run(server: &Server, calls: u64) -> bool {
    let report = &server.method_reports()[0];
    (report.latency.count(), report.concurrency) == (calls, 0)
}

/// Sends what comes too late. The system may know already that it is not wanted.
fn send_more(stream: &mut TcpStream, frame: &[u8]) {
    for _ in 0..3 {
        let _ = stream.write_all(frame);
    }
}

fn count_replies(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let Some(header) = bytes.first_chunk::<12>() {
        assert_eq!(&header[..4], b"PRPC");
        let size = u32::from_be_bytes(header[4..8].try_into().unwrap()) as usize;
        bytes = bytes.get(12 + size..).expect("replies are whole");
        count += usize::from(size > BYTES);
    }
    assert!(bytes.is_empty(), "replies are whole");
    count
}

#[test]
fn requests_that_come_behind_a_graceful_stop_cost_no_replies() {
    let server = Arc::new(start());
    let mut stream = raw(&server);
    let frame = request_frame("hello", &IoBuf::from(vec![3; BYTES]));
    (0..CALLS).for_each(|_| stream.write_all(&frame).unwrap());
    eventually(|| is_run(&server, CALLS as u64));
    let stopping = std::thread::spawn({
        let server = server.clone();
        move || {
            server.stop();
            server.join();
        }
    });
    eventually(|| server.connection_count() == 0);
    send_more(&mut stream, &frame);
    assert_eq!(count_replies(&read_all(&mut stream)), CALLS);
    drop(stream);
    stopping.join().unwrap();
}

#[test]
fn requests_behind_the_last_one_of_a_connection_cost_no_answer() {
    let server = start();
    let mut stream = raw(&server);
    let body = format!("{{\"message\":\"{}\"}}", "x".repeat(CALLS * BYTES));
    let request = |field: &str| {
        let size = body.len();
        format!(
            "POST /example.EchoService/Echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
             Content-Length: {size}\r\n{field}\r\n{body}"
        )
    };
    stream.write_all(request("Connection: close\r\n").as_bytes()).unwrap();
    send_more(&mut stream, request("").as_bytes());
    eventually(|| server.connection_count() == 0);
    send_more(&mut stream, request("").as_bytes());
    let answer = String::from_utf8(read_all(&mut stream)).unwrap();
    let (head, answer) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(answer == body, "{} bytes of {}", answer.len(), body.len());
    assert!(is_run(&server, 1), "nothing behind it is run");
}

#[test]
fn a_stop_does_not_wait_long_for_peers_that_stay() {
    let server = start();
    let mut stream = raw(&server);
    let frame = request_frame("hello", &IoBuf::new());
    stream.write_all(&frame).unwrap();
    let silent = raw(&server);
    eventually(|| is_run(&server, 1) && server.connection_count() == 2);
    let began = Instant::now();
    server.stop();
    server.join();
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    read_all(&mut stream);
    stream.shutdown(Shutdown::Both).unwrap();
    drop(silent);
}
