//! Bobbin's client and server, over a connection of this machine.

mod support;

use std::future::Future;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bthread::Butex;
use iobuf::IoBuf;
use rpc::error::{
    ECANCELED, ECONNREFUSED, EEOF, EHOSTDOWN, EINTERNAL, EINVAL, ELIMIT, ELOGOFF, ENOMETHOD, ENOSERVICE,
    ERPCTIMEDOUT,
};
use rpc::limit::Constant;
use rpc::{Call, CallOptions, MethodDescriptor, Responder};
use support::{
    AsyncEcho, Channel, Echo, EchoRequest, EchoResponse, LONG, Server, call, call_with, connect, echo_method,
    exchange, is_closed, raw, request, request_frame, sorted_frames, start,
};

#[test]
fn a_call_is_answered() {
    let server = start();
    let channel = connect(&server);
    assert_eq!(call(&channel, "hello").unwrap(), "hello");
    let report = &server.method_reports()[0];
    assert_eq!((report.full_name, report.latency.count(), report.errors), ("example.EchoService.Echo", 1, 0));
    assert_eq!(server.connection_count(), 1);
}

#[test]
fn what_goes_beside_the_message_arrives() {
    let server = start();
    let channel =
        Channel::builder().timeout(LONG).deliver_timeout(true).connect(server.local_addr()).unwrap();
    let say = |options, message| call_with(&channel, options, &request(message)).unwrap().message.message;
    assert_eq!(say(CallOptions::default(), "log_id"), "None");
    assert_eq!(say(CallOptions::default().log_id(u64::MAX), "log_id"), format!("Some({})", u64::MAX));
    assert_eq!(say(CallOptions::default().request_id("r-1"), "request_id"), "r-1");
    assert_eq!(say(CallOptions::default(), "deadline"), "true");
    let options = CallOptions::default().user_field("k", "v").request_attachment(IoBuf::from("attached"));
    let reply = call_with(&channel, options, &request("hi")).unwrap();
    assert_eq!((reply.user_fields.get("re-k"), &reply.attachment), (Some("v"), &IoBuf::from("attached")));
    assert_eq!(reply.remote_side, *server.local_addr());
}

#[test]
fn attachments_of_every_size_come_back() {
    let server = start();
    let channel = connect(&server);
    for size in [0, 1, 8000, 64 << 10, 1 << 20, (8 << 20) + 1] {
        let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        let options = CallOptions::default().request_attachment(IoBuf::from(bytes.clone()));
        let reply = call_with(&channel, options, &request("big")).unwrap();
        assert!(reply.attachment.to_vec() == bytes, "{size}");
    }
}

#[test]
fn many_calls_are_in_flight_on_one_connection() {
    let server = start();
    let channel = connect(&server);
    // From bthreads, and from threads.
    let bthreads: Vec<_> = (0..50)
        .map(|n| {
            let channel = channel.clone();
            bthread::spawn(move || {
                for round in 0..20 {
                    let message = format!("{n}-{round}");
                    assert_eq!(call(&channel, &message).unwrap(), message);
                }
            })
        })
        .collect();
    std::thread::scope(|scope| {
        for n in 0..4 {
            let channel = &channel;
            scope.spawn(move || {
                for round in 0..100 {
                    let message = format!("thread {n}-{round}");
                    assert_eq!(call(channel, &message).unwrap(), message);
                }
            });
        }
    });
    bthreads.into_iter().for_each(|bthread| bthread.join().unwrap());
    assert_eq!(server.connection_count(), 1);
    assert_eq!(server.method_reports()[0].latency.count(), 1400);
}

#[test]
fn a_slow_call_does_not_hold_up_the_others_of_its_connection() {
    let (server, held) = held_server();
    let channel = connect(&server);
    let slow = start_call(&channel, "slow");
    assert_eq!(start_call(&channel, "fast").join().unwrap().message, "fast");
    held.recv_timeout(LONG).unwrap().send(Ok(EchoResponse { message: "late".into() }));
    assert_eq!(slow.join().unwrap().message, "late");
}

#[test]
fn a_handler_that_waits_does_not_hold_up_the_requests_that_came_with_it() {
    let gone = Arc::new(Butex::new(0));
    let service = AsyncEcho(move |request: EchoRequest, responder: Responder<EchoResponse>| {
        match request.message.as_str() {
            "wait" => {
                while gone.value().load(Ordering::Acquire) == 0 {
                    let _ = gone.wait(0, None);
                }
            }
            "go" => {
                gone.value().store(1, Ordering::Release);
                gone.wake_all();
            }
            _ => {}
        }
        responder.send(Ok(EchoResponse { message: request.message }));
    });
    let server = Server::builder().add(service).start("127.0.0.1:0").unwrap();
    let mut all_at_once = request_frame("wait", &IoBuf::new()).repeat(100);
    all_at_once.extend(request_frame("go", &IoBuf::new()));
    // Header, description and body of the replies.
    let expect = 100 * (12 + 18 + 6) + 12 + 18 + 4;
    let replies = exchange(&mut raw(&server), &all_at_once, expect);
    assert_eq!(sorted_frames(&replies).len(), 101);
}

#[test]
fn errors_of_the_service_arrive_with_number_and_text() {
    let server = start();
    let channel = connect(&server);
    let at = server.local_addr().clone();
    assert_eq!(call(&channel, "fail").unwrap_err().to_string(), format!("[E1234][{at}][E1234]boom"));
    assert_eq!(call(&channel, "fail-nocode").unwrap_err().to_string(), format!("[E2001][{at}]boom"));
    assert_eq!(server.method_reports()[0].errors, 2);
}

#[test]
fn a_panic_fails_its_own_call_and_nothing_else() {
    let server = start();
    let channel = connect(&server);
    let error = call(&channel, "panic").unwrap_err();
    assert_eq!(error.code(), EINTERNAL);
    assert!(error.text().ends_with("The service panicked: at the service"), "{error}");
    assert_eq!(call(&channel, "still here").unwrap(), "still here");
    assert_eq!(server.connection_count(), 1, "the connection is the same");
}

#[test]
fn unknown_services_and_methods_are_told_apart() {
    static NO_METHOD: MethodDescriptor = MethodDescriptor {
        name: "No",
        full_name: "example.EchoService.No",
        request_type: "",
        response_type: "",
        schema: &rpc::Schema::NONE,
    };
    static NO_SERVICE: MethodDescriptor =
        MethodDescriptor { name: "Echo", full_name: "Nobody.Echo", ..NO_METHOD };
    let server = start();
    let channel = connect(&server);
    let code = |method| {
        let error = channel
            .call::<EchoRequest, EchoResponse>(method, CallOptions::default(), &request(""))
            .unwrap_err();
        error.code()
    };
    assert_eq!(code(&NO_METHOD), ENOMETHOD);
    assert_eq!(code(&NO_SERVICE), ENOSERVICE);
}

#[test]
fn a_call_ends_at_its_deadline_and_a_late_reply_is_dropped() {
    let (server, held) = held_server();
    let channel = connect(&server);
    let options = CallOptions::default().timeout(Duration::from_millis(20));
    let error = call_with(&channel, options.clone(), &request("slow")).unwrap_err();
    assert_eq!(error.to_string(), format!("[E1008]Reached timeout=20ms @{}", server.local_addr()));
    let error =
        channel.start::<_, EchoResponse>(echo_method(), options, &request("slow")).join().unwrap_err();
    assert_eq!(error.code(), ERPCTIMEDOUT);
    for _ in 0..2 {
        held.recv_timeout(LONG).unwrap().send(Ok(EchoResponse { message: "too late".into() }));
    }
    assert_eq!(call(&channel, "next").unwrap(), "next");
    assert_eq!(server.connection_count(), 1);
}

#[test]
fn a_call_to_nobody_fails_as_in_brpc() {
    // On an address of its own, whose ports no other test is given.
    let nobody = TcpListener::bind("127.0.77.1:0").unwrap().local_addr().unwrap();
    let build = || Channel::builder().timeout(LONG);
    let error = call(&build().max_retry(0).connect(nobody).unwrap(), "").unwrap_err();
    assert_eq!(error.code(), ECONNREFUSED);
    let error = call(&build().connect(nobody).unwrap(), "").unwrap_err();
    assert_eq!(error.code(), EHOSTDOWN);
    let text = format!(
        "[E111]Fail to connect {nobody}: Connection refused (os error 111) \
         [R1][E112]Not connected to {nobody} yet [R2][E112]Not connected to {nobody} yet \
         [R3][E112]Not connected to {nobody} yet"
    );
    assert_eq!(error.to_string(), text);
    let call: Call<EchoResponse> =
        build().connect(nobody).unwrap().start(echo_method(), CallOptions::default(), &request(""));
    assert_eq!(call.join().unwrap_err().to_string(), text);
}

#[test]
fn a_server_that_comes_back_is_found_again() {
    let server = start();
    let at = server.local_addr().clone();
    let channel = connect(&server);
    assert_eq!(call(&channel, "one").unwrap(), "one");
    drop(server);
    let error = loop {
        // The first call may still see the old connection.
        let error = call(&channel, "two").unwrap_err();
        if error.code() != EEOF {
            break error;
        }
    };
    assert_eq!(error.code(), EHOSTDOWN);
    let server = Server::builder().add(Echo).start(&at).unwrap();
    while call(&channel, "three").is_err() {
        bthread::yield_now();
    }
    assert_eq!(server.connection_count(), 1);
}

#[test]
fn calls_in_flight_fail_with_their_connection() {
    let (server, held) = held_server();
    let channel = Channel::builder().timeout(LONG).max_retry(0).connect(server.local_addr()).unwrap();
    let waiting = start_call(&channel, "slow");
    let responder = held.recv_timeout(LONG).unwrap();
    let closing = start_call(&channel, "close");
    assert_eq!(closing.join().unwrap_err().code(), EEOF);
    let error = waiting.join().unwrap_err();
    assert_eq!(error.code(), EEOF);
    assert!(error.text().starts_with("Got EOF of Socket{id="), "{error}");
    assert!(responder.call().is_canceled());
}

#[test]
fn a_cancelled_call_ends_at_once() {
    let (server, held) = held_server();
    let channel = connect(&server);
    let waiting = start_call(&channel, "slow");
    let responder = held.recv_timeout(LONG).unwrap();
    waiting.cancel();
    assert_eq!(waiting.join().unwrap_err().code(), ECANCELED);
    drop(start_call(&channel, "slow"));
    drop(held.recv_timeout(LONG).unwrap());
    drop(responder);
    assert_eq!(call(&channel, "next").unwrap(), "next");
}

#[test]
fn a_callback_runs_once_with_the_reply_or_the_error() {
    let server = start();
    let channel = connect(&server);
    let (tx, rx) = mpsc::channel();
    for message in ["hello", "fail"] {
        let tx = tx.clone();
        channel.call_then::<_, EchoResponse>(
            echo_method(),
            CallOptions::default(),
            &request(message),
            move |result| {
                assert!(bthread::is_bthread());
                tx.send(result.map(|reply| reply.message.message).map_err(|error| error.code().get()))
                    .unwrap();
            },
        );
    }
    drop(tx);
    let mut results: Vec<_> = rx.iter().collect();
    results.sort();
    assert_eq!(results, [Ok("hello".into()), Err(1234)]);
}

/// An executor of one future: blocks the thread until its waker is called.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread, AtomicUsize);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.1.fetch_add(1, Ordering::SeqCst);
            self.0.unpark();
        }
    }
    let unpark = Arc::new(Unpark(std::thread::current(), AtomicUsize::new(0)));
    let waker = Waker::from(unpark.clone());
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => {
                while unpark.1.swap(0, Ordering::SeqCst) == 0 {
                    std::thread::park();
                }
            }
        }
    }
}

#[test]
fn a_call_is_a_future_for_any_executor() {
    let server = start();
    let channel = connect(&server);
    let both = async {
        let first = start_call(&channel, "first");
        let second = start_call(&channel, "fail");
        (first.await.unwrap().message, second.await.unwrap_err().code().get())
    };
    assert_eq!(block_on(both), ("first".into(), 1234));
}

#[test]
fn an_answer_may_come_from_elsewhere_and_later() {
    let held = Arc::new(Mutex::new(Vec::new()));
    let keep = held.clone();
    let service = AsyncEcho(move |request: EchoRequest, mut responder: Responder<EchoResponse>| {
        let attachment = responder.call_mut().take_request_attachment();
        responder.call_mut().response_attachment().append_buf(attachment);
        let mut held = keep.lock().unwrap();
        held.push((request, responder));
        if held.len() == 3 {
            // The last comes first.
            let answers: Vec<_> = held.drain(..).rev().collect();
            std::thread::spawn(|| {
                answers.into_iter().for_each(|(request, responder)| {
                    responder.send(Ok(EchoResponse { message: request.message }));
                });
            });
        }
    });
    let server = Server::builder().add(service).start("127.0.0.1:0").unwrap();
    let channel = connect(&server);
    let calls: Vec<Call<EchoResponse>> = (0..3)
        .map(|n: u32| {
            let options = CallOptions::default().request_attachment(IoBuf::from(n.to_string().as_str()));
            channel.start(echo_method(), options, &request(&n.to_string()))
        })
        .collect();
    for (n, call) in calls.into_iter().enumerate() {
        let reply = call.join_reply().unwrap();
        assert_eq!(
            (reply.message.message, reply.attachment),
            (n.to_string(), IoBuf::from(n.to_string().as_str()))
        );
    }
}

#[test]
fn a_responder_that_is_dropped_answers_with_an_error() {
    let service = AsyncEcho(|request: EchoRequest, responder: Responder<EchoResponse>| {
        if request.message == "panic" {
            panic!("with the responder in hand");
        }
        drop(responder);
    });
    let server = Server::builder().add(service).start("127.0.0.1:0").unwrap();
    let channel = connect(&server);
    let text = |message| {
        let error = call(&channel, message).unwrap_err();
        assert_eq!(error.code(), EINTERNAL);
        error.text().to_owned()
    };
    assert!(
        text("drop").ends_with("The service dropped the call without an answer: example.EchoService.Echo")
    );
    assert!(text("panic").ends_with("The service panicked: example.EchoService.Echo"));
}

#[test]
fn limits_refuse_what_is_too_much() {
    let (service, held) = held_service();
    let server = Server::builder().add(service).max_concurrency(1).start("127.0.0.1:0").unwrap();
    let channel = connect(&server);
    let running = start_call(&channel, "slow");
    let responder = held.recv_timeout(LONG).unwrap();
    let error = call(&channel, "one more").unwrap_err();
    assert_eq!(error.code(), ELIMIT);
    assert!(error.text().ends_with("Reached server's max_concurrency=1"), "{error}");
    responder.send(Ok(EchoResponse { message: "done".into() }));
    running.join().unwrap();
    assert_eq!(call(&channel, "now").unwrap(), "now");

    let (service, held) = held_service();
    let server = Server::builder().add(service).limit_method("example.EchoService.Echo", Constant::new(1));
    let server = server.start("127.0.0.1:0").unwrap();
    let channel = connect(&server);
    let running = start_call(&channel, "slow");
    let responder = held.recv_timeout(LONG).unwrap();
    let error = call(&channel, "one more").unwrap_err();
    let text = "Rejected by example.EchoService.Echo's ConcurrencyLimiter, concurrency=2, max_concurrency=1";
    assert!(error.code() == ELIMIT && error.text().ends_with(text), "{error}");
    responder.send(Ok(EchoResponse { message: "done".into() }));
    running.join().unwrap();
    assert_eq!(call(&channel, "now").unwrap(), "now");
}

#[test]
fn connections_beyond_the_limit_are_closed() {
    let server = Server::builder().add(Echo).max_connections(1).start("127.0.0.1:0").unwrap();
    let channel = connect(&server);
    assert_eq!(call(&channel, "one").unwrap(), "one");
    assert!(is_closed(&mut raw(&server)));
    assert_eq!(call(&channel, "two").unwrap(), "two");
}

#[test]
fn a_stopping_server_refuses_new_requests_and_answers_the_running_ones() {
    let (server, held) = held_server();
    let channel = connect(&server);
    let running = start_call(&channel, "slow");
    let responder = held.recv_timeout(LONG).unwrap();
    server.stop();
    let once = CallOptions::default().max_retry(0);
    let error = call_with(&channel, once, &request("too late")).unwrap_err();
    assert!(error.code() == ELOGOFF && error.text().ends_with("Server is stopping"), "{error}");
    let joining = std::thread::spawn(move || server.join());
    assert!(!joining.is_finished());
    responder.send(Ok(EchoResponse { message: "in time".into() }));
    assert_eq!(running.join().unwrap().message, "in time");
    joining.join().unwrap();
    assert!(call(&channel, "gone").is_err());
}

#[test]
fn a_large_last_reply_is_written_before_the_end() {
    let (server, held) = held_server();
    let channel = connect(&server);
    let options = CallOptions::default().request_attachment(IoBuf::from(vec![7; 16 << 20]));
    let running: Call<EchoResponse> = channel.start(echo_method(), options, &request("slow"));
    let mut responder = held.recv_timeout(LONG).unwrap();
    let attachment = responder.call_mut().take_request_attachment();
    responder.call_mut().response_attachment().append_buf(attachment);
    server.stop();
    responder.send(Ok(EchoResponse { message: "big".into() }));
    drop(server);
    assert_eq!(running.join_reply().unwrap().attachment.len(), 16 << 20);
}

#[test]
fn unix_sockets_work_as_well() {
    let path = std::env::temp_dir().join(format!("bobbin-{}-loopback.sock", std::process::id()));
    let server = Server::builder().add(Echo).start(format!("unix:{}", path.display())).unwrap();
    let channel = connect(&server);
    assert_eq!(call(&channel, "hello").unwrap(), "hello");
    let error = call(&channel, "fail").unwrap_err();
    assert_eq!(error.text(), format!("[unix:{}][E1234]boom", path.display()));
    drop(server);
    assert!(!path.exists());
    assert!(call(&channel, "gone").is_err());
}

#[test]
fn decisions_that_make_no_sense_are_refused() {
    let code = |result: Result<Channel, rpc::RpcError>| result.unwrap_err().code();
    assert_eq!(code(Channel::builder().protocol("none").connect("127.0.0.1:1")), EINVAL);
    assert_eq!(code(Channel::builder().connection_type("none").connect("127.0.0.1:1")), EINVAL);
    assert_eq!(code(Channel::builder().connect("nowhere")), EINVAL);
    assert!(
        Channel::builder().protocol("BAIDU_STD").connection_type("single").connect("127.0.0.1:1").is_ok()
    );
    let twice = Server::builder().add(Echo).add(Echo).start("127.0.0.1:0").unwrap_err();
    assert_eq!(twice.code(), EINVAL);
    let server = start();
    let taken = Server::builder().add(Echo).start(server.local_addr()).unwrap_err();
    assert_eq!(taken.code(), rpc::error::EADDRINUSE);
}

#[test]
fn bytes_that_come_one_by_one_are_put_together() {
    let server = start();
    let mut stream = raw(&server);
    let plain = include_bytes!("../src/baidu_std/testdata/plain.req.bin");
    for byte in &plain[..plain.len() - 1] {
        exchange(&mut stream, &[*byte], 0);
    }
    assert_eq!(exchange(&mut stream, &plain[plain.len() - 1..], 42).len(), 42);
}

/// Where the responders of calls of "slow" arrive.
type Held = mpsc::Receiver<Responder<EchoResponse>>;

/// A service that answers at once, but hands over the responder of a call of "slow".
fn held_service() -> (AsyncEcho<impl Fn(EchoRequest, Responder<EchoResponse>) + Send + Sync + 'static>, Held)
{
    let (tx, rx) = mpsc::channel();
    let tx = Mutex::new(tx);
    let service =
        AsyncEcho(move |request: EchoRequest, mut responder: Responder<EchoResponse>| {
            match request.message.as_str() {
                "slow" => tx.lock().unwrap().send(responder).unwrap(),
                message => {
                    if message == "close" {
                        responder.call_mut().close_connection();
                    }
                    responder.send(Ok(EchoResponse { message: message.into() }));
                }
            }
        });
    (service, rx)
}

fn held_server() -> (Server, Held) {
    let (service, held) = held_service();
    (Server::builder().add(service).start("127.0.0.1:0").unwrap(), held)
}

fn start_call(channel: &Channel, message: &str) -> Call<EchoResponse> {
    channel.start(echo_method(), CallOptions::default(), &request(message))
}

#[test]
fn a_waker_that_panics_harms_no_other_call_of_its_connection() {
    struct Panic(mpsc::SyncSender<()>);
    impl Wake for Panic {
        fn wake(self: Arc<Self>) {
            self.0.send(()).unwrap();
            panic!("in a waker");
        }
    }
    let (server, held) = held_server();
    let channel = connect(&server);
    let mut first = pin!(start_call(&channel, "slow"));
    let first_held = held.recv_timeout(LONG).unwrap();
    let second = start_call(&channel, "slow");
    let second_held = held.recv_timeout(LONG).unwrap();
    let (woken, is_woken) = mpsc::sync_channel(1);
    let waker = Arc::new(Panic(woken)).into();
    assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    first_held.send(Ok(EchoResponse { message: "1".into() }));
    is_woken.recv_timeout(LONG).unwrap();
    assert_eq!(block_on(first).unwrap().message, "1");
    second_held.send(Ok(EchoResponse { message: "2".into() }));
    assert_eq!(second.join().unwrap().message, "2");
}
