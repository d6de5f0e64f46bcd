//! Limits of concurrency, end to end: what is refused, with which number, and what is counted.

mod support;

use std::sync::{Mutex, mpsc};
use std::time::Duration;

use rpc::error::{EINVAL, ELIMIT};
use rpc::limit::{Constant, Shadow, TimeoutOptions};
use rpc::{Call, CallOptions, Responder, ServerBuilder};
use support::*;

type Held = mpsc::Receiver<Responder<EchoResponse>>;

const ECHO: &str = "example.EchoService.Echo";

/// A server whose calls are answered at once, but for those with the message "slow".
fn held(
    decide: impl FnOnce(ServerBuilder<protocols::Bundled>) -> ServerBuilder<protocols::Bundled>,
) -> (Server, Held) {
    let (tx, rx) = mpsc::channel();
    let tx = Mutex::new(tx);
    let service = AsyncEcho(move |request: EchoRequest, responder: Responder<EchoResponse>| {
        if request.message == "slow" {
            tx.lock().unwrap().send(responder).unwrap();
        } else {
            responder.send(Ok(EchoResponse { message: request.message }));
        }
    });
    (decide(Server::builder().add(service)).start("127.0.0.1:0").unwrap(), rx)
}

/// Starts a call that the server holds.
fn hold(channel: &Channel, held: &Held) -> (Call<EchoResponse>, Responder<EchoResponse>) {
    let call = channel.start(echo_method(), CallOptions::default(), &request("slow"));
    (call, held.recv_timeout(LONG).unwrap())
}

fn finish((call, responder): (Call<EchoResponse>, Responder<EchoResponse>)) {
    responder.send(Ok(EchoResponse { message: "done".into() }));
    call.join().unwrap();
}

fn once(channel: &Channel) -> Result<String, rpc::RpcError> {
    let options = CallOptions::default().max_retry(0);
    call_with(channel, options, &request("now")).map(|reply| reply.message.message)
}

fn variable(server: &Server, name: &str) -> String {
    let port = server.local_addr().port().unwrap();
    bvar::describe(&format!("rpc_server_{port}_{name}")).unwrap_or_else(|| panic!("no variable {name}"))
}

#[test]
fn the_limit_of_a_server_changes_while_it_runs() {
    let (server, held) = held(|builder| builder);
    let channel = connect(&server);
    let uncounted = hold(&channel, &held);
    server.set_max_concurrency(1);
    let counted = hold(&channel, &held);
    let error = once(&channel).unwrap_err();
    assert!(
        error.code() == ELIMIT && error.text().ends_with("Reached server's max_concurrency=1"),
        "{error}"
    );
    assert_eq!(variable(&server, "rejected_server_limit"), "1");
    finish(uncounted);
    assert_eq!(once(&channel).unwrap_err().code(), ELIMIT, "the other one holds the permit");
    server.set_max_concurrency(0);
    once(&channel).unwrap();
    server.set_max_concurrency(1);
    finish(counted);
    once(&channel).unwrap();
    assert_eq!(server.max_concurrency(), 1);
}

#[test]
fn the_limit_of_a_method_changes_while_it_runs() {
    let (server, held) = held(|builder| builder.method_max_concurrency("1"));
    let channel = connect(&server);
    let first = hold(&channel, &held);
    let error = once(&channel).unwrap_err();
    assert!(error.text().ends_with("concurrency=2, max_concurrency=1"), "{error}");
    assert_eq!(variable(&server, "rejected_method_limit"), "1");
    assert_eq!(variable(&server, "example_echo_service_echo_max_concurrency"), "1");
    server.set_method_max_concurrency(ECHO, 2).unwrap();
    once(&channel).unwrap();
    finish(first);
    assert_eq!(server.method_max_concurrency(ECHO), Some(2));
    assert_eq!(
        server.set_method_max_concurrency("example.EchoService.Nothing", 2).unwrap_err().code(),
        EINVAL
    );
}

#[test]
fn a_method_without_a_number_keeps_its_limit() {
    let (server, _held) = held(|builder| builder.method_max_concurrency("auto"));
    assert_eq!(server.method_max_concurrency(ECHO), Some(40));
    assert_eq!(server.set_method_max_concurrency(ECHO, 2).unwrap_err().code(), EINVAL);
    let error = Server::builder().add(Echo).method_max_concurrency("some").start("127.0.0.1:0").unwrap_err();
    assert_eq!(error.code(), EINVAL);
}

#[test]
fn a_shadow_only_counts() {
    let (server, held) = held(|builder| builder.limit_method(ECHO, Shadow::new(Constant::new(1))));
    let channel = connect(&server);
    let first = hold(&channel, &held);
    once(&channel).unwrap();
    assert_eq!(variable(&server, "example_echo_service_echo_would_have_refused"), "1");
    assert_eq!(variable(&server, "rejected_method_limit"), "0");
    finish(first);
}

#[test]
fn callers_that_cannot_wait_so_long_are_refused() {
    let mut options = TimeoutOptions::default();
    (options.max_concurrency, options.timeout) = (2, Duration::from_micros(1));
    let (server, held) = held(|builder| builder.limit_method(ECHO, rpc::limit::Timeout::with(options)));
    let channel = connect_silently(&server);
    let first = hold(&channel, &held);
    let error = once(&channel).unwrap_err();
    assert!(error.text().ends_with("average_latency=500us, timeout=1us"), "{error}");
    finish(first);
    once(&channel).unwrap();
}

/// Panics when it is asked.
struct Panicking;

impl rpc::limit::ConcurrencyLimiter for Panicking {
    fn admit(&self, _: &rpc::limit::Entering) -> Result<(), rpc::limit::Exceeded> {
        panic!("in the limiter")
    }
}

#[test]
fn a_limiter_that_panics_refuses_and_holds_nothing_up() {
    let (server, _held) = held(|builder| builder.limit_method(ECHO, Panicking).max_concurrency(2));
    let channel = connect(&server);
    for _ in 0..5 {
        assert_eq!(once(&channel).unwrap_err().code(), rpc::error::EINTERNAL);
    }
    assert_eq!(server.method_reports()[0].concurrency, 0);
    server.stop();
    server.join();
}

/// A channel that does not say how long its callers wait.
fn connect_silently(server: &Server) -> Channel {
    Channel::builder().timeout(LONG).deliver_timeout(false).connect(server.local_addr()).unwrap()
}
