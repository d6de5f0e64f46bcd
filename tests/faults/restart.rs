//! A server that is killed under load and comes back: the calls in flight are lost and no others, and everybody finds it
//! again. The server is this test run again as a child.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bobbin::{bthread, error};
use bobbin_examples::example::EchoServer;
use bobbin_tests::{Gate, TestEcho};

use crate::{KINDS, PATIENT, is_lost, request, stub};

const ADDRESS: &str = "FAULTS_SERVE_AT";

/// Callers of each kind of connection.
const CALLERS: usize = 8;

/// How often the server is killed.
const KILLS: usize = 3;

/// What the child does until it is killed.
fn serve(address: &str) -> ! {
    let echo = EchoServer::new(TestEcho { gate: Gate::new() });
    let _server = bobbin::Server::builder().add(echo).start(address).unwrap();
    println!("\nlistening");
    std::io::stdout().flush().unwrap();
    // Ends with its parent as well.
    let _ = std::io::stdin().read_line(&mut String::new());
    std::process::exit(0);
}

fn start_child(address: &str) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "restart::a_server_that_is_killed_under_load_loses_what_was_in_flight",
            "--nocapture",
        ])
        .env(ADDRESS, address)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.find(|line| line.as_ref().unwrap() == "listening").unwrap().unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    child
}

/// What the callers of one kind saw.
#[derive(Default)]
struct Seen {
    answered: AtomicUsize,
    lost: AtomicUsize,
    refused: AtomicUsize,
}

impl Seen {
    fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }
}

#[test]
fn a_server_that_is_killed_under_load_loses_what_was_in_flight() {
    if let Ok(address) = std::env::var(ADDRESS) {
        serve(&address);
    }
    // On an address of its own, whose ports no other test is given.
    let address = TcpListener::bind("127.0.77.2:0").unwrap().local_addr().unwrap().to_string();
    let mut child = start_child(&address);
    let ended = AtomicBool::new(false);
    let seen = KINDS.map(|_| Seen::default());
    std::thread::scope(|threads| {
        for (kind, seen) in KINDS.iter().zip(&seen) {
            let (address, ended) = (&address, &ended);
            threads.spawn(move || {
                bthread::scope(|callers| {
                    for _ in 0..CALLERS {
                        callers.spawn(move || call_on(address, kind, seen, ended));
                    }
                });
            });
        }
        let _end = EndOnDrop(&ended);
        for _ in 0..KILLS {
            let before = seen.each_ref().map(Seen::answered);
            wait("calls are answered", || (0..3).all(|i| seen[i].answered() > before[i] + 100));
            child.kill().unwrap();
            child.wait().unwrap();
            wait("somebody notices", || seen.iter().any(|seen| seen.refused.load(Ordering::Relaxed) > 0));
            child = start_child(&address);
            let (start, down) = (Instant::now(), seen.each_ref().map(Seen::answered));
            for (i, kind) in KINDS.iter().enumerate() {
                wait("the server is found again", || seen[i].answered() > down[i]);
                println!("{kind}: answered {:?} after the server's return", start.elapsed());
            }
        }
    });
    child.kill().unwrap();
    child.wait().unwrap();
    for (kind, seen) in KINDS.iter().zip(&seen) {
        let lost = seen.lost.load(Ordering::Relaxed);
        println!(
            "{kind}: {} answered, {lost} lost, {} refused",
            seen.answered(),
            seen.refused.load(Ordering::Relaxed)
        );
        // A dying process closes its connections before its listener, and who connects in between is lost once more.
        assert!(
            lost <= 2 * KILLS * CALLERS,
            "{kind}: {lost} calls lost in {KILLS} kills of {CALLERS} in flight"
        );
    }
}

struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn wait(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENT, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Calls one after another; a caller that is refused comes again soon.
fn call_on(address: &str, kind: &str, seen: &Seen, ended: &AtomicBool) {
    let echo = stub(address, kind);
    while !ended.load(Ordering::Relaxed) {
        match echo.echo(&request("load")) {
            Ok(reply) => {
                assert_eq!(reply.message, "load");
                seen.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if matches!(error.code(), error::ECONNREFUSED | error::EHOSTDOWN | error::ELIMIT) => {
                seen.refused.fetch_add(1, Ordering::Relaxed);
                bthread::sleep(Duration::from_millis(1));
            }
            Err(error) => {
                assert!(is_lost(&error), "{kind}: {error}");
                seen.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
