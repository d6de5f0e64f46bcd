//! What a server does around its calls: interceptors, data of sessions and workers, cancellation, where the code runs.

mod support;

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use bthread::Runtime;
use rpc::error::{EINTERNAL, EINVAL, EREJECT, ERPCTIMEDOUT, ErrorCode, RpcError};
use rpc::{CallOptions, CancelReason, Responder, RunsOn, ServerCall, ServiceOptions};
use support::{AsyncEcho, Channel, Echo, EchoRequest, EchoResponse, LONG, Server, call, connect, keeping};

fn answer(responder: Responder<EchoResponse>, message: impl Into<String>) {
    responder.send(Ok(EchoResponse { message: message.into() }));
}

/// A service that says something about its call.
fn saying(say: impl Fn(&mut ServerCall) -> String + Send + Sync + 'static) -> impl rpc::Service {
    AsyncEcho(move |_: EchoRequest, mut responder: Responder<EchoResponse>| {
        let said = say(responder.call_mut());
        answer(responder, said);
    })
}

fn over_http(server: &Server) -> Channel {
    Channel::builder().protocol("http").timeout(LONG).connect(server.local_addr()).unwrap()
}

fn code_of(code: i32) -> ErrorCode {
    ErrorCode::new(code)
}

#[test]
fn interceptors_are_asked_in_their_order_over_all_protocols() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (first, second) = (asked.clone(), asked.clone());
    let server = Server::builder()
        .add(Echo)
        .interceptor(move |call: &ServerCall| {
            first.lock().unwrap().push("first");
            match call.log_id() {
                Some(1) => Err(RpcError::new(EREJECT, "not one")),
                Some(2) => Err(RpcError::new(code_of(4321), "")),
                Some(4) => panic!("on purpose"),
                _ => Ok(()),
            }
        })
        .interceptor(move |call: &ServerCall| {
            second.lock().unwrap().push("second");
            assert_eq!(call.method().full_name, "example.EchoService.Echo");
            if call.log_id() == Some(3) { Err(RpcError::uncoded("not three")) } else { Ok(()) }
        })
        .start("127.0.0.1:0")
        .unwrap();
    for (channel, says_code) in [(connect(&server), true), (over_http(&server), false)] {
        // Over HTTP a channel's error is that of the status; the number is in a field of the answer.
        let is = |code, expected| !says_code || code == expected;
        let ask = |id: u64| {
            asked.lock().unwrap().clear();
            let result =
                support::call_with(&channel, CallOptions::default().log_id(id), &support::request("hello"));
            let asked = asked.lock().unwrap().len();
            result.map(|_| asked).map_err(|error| (error.code(), error.text().to_owned(), asked))
        };
        let (code, text, asked) = ask(1).unwrap_err();
        assert!(
            is(code, EREJECT) && text.ends_with("Reject by Interceptor: not one") && asked == 1,
            "{text}"
        );
        let (code, text, _) = ask(2).unwrap_err();
        assert!(is(code, code_of(4321)) && text.ends_with("Reject by Interceptor: "), "{text}");
        let (code, text, asked) = ask(3).unwrap_err();
        assert!(text.ends_with("Reject by Interceptor: not three") && asked == 2, "{code} {text}");
        let (code, text, _) = ask(4).unwrap_err();
        assert!(is(code, EINTERNAL) && text.contains("Reject by Interceptor: "), "{text}");
        assert_eq!(ask(5), Ok(2));
    }
    let report = &server.method_reports()[0];
    assert_eq!((report.errors, report.concurrency, report.latency.count()), (8, 0, 2));
}

#[test]
fn session_local_data_is_borrowed_and_comes_back() {
    let (made, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    struct Session(Arc<AtomicUsize>, usize);
    impl Drop for Session {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (count, drops) = (made.clone(), dropped.clone());
    let (keep, kept) = mpsc::channel();
    let keep = Mutex::new(keep);
    let service = AsyncEcho(move |request: EchoRequest, mut responder: Responder<EchoResponse>| {
        let call = responder.call_mut();
        assert!(call.session_local_data::<String>().is_none(), "of another type");
        let session = call.session_local_data::<Session>().unwrap();
        session.1 += 1;
        let uses = session.1;
        assert_eq!(call.session_local_data::<Session>().unwrap().1, uses, "the same one for the whole call");
        match request.message.as_str() {
            "keep" => keep.lock().unwrap().send(responder).unwrap(),
            _ => answer(responder, uses.to_string()),
        }
    });
    let server = Server::builder()
        .add(service)
        .server_info_name("with_sessions")
        .session_local_data(2, move || {
            count.fetch_add(1, Ordering::SeqCst);
            Session(drops.clone(), 0)
        })
        .start("127.0.0.1:0")
        .unwrap();
    assert_eq!(made.load(Ordering::SeqCst), 2);
    let counts = || bvar::describe("rpc_server_with_sessions_session_local_data_count").unwrap();
    let channel = connect(&server);
    for uses in 1..=5 {
        assert_eq!(call(&channel, "hello").unwrap(), uses.to_string());
    }
    let waiting = channel.start::<_, EchoResponse>(
        support::echo_method(),
        CallOptions::default(),
        &support::request("keep"),
    );
    let responder = kept.recv().unwrap();
    assert!(counts().contains("[1,1]"), "{}", counts());
    assert_eq!(call(&channel, "hello").unwrap(), "1", "the other one");
    answer(responder, "kept");
    waiting.join().unwrap();
    assert!(counts().contains("[0,2]"), "{}", counts());
    assert_eq!((made.load(Ordering::SeqCst), dropped.load(Ordering::SeqCst)), (2, 0));
    server.join();
    assert_eq!(dropped.load(Ordering::SeqCst), 2);
}

#[test]
fn without_a_factory_there_is_no_data() {
    let say = |call: &mut ServerCall| {
        let session = call.session_local_data::<u32>().is_some();
        format!("{session} {:?}", call.thread_local_data(|_: &mut u32| ()))
    };
    let server = Server::builder().add(saying(say)).start("127.0.0.1:0").unwrap();
    assert_eq!(call(&connect(&server), "hello").unwrap(), "false None");
}

bthread::bthread_local! { pooled static WARMED: std::cell::Cell<u32> = std::cell::Cell::new(0); }

#[test]
fn worker_local_data_outlives_its_bthread_and_is_warmed_before() {
    let (made, warmed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, warm) = (made.clone(), warmed.clone());
    let say = |call: &mut ServerCall| {
        assert!(call.thread_local_data(|_: &mut String| ()).is_none(), "of another type");
        let uses = call.thread_local_data(|uses: &mut usize| {
            *uses += 1;
            bthread::yield_now(); // it may wait
            *uses
        });
        format!("{} {}", uses.unwrap(), WARMED.get())
    };
    let server = Server::builder()
        .add(saying(say))
        .thread_local_data(0, move || {
            count.fetch_add(1, Ordering::SeqCst);
            0_usize
        })
        .bthread_init(64, move || {
            assert!(bthread::is_bthread());
            WARMED.set(7);
            warm.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
        .start("127.0.0.1:0")
        .unwrap();
    assert_eq!(warmed.load(Ordering::SeqCst), 64);
    let channel = connect(&server);
    let uses: Vec<usize> = (0..200)
        .map(|_| {
            let said = call(&channel, "hello").unwrap();
            let (uses, warmed) = said.split_once(' ').unwrap();
            assert_eq!(warmed, "7", "one of those that were warmed");
            uses.parse().unwrap()
        })
        .collect();
    let made = made.load(Ordering::SeqCst);
    assert!(made < 200 && uses.iter().max().unwrap() > &1, "{made} {uses:?}");
}

#[test]
fn objects_are_reserved_for_bthreads_to_come() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let server = Server::builder()
        .add(saying(|call| call.thread_local_data(|number: &mut usize| *number).unwrap().to_string()))
        .thread_local_data(16, move || count.fetch_add(1, Ordering::SeqCst))
        .start("127.0.0.1:0")
        .unwrap();
    assert_eq!(made.load(Ordering::SeqCst), 16);
    assert!(call(&connect(&server), "hello").unwrap().parse::<usize>().unwrap() < 16);
}

#[test]
fn a_service_is_told_once_when_nobody_waits_any_more() {
    let (service, calls) = keeping();
    let server = Server::builder().add(service).start("127.0.0.1:0").unwrap();
    let told = |responder: &mut Responder<EchoResponse>| {
        let (sender, receiver) = mpsc::channel();
        let call = responder.call_mut();
        call.notify_on_cancel(move |reason| sender.send(reason).unwrap()).unwrap();
        receiver
    };

    let channel = connect(&server);
    let start = |channel: &Channel, options| {
        channel.start::<_, EchoResponse>(support::echo_method(), options, &support::request("hello"))
    };
    let calling = start(&channel, CallOptions::default());
    let mut responder = calls.recv().unwrap();
    assert!(!responder.call().is_canceled());
    let (first, second) = (told(&mut responder), told(&mut responder));
    answer(responder, "done");
    assert_eq!(calling.join().unwrap().message, "done");
    for receiver in [first, second] {
        assert_eq!(receiver.recv(), Ok(CancelReason::Ended));
        assert!(receiver.recv().is_err(), "and is gone");
    }

    let timeout = Duration::from_millis(100);
    let deliver = Channel::builder().deliver_timeout(true).max_retry(0).timeout(timeout);
    let hurried = deliver.connect(server.local_addr()).unwrap();
    let began = Instant::now();
    let calling = start(&hurried, CallOptions::default());
    let mut responder = calls.recv().unwrap();
    let receiver = told(&mut responder);
    assert_eq!(receiver.recv(), Ok(CancelReason::DeadlinePassed));
    assert!(began.elapsed() >= timeout && responder.call().is_canceled());
    // Its own timer, which may be looked at later than the server's.
    assert_eq!(calling.join().unwrap_err().code(), ERPCTIMEDOUT);
    answer(responder, "late");
    assert!(receiver.recv().is_err());

    let mut stream = support::raw(&server);
    std::io::Write::write_all(&mut stream, &support::request_frame("hello", &iobuf::IoBuf::new())).unwrap();
    let mut responder = calls.recv().unwrap();
    let receiver = told(&mut responder);
    drop(stream);
    let Ok(CancelReason::ConnectionFailed(_)) = receiver.recv() else { panic!("the connection is gone") };
    assert!(responder.call().is_canceled());
    let late = told(&mut responder);
    let Ok(CancelReason::ConnectionFailed(_)) = late.recv() else { panic!("it is still gone") };
    drop(responder);
    assert!(receiver.recv().is_err() && late.recv().is_err());
}

#[test]
fn what_is_to_be_done_behind_the_answer_is_done_in_order() {
    let (sender, receiver) = mpsc::channel();
    let sender = Mutex::new(sender);
    let server = Server::builder()
        .add(saying(move |call| {
            for number in [1, 2] {
                let sender = sender.lock().unwrap().clone();
                call.set_after_rpc_resp_fn(move |error| {
                    sender.send((number, error.map(RpcError::code))).unwrap();
                    if number == 1 {
                        panic!("on purpose");
                    }
                });
            }
            "said".into()
        }))
        .start("127.0.0.1:0")
        .unwrap();
    assert_eq!(call(&connect(&server), "hello").unwrap(), "said");
    assert_eq!([receiver.recv(), receiver.recv()], [Ok((1, None)), Ok((2, None))]);
}

fn thread_name() -> String {
    std::thread::current().name().unwrap_or_default().to_owned()
}

fn where_it_runs(call: &mut ServerCall) -> String {
    assert_eq!(call.method().name, "Echo");
    format!("{} {} {}", bthread::is_bthread(), Runtime::current().tag(), thread_name())
}

#[test]
fn methods_run_where_they_were_bound_to() {
    let other = Runtime::builder().workers(2).start().unwrap();
    let tag = other.tag();
    let start = |options: ServiceOptions| {
        Server::builder().add_with(saying(where_it_runs), options).start("127.0.0.1:0")
    };
    let said = |server: &Server| call(&connect(server), "hello").unwrap();
    let bound = start(ServiceOptions::default().runs_on(RunsOn::Runtime(tag))).unwrap();
    assert!(said(&bound).starts_with(&format!("true {tag} ")), "{}", said(&bound));
    let blocking = start(ServiceOptions::default().method_runs_on("Echo", RunsOn::BlockingPool)).unwrap();
    assert!(said(&blocking).starts_with("false"), "{}", said(&blocking));
    let plain = start(ServiceOptions::default()).unwrap();
    assert!(said(&plain).starts_with("true 0 "), "{}", said(&plain));
    let all =
        Server::builder().add(saying(where_it_runs)).usercode_in_pthread(true).start("127.0.0.1:0").unwrap();
    assert!(said(&all).starts_with("false"), "{}", said(&all));
    let tagged = Server::builder()
        .add(saying(where_it_runs))
        .bthread_tag(tag)
        .num_threads(3)
        .start("127.0.0.1:0")
        .unwrap();
    assert!(said(&tagged).starts_with(&format!("true {tag} ")), "{}", said(&tagged));
    assert_eq!(other.workers(), 3);

    for options in [
        ServiceOptions::default().runs_on(RunsOn::Runtime(4242)),
        ServiceOptions::default().method_runs_on("Ehco", RunsOn::BlockingPool),
        ServiceOptions::default().method_ignores_eovercrowded("Ehco", true),
    ] {
        assert_eq!(start(options).unwrap_err().code(), EINVAL);
    }
    let error = Server::builder().add(Echo).bthread_tag(4242).start("127.0.0.1:0").unwrap_err();
    assert_eq!(error.code(), EINVAL);
}

#[test]
fn many_calls_on_the_blocking_pool_are_all_answered() {
    let names = Arc::new(Mutex::new(HashSet::new()));
    let seen = names.clone();
    let service = saying(move |_| {
        std::thread::sleep(Duration::from_millis(20)); // blocks its thread, and nobody else
        seen.lock().unwrap().insert(std::thread::current().id());
        "done".into()
    });
    let options = ServiceOptions::default().runs_on(RunsOn::BlockingPool);
    let server = Server::builder().add_with(service, options).start("127.0.0.1:0").unwrap();
    let channel = connect(&server);
    let calls: Vec<rpc::Call<EchoResponse>> = (0..100)
        .map(|_| channel.start(support::echo_method(), CallOptions::default(), &support::request("hello")))
        .collect();
    calls.into_iter().for_each(|call| assert_eq!(call.join().unwrap().message, "done"));
    assert!(names.lock().unwrap().len() > 1);
    drop(server);
}
