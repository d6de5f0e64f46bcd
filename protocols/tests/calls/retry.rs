//! What is tried again, how often, and when.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rpc::client::{Attempt, Backoff, NeverSent};
use rpc::error::{EEOF, EHOSTDOWN, ELIMIT, ERPCTIMEDOUT};
use rpc::{CallOptions, RetryBudget, RetryPolicy};

use crate::peer::Peer;
use crate::support::{Channel, EchoResponse, LONG, call, call_with, echo_method, request};

/// Answers the connections from number `from` on, and closes those before it with their first request.
fn closing_before(from: usize) -> Peer {
    Peer::new(move |connection| {
        while let Some(request) = connection.request() {
            if connection.number < from {
                return;
            }
            connection.answer(&request, &request.message);
        }
    })
}

#[test]
fn a_call_whose_connection_broke_is_tried_again_on_another() {
    let peer = closing_before(1);
    let reply = call_with(&peer.channel(), CallOptions::default(), &request("x")).unwrap();
    assert_eq!((reply.message.message.as_str(), reply.retried_count), ("x", 1));
    assert!(!reply.has_backup_request);
    assert_eq!(peer.connections(), 2);
    let peer = closing_before(2);
    let started =
        peer.channel().start::<_, EchoResponse>(echo_method(), CallOptions::default(), &request("x"));
    assert_eq!(started.join_reply().unwrap().retried_count, 2);
}

#[test]
fn what_must_not_run_twice_is_sent_once() {
    for held in [false, true] {
        let peer = closing_before(1);
        let options = CallOptions::default().retry_policy(NeverSent);
        let error = if held {
            peer.channel().start::<_, EchoResponse>(echo_method(), options, &request("x")).join().unwrap_err()
        } else {
            call_with(&peer.channel(), options, &request("x")).unwrap_err()
        };
        assert_eq!((error.code(), error.call().unwrap().retried_count), (EEOF, 0));
        assert_eq!(peer.connections(), 1);
    }
}

#[test]
fn a_refusal_of_the_server_is_tried_again_and_each_attempt_is_told() {
    let peer = Peer::new(|connection| {
        while let Some(request) = connection.request() {
            connection.fail(&request, ELIMIT.get(), "[there][E2004]too many");
        }
    });
    let error = call(&peer.channel(), "x").unwrap_err();
    let one = "[E2004][there][E2004]too many";
    assert_eq!(error.to_string(), format!("{one} [R1]{one} [R2]{one} [R3]{one}"));
    let report = error.call().unwrap();
    assert_eq!((report.retried_count, report.remote_side.to_string()), (3, peer.address.clone()));
    assert_eq!(peer.connections(), 1);
    // The user's own numbers are not tried again.
    let peer = Peer::new(|connection| {
        while let Some(request) = connection.request() {
            connection.fail(&request, 1234, "mine");
        }
    });
    assert_eq!(call(&peer.channel(), "x").unwrap_err().to_string(), "[E1234]mine");
}

#[test]
fn a_timeout_is_not_tried_again() {
    let peer = Peer::new(|connection| while connection.request().is_some() {});
    let options = CallOptions::default().timeout(Duration::from_millis(30));
    let start = Instant::now();
    let error = call_with(&peer.channel(), options, &request("x")).unwrap_err();
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert_eq!((error.code(), error.call().unwrap().retried_count), (ERPCTIMEDOUT, 0));
}

/// Tries successes again until it has seen enough of them.
struct UntilThird(AtomicUsize);

impl RetryPolicy for UntilThird {
    fn do_retry(&self, attempt: &Attempt<'_>) -> bool {
        assert!(attempt.error().is_none() && !attempt.never_sent());
        assert!(attempt.response_body().is_some_and(|body| body.len() == 3));
        assert_eq!(attempt.number() as usize, self.0.fetch_add(1, Ordering::SeqCst));
        attempt.number() < 2
    }
}

#[test]
fn a_policy_may_try_successes_again() {
    for held in [false, true] {
        let peer = closing_before(0);
        let options = CallOptions::default().retry_policy(UntilThird(AtomicUsize::new(0)));
        let reply = if held {
            peer.channel().start::<_, EchoResponse>(echo_method(), options, &request("x")).join_reply()
        } else {
            call_with(&peer.channel(), options, &request("x"))
        };
        assert_eq!(reply.unwrap().retried_count, 2);
    }
}

#[test]
fn a_policy_that_panics_ends_its_own_call_alone() {
    struct Panic;
    impl RetryPolicy for Panic {
        fn do_retry(&self, _: &Attempt<'_>) -> bool {
            panic!("in a policy");
        }
    }
    let peer = closing_before(1);
    let channel = peer.channel();
    let options = CallOptions::default().retry_policy(Panic);
    let started = channel.start::<_, EchoResponse>(echo_method(), options, &request("x"));
    assert_eq!(started.join().unwrap_err().code(), EEOF);
    assert_eq!(call(&channel, "y").unwrap(), "y");
}

#[test]
fn pauses_are_made_between_attempts() {
    let pause = Duration::from_millis(20);
    let two = |policy: Backoff, options: CallOptions, held: bool| {
        let peer = closing_before(2);
        let options = options.retry_policy(policy);
        let (start, channel) = (Instant::now(), peer.channel());
        let reply = if held {
            channel.start::<_, EchoResponse>(echo_method(), options, &request("x")).join_reply()
        } else {
            call_with(&channel, options, &request("x"))
        };
        assert_eq!(reply.unwrap().retried_count, 2);
        start.elapsed()
    };
    // A held call pauses wherever it is; a synchronous one in bthreads, and in threads if it may.
    assert!(two(Backoff::fixed(pause), CallOptions::default(), true) >= 2 * pause);
    let jittered = Backoff::jittered(pause, 2 * pause);
    assert!(
        bthread::spawn(move || two(jittered, CallOptions::default(), false)).join().unwrap() >= 2 * pause
    );
    assert!(two(Backoff::fixed(pause).in_threads(), CallOptions::default(), false) >= 2 * pause);
    // These would last for ever if they were made: not in this thread, not with so little time, not beyond the deadline.
    let long = Duration::from_secs(3600);
    two(Backoff::fixed(long), CallOptions::default(), false);
    two(Backoff::fixed(LONG / 2).none_if_less_remains(2 * LONG), CallOptions::default(), true);
    two(Backoff::fixed(long), CallOptions::default(), true);
}

#[test]
fn retries_end_with_the_budget_and_say_so() {
    let peer = Peer::new(|connection| {
        while let Some(request) = connection.request() {
            connection.fail(&request, ELIMIT.get(), "no");
        }
    });
    let build = |budget| Channel::builder().timeout(LONG).retry_budget(budget).connect(&peer.address);
    for held in [false, true] {
        let channel = build(RetryBudget::new(0.5, 2)).unwrap();
        let retried = || {
            let error = if held {
                let options = CallOptions::default();
                channel.start::<_, EchoResponse>(echo_method(), options, &request("x")).join().unwrap_err()
            } else {
                call(&channel, "x").unwrap_err()
            };
            let is_denied = error.text().ends_with("retry budget is used up)");
            (error.call().unwrap().retried_count, is_denied)
        };
        assert_eq!(retried(), (2, true));
        assert_eq!((retried(), retried(), retried()), ((0, true), (1, true), (0, true)));
    }
    let error = call(&build(RetryBudget::unlimited()).unwrap(), "x").unwrap_err();
    assert_eq!(error.call().unwrap().retried_count, 3);
    assert!(build(RetryBudget::new(-1.0, 0)).is_err());
    // What was never sent costs nothing.
    // On an address of its own, whose ports no other test is given.
    let nobody = std::net::TcpListener::bind("127.0.77.1:0").unwrap().local_addr().unwrap();
    let channel = Channel::builder().timeout(LONG).retry_budget(RetryBudget::new(0.0, 0));
    let error = call(&channel.connect(nobody).unwrap(), "x").unwrap_err();
    assert_eq!((error.code(), error.call().unwrap().retried_count), (EHOSTDOWN, 3));
}

#[test]
fn attachments_and_ids_are_the_same_in_each_attempt() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let see = seen.clone();
    let peer = Peer::new(move |connection| {
        while let Some(request) = connection.request() {
            let meta = request.meta.request.clone().unwrap();
            see.lock().unwrap().push((meta.log_id, meta.request_id, request.meta.attachment_size));
            if connection.number == 0 {
                return;
            }
            connection.answer(&request, "x");
        }
    });
    let options =
        CallOptions::default().log_id(7).request_id("r").request_attachment(iobuf::IoBuf::from("abc"));
    call_with(&peer.channel(), options, &request("x")).unwrap();
    let one = (Some(7), "r".to_owned(), 3);
    assert_eq!(*seen.lock().unwrap(), [one.clone(), one]);
}

#[test]
fn a_call_that_may_be_tried_for_ever_does_not_do_nothing_else() {
    // On an address of its own, whose ports no other test is given.
    let nobody = std::net::TcpListener::bind("127.0.77.1:0").unwrap().local_addr().unwrap();
    let channel = Channel::builder().timeout(Duration::from_millis(200)).max_retry(u32::MAX);
    let channel = channel.connect(nobody).unwrap();
    let inside = channel.clone();
    let start = || channel.start::<_, EchoResponse>(echo_method(), CallOptions::default(), &request("x"));
    let errors = [
        call(&channel, "x").unwrap_err(),
        bthread::spawn(move || call(&inside, "x").unwrap_err()).join().unwrap(),
        start().join().unwrap_err(),
    ];
    for error in errors {
        // 16 at once, and one every 10 ms.
        let retried = error.call().unwrap().retried_count;
        assert!(retried > 0 && retried < 16 + 22, "{retried}");
    }
}
