//! A bthread that overflows its stack ends the process with a message that names it, as a thread would. The test
//! runs itself again as a child, which dies.

use std::hint::black_box;
use std::process::Command;

use bobbin::bthread;

const CHILD: &str = "OVERFLOW_IN_A_CHILD";

fn descend(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { descend(black_box(depth + 1)) + frame[(depth % 64) as usize] }
}

#[test]
fn an_overflow_names_the_bthread() {
    if std::env::var_os(CHILD).is_some() {
        let _ = bthread::Builder::new().name("deep one").spawn(|| descend(0)).unwrap().join();
        unreachable!("the overflow ends the process");
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "an_overflow_names_the_bthread", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("'deep one'") && text.contains("overflowed its stack"), "{text}");
}
