//! Nobody there: refused, reset while connecting, a listener that never accepts, one that accepts and says nothing.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bobbin::{CallOptions, Channel, error};
use bobbin_examples::example::EchoStub;

use crate::{KINDS, PATIENT, is_lost, request, stub, until_it_works};

#[test]
fn a_refused_connection_fails_its_call_and_the_server_is_found_when_it_is_there() {
    for kind in KINDS {
        // A port that was free a moment ago, on an address where no other test is given one.
        let address = TcpListener::bind("127.0.77.3:0").unwrap().local_addr().unwrap().to_string();
        let echo = stub(&address, kind);
        let error = echo.echo(&request("nobody")).unwrap_err();
        assert_eq!(error.code(), error::ECONNREFUSED, "{kind}: {error}");
        assert!(error.text().contains(&address), "{kind}: {error}");
        let server = bobbin::Server::builder()
            .add(bobbin_examples::example::EchoServer::new(bobbin_tests::TestEcho {
                gate: bobbin_tests::Gate::new(),
            }))
            .start(&address)
            .unwrap();
        until_it_works(&echo);
        drop(server);
    }
}

#[test]
fn a_connection_that_is_reset_before_anything_was_read_fails_its_call() {
    for kind in KINDS {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let peer = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            // What was received and not read makes a reset of the close.
            while stream.peek(&mut [0]).unwrap() == 0 {}
        });
        let error = stub(&address, kind).echo(&request("reset")).unwrap_err();
        assert!(is_lost(&error), "{kind}: {error}");
        peer.join().unwrap();
    }
}

/// A listener whose queue is full, so that the kernel leaves whoever connects without an answer.
fn deaf_listener() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(50)) {
        queue.push(stream);
    }
    (listener, queue)
}

#[test]
fn who_never_accepts_costs_the_time_to_connect_and_no_more() {
    let (listener, _queue) = deaf_listener();
    for kind in KINDS {
        let limit = Duration::from_millis(40);
        let channel = Channel::builder()
            .connection_type(kind)
            .connect_timeout(limit)
            .timeout(PATIENT)
            .max_retry(0)
            .connect(listener.local_addr().unwrap())
            .unwrap();
        let start = Instant::now();
        let error = EchoStub::new(&channel).echo(&request("deaf")).unwrap_err();
        assert_eq!(error.code(), error::ETIMEDOUT, "{kind}: {error}");
        assert!(start.elapsed() >= limit);
    }
}

#[test]
fn who_accepts_and_says_nothing_costs_the_time_of_the_call() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut accepted = 0;
    for kind in KINDS {
        let echo = stub(&address, kind);
        let limit = Duration::from_millis(30);
        for _ in 0..2 {
            let start = Instant::now();
            let error =
                echo.echo_with(CallOptions::default().timeout(limit), &request("silent")).unwrap_err();
            assert_eq!(error.code(), error::ERPCTIMEDOUT, "{kind}: {error}");
            assert!(start.elapsed() >= limit);
        }
        // Who owns its connection alone does not trust it any more.
        accepted += if kind == "single" { 1 } else { 2 };
    }
    let connections: Vec<_> = (0..accepted).map(|_| listener.accept().unwrap()).collect();
    drop(connections);
}
