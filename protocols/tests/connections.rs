//! How calls share connections: pooled and short ones. The shared one is tested with everything else.

mod support;

use std::sync::mpsc::Receiver;
use std::time::Duration;

use rpc::error::{ECANCELED, ERPCTIMEDOUT};
use rpc::{CallOptions, Responder};
use support::{
    Channel, EchoResponse, LONG, Server, call, call_with, echo_method, eventually, keeping, request, start,
};

fn channel(server: &Server, kind: &str) -> Channel {
    Channel::builder().connection_type(kind).timeout(LONG).connect(server.local_addr()).unwrap()
}

/// A server, and the calls that it is not to answer yet.
fn keeping_server() -> (Server, Receiver<Responder<EchoResponse>>) {
    let (service, calls) = keeping();
    (Server::builder().add(service).start("127.0.0.1:0").unwrap(), calls)
}

fn answer(responder: Responder<EchoResponse>) {
    responder.send(Ok(EchoResponse { message: "late".into() }));
}

#[test]
fn a_pooled_connection_is_used_again() {
    let server = start();
    let channel = channel(&server, "pooled");
    for _ in 0..20 {
        assert_eq!(call(&channel, "hello").unwrap(), "hello");
        assert_eq!(server.connection_count(), 1);
    }
    drop(channel);
    eventually(|| server.connection_count() == 0);
}

#[test]
fn calls_at_a_time_have_a_pooled_connection_each() {
    let (server, arrived) = keeping_server();
    let channel = channel(&server, "pooled");
    let calls: Vec<rpc::Call<EchoResponse>> =
        (0..5).map(|_| channel.start(echo_method(), CallOptions::default(), &request("x"))).collect();
    let kept: Vec<_> = (0..5).map(|_| arrived.recv().unwrap()).collect();
    assert_eq!(server.connection_count(), 5);
    kept.into_iter().for_each(answer);
    calls.into_iter().for_each(|call| assert_eq!(call.join().unwrap().message, "late"));
    let again = channel.start::<_, EchoResponse>(echo_method(), CallOptions::default(), &request("x"));
    let kept = arrived.recv().unwrap();
    assert_eq!(server.connection_count(), 5, "one of those that were there");
    answer(kept);
    assert!(again.join().is_ok());
}

#[test]
fn a_short_connection_is_closed_behind_its_call() {
    let server = start();
    let channel = channel(&server, "short");
    for _ in 0..3 {
        assert_eq!(call(&channel, "hello").unwrap(), "hello");
        eventually(|| server.connection_count() == 0);
    }
}

#[test]
fn a_connection_whose_call_gave_up_is_not_used_again() {
    for kind in ["pooled", "short"] {
        let (server, arrived) = keeping_server();
        let channel = channel(&server, kind);
        let mut kept = Vec::new();
        // A machine that is busy may not even connect in that time: then nothing has arrived.
        for timeout in (1..).map(|times| Duration::from_millis(50) * times) {
            let options = CallOptions::default().timeout(timeout);
            let error = call_with(&channel, options, &request("x")).unwrap_err();
            assert_eq!(error.code(), ERPCTIMEDOUT);
            kept.extend(arrived.try_recv());
            if !kept.is_empty() {
                break;
            }
        }
        eventually(|| server.connection_count() == 0);
        let cancelled =
            channel.start::<_, EchoResponse>(echo_method(), CallOptions::default(), &request("x"));
        kept.push(arrived.recv().unwrap());
        cancelled.cancel();
        assert_eq!(cancelled.join().unwrap_err().code(), ECANCELED);
        eventually(|| server.connection_count() == 0);
        kept.into_iter().for_each(answer);
    }
}
