//! Many connections with mixed requests at once: each gets all of its answers, whole and in order, whatever the others
//! do, and the server comes to an end.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use http::Request;
use iobuf::IoBuf;
use protocols::http::{HttpCall, HttpService};
use rpc::error::EREQUEST;
use rpc::{RpcError, Service, ServiceOptions};

use super::support::{LONG, Server, connect, read_answer};

const CONNECTIONS: usize = 64;
const REQUESTS: usize = 40;
const PARTS: usize = 5;
/// Larger than what a kernel takes at once from a connection that is not read.
const LARGE: usize = 300 << 10;

fn start() -> Server {
    let number = |request: &Request<IoBuf>| request.uri().query().unwrap_or_default().to_owned();
    let service = HttpService::new("Mix")
        .get("/plain", move |request| number(&request))
        .route_with_call("/upload", move |call, request: Request<IoBuf>| {
            let number = number(&request);
            let mut size = request.into_body().len();
            if let Some(mut body) = call.take_body() {
                while let Some(part) = body.read(None)? {
                    size += part.len();
                }
            }
            Ok::<_, RpcError>(format!("{number} {size}"))
        })
        .route_with_call("/early", move |call, request: Request<IoBuf>| {
            drop(call.take_body());
            number(&request)
        })
        .route_with_call("/parts", move |call, request: Request<IoBuf>| {
            let body = call.progressive().expect("it is the first");
            let number = number(&request);
            bthread::spawn(move || {
                for part in 0..PARTS {
                    // Nobody may be there any more.
                    let _ = body.write(format!("{number}/{part} "));
                    bthread::yield_now();
                }
            });
            ""
        })
        .route_with_call("/flood", move |call, request: Request<IoBuf>| {
            let body = call.progressive().expect("it is the first");
            let number = number(&request);
            thread::spawn(move || {
                for _ in 0..LARGE / (32 << 10) {
                    if body.wait_for_room(64 << 10, None).is_err() {
                        return;
                    }
                    let _ = body.write(vec![b'x'; 32 << 10]); // as above
                }
                let _ = body.write(number);
            });
            ""
        })
        .route_with_call("/fail", |call, _: Request<IoBuf>| {
            let body = call.progressive().expect("it is the first");
            thread::spawn(move || while body.write("never seen").is_ok() {});
            Err::<&str, _>(RpcError::new(EREQUEST, "no"))
        });
    let options: ServiceOptions = service.options().enable_progressive_read(true);
    Server::builder().add_with(service, options).start("127.0.0.1:0").unwrap()
}

/// What is sent as request `number` of kind `kind`, and what the answer says.
fn request(kind: usize, number: usize) -> (String, String) {
    let head =
        |path: &str, fields: &str| format!("POST /{path}?{number} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let chunked = "Transfer-Encoding: chunked\r\n";
    let body = |size: usize| format!("{size:x}\r\n{}\r\n0\r\n\r\n", "b".repeat(size));
    match kind {
        0 => (format!("GET /plain?{number} HTTP/1.1\r\nHost: a\r\n\r\n"), number.to_string()),
        1 => (head("upload", chunked) + &body(10 + number), format!("{number} {}", 10 + number)),
        2 => (head("upload", chunked) + &body(LARGE), format!("{number} {LARGE}")),
        3 => (head("early", chunked) + &body(100 << 10), number.to_string()),
        4 => (head("upload", "Content-Length: 3\r\n") + "abc", format!("{number} 3")),
        5 => {
            let parts = (0..PARTS).map(|part| format!("{number}/{part} ")).collect();
            (format!("GET /parts?{number} HTTP/1.1\r\nHost: a\r\n\r\n"), parts)
        }
        6 => {
            let large = "x".repeat(LARGE / (32 << 10) * (32 << 10));
            (format!("GET /flood?{number} HTTP/1.1\r\nHost: a\r\n\r\n"), large + &number.to_string())
        }
        _ => (format!("GET /fail?{number} HTTP/1.1\r\nHost: a\r\n\r\n"), String::new()),
    }
}

/// Numbers that look random (xorshift64, Marsaglia).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// Writes requests in pieces of any size from a thread of its own, and looks at the answers.
fn converse(stream: &TcpStream, mut random: Random) {
    let kinds: Vec<usize> = (0..REQUESTS).map(|_| random.below(8)).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            let all: String =
                kinds.iter().enumerate().map(|(number, kind)| request(*kind, number).0).collect();
            let mut rest = all.as_bytes();
            while !rest.is_empty() {
                let most = [1, 100, 10_000, 1_000_000][random.below(4)];
                let (piece, behind) = rest.split_at(rest.len().min(1 + random.below(most)));
                (&*stream).write_all(piece).unwrap();
                rest = behind;
            }
            stream.shutdown(Shutdown::Write).unwrap();
        });
        let mut answers = BufReader::new(stream);
        for (number, kind) in kinds.iter().enumerate() {
            let answer = read_answer(&mut answers, false);
            if *kind == 7 {
                assert_eq!(answer.status(), 400);
            } else {
                assert!(
                    answer.text() == request(*kind, number).1,
                    "answer {number} to a request of kind {kind}"
                );
            }
        }
        assert_eq!(answers.read(&mut [0]).unwrap(), 0, "nothing comes behind the last answer");
    });
}

/// Goes away in the middle.
fn vanish(stream: &TcpStream, mut random: Random) {
    let all: String = (0..4).map(|number| request(random.below(8), number).0).collect();
    let (some, _) = all.as_bytes().split_at(1 + random.below(all.len()));
    let soon = Some(Duration::from_millis(50));
    stream.set_write_timeout(soon).unwrap();
    stream.set_read_timeout(soon).unwrap();
    let _ = (&*stream).write_all(some); // the server need not take it all
    let _ = (&*stream).read(&mut vec![0; 1 + random.below(1000)]);
}

#[test]
fn all_answers_come_whole_and_in_order() {
    let server = start();
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let (server, done) = (&server, &done);
            scope.spawn(move || {
                let random = Random(0x9e37_79b9_7f4a_7c15 ^ ((connection as u64 + 1) << 20));
                let stream = connect(server);
                if connection % 4 == 3 {
                    vanish(&stream, random);
                } else {
                    converse(&stream, random);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(done.into_inner(), CONNECTIONS * 3 / 4);
    let (ended, has_ended) = std::sync::mpsc::channel();
    thread::spawn(move || {
        server.join();
        ended.send(server.connection_count()).unwrap();
    });
    assert_eq!(has_ended.recv_timeout(LONG), Ok(0), "the server ends");
}
