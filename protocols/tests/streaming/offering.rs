//! Offering and accepting: several streams in a call, and what is refused.

use rpc::error::{ECANCELED, ECONNREFUSED, ECONNRESET, EINVAL, EREQUEST, ERPCTIMEDOUT};
use rpc::{CallOptions, Registry, StreamOptions};

use crate::service::{Answering, Kept, Telling, Told, open, serve, serve_streams};
use crate::support::{Channel, LONG, Server, call, call_with, connect, echo_method, request};

#[test]
fn three_streams_in_one_call_both_ways() {
    let kept = Kept::default();
    let streams = kept.clone();
    let server = serve(move |call, _| {
        assert_eq!(call.offered_streams(), 3);
        let error = call.accept_stream(StreamOptions::default()).unwrap_err();
        assert_eq!(error.code(), EINVAL, "they are accepted together");
        let accepted = call.accept_streams(StreamOptions::default())?;
        for (index, stream) in accepted.iter().enumerate() {
            stream.write(format!("before {index}"))?;
        }
        streams.lock().unwrap().extend(accepted);
        assert_eq!(call.accept_streams(StreamOptions::default()).unwrap_err().code(), EINVAL);
        Ok("accepted".into())
    });
    let channel = connect(&server);
    let (options, mut here) = CallOptions::default().open_streams(3, StreamOptions::default()).unwrap();
    for (index, stream) in here.iter().enumerate() {
        stream.write(format!("up {index}")).unwrap();
    }
    call_with(&channel, options, &request("three")).unwrap();
    let mut there = std::mem::take(&mut *kept.lock().unwrap());
    for (index, (here, there)) in here.iter_mut().zip(&mut there).enumerate() {
        there.write(format!("down {index}")).unwrap();
        assert_eq!(there.read().unwrap().unwrap().to_vec(), format!("up {index}").into_bytes());
        assert_eq!(here.read().unwrap().unwrap().to_vec(), format!("before {index}").into_bytes());
        assert_eq!(here.read().unwrap().unwrap().to_vec(), format!("down {index}").into_bytes());
    }
    here[1].close();
    assert!(there[1].read().unwrap().is_none());
    here[2].write("the others go on").unwrap();
    assert_eq!(there[2].read().unwrap().unwrap().to_vec(), b"the others go on");
}

#[test]
fn options_have_streams_once_and_for_one_call() {
    let (server, _accepted) = serve_streams(StreamOptions::default());
    let channel = connect(&server);
    let (options, stream) = CallOptions::default().open_stream(StreamOptions::default()).unwrap();
    let error = options.clone().open_stream(StreamOptions::default()).unwrap_err();
    assert_eq!(error.code(), EINVAL);
    let again = options.clone();
    call_with(&channel, options, &request("open")).unwrap();
    assert_eq!(call_with(&channel, again, &request("open")).unwrap_err().code(), EINVAL);
    stream.write("it is still the first call's").unwrap();
    for count in [0, rpc::stream::STREAMS_PER_CALL_MAX + 1] {
        let error = CallOptions::default().open_streams(count, StreamOptions::default()).unwrap_err();
        assert_eq!(error.code(), EINVAL);
    }
}

#[test]
fn a_call_that_offers_none_has_none() {
    let server = serve(|call, _| {
        assert_eq!(call.accept_stream(StreamOptions::default()).unwrap_err().code(), EINVAL);
        Ok(call.offered_streams().to_string())
    });
    assert_eq!(call(&connect(&server), "none").unwrap(), "0");
}

#[test]
fn streams_end_with_a_call_that_does_not_make_them() {
    let server = serve(|call, message| {
        let _stream = match message {
            "accepted and failed" => Some(call.accept_stream(StreamOptions::default())?),
            "closed" => {
                call.accept_stream(StreamOptions::default())?.close();
                None
            }
            _ => None,
        };
        match message {
            "late" => drop(bthread::sleep(std::time::Duration::from_millis(200))),
            "not accepted" | "closed" => {}
            _ => return Err(rpc::RpcError::new(1234, "boom")),
        }
        Ok(message.into())
    });
    let channel = connect(&server);
    for (message, code) in [
        ("not accepted", EREQUEST),
        ("closed", EREQUEST),
        ("failed", 1234.into()),
        ("accepted and failed", 1234.into()),
        ("late", ERPCTIMEDOUT),
    ] {
        let (tells, tale) = Telling::new();
        let options = StreamOptions::default().handler(tells);
        let (options, stream) = CallOptions::default().open_stream(options).unwrap();
        let options = if message == "late" { options.timeout(crate::service::SOON) } else { options };
        let error = call_with(&channel, options, &request(message)).unwrap_err();
        assert_eq!(error.code(), code, "{message}");
        assert_eq!(stream.error().unwrap().code(), code, "{message}");
        assert_eq!((tale.next(), tale.next()), (Told::Failed(code.get()), Told::Closed), "{message}");
        assert_eq!(stream.write("x").unwrap_err().code(), EINVAL);
    }
    assert!(open(&channel, StreamOptions::default()).is_err());
}

#[test]
fn a_held_call_connects_its_streams_too() {
    let (server, accepted) = serve_streams(StreamOptions::default());
    let channel = connect(&server);
    let (options, mut stream) = CallOptions::default().open_stream(StreamOptions::default()).unwrap();
    let call: rpc::Call<crate::support::EchoResponse> =
        channel.start(echo_method(), options, &request("open"));
    call.join().unwrap();
    let there = accepted.recv_timeout(LONG).unwrap();
    there.write("hello").unwrap();
    assert_eq!(stream.read().unwrap().unwrap().to_vec(), b"hello");
    // Where nobody answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let channel = Channel::builder().protocol("baidu_std").timeout(LONG).connect(address).unwrap();
    let (options, mut cancelled) = CallOptions::default().open_stream(StreamOptions::default()).unwrap();
    drop(channel.start::<_, crate::support::EchoResponse>(echo_method(), options, &request("open")));
    assert_eq!(cancelled.read().unwrap_err().code(), ECANCELED);
}

#[test]
fn a_call_with_a_stream_is_not_tried_again_and_one_never_made_gives_it_up() {
    // On an address of its own, whose ports no other test is given.
    let address = std::net::TcpListener::bind("127.0.77.1:0").unwrap().local_addr().unwrap();
    let channel = Channel::builder().protocol("baidu_std").timeout(LONG).connect(address).unwrap();
    let (options, mut stream) = CallOptions::default().open_stream(StreamOptions::default()).unwrap();
    let error = call_with(&channel, options, &request("open")).unwrap_err();
    assert_eq!(error.code(), ECONNREFUSED);
    assert!(!error.text().contains("[R1]"), "{error}");
    assert_eq!(stream.read().unwrap_err().code(), ECONNREFUSED);
    let (options, mut stream) = CallOptions::default().open_stream(StreamOptions::default()).unwrap();
    drop(options);
    assert_eq!(stream.read().unwrap_err().code(), ECANCELED);
}

#[test]
fn streams_need_a_connection_that_stays_and_a_protocol_that_carries_them() {
    let (server, _accepted) = serve_streams(StreamOptions::default());
    for (protocol, connection_type) in [("baidu_std", "pooled"), ("baidu_std", "short"), ("http", "pooled")] {
        let channel = Channel::builder()
            .protocol(protocol)
            .connection_type(connection_type)
            .timeout(LONG)
            .connect(server.local_addr())
            .unwrap();
        let error = open(&channel, StreamOptions::default()).unwrap_err();
        assert_eq!(error.code(), EINVAL, "{protocol} {connection_type}");
    }
    // A server that speaks baidu_std alone answers as it is, and its service cannot accept.
    let registry = Registry::new(&[&protocols::baidu_std::BAIDU_STD]);
    let answer = Answering(|call: &mut rpc::ServerCall, _: &str| {
        Ok(call.accept_stream(StreamOptions::default()).unwrap_err().code().to_string())
    });
    let server = Server::builder().registry(registry).add(answer).start("127.0.0.1:0").unwrap();
    let error = open(&connect(&server), StreamOptions::default()).unwrap_err();
    assert_eq!(error.code(), EREQUEST);
}

#[test]
fn an_answer_that_comes_too_late_ends_all_of_its_streams() {
    let (kept, gate) = (Kept::default(), std::sync::Arc::new(bthread::sync::Semaphore::new(0)));
    let (streams, opened) = (kept.clone(), gate.clone());
    let server = serve(move |call, _| {
        streams.lock().unwrap().extend(call.accept_streams(StreamOptions::default())?);
        opened.acquire().forget();
        Ok("late".into())
    });
    let channel = connect(&server);
    let (options, _here) = CallOptions::default().open_streams(3, StreamOptions::default()).unwrap();
    let options = options.timeout(crate::service::SOON);
    assert_eq!(call_with(&channel, options, &request("late")).unwrap_err().code(), ERPCTIMEDOUT);
    gate.release(1);
    while kept.lock().unwrap().is_empty() {
        std::thread::yield_now();
    }
    for mut there in std::mem::take(&mut *kept.lock().unwrap()) {
        let end = there.read_until(std::time::Instant::now() + LONG / 4);
        assert_eq!(end.unwrap_err().code(), ECONNRESET);
    }
}

#[test]
fn a_call_is_answered_though_its_stream_was_reset_meanwhile() {
    let gate = std::sync::Arc::new(bthread::sync::Semaphore::new(0));
    let opened = gate.clone();
    let server = serve(move |call, _| {
        let _stream = call.accept_stream(StreamOptions::default())?;
        opened.acquire().forget();
        Ok("late".into())
    });
    let channel = connect(&server);
    let (options, stream) = CallOptions::default().open_stream(StreamOptions::default()).unwrap();
    let call: rpc::Call<crate::support::EchoResponse> =
        channel.start(echo_method(), options.timeout(LONG / 4), &request("open"));
    while server.method_reports()[0].concurrency == 0 {
        std::thread::yield_now();
    }
    stream.reset();
    gate.release(1);
    assert_eq!(call.join().unwrap_err().code(), EREQUEST, "rather than no answer");
}
