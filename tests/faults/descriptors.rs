//! No descriptors left, in a process of its own whose limit is low: calls that need a new connection fail and say why,
//! the others go on, and all is well when there are descriptors again.

use std::fs::File;
use std::process::Command;

use nix::sys::resource::{Resource, setrlimit};

use bobbin::ErrorCode;
use bobbin_tests::start_server;

use crate::{eventually, request, stub};

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
    eventually("the short connection is gone", || server.connection_count() == 2);
    let mut files: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    // Who has a connection goes on.
    assert_eq!(single.echo(&request("meanwhile")).unwrap().message, "meanwhile");
    assert_eq!(pooled.echo(&request("meanwhile")).unwrap().message, "meanwhile");
    let error = short.echo(&request("without")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::from(libc::EMFILE), "{error}");
    assert!(error.text().contains(&address), "{error}");
    // One: the client has its end, and the server's waits to be accepted.
    files.pop().unwrap();
    let waiting = short.start_echo(&request("waiting"));
    assert_eq!(single.echo(&request("meanwhile")).unwrap().message, "meanwhile");
    files.clear();
    assert_eq!(waiting.join().unwrap().message, "waiting");
    for echo in [&single, &pooled, &short] {
        assert_eq!(echo.echo(&request("after")).unwrap().message, "after");
    }
}
