//! Who is let in: the first call of a connection is verified before anything else is looked at, over both protocols,
//! and against what brpc's server was captured to answer.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use iobuf::IoBuf;
use prost::Message;
use rpc::error::{ERPCAUTH, RpcError};
use rpc::{AuthContext, Authenticator, Endpoint, ServerBuilder};
use support::{EchoResponse, LONG, Server, exchange, is_closed, raw, request_frame, sorted_frames};

const OK: &[u8] = include_bytes!("../src/baidu_std/testdata/auth_ok.req.bin");
const OK_ANSWER: &[u8] = include_bytes!("../src/baidu_std/testdata/auth_ok.resp.bin");
const WRONG: &[u8] = include_bytes!("../src/baidu_std/testdata/auth_fail.req.bin");
const WRONG_ANSWER: &[u8] = include_bytes!("../src/baidu_std/testdata/auth_fail.resp.bin");
const MISSING: &[u8] = include_bytes!("../src/baidu_std/testdata/auth_missing.req.bin");
const MISSING_ANSWER: &[u8] = include_bytes!("../src/baidu_std/testdata/auth_missing.resp.bin");

/// That of the captures; counts how often it is asked.
#[derive(Clone, Default)]
struct Secret {
    asked: Arc<AtomicUsize>,
    /// Waited for before each verdict.
    gate: Option<Arc<bthread::sync::Semaphore>>,
    /// Told of each question.
    began: Option<mpsc::SyncSender<()>>,
}

impl Secret {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Authenticator for Secret {
    fn generate_credential(&self) -> Result<Vec<u8>, RpcError> {
        Ok(b"vec-secret".to_vec())
    }

    fn verify_credential(&self, credential: &[u8], peer: &Endpoint) -> Result<AuthContext, RpcError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(began) = &self.began {
            began.send(()).unwrap();
        }
        if let Some(gate) = &self.gate {
            gate.acquire().forget();
        }
        assert_ne!(credential, b"panic");
        if credential != b"vec-secret" {
            return Err(RpcError::new(ERPCAUTH, "bad credential"));
        }
        Ok(AuthContext { user: "vec".into(), group: peer.to_string(), ..AuthContext::default() })
    }
}

/// An echo that can say who calls, and counts its calls.
fn builder(calls: &Arc<AtomicUsize>) -> ServerBuilder<protocols::Bundled> {
    let calls = calls.clone();
    let echo =
        support::AsyncEcho(move |request: support::EchoRequest, responder: rpc::Responder<EchoResponse>| {
            calls.fetch_add(1, Ordering::SeqCst);
            let message = match request.message.as_str() {
                "who" => {
                    responder.call().auth_context().map_or("nobody".into(), |context| context.user.clone())
                }
                _ => request.message,
            };
            responder.send(Ok(EchoResponse { message }));
        });
    Server::builder().add(echo)
}

fn start(secret: &Secret) -> (Server, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    (builder(&calls).auth(secret.clone()).start("127.0.0.1:0").unwrap(), calls)
}

/// Reads one frame, and what it says.
fn read_message(stream: &mut TcpStream) -> String {
    let head = exchange(stream, b"", 12);
    let size = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap()) as usize;
    let rest = exchange(stream, b"", size(4));
    EchoResponse::decode(&rest[size(8)..]).unwrap().message
}

/// Sends a request, and reads to the end.
fn http(server: &Server, request: &str) -> String {
    let mut stream = raw(server);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn post(fields: &str) -> String {
    let body = r#"{"message":"who"}"#;
    let length = body.len();
    format!("POST /EchoService/Echo HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{fields}\r\n{body}")
}

#[test]
fn the_first_call_is_verified_and_its_identity_is_that_of_all() {
    let secret = Secret::default();
    let (server, _) = start(&secret);
    let mut stream = raw(&server);
    let answer = exchange(&mut stream, OK, OK_ANSWER.len());
    assert_eq!(sorted_frames(&answer), sorted_frames(OK_ANSWER));
    for _ in 0..3 {
        stream.write_all(&request_frame("who", &IoBuf::new())).unwrap();
        assert_eq!(read_message(&mut stream), "vec");
    }
    assert_eq!(secret.asked(), 1);
}

#[test]
fn those_who_are_refused_hear_so_and_are_cut_off() {
    let secret = Secret::default();
    let (server, calls) = start(&secret);
    for (request, answer) in [(WRONG, WRONG_ANSWER), (MISSING, MISSING_ANSWER)] {
        let mut stream = raw(&server);
        // What comes behind it is not looked at, though it would be let in.
        let behind = [request, OK].concat();
        assert_eq!(exchange(&mut stream, &behind, answer.len()), answer);
        assert!(is_closed(&mut stream));
    }
    assert_eq!((secret.asked(), calls.load(Ordering::SeqCst)), (2, 0));
    let reports = server.method_reports();
    assert_eq!((reports[0].errors, reports[0].concurrency), (0, 0), "they never came to the method");
}

#[test]
fn nothing_of_a_read_runs_before_the_verdict_on_its_first_call() {
    let (began, begun) = mpsc::sync_channel(1);
    let gate = Arc::new(bthread::sync::Semaphore::new(0));
    let secret = Secret { gate: Some(gate.clone()), began: Some(began), ..Secret::default() };
    let (server, calls) = start(&secret);
    for is_let_in in [true, false] {
        let mut stream = raw(&server);
        let mut bytes = if is_let_in { OK.to_vec() } else { WRONG.to_vec() };
        (0..20).for_each(|_| bytes.extend(request_frame("who", &IoBuf::new())));
        stream.write_all(&bytes).unwrap();
        begun.recv().unwrap();
        // The workers are given the occasion to run the others, which are in the same read.
        (0..200).for_each(|_| bthread::spawn(|| ()).join().unwrap());
        assert_eq!(calls.load(Ordering::SeqCst), 0);
        gate.release(1);
        if is_let_in {
            let said: Vec<_> = (0..22).map(|_| read_message(&mut stream)).collect();
            assert_eq!(said.iter().filter(|message| *message == "vec").count(), 20, "{said:?}");
            assert_eq!(calls.swap(0, Ordering::SeqCst), 22);
        } else {
            assert_eq!(exchange(&mut stream, b"", WRONG_ANSWER.len()), WRONG_ANSWER);
            assert!(is_closed(&mut stream));
        }
    }
    assert_eq!((secret.asked(), calls.load(Ordering::SeqCst)), (2, 0));
}

#[test]
fn frames_of_streams_are_no_first_call() {
    let secret = Secret::default();
    let (server, calls) = start(&secret);
    // Data for a stream that there is not; answered by an RST.
    let frame = b"STRM\0\0\0\x06\0\0\0\x06\x08\x05\x10\x07\x18\x03";
    let mut stream = raw(&server);
    let reset = exchange(&mut stream, frame, 12);
    let size = u32::from_be_bytes(reset[4..8].try_into().unwrap()) as usize;
    exchange(&mut stream, b"", size);
    // The verdict is still to come, and comes.
    let answer = exchange(&mut stream, OK, OK_ANSWER.len());
    assert_eq!(sorted_frames(&answer), sorted_frames(OK_ANSWER));
    let mut stream = raw(&server);
    exchange(&mut stream, &frame[..], 12 + size);
    assert_eq!(exchange(&mut stream, WRONG, WRONG_ANSWER.len()), WRONG_ANSWER);
    assert!(is_closed(&mut stream));
    assert_eq!((secret.asked(), calls.load(Ordering::SeqCst)), (2, 2), "the capture has two calls");
}

#[test]
fn http_has_its_own_form_of_both() {
    let secret = Secret::default();
    let (server, calls) = start(&secret);
    for fields in ["Authorization: wrong\r\n", "", "Authorization: panic\r\n"] {
        let answer = http(&server, &post(fields));
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
        let text = answer.split("\r\n\r\n").nth(1).unwrap();
        let detail = if fields.contains("panic") { "" } else { ": bad credential" };
        assert_eq!(text, format!("[1004]Fail to authenticate{detail}"));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    // A method that is not there is no way round.
    assert!(http(&server, "GET /Nothing/Here HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 403"));
    // Later fields are not looked at.
    let asked = secret.asked();
    let two = post("Authorization: vec-secret\r\n") + &post("Authorization: wrong\r\nConnection: close\r\n");
    let answers = http(&server, &two);
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
    assert_eq!(answers.matches(r#"{"message":"vec"}"#).count(), 2, "{answers}");
    assert_eq!(secret.asked(), asked + 1);
}

#[test]
fn pages_have_their_own_rules_and_are_no_way_round() {
    let secret = Secret::default();
    let (server, calls) = start(&secret);
    let page = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    let answers = http(&server, &(page.to_owned() + page + &post("") + page));
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 403").count(), 1, "{answers}");
    assert_eq!((secret.asked(), calls.load(Ordering::SeqCst)), (1, 0));
    let fine = page.to_owned() + &post("Authorization: vec-secret\r\nConnection: close\r\n");
    assert_eq!(http(&server, &fine).matches("HTTP/1.1 200").count(), 2);
}

#[test]
fn each_request_is_verified_where_that_is_wanted() {
    let secret = Secret::default();
    let calls = Arc::new(AtomicUsize::new(0));
    let server = builder(&calls).auth(secret.clone()).verify_each_request(true).start("127.0.0.1:0").unwrap();
    let good = post("Authorization: vec-secret\r\n");
    let answers = http(&server, &(good.clone() + &good + &post("")));
    assert_eq!(answers.matches(r#"{"message":"vec"}"#).count(), 2, "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 403").count(), 1, "{answers}");
    assert_eq!((secret.asked(), calls.load(Ordering::SeqCst)), (3, 2));
}

#[test]
fn without_an_authenticator_credentials_are_not_looked_at() {
    let calls = Arc::new(AtomicUsize::new(0));
    let server = builder(&calls).start("127.0.0.1:0").unwrap();
    for request in [OK, WRONG, MISSING] {
        let mut stream = raw(&server);
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.write_all(request).unwrap();
        assert_eq!(read_message(&mut stream), "hello brpc");
    }
    let answer = http(&server, &post("Connection: close\r\n"));
    assert!(answer.ends_with(r#"{"message":"nobody"}"#), "{answer}");
}

#[test]
fn frames_of_streams_ahead_of_the_first_call_are_no_call() {
    use protocols::streaming_rpc::STREAMING_RPC;
    use rpc::protocol::{Protocol, StreamFrame, StreamFrameBody};
    let secret = Secret::default();
    let (server, _) = start(&secret);
    let mut frame = IoBuf::new();
    let nobodys = StreamFrame { stream_id: 1 << 40, source_id: None, body: StreamFrameBody::Rst };
    STREAMING_RPC.stream().unwrap().write_frame(nobodys, &mut frame);
    let mut stream = raw(&server);
    stream.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    stream.write_all(&[frame.to_vec(), OK.to_vec()].concat()).unwrap();
    assert_eq!(read_message(&mut stream), "hello brpc");
    assert_eq!(secret.asked(), 1);
}
