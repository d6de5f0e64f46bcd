//! Peers that do not take what they have asked for.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use protocols::http::{HttpCall, HttpService};

use super::support::{LONG, Server, connect, read_answer};

const ANSWERS: usize = 500;
const ANSWER: usize = 60_000;

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// A request is only begun when most of the answers before it are taken: else a flood of short requests would be a flood
/// of long answers in memory. Over a Unix socket, as its buffers in the kernel are small.
#[test]
fn no_request_is_begun_while_the_answers_before_it_are_not_taken() {
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = begun.clone();
    let service = HttpService::new("Web").get("/hello", |_| "hello").get("/long", move |_| {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        format!("{number:0ANSWER$}")
    });
    let path = std::env::temp_dir().join(format!("bobbin-slow-{}", std::process::id()));
    let _server: Server = Server::builder().add(service).start(format!("unix:{}", path.display())).unwrap();
    let connect = || {
        let stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    };
    let mut stream = connect();
    stream.write_all(get("/long").repeat(ANSWERS).as_bytes()).unwrap();
    let mut bystander = connect();
    for _ in 0..2000 {
        bystander.write_all(get("/hello").as_bytes()).unwrap();
        assert_eq!(read_answer(&mut bystander, false).text(), "hello");
    }
    // 1 MiB with the server, the rest in the kernel.
    let begun = begun.load(Ordering::Relaxed);
    assert!(begun > 1 && begun * ANSWER < 2 << 20, "{begun} answers are in memory");
    // As they are taken it goes on to the last, in order.
    for number in 0..ANSWERS {
        assert_eq!(read_answer(&mut stream, false).text().parse(), Ok(number));
    }
    let _ = std::fs::remove_file(&path);
}

const TIMEOUT: Duration = Duration::from_secs(2);

/// A server that gives up soon, and says so when it has given up an answer that never ends.
fn impatient() -> (Server, mpsc::Receiver<Instant>) {
    let (sender, given_up) = mpsc::channel();
    let service = HttpService::new("Web").route_with_call("/endless", move |call, _| {
        let body = call.progressive().expect("it is the first");
        let sender = sender.clone();
        body.on_stopped(move || sender.send(Instant::now()).unwrap());
        bthread::spawn(move || {
            let part = "x".repeat(ANSWER);
            while body.write(part.clone()).is_ok() && body.wait_for_room(ANSWER, None).is_ok() {}
        });
        ""
    });
    let mut limits = rpc::Limits::default();
    limits.slow_message_timeout = TIMEOUT;
    (Server::builder().add(service).limits(limits).start("127.0.0.1:0").unwrap(), given_up)
}

#[test]
fn a_peer_that_takes_nothing_loses_its_connection() {
    let (server, given_up) = impatient();
    let mut stream = connect(&server);
    let asked = Instant::now();
    stream.write_all(get("/endless").as_bytes()).unwrap();
    let taken = given_up.recv_timeout(LONG).unwrap().duration_since(asked);
    assert!(taken > TIMEOUT, "{taken:?}");
}

#[test]
fn a_peer_that_takes_little_at_a_time_keeps_its_connection() {
    while !keeps_its_connection() {}
}

/// False if this machine was so busy that the peer took nothing for as long as the server waits.
fn keeps_its_connection() -> bool {
    let (server, _given_up) = impatient();
    let mut stream = connect(&server);
    stream.write_all(get("/endless").as_bytes()).unwrap();
    let begun = Instant::now();
    let mut taken = begun;
    while begun.elapsed() < 2 * TIMEOUT {
        if let Err(error) = take(&mut stream, 64 * ANSWER) {
            assert!(taken.elapsed() > TIMEOUT, "{error} after {:?}", begun.elapsed());
            return false;
        }
        taken = Instant::now();
    }
    true
}

fn take(stream: &mut TcpStream, size: usize) -> std::io::Result<()> {
    stream.read_exact(&mut vec![0; size])
}
