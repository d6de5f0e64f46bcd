//! No descriptors left, in a process of its own whose limit is low: calls that need a new connection fail and say why,
//! the others go on, and all is well when there are descriptors again.

use std::fs::File;
use std::process::Command;
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};

use bobbin::{CallOptions, ErrorCode, error};
use bobbin_tests::start_server;

use crate::{request, stub, until_it_works};

const CHILD: &str = "FAULTS_FEW_DESCRIPTORS";

/// Enough for the runtime, a server and a few connections.
const DESCRIPTORS: u64 = 64;

#[test]
fn a_client_without_descriptors_says_so_and_recovers() {
    if std::env::var_os(CHILD).is_some() {
        return run_out();
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "descriptors::a_client_without_descriptors_says_so_and_recovers", "--nocapture"])
        .env(CHILD, "1")
        .status()
        .unwrap();
    assert!(child.success());
}

fn run_out() {
    setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, DESCRIPTORS).unwrap();
    let (server, _gate) = start_server();
    let address = server.local_addr().to_string();
    let (single, pooled, short) =
        (stub(&address, "single"), stub(&address, "pooled"), stub(&address, "short"));
    for echo in [&single, &pooled, &short] {
        echo.echo(&request("before")).unwrap();
    }
    let take = || std::iter::from_fn(|| File::open("/dev/null").ok());
    let mut files: Vec<_> = take().collect();
    // Who has a connection goes on.
    assert_eq!(single.echo(&request("meanwhile")).unwrap().message, "meanwhile");
    assert_eq!(pooled.echo(&request("meanwhile")).unwrap().message, "meanwhile");
    // The ends of the short connections before may be given back meanwhile; then a call finds one, or two.
    let brief = || CallOptions::default().timeout(Duration::from_millis(50));
    let error = loop {
        match short.echo_with(brief(), &request("without")) {
            Err(error) if error.code() != error::ERPCTIMEDOUT => break error,
            _ => files.extend(take()),
        }
    };
    assert_eq!(error.code(), ErrorCode::from(libc::EMFILE), "{error}");
    assert!(error.text().contains(&address), "{error}");
    // One: the client has its end, and the server's waits to be accepted. A connection that could not be made has
    // everybody wait a little.
    loop {
        files.extend(take());
        files.pop().unwrap();
        let waiting = short.echo_with(brief(), &request("waiting"));
        if waiting.is_err_and(|error| error.code() == error::ERPCTIMEDOUT) {
            break;
        }
    }
    assert_eq!(single.echo(&request("meanwhile")).unwrap().message, "meanwhile");
    files.clear();
    for echo in [&single, &pooled, &short] {
        until_it_works(echo);
    }
}
