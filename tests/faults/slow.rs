//! Peers that read slowly, write slowly, or both one byte at a time: they get what is theirs, in order, and nobody else
//! waits for them.

use std::time::Duration;

use bobbin::{CallOptions, IoBuf, error};
use bobbin_tests::{Direction, Fault, FaultProxy, start_server};

use crate::{KINDS, eventually, request, stub};

fn attachment(len: usize) -> IoBuf {
    let mut bytes = (0..251).collect::<Vec<u8>>().repeat(len / 251 + 1);
    bytes.truncate(len);
    IoBuf::from(bytes)
}

#[test]
fn one_byte_at_a_time() {
    for kind in KINDS {
        for directions in
            [&[Direction::ToServer][..], &[Direction::ToClient], &[Direction::ToServer, Direction::ToClient]]
        {
            let (server, _gate) = start_server();
            let proxy = FaultProxy::start(&server.local_addr().to_string());
            let echo = stub(&proxy.address(), kind);
            directions.iter().for_each(|direction| proxy.set(*direction, Fault::OneByOne));
            for size in [0, 1, 1000, 20_000] {
                let options = CallOptions::default().request_attachment(attachment(size));
                let reply = echo.echo_with(options, &request("slow")).unwrap();
                assert_eq!(reply.message.message, "slow");
                assert_eq!(reply.attachment, attachment(size));
            }
        }
    }
}

#[test]
fn pieces_that_come_late() {
    let (server, _gate) = start_server();
    let proxy = FaultProxy::start(&server.local_addr().to_string());
    let echo = stub(&proxy.address(), "single");
    proxy.set_both(Fault::Delayed(Duration::from_millis(1)));
    let calls: Vec<_> = (0..50)
        .map(|n| {
            let options = CallOptions::default().request_attachment(attachment(n * 1000));
            echo.start_echo_with(options, &request(&n.to_string()))
        })
        .collect();
    for (n, call) in calls.into_iter().enumerate() {
        let reply = call.join_reply().unwrap();
        assert_eq!(reply.message.message, n.to_string());
        assert_eq!(reply.attachment, attachment(n * 1000));
    }
}

#[test]
fn a_client_that_does_not_read_is_refused_more_and_then_gets_all_that_is_its() {
    let (server, _gate) = start_server();
    let proxy = FaultProxy::start(&server.local_addr().to_string());
    let (slow, other) = (stub(&proxy.address(), "single"), stub(&server.local_addr().to_string(), "single"));
    slow.echo(&request("before")).unwrap();
    proxy.set(Direction::ToClient, Fault::Paused);
    // More and more, until the server keeps as much as it may for one connection.
    let large = attachment(4 << 20);
    let options = || CallOptions::default().request_attachment(large.clone());
    let mut calls = Vec::new();
    eventually("the server refuses", || {
        // Nobody waits for the slow one, though there may be too much to do.
        if let Err(error) = other.echo(&request("meanwhile")) {
            assert_eq!(error.code(), error::ELIMIT, "{error}");
        }
        server.method_reports()[0].errors > 0 || {
            calls.push(slow.start_echo_with(options(), &request("much")));
            false
        }
    });
    proxy.set(Direction::ToClient, Fault::None);
    let mut refused = 0;
    for call in calls {
        match call.join_reply() {
            Ok(reply) => assert!(reply.attachment == large),
            Err(error) => {
                // What waited for long while requests queued up is refused as well.
                assert!(matches!(error.code(), error::EOVERCROWDED | error::ELIMIT), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
    assert_eq!(slow.echo(&request("after")).unwrap().message, "after");
}

#[test]
fn a_server_that_does_not_read_holds_its_own_calls_up_and_no_others() {
    let (server, _gate) = start_server();
    let proxy = FaultProxy::start(&server.local_addr().to_string());
    let (slow, other) = (stub(&proxy.address(), "single"), stub(&server.local_addr().to_string(), "single"));
    slow.echo(&request("before")).unwrap();
    proxy.set(Direction::ToServer, Fault::Paused);
    let large = attachment(40 << 20);
    let options = || CallOptions::default().request_attachment(large.clone());
    let held = slow.start_echo_with(options(), &request("held"));
    // Its callers are told as soon as too much waits.
    let more: Vec<_> = (0..3).map(|_| slow.start_echo_with(options(), &request("more"))).collect();
    assert_eq!(other.echo(&request("meanwhile")).unwrap().message, "meanwhile");
    proxy.set(Direction::ToServer, Fault::None);
    match held.join_reply() {
        Ok(reply) => assert!(reply.attachment == large),
        // So large a request takes so long to be copied here that the server may have too much to do.
        Err(error) => assert_eq!(error.code(), error::ELIMIT, "{error}"),
    }
    let refused: Vec<_> = more.into_iter().filter_map(|call| call.join().err()).collect();
    assert!(refused.iter().any(|error| error.code() == error::EOVERCROWDED), "{refused:?}");
}
