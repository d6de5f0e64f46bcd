//! How a server leaves when the process is asked to: it drains and exits with 0, however early the signal comes; a
//! second signal ends it at once. Each test runs itself again as a child, which gets the signals.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use bobbin::{Channel, watch_quit_signals};
use bobbin_examples::example::{EchoRequest, EchoStub};
use bobbin_tests::start_server;

const CHILD: &str = "SERVE_IN_A_CHILD";

/// What the child does.
fn serve() {
    watch_quit_signals().unwrap();
    let (server, _gate_stays_shut) = start_server();
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nlistening on {}", server.local_addr()).unwrap();
    out.flush().unwrap();
    drop(out);
    server.run_until_asked_to_quit();
    std::process::exit(0);
}

fn start_child(test: &str) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address =
        lines.find_map(|line| line.unwrap().strip_prefix("listening on ").map(str::to_owned)).unwrap();
    // The pipe stays open: the child must not die of writing to it.
    std::thread::spawn(move || lines.for_each(drop));
    (child, address)
}

fn signal(child: &Child, name: &str) {
    let kill = format!("kill -{name} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

/// Returns when the server has begun with the one call that was made before.
fn wait_until_it_runs(echo: &EchoStub) {
    let asked = |_: &i32| {
        let reply = echo.echo(&EchoRequest { message: "started".into(), sleep_us: None }).unwrap();
        reply.message.parse::<i32>().unwrap()
    };
    // Each question counts itself for the next one.
    (0..).find(|n| asked(n) > *n).unwrap();
}

fn end(mut child: Child) -> ExitStatus {
    child.wait().unwrap()
}

#[test]
fn a_signal_right_after_the_start_is_a_wish_to_quit() {
    if std::env::var_os(CHILD).is_some() {
        serve();
    }
    for name in ["TERM", "INT"].into_iter().cycle().take(20) {
        let (child, _) = start_child("a_signal_right_after_the_start_is_a_wish_to_quit");
        signal(&child, name);
        assert_eq!(end(child).code(), Some(0));
    }
}

#[test]
fn what_runs_is_answered_first() {
    if std::env::var_os(CHILD).is_some() {
        serve();
    }
    let (child, address) = start_child("what_runs_is_answered_first");
    let channel = Channel::builder().timeout(Duration::from_secs(30)).connect(&address).unwrap();
    let echo = EchoStub::new(&channel);
    let slow = echo.start_echo(&EchoRequest { message: "slow".into(), sleep_us: Some(200_000) });
    wait_until_it_runs(&echo);
    signal(&child, "TERM");
    assert_eq!(slow.join().unwrap().message, "slow");
    assert_eq!(end(child).code(), Some(0));
}

#[test]
fn a_second_signal_ends_what_never_would() {
    if std::env::var_os(CHILD).is_some() {
        serve();
    }
    let (child, address) = start_child("a_second_signal_ends_what_never_would");
    let channel = Channel::builder().timeout(Duration::from_secs(30)).max_retry(0).connect(&address).unwrap();
    let echo = EchoStub::new(&channel);
    let stuck = echo.start_echo(&EchoRequest { message: "gate".into(), sleep_us: None });
    wait_until_it_runs(&echo);
    signal(&child, "TERM");
    // The first signal has arrived when the server takes no more calls.
    while echo.echo(&EchoRequest { message: "more".into(), sleep_us: None }).is_ok() {}
    signal(&child, "TERM");
    assert_eq!(end(child).code(), None, "killed by the signal");
    assert!(stuck.join().is_err());
}
