//! The debug pages while servers come, work and go.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use http::Request;
use iobuf::IoBuf;
use protocols::http::HttpService;

use super::support::{Server, ask, connect, read_answer};

const PAGES: &[&str] = &[
    "/",
    "/status",
    "/vars",
    "/vars/rpc_server*?series",
    "/connections",
    "/connections?givemeall=1",
    "/flags",
    "/flags/rpcz*",
    "/rpcz",
    "/rpcz/stats",
    "/fibers",
    "/fibers?st=1",
    "/hotspots/cpu?seconds=1&view=1",
    "/hotspots/history",
    "/pprof/contention?seconds=1",
    "/pprof/symbol",
    "/pprof/cmdline",
    "/brpc_metrics",
    "/metrics",
    "/blocked",
    "/security",
    "/bthreads",
    "/bthreads/all?st=1",
    "/threads",
    "/sockets",
    "/ids",
    "/protobufs",
    "/list",
    "/memory",
    "/dir",
    "/vlog",
    "/version",
    "/health",
];
const READERS: usize = 8;
const ROUNDS: usize = 4;

fn start() -> Server {
    let service = HttpService::new("Web").get("/hello", |_: Request<IoBuf>| "hello");
    Server::builder().add(service).start("127.0.0.1:0").unwrap()
}

/// The answer, or `None` if the server has gone.
fn ask_one_that_may_go(stream: &mut TcpStream, request: &str) -> Option<()> {
    let mut answer = [0; 4096];
    stream.write_all(request.as_bytes()).ok()?;
    match stream.read(&mut answer) {
        Ok(0) => None,
        Ok(_) => Some(()),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn pages_are_served_while_servers_come_and_go() {
    let server = start();
    let done = AtomicBool::new(false);
    let served = AtomicUsize::new(0);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                let (server, served) = (&server, &served);
                scope.spawn(move || {
                    let mut stream = connect(server);
                    for turn in 0..ROUNDS * PAGES.len() {
                        let page = PAGES[(turn * 7 + reader * 5) % PAGES.len()];
                        let agent = if turn % 2 == 0 { "curl/8" } else { "Mozilla/5.0" };
                        let request =
                            format!("GET {page} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: {agent}\r\n\r\n");
                        stream.write_all(request.as_bytes()).unwrap();
                        let answer = read_answer(&mut stream, false);
                        assert_ne!(answer.status(), 500, "{page}: {}", answer.text());
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            let (server, done) = (&server, &done);
            scope.spawn(move || {
                let mut stream = connect(server);
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(ask(&mut stream, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").text(), "hello");
                }
            });
        }
        for _ in 0..2 {
            let done = &done;
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let short = start();
                    let mut stream = connect(&short);
                    let client = thread::spawn(move || {
                        let requests = ["/hello", "/status", "/connections", "/brpc_metrics"];
                        let mut turns = requests.iter().cycle();
                        while let Some(path) = turns.next()
                            && ask_one_that_may_go(
                                &mut stream,
                                &format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
                            )
                            .is_some()
                        {}
                    });
                    thread::yield_now();
                    short.stop();
                    short.join();
                    drop(short);
                    client.join().unwrap();
                }
            });
        }
        let _end = End(&done);
        for reader in readers {
            reader.join().unwrap();
        }
    });
    assert_eq!(served.into_inner(), READERS * ROUNDS * PAGES.len());
}

/// Has the others stop, also if a reader has panicked.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
