//! What real peers sent, cut off anywhere, and with any byte of it wrong, to both ends of real connections: each is closed
//! or answered, each call ends by itself, nothing panics, and the process stays as large as it was.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rpc::error::ERPCTIMEDOUT;
use support::{AsyncEcho, Channel, EchoResponse, LONG, Server, call, resident};

/// What this process may grow by.
const GROWTH_MAX: usize = 64 << 20;

/// Connections at a time.
const THREADS: usize = 4;

/// The correlation id of the first call of a captured process, 0x1_0000_0002, with its tag.
const CAPTURED_ID: &[u8] = b"\x20\x82\x80\x80\x80\x10";

/// The captures of all protocols of this family whose names end so.
fn captures(ending: &str) -> Vec<(String, Vec<u8>)> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut captures: Vec<_> = ["baidu_std", "streaming_rpc"]
        .iter()
        .filter_map(|protocol| fs::read_dir(sources.join(protocol).join("testdata")).ok())
        .flat_map(|files| files.map(|file| file.unwrap().path()))
        .filter(|path| path.to_str().unwrap().ends_with(ending))
        .map(|path| (path.display().to_string(), fs::read(path).unwrap()))
        .collect();
    captures.sort();
    assert!(captures.len() > 20, "the captures are there");
    captures
}

/// Every beginning of the bytes, and all of them with the first or the last bit of one byte changed. (Every value of every
/// byte is for the codecs, which need no connections.)
fn bent(bytes: &[u8]) -> Vec<Vec<u8>> {
    let beginnings = (0..=bytes.len()).map(|end| bytes[..end].to_vec());
    let wrong = (0..bytes.len()).flat_map(|at| {
        [0x01, 0x80].map(|flip| {
            let mut bytes = bytes.to_vec();
            bytes[at] ^= flip;
            bytes
        })
    });
    beginnings.chain(wrong).collect()
}

/// Does something with each of the bent captures, several at a time.
fn with_each(captures: &[(String, Vec<u8>)], act: impl Fn(&str, &[u8]) + Sync) {
    let all: Vec<_> = captures.iter().map(|(name, bytes)| (name, bent(bytes))).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        for _ in 0..THREADS {
            threads.spawn(|| {
                while let Some((name, bent)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    bent.iter().for_each(|bytes| act(name, bytes));
                }
            });
        }
    });
}

/// Answers at once whatever it is asked: a wrong byte may make a long wait of a short one.
fn start() -> Server {
    let echo = AsyncEcho(|request: support::EchoRequest, responder: rpc::Responder<EchoResponse>| {
        responder.send(Ok(EchoResponse { message: request.message }));
    });
    Server::builder().add(echo).start("127.0.0.1:0").unwrap()
}

#[test]
fn a_server_survives_bent_requests() {
    let server = start();
    let channel = support::connect(&server);
    assert_eq!(call(&channel, "before").unwrap(), "before");
    let before = resident();
    let address = server.local_addr().to_string();
    with_each(&captures(".req.bin"), |name, bytes| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        // The server may have closed the connection before it has all of it.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        let was_reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(ended.as_ref().err().is_none_or(was_reset), "{name}: {ended:?} {bytes:?}");
    });
    assert_eq!(call(&channel, "after").unwrap(), "after");
    while server.connection_count() > 1 {
        std::thread::yield_now();
    }
    assert!(resident().saturating_sub(before) < GROWTH_MAX);
}

/// A request as far as its correlation id, which follows its only field of this kind.
fn correlation_id(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    let [body, meta] = [4, 8].map(|at| u32::from_be_bytes(head[at..at + 4].try_into().unwrap()) as usize);
    let mut bytes = vec![0; body];
    stream.read_exact(&mut bytes).ok()?;
    // Field 1 with the names is first; then this one's tag, 0x20, behind tags and values of one byte each.
    let mut at = 2 + usize::from(bytes[1]);
    while at < meta && bytes[at] != 0x20 {
        at += 2;
    }
    let end = (at + 1..meta).find(|i| bytes[*i] < 0x80)?;
    Some(bytes[at..=end].to_vec())
}

/// A captured response as one to the request with this id. Sizes are left alone: the id has as many bytes as that of the
/// capture, or else the capture is used as it is, whose id is nobody's.
fn addressed(bytes: &[u8], id: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = bytes.windows(CAPTURED_ID.len()).position(|window| window == CAPTURED_ID);
    if let Some(at) = at
        && id.len() <= CAPTURED_ID.len()
    {
        // A varint may have more bytes than it needs.
        let mut padded = id.to_vec();
        while padded.len() < CAPTURED_ID.len() {
            *padded.last_mut().unwrap() |= 0x80;
            padded.push(0);
        }
        bytes[at..at + padded.len()].copy_from_slice(&padded);
    }
    bytes
}

/// Answers each connection's request with what it was told to, and closes it.
fn answer(listener: &TcpListener, response: &[u8]) {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    if let Some(id) = correlation_id(&mut stream) {
        // The client may have closed the connection before it has all of it.
        let _ = stream.write_all(&addressed(response, &id));
    }
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn a_client_survives_bent_responses() {
    let before = resident();
    let answered = AtomicUsize::new(0);
    with_each(&captures(".resp.bin"), |name, bytes| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::scope(|threads| {
            threads.spawn(|| answer(&listener, bytes));
            let channel = Channel::builder()
                .protocol("baidu_std")
                .connection_type("short")
                .timeout(LONG)
                .max_retry(0)
                .connect(address)
                .unwrap();
            match call(&channel, "hello") {
                Ok(_) => {
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => assert_ne!(error.code(), ERPCTIMEDOUT, "{name}: {error} {bytes:?}"),
            }
        });
    });
    assert!(answered.into_inner() > 100, "some were answers");
    assert!(resident().saturating_sub(before) < GROWTH_MAX);
}
