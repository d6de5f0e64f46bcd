//! Answers that channels read as they arrive.

use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use http::Response;
use protocols::http::{Fetch, ResponseBody};
use rpc::error::{EEOF, EINVAL, ERPCTIMEDOUT};
use rpc::{CallOptions, RpcError};

use super::peer::{Channel, Peer, get};
use super::support::LONG;

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A server that sends what it is told to, request by request, and says when its client closes.
fn told() -> (Peer, mpsc::Sender<Option<String>>, Receiver<()>) {
    let (tell, orders) = mpsc::channel::<Option<String>>();
    let (closed, is_closed) = mpsc::channel();
    let orders = Mutex::new(orders);
    let peer = Peer::new(move |connection| {
        let orders = orders.lock().unwrap();
        while connection.request().is_some() {
            while let Ok(Some(bytes)) = orders.recv() {
                if bytes.is_empty() {
                    return; // closes
                }
                connection.send(bytes.as_bytes());
            }
        }
        closed.send(()).unwrap();
    });
    (peer, tell, is_closed)
}

fn fetch(channel: &Channel) -> Result<Response<ResponseBody>, RpcError> {
    channel.fetch_progressively(CallOptions::default(), get("/"))
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + LONG)
}

fn part(body: &mut ResponseBody) -> Option<String> {
    body.read(soon()).unwrap().map(|part| String::from_utf8(part.to_vec()).unwrap())
}

#[test]
fn parts_are_there_before_the_rest_is_sent_and_the_connection_is_kept() {
    let (peer, tell, _closed) = told();
    let channel = peer.channel();
    for _ in 0..3 {
        tell.send(Some(format!("{CHUNKED}2\r\nhi\r\n"))).unwrap();
        let response = fetch(&channel).unwrap();
        assert_eq!(response.headers()["transfer-encoding"], "chunked");
        let mut body = response.into_body();
        assert_eq!(part(&mut body).as_deref(), Some("hi"));
        let error = body.read(Some(Instant::now())).unwrap_err();
        assert_eq!(error.code(), ERPCTIMEDOUT, "nothing was sent");
        tell.send(Some("3\r\nyou\r\n0\r\n\r\n".into())).unwrap();
        tell.send(None).unwrap();
        assert_eq!(part(&mut body).as_deref(), Some("you"));
        assert_eq!((part(&mut body), part(&mut body)), (None, None));
        assert_eq!(peer.connections(), 1);
    }
}

#[test]
fn bodies_that_came_whole_are_one_part() {
    let peer = Peer::answering("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nhi");
    let channel = peer.channel();
    for _ in 0..2 {
        let response = fetch(&channel).unwrap();
        assert_eq!(response.status(), 404);
        let mut body = response.into_body();
        assert_eq!((part(&mut body).as_deref(), part(&mut body)), (Some("hi"), None));
    }
    assert_eq!(peer.connections(), 1);
}

#[test]
fn the_end_of_the_connection_ends_a_body_that_says_nothing() {
    let (peer, tell, _closed) = told();
    tell.send(Some("HTTP/1.1 200 OK\r\n\r\n".into())).unwrap();
    let mut body = fetch(&peer.channel()).unwrap().into_body();
    tell.send(Some("hi".into())).unwrap();
    assert_eq!(part(&mut body).as_deref(), Some("hi"));
    tell.send(Some(String::new())).unwrap();
    assert_eq!(part(&mut body), None);
}

#[test]
fn a_body_that_is_cut_off_or_broken_is_an_error_behind_what_came() {
    for (end, code) in [("", EEOF), ("no chunk\r\n", EINVAL)] {
        let (peer, tell, _closed) = told();
        tell.send(Some(format!("{CHUNKED}2\r\nhi\r\n"))).unwrap();
        let mut body = fetch(&peer.channel()).unwrap().into_body();
        assert_eq!(part(&mut body).as_deref(), Some("hi"));
        tell.send(Some(end.into())).unwrap();
        for _ in 0..2 {
            assert_eq!(body.read(soon()).unwrap_err().code(), code);
        }
        let _ = tell.send(None);
    }
}

#[test]
fn dropping_a_body_before_its_end_closes_the_connection() {
    let (peer, tell, is_closed) = told();
    let channel = peer.channel();
    for count in 1..3 {
        tell.send(Some(format!("{CHUNKED}2\r\nhi\r\n"))).unwrap();
        let response = fetch(&channel).unwrap();
        tell.send(None).unwrap();
        drop(response); // nothing more comes, as of a stream of events
        is_closed.recv_timeout(LONG).expect("the client has closed");
        assert_eq!(peer.connections(), count);
    }
}

#[test]
fn a_server_that_sends_more_than_is_read_is_held_up() {
    let (held_up, is_held_up) = mpsc::channel();
    let peer = Peer::new(move |connection| {
        connection.request().unwrap();
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n");
        // It comes back at all only since nobody takes more.
        held_up.send(connection.send_until_held_up(&[b'x'; 64 << 10])).unwrap();
        connection.send(b"the end");
    });
    let mut body = fetch(&peer.channel()).unwrap().into_body();
    let sent = is_held_up.recv_timeout(LONG).unwrap();
    let mut size = 0;
    while let Some(part) = body.read(soon()).unwrap() {
        size += part.len();
    }
    assert_eq!(size, sent + "the end".len());
}

#[test]
fn many_bodies_are_read_at_a_time() {
    let body = "x".repeat(300_000);
    let peer = Peer::answering(format!("{CHUNKED}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
    let channel = Arc::new(peer.channel());
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let channel = channel.clone();
            bthread::spawn(move || {
                for _ in 0..5 {
                    let mut body = fetch(&channel).unwrap().into_body();
                    let mut size = 0;
                    while let Some(part) = body.read(soon()).unwrap() {
                        size += part.len();
                    }
                    assert_eq!(size, 300_000);
                }
            })
        })
        .collect();
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    assert!(peer.connections() <= 8, "{}", peer.connections());
}
