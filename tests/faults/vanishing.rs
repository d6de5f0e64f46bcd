//! Connections that end in the middle of calls: by a reset, by an orderly end, without a word.

use std::time::{Duration, Instant};

use bobbin::{Call, CallOptions, IoBuf, Server, error};
use bobbin_examples::example::{EchoResponse, EchoServer, EchoStub};
use bobbin_tests::{Direction, Fault, FaultProxy, Gate, TestEcho, start_server};

use crate::{KINDS, eventually, is_lost, request, stub, until_it_works};

/// Calls that wait at the server's gate.
fn in_flight(echo: &EchoStub, gate: &Gate, calls: usize) -> Vec<Call<EchoResponse>> {
    let started = (0..calls).map(|_| echo.start_echo(&request("gate"))).collect();
    gate.wait_for(calls);
    started
}

#[test]
fn calls_in_flight_end_with_their_connection_and_the_next_ones_connect_anew() {
    for kind in KINDS {
        for with_reset in [true, false] {
            let (server, gate) = start_server();
            let proxy = FaultProxy::start(&server.local_addr().to_string());
            let echo = stub(&proxy.address(), kind);
            let calls = in_flight(&echo, &gate, 20);
            if with_reset {
                proxy.reset_all();
            } else {
                proxy.close_all();
            }
            for call in calls {
                let error = call.join().unwrap_err();
                assert!(is_lost(&error), "{kind}: {error}");
            }
            // The server lost them as well, and lets their calls run to their ends.
            eventually("the server's connections end", || server.connection_count() == 0);
            until_it_works(&echo);
            gate.open();
        }
    }
}

#[test]
fn a_peer_that_vanished_costs_the_time_of_the_call() {
    for kind in KINDS {
        let (server, _gate) = start_server();
        let proxy = FaultProxy::start(&server.local_addr().to_string());
        let echo = stub(&proxy.address(), kind);
        echo.echo(&request("before")).unwrap();
        proxy.set_both(Fault::Swallowed);
        let limit = Duration::from_millis(30);
        let start = Instant::now();
        let error = echo.echo_with(CallOptions::default().timeout(limit), &request("gone")).unwrap_err();
        assert_eq!(error.code(), error::ERPCTIMEDOUT, "{kind}: {error}");
        assert!(start.elapsed() >= limit);
        // It is back. What was lost was whole requests, so that a shared connection goes on where it was.
        proxy.set_both(Fault::None);
        assert_eq!(echo.echo(&request("after")).unwrap().message, "after", "{kind}");
    }
}

#[test]
fn a_server_gives_up_a_connection_whose_peer_vanished() {
    let patience = Duration::from_secs(1);
    let echo = EchoServer::new(TestEcho { gate: Gate::new() });
    let server = Server::builder().add(echo).idle_timeout(patience).start("127.0.0.1:0").unwrap();
    let proxy = FaultProxy::start(&server.local_addr().to_string());
    let echo = stub(&proxy.address(), "single");
    let start = Instant::now();
    echo.echo(&request("before")).unwrap();
    proxy.set_both(Fault::Swallowed);
    // Its end of the connection goes, and nobody hears of it.
    drop(echo);
    eventually("the server closes it", || server.connection_count() == 0);
    assert!(start.elapsed() >= patience);
}

#[test]
fn a_request_that_was_cut_off_is_not_run() {
    let (server, gate) = start_server();
    let proxy = FaultProxy::start(&server.local_addr().to_string());
    let echo = stub(&proxy.address(), "single");
    echo.echo(&request("before")).unwrap();
    // Stop the server's end from taking, so that the rest of a large request stays with the client.
    proxy.set(Direction::ToServer, Fault::Paused);
    let large = CallOptions::default().request_attachment(IoBuf::from(vec![7; 32 << 20]));
    let call = echo.start_echo_with(large, &request("started"));
    proxy.reset_all();
    assert!(is_lost(&call.join().unwrap_err()));
    proxy.set(Direction::ToServer, Fault::None);
    until_it_works(&echo);
    let started: usize = echo.echo(&request("started")).unwrap().message.parse().unwrap();
    // "before", "again", and not the one that was cut off. Those that were refused meanwhile have not arrived.
    assert_eq!(started, 2);
    gate.open();
}

#[test]
fn a_reply_that_was_cut_off_fails_its_call_alone() {
    let (server, _gate) = start_server();
    let proxy = FaultProxy::start(&server.local_addr().to_string());
    let (echo, other) = (stub(&proxy.address(), "single"), stub(&server.local_addr().to_string(), "single"));
    echo.echo(&request("before")).unwrap();
    let small = other.start_echo(&request("meanwhile"));
    proxy.set(Direction::ToClient, Fault::Paused);
    let large = CallOptions::default().request_attachment(IoBuf::from(vec![7; 32 << 20]));
    let call = echo.start_echo_with(large, &request("large"));
    eventually("the large call was answered", || server.method_reports()[0].latency.count() >= 3);
    proxy.reset_all();
    assert!(is_lost(&call.join().unwrap_err()));
    assert_eq!(small.join().unwrap().message, "meanwhile");
    proxy.set(Direction::ToClient, Fault::None);
    until_it_works(&echo);
}
