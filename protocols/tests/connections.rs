//! How calls share connections: pooled and short ones. The shared one is tested with everything else.

mod support;

use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rpc::CallOptions;
use rpc::error::{ECANCELED, ERPCTIMEDOUT};
use support::{AsyncEcho, Channel, EchoResponse, LONG, Server, call, call_with, echo_method, request, start};

fn channel(server: &Server, kind: &str) -> Channel {
    Channel::builder().connection_type(kind).timeout(LONG).connect(server.local_addr()).unwrap()
}

/// Waits for what another thread is about to do.
fn eventually(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LONG);
        std::thread::yield_now();
    }
}

/// Calls that are not answered yet.
type Kept = Arc<Mutex<Vec<rpc::Responder<EchoResponse>>>>;

/// A server that keeps its calls until it is told to answer them.
fn keeping() -> (Server, Kept, Receiver<()>) {
    let (came, arrived) = mpsc::channel();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = kept.clone();
    let echo = AsyncEcho(move |_, responder| {
        keep.lock().unwrap().push(responder);
        came.send(()).unwrap();
    });
    (Server::builder().add(echo).start("127.0.0.1:0").unwrap(), kept, arrived)
}

fn answer(kept: &Mutex<Vec<rpc::Responder<EchoResponse>>>) {
    let responders = std::mem::take(&mut *kept.lock().unwrap());
    responders.into_iter().for_each(|responder| responder.send(Ok(EchoResponse { message: "late".into() })));
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
    let (server, kept, arrived) = keeping();
    let channel = channel(&server, "pooled");
    let calls: Vec<rpc::Call<EchoResponse>> =
        (0..5).map(|_| channel.start(echo_method(), CallOptions::default(), &request("x"))).collect();
    (0..5).for_each(|_| arrived.recv().unwrap());
    assert_eq!(server.connection_count(), 5);
    answer(&kept);
    calls.into_iter().for_each(|call| assert_eq!(call.join().unwrap().message, "late"));
    let again = channel.start::<_, EchoResponse>(echo_method(), CallOptions::default(), &request("x"));
    arrived.recv().unwrap();
    assert_eq!(server.connection_count(), 5, "one of those that were there");
    answer(&kept);
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
        let (server, kept, arrived) = keeping();
        let channel = channel(&server, kind);
        // A machine that is busy may not even connect in that time: then nothing has arrived.
        for timeout in (1..).map(|times| Duration::from_millis(50) * times) {
            let options = CallOptions::default().timeout(timeout);
            let error = call_with(&channel, options, &request("x")).unwrap_err();
            assert_eq!(error.code(), ERPCTIMEDOUT);
            if arrived.try_recv().is_ok() {
                break;
            }
        }
        eventually(|| server.connection_count() == 0);
        let cancelled =
            channel.start::<_, EchoResponse>(echo_method(), CallOptions::default(), &request("x"));
        arrived.recv().unwrap();
        cancelled.cancel();
        assert_eq!(cancelled.join().unwrap_err().code(), ECANCELED);
        eventually(|| server.connection_count() == 0);
        answer(&kept);
    }
}
