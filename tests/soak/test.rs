//! The soak, for as long as a test may take.

use std::process::Command;

#[test]
fn all_faults_at_once_leave_nothing_behind() {
    // Few descriptors, so that they run out now and then.
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 512 && exec \"$0\" --secs 20", env!("CARGO_BIN_EXE_soak")])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}
