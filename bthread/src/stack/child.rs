//! Runs the dangerous half of a test in a process of its own: one that dies, or that uses up a limit.

use std::process::{Command, Output, exit};

const WHICH: &str = "BTHREAD_TEST_IN_CHILD";

/// Runs `body` in a new process and returns what became of that. `module` is the caller's `module_path!()`
/// and `test` the name of the calling test, which must do nothing of account before it calls this: the child
/// is the test program again, told to run that one test, and it gets no further than here.
pub(crate) fn in_child(module: &str, test: &str, body: impl FnOnce()) -> Output {
    let (_, path) = module.split_once("::").expect("a test is in a module");
    let name = format!("{path}::{test}");
    if std::env::var_os(WHICH).is_some_and(|which| which == *name) {
        body();
        exit(0);
    }
    let program = std::env::current_exe().expect("the test program has a path");
    let output = Command::new(program)
        .args([&name, "--exact", "--nocapture", "--test-threads=1"])
        .env(WHICH, &name)
        .output()
        .expect("the test program starts again");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("running 1 test"), "no test is called {name}: {printed}");
    output
}

/// What the child wrote to its standard error.
pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
