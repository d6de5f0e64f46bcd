//! A server that has run out of descriptors, in a process of its own whose limit is low.

mod support;

use std::fs::File;
use std::process::Command;

use support::{call, connect, exchange, raw, start};

const PLAIN: &[u8] = include_bytes!("../src/baidu_std/testdata/plain.req.bin");
const IN_CHILD: &str = "BOBBIN_TEST_FEW_DESCRIPTORS";

#[test]
fn connections_wait_until_there_are_descriptors_again() {
    if std::env::var_os(IN_CHILD).is_some() {
        return run_out_of_descriptors();
    }
    let test = std::env::current_exe().unwrap();
    let child = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 64 && exec \"$0\" --exact connections_wait_until_there_are_descriptors_again",
        ])
        .arg(test)
        .env(IN_CHILD, "1")
        .status()
        .unwrap();
    assert!(child.success());
}

fn run_out_of_descriptors() {
    let server = start();
    let channel = connect(&server);
    assert_eq!(call(&channel, "before").unwrap(), "before");
    let mut files: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    // One for the client's end; there is none for the server's.
    files.pop().unwrap();
    let mut waiting = raw(&server);
    assert!(File::open("/dev/null").is_err());
    assert_eq!(call(&channel, "meanwhile").unwrap(), "meanwhile");
    assert_eq!(server.connection_count(), 1);
    files.clear();
    assert_eq!(exchange(&mut waiting, PLAIN, 42).len(), 42);
    assert_eq!(server.connection_count(), 2);
}
