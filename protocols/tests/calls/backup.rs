//! Calls that are sent a second time while they wait.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpc::client::{BackupRequestPolicy, CallReport, RateLimitedBackup, RateLimitedBackupOptions};
use rpc::error::{EEOF, ERPCTIMEDOUT};
use rpc::{CallOptions, MethodDescriptor, RpcError};

use crate::peer::{Connection, Peer, Request};
use crate::support::{Channel, EchoResponse, LONG, call, call_with, echo_method, request};

const SOON: Duration = Duration::from_millis(5);

fn backed_up() -> CallOptions {
    CallOptions::default().backup_request(SOON)
}

/// Gathers two requests of a connection at a time, and has them answered by a function.
fn in_pairs(answer: impl Fn(&mut Connection, [Request; 2]) + Send + Sync + 'static) -> Peer {
    Peer::new(move |connection| {
        while let Some(first) = connection.request() {
            let Some(second) = connection.request() else { return };
            answer(connection, [first, second]);
        }
    })
}

#[test]
fn the_first_success_counts_and_the_other_answer_changes_nothing() {
    let peer = in_pairs(|connection, [first, second]| {
        assert_eq!(first.message, second.message);
        assert_ne!(first.meta.correlation_id, second.meta.correlation_id);
        connection.answer(&second, &format!("second {}", second.message));
        connection.answer(&first, &format!("first {}", first.message));
    });
    let channel = peer.channel();
    for round in 0..50 {
        let message = round.to_string();
        let reply = call_with(&channel, backed_up(), &request(&message)).unwrap();
        assert_eq!(reply.message.message, format!("second {message}"));
        assert!(reply.has_backup_request && reply.retried_count == 1);
    }
    let started = channel.start::<_, EchoResponse>(echo_method(), backed_up(), &request("x"));
    assert_eq!(started.join().unwrap().message, "second x");
    assert_eq!(peer.connections(), 1, "it goes over the connection that all share");
}

#[test]
fn a_failed_half_waits_for_the_other() {
    let peer = in_pairs(|connection, [first, second]| {
        connection.fail(&second, 1234, "not this one");
        connection.answer(&first, "slow and good");
    });
    let reply = call_with(&peer.channel(), backed_up(), &request("x")).unwrap();
    assert_eq!(reply.message.message, "slow and good");
    let peer = in_pairs(|connection, [first, second]| {
        connection.fail(&first, 1234, "neither");
        connection.fail(&second, 1235, "nor");
    });
    let error = call_with(&peer.channel(), backed_up(), &request("x")).unwrap_err();
    assert_eq!(error.to_string(), "[E1234]neither [R1][E1235]nor");
    let report = error.call().unwrap();
    assert_eq!((report.retried_count, report.has_backup_request), (1, true));
}

#[test]
fn both_halves_lost_is_one_failure_that_is_tried_again() {
    // The first two requests are lost together with their connection.
    let peer = Peer::new(|connection| {
        if connection.number == 0 {
            connection.request();
            connection.request();
            return;
        }
        while let Some(request) = connection.request() {
            connection.answer(&request, "at last");
        }
    });
    let reply = call_with(&peer.channel(), backed_up(), &request("x")).unwrap();
    assert_eq!((reply.message.message.as_str(), reply.retried_count), ("at last", 2));
    let peer = Peer::new(|connection| {
        connection.request();
        connection.request();
    });
    let error = call_with(&peer.channel(), backed_up().max_retry(1), &request("x")).unwrap_err();
    assert_eq!((error.code(), error.call().unwrap().retried_count), (EEOF, 1));
}

#[test]
fn a_connection_of_its_own_is_not_shared_with_the_backup() {
    for kind in ["pooled", "short"] {
        let peer = Peer::new(|connection| {
            let Some(request) = connection.request() else { return };
            match connection.number {
                // The first one is never answered, but closed by the client.
                0 => assert!(connection.request().is_none()),
                _ => connection.answer(&request, "other"),
            }
        });
        let channel = Channel::builder().connection_type(kind).timeout(LONG).backup_request(SOON);
        assert_eq!(call(&channel.connect(&peer.address).unwrap(), "x").unwrap(), "other");
        assert_eq!(peer.connections(), 2);
    }
}

#[test]
fn no_backup_is_sent_that_makes_no_sense() {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = requests.clone();
    let peer = Peer::new(move |connection| {
        while connection.request().is_some() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let channel = Channel::builder().backup_request(SOON).connect(&peer.address).unwrap();
    let soon = |options: CallOptions| {
        let error = call_with(&channel, options.timeout(4 * SOON), &request("x")).unwrap_err();
        assert_eq!(error.code(), ERPCTIMEDOUT);
        assert!(!error.call().unwrap().has_backup_request);
    };
    soon(CallOptions::default().max_retry(0));
    soon(CallOptions::default().backup_request(Duration::MAX));
    soon(CallOptions::default().backup_request(4 * SOON)); // not before the deadline
    let mut seen = 0;
    while seen < 3 {
        std::thread::yield_now();
        seen = requests.load(Ordering::SeqCst);
    }
    let error = call_with(&channel, CallOptions::default().timeout(20 * SOON), &request("x")).unwrap_err();
    assert!(error.call().unwrap().has_backup_request);
    assert!(error.text().starts_with("[R1][E1008]Reached timeout=100ms @"), "{error}");
    while requests.load(Ordering::SeqCst) < 5 {
        std::thread::yield_now();
    }
}

#[derive(Default)]
struct Policy {
    allows: bool,
    asked: AtomicUsize,
    ends: Mutex<Vec<(bool, Option<i32>)>>,
}

impl BackupRequestPolicy for Policy {
    fn backup_request_after(&self, method: &'static MethodDescriptor) -> Option<Duration> {
        assert_eq!(method.name, "Echo");
        Some(SOON)
    }

    fn do_backup(&self, _: &'static MethodDescriptor) -> bool {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.allows
    }

    fn on_rpc_end(&self, _: &'static MethodDescriptor, report: &CallReport, error: Option<&RpcError>) {
        let end = (report.has_backup_request, error.map(|error| error.code().get()));
        self.ends.lock().unwrap().push(end);
    }
}

#[test]
fn a_policy_decides_and_is_told_of_every_end() {
    let policy = Arc::new(Policy { allows: true, ..Policy::default() });
    let peer = in_pairs(|connection, [_, second]| connection.answer(&second, "second"));
    let channel = Channel::builder().timeout(LONG).backup_request_policy(policy.clone());
    assert_eq!(call(&channel.connect(&peer.address).unwrap(), "x").unwrap(), "second");
    assert_eq!(*policy.ends.lock().unwrap(), [(true, None)]);

    let denies = Arc::new(Policy::default());
    let peer = Peer::new(|connection| while connection.request().is_some() {});
    let options = CallOptions::default().backup_request_policy(denies.clone()).timeout(20 * SOON);
    let error = call_with(&peer.channel(), options, &request("x")).unwrap_err();
    assert!(!error.call().unwrap().has_backup_request);
    assert_eq!(denies.asked.load(Ordering::SeqCst), 1);
    assert_eq!(*denies.ends.lock().unwrap(), [(false, Some(1008))]);
}

#[test]
fn the_rate_limited_policy_inherits_the_time_of_the_channel() {
    let policy = RateLimitedBackup::new(RateLimitedBackupOptions::default()).unwrap();
    let peer = in_pairs(|connection, [_, second]| connection.answer(&second, "second"));
    let channel = Channel::builder().timeout(LONG).backup_request(SOON).backup_request_policy(policy);
    assert_eq!(call(&channel.connect(&peer.address).unwrap(), "x").unwrap(), "second");
}
