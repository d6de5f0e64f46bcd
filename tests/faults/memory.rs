//! No more memory, in a process of its own that may not have more: what needs it waits or is refused, and the process
//! lives. What needs memory for a call is its stack, once it waits, and its bytes. The first is the system's to refuse, and
//! the server puts up with that. The second no allocator of Rust's may refuse, so that a server bounds it beforehand: by
//! `max_body_size`, `max_concurrency` and `max_connections`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use nix::sys::resource::{Resource, setrlimit};

use bobbin::{CallOptions, IoBuf, Limits, error};
use bobbin_examples::example::{EchoRequest, EchoServer};
use bobbin_tests::{Gate, TestEcho};

use crate::{is_lost, request, stub};

const CHILD: &str = "FAULTS_LITTLE_MEMORY";

/// What the server may have beyond what it has when it begins.
const ROOM: u64 = 64 << 20;

/// The largest message that it takes.
const MAX_BODY_SIZE: usize = 256 << 10;

/// Calls that it runs at a time, where it is to bound their bytes.
const MAX_CONCURRENCY: usize = 32;

/// Its connections.
const MAX_CONNECTIONS: usize = 64;

/// Calls at a time whose stacks it has no room for.
const SLEEPERS: usize = 600;

/// What the child does until it is told to end.
fn serve(max_concurrency: usize) {
    let mut limits = Limits::default();
    limits.max_body_size = MAX_BODY_SIZE;
    limits.max_unwritten_bytes = 1 << 20;
    let echo = EchoServer::new(TestEcho { gate: Gate::new() });
    let server = bobbin::Server::builder()
        .add(echo)
        .limits(limits)
        .max_concurrency(max_concurrency)
        .max_connections(MAX_CONNECTIONS)
        .start("127.0.0.1:0")
        .unwrap();
    // One call, so that all threads are there.
    let address = server.local_addr().to_string();
    stub(&address, "single").echo(&request("before")).unwrap();
    while !threads_have_begun() {
        std::thread::yield_now();
    }
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let now = statm.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096;
    setrlimit(Resource::RLIMIT_AS, now + ROOM, now + ROOM).unwrap();
    println!("\nlistening on {address}");
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read_line(&mut String::new());
    std::process::exit(0);
}

/// Whether all other threads sleep, under names of their own: one that has just been started has that of who started it,
/// and needs memory before it gets another.
fn threads_have_begun() -> bool {
    let name = |task: &str| std::fs::read_to_string(format!("/proc/{task}/comm")).unwrap_or_default();
    let own = name("thread-self");
    let mut same = 0;
    let is_asleep = std::fs::read_dir("/proc/self/task").unwrap().all(|task| {
        let task = format!("self/task/{}", task.unwrap().file_name().to_str().unwrap());
        let is_same = name(&task) == own;
        same += usize::from(is_same);
        let stat = std::fs::read_to_string(format!("/proc/{task}/stat")).unwrap_or_default();
        is_same || stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('S'))
    });
    is_asleep && same == 1
}

fn start_child(test: &str) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address =
        lines.find_map(|line| line.unwrap().strip_prefix("listening on ").map(str::to_owned)).unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    (child, address)
}

fn end(mut child: Child) {
    assert!(child.try_wait().unwrap().is_none(), "the server has died");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_server_without_room_for_stacks_answers_or_refuses_and_lives() {
    if std::env::var_os(CHILD).is_some() {
        return serve(usize::MAX);
    }
    let (child, address) =
        start_child("memory::a_server_without_room_for_stacks_answers_or_refuses_and_lives");
    let echo = stub(&address, "single");
    let sleepy = EchoRequest { message: "sleep".into(), sleep_us: Some(100_000) };
    let calls: Vec<_> = (0..SLEEPERS).map(|_| echo.start_echo(&sleepy)).collect();
    let mut answered = 0;
    for call in calls {
        match call.join() {
            Ok(_) => answered += 1,
            Err(error) => {
                assert!(matches!(error.code(), error::ELIMIT | error::EINTERNAL), "{error}");
            }
        }
    }
    println!("{answered} of {SLEEPERS} answered");
    assert!(answered > 0);
    assert_eq!(echo.echo(&request("after")).unwrap().message, "after");
    end(child);
}

#[test]
fn a_server_that_bounds_the_bytes_of_calls_refuses_and_lives() {
    if std::env::var_os(CHILD).is_some() {
        return serve(MAX_CONCURRENCY);
    }
    let (child, address) = start_child("memory::a_server_that_bounds_the_bytes_of_calls_refuses_and_lives");
    let (mut answered, mut refused, mut lost) = (0, 0, 0);
    let bytes = IoBuf::from(vec![7; MAX_BODY_SIZE - 1024]);
    for _ in 0..3 {
        // More connections than it takes, more calls than it runs, messages as large as they may be, all at once.
        let echo = stub(&address, "short");
        let slow = EchoRequest { message: "slow".into(), sleep_us: Some(20_000) };
        let calls: Vec<_> = (0..3 * MAX_CONNECTIONS)
            .map(|_| {
                let options = CallOptions::default().request_attachment(bytes.clone());
                echo.start_echo_with(options, &slow)
            })
            .collect();
        for call in calls {
            match call.join_reply() {
                Ok(reply) => {
                    assert!(reply.attachment == bytes);
                    answered += 1;
                }
                Err(error) if error.code() == error::ELIMIT => refused += 1,
                Err(error) => {
                    assert!(is_lost(&error), "{error}");
                    lost += 1;
                }
            }
        }
    }
    println!("{answered} answered, {refused} refused, {lost} connections not taken");
    assert!(answered > 0);
    crate::until_it_works(&stub(&address, "single"));
    end(child);
}
