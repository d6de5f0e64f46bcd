//! Bobbin's client against Bobbin's server over real sockets.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use bobbin::bthread;
use bobbin::{CallOptions, Channel, IoBuf, Responder, RpcError, Server, ServerCall, error};
use bobbin_examples::example::{
    EchoRequest, EchoResponse, EchoServer, EchoService, EchoServiceAsync, EchoStub,
};
use bobbin_tests::{RawPeer, TestEcho, request_frame, start_server};

/// Longer than any call takes here, however busy the machine is.
const PATIENT: Duration = Duration::from_secs(30);

fn request(message: &str) -> EchoRequest {
    EchoRequest { message: message.into(), sleep_us: None }
}

fn stub_to(address: &str) -> EchoStub {
    let channel = Channel::builder().protocol("baidu_std").timeout(PATIENT).connect(address).unwrap();
    EchoStub::new(&channel)
}

fn stub(server: &Server) -> EchoStub {
    stub_to(&server.local_addr().to_string())
}

#[test]
fn the_four_ways_to_call() {
    let (server, _) = start_server();
    let echo = stub(&server);
    // From a thread and from a bthread.
    let all = move || {
        assert_eq!(echo.echo(&request("synchronous")).unwrap().message, "synchronous");
        let calls: Vec<_> = (0..10).map(|n| echo.start_echo(&request(&n.to_string()))).collect();
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(call.join().unwrap().message, n.to_string());
        }
        let (tx, rx) = mpsc::channel();
        echo.echo_then(request("callback"), move |result| {
            assert!(bthread::is_bthread());
            tx.send(result.unwrap().message).unwrap();
        });
        assert_eq!(rx.recv().unwrap(), "callback");
        assert_eq!(block_on(echo.start_echo(&request("future"))).unwrap().message, "future");
    };
    thread::scope(|scope| scope.spawn(all.clone()).join().unwrap());
    bthread::spawn(all).join().unwrap();
}

/// An executor of the plainest kind, that knows nothing of Bobbin.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn attachments_of_all_sizes_come_back_whole() {
    let (server, _) = start_server();
    let echo = stub(&server);
    for size in [0, 1, 8159, 8160, 8161, 65_536, 1 << 20, 20 << 20] {
        let attachment: Vec<u8> = (0..size).map(|n: usize| (n % 251) as u8).collect();
        let options = CallOptions::default().request_attachment(IoBuf::from(attachment.clone()));
        let reply = echo.echo_with(options, &request("with attachment")).unwrap();
        assert_eq!(reply.message.message, "with attachment");
        assert!(reply.attachment == attachment[..], "{size} bytes");
    }
}

#[test]
fn many_calls_share_one_connection() {
    let (server, _) = start_server();
    let echo = stub(&server);
    let callers: Vec<_> = (0..100)
        .map(|caller| {
            let echo = echo.clone();
            bthread::spawn(move || {
                for n in 0..50 {
                    let message = format!("{caller}/{n}");
                    let sleep_us = (n % 10 == 0).then_some(200);
                    let reply = echo.echo(&EchoRequest { message: message.clone(), sleep_us }).unwrap();
                    assert_eq!(reply.message, message);
                }
            })
        })
        .collect();
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    assert_eq!(server.connection_count(), 1);
}

#[test]
fn a_slow_call_holds_up_nobody_on_its_connection() {
    let (server, gate) = start_server();
    let echo = stub(&server);
    let slow: Vec<_> = (0..20).map(|_| echo.start_echo(&request("gate"))).collect();
    gate.wait_for(20);
    for _ in 0..100 {
        echo.echo(&request("quick")).unwrap();
    }
    gate.open();
    for call in slow {
        assert_eq!(call.join().unwrap().message, "gate");
    }
}

#[test]
fn errors_come_with_brpcs_codes_and_texts() {
    let (server, _) = start_server();
    let echo = stub(&server);
    let address = server.local_addr().to_string();
    let failed = echo.echo(&request("fail")).unwrap_err();
    assert_eq!(failed.code(), 1234);
    assert_eq!(failed.to_string(), format!("[E1234][{address}][E1234]boom"));
    let panicked = echo.echo(&request("panic")).unwrap_err();
    assert_eq!(panicked.code(), error::EINTERNAL);
    assert!(panicked.text().contains("asked to panic"), "{panicked}");
    // The panic has cost that one call alone.
    assert_eq!(echo.echo(&request("still there")).unwrap().message, "still there");
    assert_eq!(server.connection_count(), 1);
}

#[test]
fn unknown_services_and_methods_are_named() {
    let (server, _) = start_server();
    let address = server.local_addr().to_string();
    let mut peer = RawPeer::connect(&address);
    for (from, to, code, text) in [
        ("EchoService", "NoSService!", 1002, "Fail to find method=example.NoSService!/Echo"),
        ("Echo\x20", "Nope\x20", 1002, "Fail to find method=example.EchoService/Nope"),
        ("example.EchoService", "exampleXEchoService", 1001, "Fail to find service=exampleXEchoService"),
    ] {
        let frame = request_frame(7, "hello");
        let bytes = replace_first(&frame, from.as_bytes(), to.as_bytes());
        assert!(peer.send(&bytes));
        let reply = String::from_utf8_lossy(&peer.receive().unwrap()).into_owned();
        assert!(reply.contains(&format!("[{address}][E{code}]{text}")), "{reply}");
    }
}

/// `from` and `to` have the same length, so that no length field changes.
fn replace_first(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).position(|window| window == from).expect("it is there");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[test]
fn a_call_that_takes_too_long_ends_at_its_deadline() {
    let (server, gate) = start_server();
    let echo = stub(&server);
    let start = Instant::now();
    let options = CallOptions::default().timeout(Duration::from_millis(30));
    let error = echo.echo_with(options.clone(), &request("gate")).unwrap_err();
    assert_eq!(error.code(), error::ERPCTIMEDOUT);
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert_eq!(
        echo.start_echo_with(options.clone(), &request("gate")).join().unwrap_err().code(),
        error::ERPCTIMEDOUT
    );
    assert_eq!(
        block_on(echo.start_echo_with(options.clone(), &request("gate"))).unwrap_err().code(),
        error::ERPCTIMEDOUT
    );
    let (tx, rx) = mpsc::channel();
    echo.echo_then_with(options, request("gate"), move |result| tx.send(result.unwrap_err().code()).unwrap());
    assert_eq!(rx.recv().unwrap(), error::ERPCTIMEDOUT);
    // The replies that come too late harm nobody.
    gate.open();
    assert_eq!(echo.echo(&request("after")).unwrap().message, "after");
}

#[test]
fn nobody_listening_is_refused_and_a_silent_peer_times_out() {
    // On an address of its own, whose ports no other test is given.
    let closed = TcpListener::bind("127.0.77.1:0").unwrap().local_addr().unwrap().to_string();
    let once = CallOptions::default().max_retry(0);
    let error = stub_to(&closed).echo_with(once, &request("hello")).unwrap_err();
    assert_eq!(error.code(), error::ECONNREFUSED, "{error}");
    // As with brpc, the attempts after the first find the server down, and the text tells of all of them.
    let error = stub_to(&closed).echo(&request("hello")).unwrap_err();
    assert_eq!(error.code(), error::EHOSTDOWN);
    assert!(error.to_string().starts_with("[E111]") && error.to_string().contains("[R3][E112]"), "{error}");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = CallOptions::default().timeout(Duration::from_millis(20));
    let error =
        stub_to(&silent.local_addr().unwrap().to_string()).echo_with(options, &request("hello")).unwrap_err();
    assert_eq!(error.code(), error::ERPCTIMEDOUT, "{error}");
}

#[test]
fn a_peer_that_goes_away_ends_its_calls_and_the_next_call_connects_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let closes = thread::spawn(move || {
        // Takes a request on each connection and closes without an answer.
        for _ in 0..2 {
            let (stream, _) = listener.accept().unwrap();
            let mut byte = [0];
            std::io::Read::read(&mut &stream, &mut byte).unwrap();
        }
    });
    let channel = Channel::builder().timeout(PATIENT).max_retry(0).connect(&address).unwrap();
    let echo = EchoStub::new(&channel);
    for _ in 0..2 {
        let error = echo.echo(&request("hello")).unwrap_err();
        assert!([error::EEOF, error::ECONNRESET].contains(&error.code()), "{error}");
    }
    closes.join().unwrap();
}

#[test]
fn a_dropped_call_is_cancelled() {
    let (server, gate) = start_server();
    let echo = stub(&server);
    drop(echo.start_echo(&request("gate")));
    let call = echo.start_echo(&request("gate"));
    gate.wait_for(2);
    call.cancel();
    assert_eq!(call.join().unwrap_err().code(), error::ECANCELED);
    gate.open();
    assert_eq!(echo.echo(&request("after")).unwrap().message, "after");
}

#[test]
fn a_stopping_server_answers_what_it_has_and_refuses_the_rest() {
    let (server, gate) = start_server();
    let echo = stub(&server);
    let running: Vec<_> = (0..10).map(|_| echo.start_echo(&request("gate"))).collect();
    gate.wait_for(10);
    server.stop();
    let refused = echo.echo_with(CallOptions::default().max_retry(0), &request("late")).unwrap_err();
    assert_eq!(refused.code(), error::ELOGOFF, "{refused}");
    let joiner = bthread::spawn(move || server.join());
    gate.open();
    for call in running {
        assert_eq!(call.join().unwrap().message, "gate");
    }
    joiner.join().unwrap();
}

#[test]
fn services_of_one_name_are_refused_at_the_start() {
    let service = TestEcho { gate: bobbin_tests::Gate::new() };
    let twice = Server::builder().add(EchoServer::new(service.clone())).add(EchoServer::new(service));
    assert!(twice.start("127.0.0.1:0").is_err());
    let (server, _) = start_server();
    let taken = Server::builder().start(server.local_addr()).unwrap_err();
    assert_eq!(taken.code(), error::EADDRINUSE, "{taken}");
}

#[test]
fn the_log_id_arrives() {
    let (server, _) = start_server();
    let echo = stub(&server);
    let reply = echo.echo_with(CallOptions::default().log_id(77), &request("log")).unwrap();
    assert_eq!(reply.message.message, "Some(77)");
    assert_eq!(echo.echo(&request("log")).unwrap().message, "None");
}

/// Answers from another thread, or not at all.
struct Later(mpsc::Sender<(String, Responder<EchoResponse>)>);

impl EchoServiceAsync for Later {
    fn echo(&self, request: EchoRequest, responder: Responder<EchoResponse>) {
        match request.message.as_str() {
            "drop" => drop(responder),
            "panic" => panic!("asked to panic"),
            _ => self.0.send((request.message, responder)).unwrap(),
        }
    }
}

#[test]
fn a_service_may_answer_later_from_anywhere() {
    let (tx, rx) = mpsc::channel::<(String, Responder<EchoResponse>)>();
    let answers = thread::spawn(move || {
        for (message, responder) in rx {
            responder.send(Ok(EchoResponse { message }));
        }
    });
    let server = Server::builder().add(EchoServer::new_async(Later(tx))).start("127.0.0.1:0").unwrap();
    let echo = stub(&server);
    let calls: Vec<_> = (0..100).map(|n| echo.start_echo(&request(&n.to_string()))).collect();
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.join().unwrap().message, n.to_string());
    }
    for message in ["drop", "panic"] {
        assert_eq!(echo.echo(&request(message)).unwrap_err().code(), error::EINTERNAL);
    }
    drop(server);
    answers.join().unwrap();
}

#[test]
fn a_nested_call_inside_a_handler_works_on_one_worker() {
    // A handler that calls its own server: with a thread that blocks instead of a bthread that parks, this hangs.
    #[derive(Clone, Default)]
    struct Nested(Arc<(OnceLock<EchoStub>, AtomicUsize)>);
    impl EchoService for Nested {
        fn echo(&self, _: &mut ServerCall, request: EchoRequest) -> Result<EchoResponse, RpcError> {
            self.0.1.fetch_add(1, Ordering::Relaxed);
            match request.message.strip_prefix('>') {
                None => Ok(EchoResponse { message: request.message }),
                Some(rest) => self
                    .0
                    .0
                    .get()
                    .expect("set below")
                    .echo(&EchoRequest { message: rest.into(), sleep_us: None }),
            }
        }
    }
    let runtime = bthread::Runtime::builder().workers(1).start().unwrap();
    let nested = Nested::default();
    let service = nested.clone();
    let message = runtime
        .spawn(move || {
            let server =
                Server::builder().add(EchoServer::new(service.clone())).start("127.0.0.1:0").unwrap();
            let echo = stub(&server);
            assert!(service.0.0.set(echo.clone()).is_ok());
            echo.echo(&request(">>>>deep")).unwrap().message
        })
        .join()
        .unwrap();
    assert_eq!(message, "deep");
    assert_eq!(nested.0.1.load(Ordering::Relaxed), 5);
}
