//! Calls that are ended from outside: before they begin, in progress, and when it is too late.

use std::sync::mpsc;
use std::time::Duration;

use rpc::error::ECANCELED;
use rpc::{CallOptions, CancelToken};

use crate::peer::Peer;
use crate::support::{Channel, EchoResponse, LONG, call_with, echo_method, request};

/// Answers nothing but "answer", and says which requests have come and when a connection has ended.
fn silent() -> (Peer, mpsc::Receiver<Option<String>>) {
    let (came, requests) = mpsc::channel();
    let peer = Peer::new(move |connection| {
        while let Some(request) = connection.request() {
            if request.message == "answer" {
                connection.answer(&request, "answered");
            }
            let _ = came.send(Some(request.message));
        }
        let _ = came.send(None);
    });
    (peer, requests)
}

#[test]
fn a_token_ends_synchronous_calls_from_elsewhere() {
    for in_bthread in [false, true] {
        let (peer, requests) = silent();
        let (channel, token) = (peer.channel(), CancelToken::new());
        let options = CallOptions::default().cancel_token(&token);
        let wait = move || call_with(&channel, options, &request("x")).unwrap_err();
        let error = if in_bthread {
            let waiting = bthread::spawn(wait);
            requests.recv_timeout(LONG).unwrap();
            token.cancel();
            waiting.join().unwrap()
        } else {
            let waiting = std::thread::spawn(wait);
            requests.recv_timeout(LONG).unwrap();
            token.cancel();
            waiting.join().unwrap()
        };
        assert_eq!(error.to_string(), format!("[E125]The call was cancelled @{}", peer.address));
    }
}

#[test]
fn a_call_that_is_cancelled_before_it_begins_is_never_sent() {
    let (peer, requests) = silent();
    let (channel, token) = (peer.channel(), CancelToken::new());
    token.cancel();
    token.cancel();
    let options = CallOptions::default().cancel_token(&token);
    assert_eq!(call_with(&channel, options.clone(), &request("x")).unwrap_err().code(), ECANCELED);
    let started = channel.start::<_, EchoResponse>(echo_method(), options, &request("x"));
    assert_eq!(started.join().unwrap_err().code(), ECANCELED);
    call_with(&channel, CallOptions::default(), &request("answer")).unwrap();
    assert_eq!(requests.recv_timeout(LONG).unwrap().as_deref(), Some("answer"), "the first that came");
}

#[test]
fn a_call_that_has_ended_stays_as_it_is() {
    let (peer, _requests) = silent();
    let (channel, token) = (peer.channel(), CancelToken::new());
    let options = CallOptions::default().cancel_token(&token);
    for _ in 0..100 {
        let reply = call_with(&channel, options.clone(), &request("answer")).unwrap();
        assert_eq!(reply.message.message, "answered");
    }
    let started = channel.start::<_, EchoResponse>(echo_method(), options, &request("answer"));
    let handle = started.handle();
    handle.join();
    assert!(!handle.is_running());
    token.cancel();
    handle.cancel();
    assert_eq!(started.join().unwrap().message, "answered");
    handle.join(); // of a call that is gone
    handle.cancel();
}

#[test]
fn a_handle_cancels_and_joins_from_any_thread() {
    let (peer, requests) = silent();
    let channel = peer.channel();
    let started = channel.start::<_, EchoResponse>(echo_method(), CallOptions::default(), &request("x"));
    requests.recv_timeout(LONG).unwrap();
    let handle = started.handle();
    assert!(handle.is_running());
    std::thread::scope(|scope| {
        let joins: Vec<_> = (0..3).map(|_| scope.spawn(|| handle.join())).collect();
        handle.cancel();
        joins.into_iter().for_each(|join| join.join().unwrap());
    });
    assert_eq!(started.join().unwrap_err().code(), ECANCELED);
}

#[test]
fn a_callback_is_told_of_the_cancel_and_joined() {
    let (peer, requests) = silent();
    let (done, is_done) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let handle = peer.channel().call_then::<_, EchoResponse>(
        echo_method(),
        CallOptions::default(),
        &request("x"),
        move |result| {
            let _ = wait.recv_timeout(Duration::from_millis(20)); // a join that does not wait for it would be faster
            done.send(result.unwrap_err().code()).unwrap();
        },
    );
    requests.recv_timeout(LONG).unwrap();
    handle.cancel();
    handle.join();
    assert_eq!(is_done.try_recv().unwrap(), ECANCELED);
    drop(go_on);
}

#[test]
fn a_connection_of_its_own_is_closed_and_a_shared_one_kept() {
    for (kind, is_closed) in [("single", false), ("pooled", true), ("short", true)] {
        let (peer, requests) = silent();
        let channel = Channel::builder().connection_type(kind).timeout(LONG).connect(&peer.address).unwrap();
        let token = CancelToken::new();
        let options = CallOptions::default().cancel_token(&token);
        let started = channel.start::<_, EchoResponse>(echo_method(), options, &request("x"));
        assert_eq!(requests.recv_timeout(LONG).unwrap().as_deref(), Some("x"));
        token.cancel();
        assert_eq!(started.join().unwrap_err().code(), ECANCELED);
        if is_closed {
            assert_eq!(requests.recv_timeout(LONG).unwrap(), None, "{kind}");
        }
        call_with(&channel, CallOptions::default(), &request("answer")).unwrap();
        assert_eq!(peer.connections(), if is_closed { 2 } else { 1 }, "{kind}");
    }
}

#[test]
fn one_token_ends_many_calls() {
    let (peer, requests) = silent();
    let (channel, token) = (peer.channel(), CancelToken::new());
    let start = |_| {
        let options = CallOptions::default().cancel_token(&token);
        channel.start::<_, EchoResponse>(echo_method(), options, &request("x"))
    };
    let calls: Vec<_> = (0..100).map(start).collect();
    (0..100).for_each(|_| assert!(requests.recv_timeout(LONG).unwrap().is_some()));
    token.clone().cancel();
    assert!(calls.into_iter().all(|call| call.join().unwrap_err().code() == ECANCELED));
}

#[test]
fn an_interrupt_does_not_end_a_call() {
    let (peer, requests) = silent();
    let channel = peer.channel();
    let token = CancelToken::new();
    for options in [CallOptions::default(), CallOptions::default().cancel_token(&token)] {
        let channel = channel.clone();
        let options = options.timeout(Duration::from_millis(50));
        let waiting = bthread::spawn(move || call_with(&channel, options, &request("x")).unwrap_err());
        requests.recv_timeout(LONG).unwrap();
        bthread::interrupt(waiting.id());
        assert_eq!(waiting.join().unwrap().code(), rpc::error::ERPCTIMEDOUT);
    }
}
