//! Code of the user that a page asks, and that fails.

use std::sync::{Arc, Mutex};

use bobbin::bvar::{PassiveStatus, Variable};
use bobbin::rpc::builtin::Health;
use bobbin::{PageOptions, Server};
use bobbin_tests::HttpPeer;

use super::builder;

fn connect(server: &Server) -> HttpPeer {
    HttpPeer::connect(&server.local_addr().to_string())
}

#[test]
fn a_reporter_of_health_that_panics_ends_one_request() {
    let pages = PageOptions::new().health(|| -> Health { panic!("at the reporter") });
    let server = builder().pages(pages).start("127.0.0.1:0").unwrap();
    let mut peer = connect(&server);
    for _ in 0..3 {
        assert_eq!(peer.get("/health").status, 500);
    }
    assert_eq!(peer.get("/version").status, 200);
}

#[test]
fn a_reporter_of_health_that_blocks_its_thread_holds_up_nobody_else() {
    let gate = Arc::new(Mutex::new(()));
    let shut = gate.lock().unwrap();
    let reporter = gate.clone();
    let pages = PageOptions::new().health(move || {
        drop(reporter.lock().unwrap());
        Health { status: 200, text: "late".to_owned() }
    });
    let server = builder().pages(pages).start("127.0.0.1:0").unwrap();
    let mut other = connect(&server);
    std::thread::scope(|scope| {
        let late: Vec<_> = (0..8)
            .map(|_| {
                let mut peer = connect(&server);
                scope.spawn(move || peer.get("/health").text())
            })
            .collect();
        for _ in 0..100 {
            assert_eq!(other.get("/version").status, 200);
        }
        drop(shut);
        for late in late {
            assert_eq!(late.join().unwrap(), "late");
        }
    });
}

#[test]
fn a_variable_that_panics_is_left_out() {
    let bad = PassiveStatus::new(|| -> i64 { panic!("at the variable") });
    let _bad = bad.expose("faults_test_bad").unwrap();
    let _good = PassiveStatus::new(|| 7).expose("faults_test_good").unwrap();
    let server = builder().start("127.0.0.1:0").unwrap();
    let mut peer = connect(&server);
    for path in ["/vars", "/vars/faults_test_*", "/metrics", "/status", "/brpc_metrics"] {
        let (text, page) = (peer.get(path), peer.browse(path));
        assert_eq!((text.status, page.status), (200, 200), "{path}");
    }
    assert!(peer.get("/vars/faults_test_*").text().contains("faults_test_good : 7"));
}
